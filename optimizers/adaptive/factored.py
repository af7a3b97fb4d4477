"""Adaptive steps whose second moments are kept as means of rows and of columns.

One equation. For a matrix (or a batch of them) with squares averaged over time to V, only the means over rows and over
columns are kept, and

    V ≈ rows ⊗ columns / mean(rows),    u = g / √V,    u ← u / max(1, RMS(u) / d).

Adafactor moves by u, in units of the parameter's own size. CAME averages u over time and divides the average by the
root of a second such matrix: how far the u of a step are from their average. Tensors without two axes keep all of V.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizers._checks import check_range
from optimizers._moments import (
    MU_DTYPES,
    Scalars,
    at_count,
    average,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    first_moment,
    reread,
    tensorwise,
    wide_scalar,
)
from optimizers._trees import PyTree
from optimizers.adaptive._statistics import (
    Axes,
    Factored,
    factored_average,
    factored_moment,
    over_root,
    root_mean_square,
    roots,
    squares,
)


def _kept(g: jax.Array, root: Factored, threshold: Any) -> Any:
    """1 / max(1, RMS(u) / d) for u = g / √V: the part of u that clipping keeps."""
    return 1.0 / jnp.maximum(1.0, root_mean_square(over_root(*reread(g, root))) / threshold)


def _same(x: jax.Array) -> jax.Array:
    return x


class AdafactorState(NamedTuple):
    """State of Adafactor: the number of updates made, and moments, each None for the tensors that have another.

    Attributes:
        count: Updates made.
        v_row: Means of squares over the larger of two factored axes.
        v_col: Means over the other.
        v: Averages of squares where nothing is factored.
        mu: Averages of the steps, None without momentum.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    v_row: PyTree
    v_col: PyTree
    v: PyTree
    mu: PyTree


def adafactor(
    learning_rate: optax.ScalarOrSchedule | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: jax.typing.ArrayLike = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: jax.typing.ArrayLike | None = 1.0,
    momentum: jax.typing.ArrayLike | None = None,
    dtype_momentum: Any = None,
    weight_decay_rate: optax.ScalarOrSchedule | None = None,
    eps: jax.typing.ArrayLike = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adafactor: Adam's second moments in the memory of their rows and columns, steps relative to the weights.

    $$V_t = \hat\beta_t V_{t-1} + (1 - \hat\beta_t)(g_t^2 + \epsilon), \quad \hat\beta_t = 1 - t^{-0.8}, \qquad
    u_t = \frac{g_t}{\sqrt{V_t}}, \quad
    \theta_t = \theta_{t-1} - \eta_t \max(10^{-3}, \operatorname{RMS}(\theta_{t-1}))
    \frac{u_t}{\max(1, \operatorname{RMS}(u_t) / d)}$$

    where of a tensor's V only the means along its two largest axes are kept. Optax's arguments and Optax's
    trajectories; beyond it, the moments are float32 or wider for parameters of 16 bits, whose own range their squares
    would leave, and the update takes a fraction of the time, see the benchmarks.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule; None means 1. It is
            relative to the parameters' size unless `multiply_by_parameter_scale` is False.
        min_dim_size_to_factor: Factor where two axes have at least this size.
        decay_rate: Exponent of the decay's approach to 1, at least 0; 0.8 above.
        decay_offset: Steps by which to start the decay anew, for fine-tuning.
        multiply_by_parameter_scale: Whether steps are relative to the RMS of the parameter.
        clipping_threshold: Largest RMS d of u, positive; None means no bound.
        momentum: Decay of an average of the steps, in [0, 1); None (no average) saves its memory.
        dtype_momentum: dtype of that average; None means float32, or the parameters' dtype where that is wider.
        weight_decay_rate: Decay per step, not multiplied by the learning rate, at least 0: a number, a traced scalar or
            a schedule; None means none.
        eps: Added to squares, at least 0.
        factored: Whether to factor at all.
        weight_decay_mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means
            all.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `dtype_momentum` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([[3.0, 4.0], [3.0, 4.0]]), adafactor(0.1, min_dim_size_to_factor=2)
        >>> update, state = tx.update(jnp.array([[1.0, 2.0], [2.0, 4.0]]), tx.init(params), params)
        >>> print(update.round(4))  # squares of rank one: u is the sign, 3.5355 the size of the parameters
        [[-0.3536 -0.3536]
         [-0.3536 -0.3536]]

    Source:
        N. Shazeer, M. Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018.
    """
    check_descent("adafactor", learning_rate)
    for name, value in (("decay_rate", decay_rate), ("weight_decay_rate", weight_decay_rate), ("eps", eps)):
        check_range("adafactor", name, value, 0.0)
    check_range("adafactor", "clipping_threshold", clipping_threshold, 0.0, open_low=True)
    check_range("adafactor", "momentum", momentum, 0.0, 1.0, open_high=True)
    dtype = check_moment_dtype("adafactor", "dtype_momentum", dtype_momentum, MU_DTYPES)
    one = 1.0 if learning_rate is None else learning_rate
    none = 0.0 if weight_decay_rate is None else weight_decay_rate
    exponent, small, kept = (wide_scalar(x) for x in (decay_rate, eps, 0.0 if momentum is None else momentum))
    threshold = None if clipping_threshold is None else wide_scalar(clipping_threshold)

    def two_largest(shape: tuple[int, ...]) -> Axes | None:
        order = np.argsort(shape)
        large = factored and len(shape) > 1 and shape[order[-2]] >= max(min_dim_size_to_factor, 1)
        return (int(order[-2]), int(order[-1])) if large else None

    def scalars(state: Any, step: jax.Array) -> Scalars:
        growth = (step - decay_offset).astype(jnp.result_type(float)) ** -exponent
        bound = () if threshold is None else (threshold,)
        return at_count(one, state), at_count(none, state), kept, small, 1 - growth, growth, *bound

    def scaled(g: jax.Array, p: jax.Array, v: Factored, s: Scalars) -> jax.Array:
        root = roots(v, two_largest(g.shape))
        scale = jnp.maximum(root_mean_square(p), 1e-3) if multiply_by_parameter_scale else 1.0
        kept = 1.0 if threshold is None else _kept(g, root, s[7])
        return over_root(g, root, s[1] * scale * kept)

    def advance(g: jax.Array, p: jax.Array, old: tuple[Any, ...], s: Scalars) -> Any:
        v = factored_average(s[5], s[6], Factored(*old[:3]), squares(two_largest(g.shape), _same, g), s[4])
        return (*v, None if momentum is None else average(s[3], 1 - s[3], old[3], scaled(g, p, v, s)))

    def direction(g: jax.Array, p: jax.Array, new: tuple[Any, ...], old: tuple[Any, ...], s: Scalars) -> jax.Array:
        moved = scaled(g, p, Factored(*new[:3]), s) if momentum is None else new[3]
        return -moved if weight_decay_rate is None else -(moved + s[0] * s[2] * p)

    averages = first_moment(dtype) if momentum is not None else partial(jax.tree.map, lambda _: None)
    moments = {**factored_moment("v", two_largest), "mu": averages}
    masks = (weight_decay_mask,)
    return tensorwise(AdafactorState, moments, scalars, advance, direction, needs_params="adafactor", masks=masks)


class CameState(NamedTuple):
    """State of CAME: the number of updates made, and moments, of which rows and columns are None for some tensors.

    Attributes:
        count: Updates made.
        mu: Averages of the clipped steps u.
        nu_row: Means of the gradients' squares over the last axis.
        nu_col: Means over the last axis but one.
        nu: Averages of squares of the tensors without two axes.
        instability_row: Means over the last axis of squares of u less its average.
        instability_col: Means over the last axis but one.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    nu_row: PyTree
    nu_col: PyTree
    nu: PyTree
    instability_row: PyTree
    instability_col: PyTree


def _last_two(shape: tuple[int, ...]) -> Axes | None:
    return (len(shape) - 2, len(shape) - 1) if len(shape) > 1 and 0 not in shape else None


def _came(
    function: str, b1: Any, b2: Any, b3: Any, eps: Any, eps_instability: Any, clipping_threshold: Any
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, b1=b1, b2=b2, b3=b3)
    check_range(function, "eps_instability", eps_instability, 0.0)
    check_range(function, "clipping_threshold", clipping_threshold, 0.0, open_low=True)
    values = tuple(wide_scalar(x) for x in (b1, b2, b3, eps, eps_instability, clipping_threshold))

    def advance(g: jax.Array, p: Any, old: tuple[Any, ...], s: Scalars) -> Any:
        b1, b2, b3, eps, eps_instability, threshold = s
        axes = _last_two(g.shape)
        nu = factored_average(b2, 1 - b2, Factored(*old[1:4]), squares(axes, _same, g), eps)
        root = roots(nu, axes)
        kept = _kept(g, root, threshold)
        mu = average(b1, 1 - b1, old[0], over_root(g, root, kept))
        if axes is None:
            return mu, *nu, None, None

        def apart(g: jax.Array, root: Factored, mu: jax.Array) -> jax.Array:
            return over_root(g, root, kept) - mu

        instability = Factored(old[4], old[5], None)
        found = squares(axes, apart, g, root, mu)
        return mu, *nu, *factored_average(b3, 1 - b3, instability, found, eps_instability)[:2]

    def direction(g: jax.Array, p: Any, new: tuple[Any, ...], old: tuple[Any, ...], s: Scalars) -> jax.Array:
        axes = _last_two(g.shape)
        return new[0] if axes is None else over_root(new[0], roots(Factored(new[4], new[5], None), axes))

    instability = factored_moment("instability", _last_two)
    del instability["instability"]
    moments = {"mu": first_moment(None), **factored_moment("nu", _last_two), **instability}
    return tensorwise(CameState, moments, lambda state, step: values, advance, direction)


def scale_by_came(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    b3: jax.typing.ArrayLike = 0.9999,
    eps: jax.typing.ArrayLike = 1e-30,
    eps_instability: jax.typing.ArrayLike = 1e-16,
    clipping_threshold: jax.typing.ArrayLike = 1.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Average Adafactor's steps, and divide the average by how much the steps scatter about it.

    $$u_t = \operatorname{clip}_d\left(\frac{g_t}{\sqrt{V_t}}\right), \quad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) u_t, \quad
    S_t = \beta_3 S_{t-1} + (1 - \beta_3)\left((u_t - m_t)^2 + \epsilon_s\right), \quad
    \text{update} = \frac{m_t}{\sqrt{S_t}}$$

    with V as Adafactor's of constant decay b2, and V and S kept as rows and columns over the last two axes; clip_d
    divides by max(1, RMS / d). Tensors of fewer axes move by m. Neither V nor S is corrected for its start at zero, so
    that first steps of matrices are long, about 1 / √(1 - b3): warm the learning rate up.

    Args:
        b1: Decay of the average of steps, in [0, 1).
        b2: Decay of V, in [0, 1).
        b3: Decay of S, in [0, 1).
        eps: Added to the gradient's squares, at least 0.
        eps_instability: ϵ_s, added to the squares of u - m, at least 0.
        clipping_threshold: Largest RMS d of u, positive.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx, gradient = scale_by_came(b3=0.0), jnp.array([[1.0, 2.0], [2.0, 4.0]])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))  # u = 1, m = 0.1, S = 0.9²
        [[0.1111 0.1111]
         [0.1111 0.1111]]

    Source:
        Y. Luo, X. Ren, Z. Zheng, Z. Jiang, X. Jiang, Y. You, "CAME: Confidence-guided Adaptive Memory Efficient
        Optimization", 2023.
    """
    return _came("scale_by_came", b1, b2, b3, eps, eps_instability, clipping_threshold)


def came(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    b3: jax.typing.ArrayLike = 0.9999,
    eps: jax.typing.ArrayLike = 1e-30,
    eps_instability: jax.typing.ArrayLike = 1e-16,
    clipping_threshold: jax.typing.ArrayLike = 1.0,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""CAME: Adafactor's memory and one average, with small steps where the steps disagree.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \frac{m_t}{\sqrt{S_t}} + \lambda\,\theta_{t-1} \right)$$

    with m and S of `scale_by_came`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the average of steps, in [0, 1).
        b2: Decay of the squares, in [0, 1).
        b3: Decay of the instability, in [0, 1).
        eps: Added to the gradient's squares, at least 0.
        eps_instability: Added to the squares of u - m, at least 0.
        clipping_threshold: Largest RMS of a step before averaging, positive.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([[1.0, -2.0], [2.0, 0.5]]), came(1e-3)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        6.52

    Source:
        Y. Luo, X. Ren, Z. Zheng, Z. Jiang, X. Jiang, Y. You, "CAME: Confidence-guided Adaptive Memory Efficient
        Optimization", 2023.
    """
    check_descent("came", learning_rate, weight_decay)
    directions = _came("came", b1, b2, b3, eps, eps_instability, clipping_threshold)
    return descend(directions, learning_rate, weight_decay, mask)
