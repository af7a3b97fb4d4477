"""ADOPT and ACProp: the gradient is divided by a second moment that does not know it yet."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable
from optimizers._moments import (
    SMALLEST_INVERTIBLE_DECAY,
    TINY,
    Advanced,
    Moments,
    Scalars,
    after,
    average,
    bias_correction,
    check_decays,
    check_descent,
    descend,
    elementwise,
    square,
    wide_scalar,
)
from optimizers.adaptive._settings import two_moments

ClipValue = Callable[[jax.Array], jax.Array]


def fourth_root(count: jax.Array) -> jax.Array:
    """The paper's bound of the divided gradients: the fourth root of the number of updates so far."""
    return count**0.25


def _adopt(
    function: str,
    b1: Any,
    b2: Any,
    eps: Any,
    mu_dtype: Any,
    nu_dtype: Any,
    nesterov: bool,
    use_clipping: bool,
    clip_value_fn: ClipValue,
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, b1=b1, b2=b2)
    check_callable(function, "clip_value_fn", clip_value_fn, "count -> bound")
    moments = two_moments(function, mu_dtype, nu_dtype)
    b1, b2, eps = (wide_scalar(x) for x in (b1, b2, eps))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        first = step == 1  # which only starts the second moment
        decays = jnp.where(first, 1.0, b1), jnp.where(first, 0.0, 1 - b1), b2, jnp.where(first, 1.0, 1 - b2)
        return *decays, eps + TINY, *((clip_value_fn(state.count),) if use_clipping else ())

    def divided(g: jax.Array, nu: jax.Array, s: Scalars) -> jax.Array:
        ratio = g / jnp.maximum(jnp.sqrt(nu), s[4])
        return jnp.clip(ratio, -s[5], s[5]) if use_clipping else ratio

    def add(mu: jax.Array, g: jax.Array, nu: jax.Array, s: Scalars) -> jax.Array:
        share = s[1] * divided(g, nu, s)
        # At first 0 of a quotient that may be infinite where nothing bounds it.
        return s[0] * mu + (share if use_clipping else jnp.where(s[1] > 0, share, 0.0))

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        return add(old[0], g, old[1], s), lambda mu: average(s[2], s[3], old[1], square(after(g, mu)))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        return add(new[0], g, old[1], s) if nesterov else after(new[0], new[1])

    return elementwise(optax.ScaleByAdamState, moments, scalars, advance, direction)


def scale_by_adopt(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.9999,
    eps: jax.typing.ArrayLike = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: ClipValue = fourth_root,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Average gradients that are divided by the second moment of those before them.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) \operatorname{clip}_{c_t}\left(
    \frac{g_t}{\max(\sqrt{\nu_{t-1}}, \varepsilon)}\right), \quad
    \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) g_t^2, \quad u_t = m_t$$

    from the second update on; the first only sets ν to g² and is 0. The bound c of the divided gradients is the fourth
    root of the number of updates so far.

    The trajectory of `optax.contrib.scale_by_adopt`, with no copy of the moments (Optax's keeps one).

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Least divisor, at least 0, in the units of the gradient.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nesterov: Look one step ahead: the update is β1 m_t + (1 - β1) times the divided gradient. It reads the second
            moment that this step replaces, which costs a copy of that, and one of the divided gradient.
        use_clipping: Whether the divided gradients are bounded.
        clip_value_fn: From the number of updates so far to the bound.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with state `optax.ScaleByAdamState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `clip_value_fn` is no function, or `mu_dtype` or `nu_dtype` not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_adopt()
        >>> state = tx.init(jnp.zeros(2))
        >>> for gradient in (jnp.array([1.0, -2.0]), jnp.array([0.5, -9.0])):
        ...     update, state = tx.update(gradient, state)
        >>> print([round(float(u), 4) for u in update])  # a tenth of 0.5 / 1, and of -9 / 2 bounded by 1
        [0.05, -0.1]

    Source:
        S. Taniguchi et al., "ADOPT: Modified Adam Can Converge with Any β2 with the Optimal Rate", 2024.
    """
    return _adopt("scale_by_adopt", b1, b2, eps, mu_dtype, nu_dtype, nesterov, use_clipping, clip_value_fn)


def adopt(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.9999,
    eps: jax.typing.ArrayLike = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: ClipValue = fourth_root,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""ADOPT: Adam that converges with any b2, as no gradient takes part in its own divisor.

    $$\theta_t = \theta_{t-1} - \eta_t\, m_t$$

    with the moments of `scale_by_adopt`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Least divisor, at least 0, in the units of the gradient.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nesterov: Look one step ahead, see `scale_by_adopt`.
        use_clipping: Whether the divided gradients are bounded.
        clip_value_fn: From the number of updates so far to the bound.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with the state of `optax.contrib.adopt`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `clip_value_fn` is no function, or `mu_dtype` or `nu_dtype` not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adopt(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        3.22

    Source:
        S. Taniguchi et al., "ADOPT: Modified Adam Can Converge with Any β2 with the Optimal Rate", 2024.
    """
    check_descent("adopt", learning_rate)
    directions = _adopt("adopt", b1, b2, eps, mu_dtype, nu_dtype, nesterov, use_clipping, clip_value_fn)
    return descend(directions, learning_rate)


def _acprop(
    function: str, b1: Any, b2: Any, eps: Any, eps_root: Any, mu_dtype: Any, nu_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2)
    moments = two_moments(function, mu_dtype, nu_dtype)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))
    from_new = not (isinstance(b1, float) and b1 < SMALLEST_INVERTIBLE_DECAY)

    def scalars(state: Any, step: jax.Array) -> Scalars:
        correction = bias_correction(b2, jnp.maximum(state.count, 1))
        start = jnp.where(step == 1, 1.0, 0.0)  # there is no moment yet, and the gradient is divided by 1
        surprise = (1 - b2) / (b1 * b1 if from_new else 1.0)
        return b1, 1 - b1, b2 * correction, surprise, eps_root, 1 / correction, start + eps + TINY

    def last_root(old: Moments, s: Scalars) -> jax.Array:
        return jnp.sqrt(s[5] * old[1])

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        # The root takes the place of the moment for as long as the direction reads it, and the moment is its square.
        # The surprise g - mu_old is (g - mu) / b1.
        return average(
            s[0], s[1], old[0], g
        ), lambda mu: s[2] * square(last_root(old, s)) + (s[3] * square(g - (mu if from_new else old[0])) + s[4])

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del new
        return g / (last_root(old, s) + s[6])

    return elementwise(optax.ScaleByBeliefState, moments, scalars, advance, direction)


def scale_by_acprop(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-16,
    eps_root: jax.typing.ArrayLike = 1e-16,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide the gradient by how much those before it surprised.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
    \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) (g_t - m_{t-1})^2 + \bar\varepsilon, \quad
    u_t = \frac{g_t}{\sqrt{\nu_{t-1} / (1 - \beta_2^{t-1})} + \varepsilon}$$

    with 1 for the root at t = 1. The trajectory of `optax.contrib.scale_by_acprop`. In a train step it
    needs no copy of the moments, where Optax's keeps two: the root takes the place of the second moment until the
    parameters are written.

    Args:
        b1: Decay of the first moment, in [0, 1). A concrete `b1` below 0.1 costs a copy of that moment too; a traced
            `b1` of 0 gives NaN.
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        eps_root: Added to the second moment at every step, and kept in it, at least 0, in squared units.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with state `optax.ScaleByBeliefState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_acprop()
        >>> state = tx.init(jnp.zeros(2))
        >>> for gradient in (jnp.array([1.0, -2.0]), jnp.array([0.5, -9.0])):
        ...     update, state = tx.update(gradient, state)
        >>> print(update.round(4))
        [ 0.5 -4.5]

    Source:
        J. Zhuang et al., "Momentum Centering and Asynchronous Update for Adaptive Gradient Methods", 2021.
    """
    return _acprop("scale_by_acprop", b1, b2, eps, eps_root, mu_dtype, nu_dtype)


def acprop(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-16,
    eps_root: jax.typing.ArrayLike = 1e-16,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""ACProp: gradients divided by the surprise of those before them, without momentum.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \frac{g_t}{\sqrt{\nu_{t-1} / (1 - \beta_2^{t-1})} + \varepsilon} +
    \lambda\,\theta_{t-1} \right)$$

    with the moments of `scale_by_acprop`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        eps_root: Added to the second moment at every step, at least 0.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
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
        >>> params, tx = jnp.array([1.0, -2.0]), acprop(0.1, weight_decay=0.5)
        >>> update, state = tx.update(jnp.zeros(2), tx.init(params), params)
        >>> print(update)
        [-0.05  0.1 ]

    Source:
        J. Zhuang et al., "Momentum Centering and Asynchronous Update for Adaptive Gradient Methods", 2021.
    """
    check_descent("acprop", learning_rate, weight_decay)
    directions = _acprop("acprop", b1, b2, eps, eps_root, mu_dtype, nu_dtype)
    return descend(directions, learning_rate, weight_decay, mask)
