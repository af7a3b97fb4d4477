"""Adam whose second moment is not that of the gradient: of its surprise, or of its average.

One equation, that of `adam.py`, with another square in the second moment and an epsilon that the moment keeps:

    nu = b2 * nu_old + (1 - b2) * square(x) + eps_root        x: g - mu (AdaBelief), mu (AdaMomentum)

ACProp, in `adopt.py`, takes g - mu_old, and divides by the moment of the step before.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._moments import (
    TINY,
    Advanced,
    Moments,
    Scalars,
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


def _kept(s: Scalars, old: jax.Array, x: jax.Array) -> jax.Array:
    """The second moment. Its last operation takes two arrays: one that takes one, the compiler repeats from a copy."""
    return s[2] * old + (s[3] * x + s[4])


def _belief(
    function: str, b1: Any, b2: Any, eps: Any, eps_root: Any, mu_dtype: Any, nu_dtype: Any, nesterov: bool
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2)
    moments = two_moments(function, mu_dtype, nu_dtype)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        root = jnp.sqrt(bias_correction(b2, step))
        constants = b1, 1 - b1, b2, 1 - b2, eps_root, eps * root + TINY
        if nesterov:
            on_m = b1 * root / bias_correction(b1, optax.safe_increment(step))
            return *constants, on_m, (1 - b1) * root / bias_correction(b1, step)
        return *constants, root / bias_correction(b1, step)

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        return average(s[0], s[1], old[0], g), lambda mu: _kept(s, old[1], square(g - mu))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        small, on_m, *on_g = s[5:]
        return (on_m * new[0] + (on_g[0] * g if nesterov else 0)) / (jnp.sqrt(new[1]) + small)

    return elementwise(optax.ScaleByBeliefState, moments, scalars, advance, direction)


def scale_by_belief(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-16,
    eps_root: jax.typing.ArrayLike = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the gradient by how far it is from its own average.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
    \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) (g_t - m_t)^2 + \bar\varepsilon, \quad
    u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{\nu_t / (1 - \beta_2^t)} + \varepsilon}$$

    The trajectory of `optax.scale_by_belief`, with no copy of the moments (Optax's keeps one) and with moments in
    float32 or wider, so float16 gradients of zero give 0 and not NaN.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        eps_root: Added to the second moment at every step, and kept in it, at least 0, in squared units.
        nesterov: Look one step ahead, see `scale_by_adam`.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with state `optax.ScaleByBeliefState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_belief()
        >>> gradient = jnp.array([0.5, -2.0, 0.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))  # 1 / b1: all but the share of the first gradient in its average is a surprise
        [ 1.1111 -1.1111  0.    ]

    Source:
        J. Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", 2020.
    """
    return _belief("scale_by_belief", b1, b2, eps, eps_root, mu_dtype, nu_dtype, nesterov)


def adabelief(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-16,
    eps_root: jax.typing.ArrayLike = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaBelief: large steps where gradients are as expected, small ones where they surprise.

    $$\theta_t = \theta_{t-1} - \eta_t\, \frac{m_t / (1 - \beta_1^t)}{\sqrt{\nu_t / (1 - \beta_2^t)} + \varepsilon}$$

    with the moments of `scale_by_belief`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        eps_root: Added to the second moment at every step, at least 0.
        nesterov: Look one step ahead, see `scale_by_adam`.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with the state of `optax.adabelief`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adabelief(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        0.52

    Source:
        J. Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", 2020.
    """
    check_descent("adabelief", learning_rate)
    return descend(_belief("adabelief", b1, b2, eps, eps_root, mu_dtype, nu_dtype, nesterov), learning_rate)


def _adamomentum(
    function: str, b1: Any, b2: Any, eps: Any, mu_dtype: Any, nu_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, b1=b1, b2=b2)
    moments = two_moments(function, mu_dtype, nu_dtype)
    b1, b2, eps = (wide_scalar(x) for x in (b1, b2, eps))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        return b1, 1 - b1, b2, 1 - b2, eps, jnp.sqrt(bias_correction(b2, step)) / bias_correction(b1, step)

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        return average(s[0], s[1], old[0], g), lambda mu: _kept(s, old[1], square(mu))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        return s[5] * new[0] / (jnp.sqrt(new[1]) + TINY)

    return elementwise(optax.ScaleByBeliefState, moments, scalars, advance, direction)


def scale_by_adamomentum(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the averaged gradient by the root mean square of that average.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
    \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) m_t^2 + \varepsilon, \quad
    u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{\nu_t / (1 - \beta_2^t)}}$$

    Nothing is added to the root: ε stands in the moment, and adds up there.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the second moment at every step, and kept in it, at least 0, in squared units of the gradient.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with state `optax.ScaleByBeliefState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_adamomentum(eps=0.0)
        >>> gradient = jnp.array([0.5, -2.0, 0.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))  # 1 / (1 - b1): the first average is a tenth of the gradient
        [ 10. -10.   0.]

    Source:
        Y. Wang et al., "Rethinking Adam: A Twofold Exponential Moving Average Approach", 2021.
    """
    return _adamomentum("scale_by_adamomentum", b1, b2, eps, mu_dtype, nu_dtype)


def adamomentum(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaMomentum: Adam whose second moment is that of the averaged gradient, so that noise does not shorten the step.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \frac{m_t / (1 - \beta_1^t)}{\sqrt{\nu_t / (1 - \beta_2^t)}} +
    \lambda\,\theta_{t-1} \right)$$

    with the moments of `scale_by_adamomentum`. Its first steps are up to 1 / (1 - β1) times Adam's.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the second moment at every step, at least 0.
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
        >>> params, tx = jnp.array([1.0, -2.0]), adamomentum(0.1, weight_decay=0.5)
        >>> update, state = tx.update(jnp.zeros(2), tx.init(params), params)
        >>> print(update)
        [-0.05  0.1 ]

    Source:
        Y. Wang et al., "Rethinking Adam: A Twofold Exponential Moving Average Approach", 2021.
    """
    check_descent("adamomentum", learning_rate, weight_decay)
    return descend(_adamomentum("adamomentum", b1, b2, eps, mu_dtype, nu_dtype), learning_rate, weight_decay, mask)
