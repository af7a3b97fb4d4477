"""Layerwise step sizes: a direction for every element, times one number that each tensor computes for itself.

One equation. With a direction u of the tensor's new moments and its decay λ θ, and a ratio c of norms,

    update = c(θ, g, u) · u,

where StableAdamW divides by how far the gradient is from what its second moment expects, and LAMB multiplies by the
norm of the weights over that of the direction. LARS takes the ratio of weights and gradient, before the momentum.

A norm has to read all of its tensor before the first element can move. What it is the norm of is then computed once
more, which takes less time than to write it down.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from optimizers._checks import check_range
from optimizers._moments import (
    MU_DTYPES,
    NU_DTYPES,
    TINY,
    Moments,
    Scalars,
    at_count,
    average,
    bias_correction,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    first_moment,
    reread,
    root_scalars,
    second_moment,
    square,
    tensorwise,
    wide_scalar,
)
from optimizers._trees import PyTree
from optimizers.adaptive._statistics import mean, norm

Ratio = Callable[[jax.Array, Any, Moments, Scalars, jax.Array], jax.Array]


def _scaled_adam(
    function: str,
    b1: Any,
    b2: Any,
    eps: Any,
    eps_root: Any,
    types: tuple[Any, Any],
    decay: Any,
    mask: Any,
    ratio: Ratio,
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2)
    mu_dtype = check_moment_dtype(function, "mu_dtype", types[0], MU_DTYPES)
    nu_dtype = check_moment_dtype(function, "nu_dtype", types[1], NU_DTYPES)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))
    decays = decay is not None

    def scalars(state: Any, step: jax.Array) -> Scalars:
        root, small, small_root = root_scalars(b2, eps, eps_root, step)
        rate = at_count(decay, state) if decays else 0.0
        return rate, b1, 1 - b1, b2, 1 - b2, root / bias_correction(b1, step), small, small_root, root * root

    def advance(g: jax.Array, p: Any, old: Moments, s: Scalars) -> Moments:
        on_mu, on_g, on_nu, on_square = s[-8:-4]
        return average(on_mu, on_g, old[0], g), average(on_nu, on_square, old[1], square(g))

    def direction(g: jax.Array, p: Any, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        def step(p: Any, new: Moments, s: Scalars) -> jax.Array:
            on_m, small, small_root, _ = s[-4:]
            u = on_m * new[0] / (jnp.sqrt(new[1] + small_root) + small)
            return u + s[0] * s[1] * p if decays else u

        moved = step(p, new, s)
        g, p, new, s = reread(g, p, new, s)
        return ratio(g, p, new, s, step(p, new, s)) * moved

    moments = {"mu": first_moment(mu_dtype), "nu": second_moment(nu_dtype)}
    needs = function if decays else None
    return tensorwise(
        optax.ScaleByAdamState,
        moments,
        scalars,
        advance,
        direction,
        needs_params=needs,
        masks=(mask,) if decays else (),
    )


def _surprise(g: jax.Array, p: Any, new: Moments, s: Scalars, u: jax.Array) -> jax.Array:
    """1 / max(1, RMS) of the gradient over the root of its second moment ν / B, at least ε."""
    del p, u
    small, correction = s[-3], s[-1]
    expected = jnp.maximum(new[1], jnp.maximum(small * small, TINY))
    return lax.rsqrt(jnp.maximum(1.0, correction * mean(square(g) / expected)))


def scale_by_stable_adam(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    mu_dtype: Any = None,
    *,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the gradient as Adam does, and shrink the whole tensor where its second moment is out of date.

    $$u_t = \frac{1}{\max(1, r_t)} \cdot \frac{\hat m_t}{\sqrt{\hat\nu_t} + \varepsilon}, \qquad
    r_t^2 = \operatorname{mean}\left(\frac{g_t^2}{\max(\hat\nu_t, \varepsilon^2)}\right)$$

    with Adam's moments, corrected for their start at zero, and the mean over all elements of the tensor. A gradient
    much larger than its history would otherwise be divided by a root that has not seen it yet.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with state `optax.ScaleByAdamState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx, quiet = scale_by_stable_adam(), jnp.array([0.01, -0.01])
        >>> _, state = tx.update(quiet, tx.init(quiet))
        >>> update, _ = tx.update(100 * quiet, state)  # Adam's would be [ 0.75 -0.75]
        >>> print(update.round(3))
        [ 0.531 -0.531]

    Source:
        M. Wortsman, T. Dettmers, L. Zettlemoyer, A. Morcos, A. Farhadi, L. Schmidt, "Stable and low-precision training
        for large-scale vision-language models", 2023; the measure is N. Shazeer's and M. Stern's (Adafactor, 2018).
    """
    return _scaled_adam("scale_by_stable_adam", b1, b2, eps, 0.0, (mu_dtype, nu_dtype), None, None, _surprise)


def stable_adamw(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 1e-2,
    mask: Any = None,
    *,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""StableAdamW: AdamW whose learning rate shrinks, tensor by tensor, where gradients outgrow their history.

    $$\theta_t = \theta_{t-1} - \frac{\eta_t}{\max(1, r_t)} \left( \frac{\hat m_t}{\sqrt{\hat\nu_t} + \varepsilon}
    + \lambda\,\theta_{t-1} \right)$$

    with $r_t$ of `scale_by_stable_adam`. It takes the place of clipping by the gradient's norm; as in the paper's
    algorithm the smaller rate holds for the decay, too.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1); near 1, its root is out of date more often.
        eps: Added to the root, at least 0.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), stable_adamw(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.02

    Source:
        M. Wortsman, T. Dettmers, L. Zettlemoyer, A. Morcos, A. Farhadi, L. Schmidt, "Stable and low-precision training
        for large-scale vision-language models", 2023, algorithm 2.
    """
    check_descent("stable_adamw", learning_rate, weight_decay)
    types = mu_dtype, nu_dtype
    return descend(_scaled_adam("stable_adamw", b1, b2, eps, 0.0, types, weight_decay, mask, _surprise), learning_rate)


def _trust(weights: jax.Array, step: jax.Array, coefficient: Any = 1.0, eps: Any = 0.0) -> jax.Array:
    """k ‖weights‖ / (‖step‖ + ε), or 1 where one of the two norms is 0, since then nothing would ever move."""
    before, after = norm(weights), norm(step)
    stuck = (before == 0) | (after == 0)
    return jnp.where(stuck, 1.0, coefficient * before / jnp.where(stuck, 1.0, after + eps))


def lamb(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-6,
    eps_root: jax.typing.ArrayLike = 0.0,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""LAMB: every tensor moves by the learning rate times its own norm, in AdamW's direction.

    $$u_t = \frac{\hat m_t}{\sqrt{\hat\nu_t + \bar\varepsilon} + \varepsilon} + \lambda\,\theta_{t-1}, \qquad
    \theta_t = \theta_{t-1} - \eta_t \frac{\lVert\theta_{t-1}\rVert_2}{\lVert u_t \rVert_2}\, u_t$$

    with moments of `scale_by_adam`, and a ratio of 1 where one of the norms is 0. As in Optax, whose trajectories these
    are, the norm of the weights is not cut off (the paper's φ is the identity).

    Args:
        learning_rate: Step size relative to the norm, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        eps_root: Added under the root, at least 0.
        weight_decay: Decay rate λ, at least 0, inside the norm: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([3.0, -4.0]), lamb(0.1)
        >>> update, _ = tx.update(jnp.array([0.1, 0.1]), tx.init(params), params)
        >>> print(jnp.linalg.norm(update).round(4))  # 0.1 of the norm
        0.5

    Source:
        Y. You, J. Li, S. Reddi, J. Hseu, S. Kumar, S. Bhojanapalli, X. Song, J. Demmel, K. Keutzer, C.-J. Hsieh, "Large
        Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2020.
    """
    check_descent("lamb", learning_rate, weight_decay)

    def ratio(g: jax.Array, p: jax.Array, new: Moments, s: Scalars, u: jax.Array) -> jax.Array:
        return _trust(p, u)

    types = mu_dtype, nu_dtype
    return descend(_scaled_adam("lamb", b1, b2, eps, eps_root, types, weight_decay, mask, ratio), learning_rate)


class LarsState(NamedTuple):
    """State of LARS: the number of updates made, and the decaying sum of steps."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    trace: PyTree


def lars(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    weight_decay_mask: Any = True,
    trust_coefficient: jax.typing.ArrayLike = 0.001,
    eps: jax.typing.ArrayLike = 0.0,
    trust_ratio_mask: Any = True,
    momentum: jax.typing.ArrayLike = 0.9,
    nesterov: bool = False,
    *,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""LARS: momentum of gradients that each tensor scales to a fixed part of its own norm.

    $$d_t = g_t + \lambda\,\theta_{t-1}, \qquad
    m_t = \mu\, m_{t-1} - \eta_t\, \frac{k\,\lVert\theta_{t-1}\rVert_2}{\lVert d_t\rVert_2 + \varepsilon}\, d_t, \qquad
    \theta_t = \theta_{t-1} + m_t$$

    (`nesterov`: the step plus $\mu m_t$ in place of $m_t$.) The learning rate is inside the momentum, and the ratio is
    1 where one of the norms is 0: these are Optax's trajectories.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        weight_decay: Decay rate λ, at least 0, inside the norm: a number, a traced scalar or a schedule.
        weight_decay_mask: Tree of bools (or a function from parameters to one) that says which leaves decay.
        trust_coefficient: Part k of the norm that a step of rate 1 has, at least 0.
        eps: Added to the norm of the step, at least 0.
        trust_ratio_mask: Likewise, which leaves are scaled; the others take plain steps of momentum. Biases and scales
            of normalisations, whose norms mean little, are often left out of both.
        momentum: Decay μ of the sum of steps, in [0, 1).
        nesterov: Look one step ahead.
        accumulator_dtype: dtype of the sum, see `sgdw`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `accumulator_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([3.0, -4.0]), lars(1.0)
        >>> update, _ = tx.update(jnp.array([0.0, 7.0]), tx.init(params), params)
        >>> print(update.round(4))  # 0.001 of the norm
        [ 0.    -0.005]

    Source:
        Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017.
    """
    check_descent("lars", learning_rate, weight_decay)
    for name, value in (("trust_coefficient", trust_coefficient), ("eps", eps)):
        check_range("lars", name, value, 0.0)
    check_range("lars", "momentum", momentum, 0.0, 1.0, open_high=True)
    dtype = check_moment_dtype("lars", "accumulator_dtype", accumulator_dtype, MU_DTYPES)
    kept, coefficient, small = (wide_scalar(x) for x in (momentum, trust_coefficient, eps))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del step
        return at_count(learning_rate, state), at_count(weight_decay, state), kept, coefficient, small

    def scaled(g: jax.Array, p: jax.Array, s: Scalars) -> jax.Array:
        decays, scales, rate, decay, _, coefficient, small = s

        def decayed(g: jax.Array, p: jax.Array, decay: Any) -> jax.Array:
            return g + decays * decay * p

        trust = _trust(p, decayed(*reread(g, p, decay)), coefficient, small) if scales else 1.0
        return -rate * trust * decayed(g, p, decay)

    def advance(g: jax.Array, p: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (s[4] * old[0] + scaled(g, p, s),)

    def direction(g: jax.Array, p: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        return s[4] * new[0] + scaled(g, p, s) if nesterov else new[0]

    moments = {"trace": first_moment(dtype)}
    masks = weight_decay_mask, trust_ratio_mask
    return tensorwise(LarsState, moments, scalars, advance, direction, needs_params="lars", masks=masks)
