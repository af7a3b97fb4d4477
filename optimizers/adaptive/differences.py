"""Adam that looks at how the gradient changes: Adan and diffGrad, which keep the gradient of the step before."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._moments import (
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
    root_scalars,
    square,
    wide_scalar,
)
from optimizers._trees import PyTree
from optimizers.adaptive._settings import two_moments


class AdanState(NamedTuple):
    """State of Adan.

    Attributes:
        count: Number of updates so far, int32 [].
        mu: Average of the gradients.
        delta: Average of their differences.
        nu: Average of the squares of gradients corrected by differences.
        gradient: The last gradient.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    delta: PyTree
    nu: PyTree
    gradient: PyTree


class DiffGradState(NamedTuple):
    """State of diffGrad.

    Attributes:
        count: Number of updates so far, int32 [].
        mu: Average of the gradients.
        nu: Average of their squares.
        gradient: The last gradient.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    nu: PyTree
    gradient: PyTree


def _adan(
    function: str, b1: Any, b2: Any, b3: Any, eps: Any, eps_root: Any, mu_dtype: Any, nu_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2, b3=b3)
    start = two_moments(function, mu_dtype, nu_dtype)
    moments = {"mu": start["mu"], "delta": start["mu"], "nu": start["nu"], "gradient": start["mu"]}
    b1, b2, b3, eps, eps_root = (wide_scalar(x) for x in (b1, b2, b3, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        root, small, small_root = root_scalars(b3, eps, eps_root, step)
        on_mu, on_delta = root / bias_correction(b1, step), b2 * root / bias_correction(b2, step)
        has_last = jnp.where(step > 1, 1.0, 0.0)
        return b1, 1 - b1, b2, 1 - b2, b3, 1 - b3, has_last, on_mu, on_delta, small, small_root

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        mu, delta, nu, last = old
        change = s[6] * (g - last)
        return (
            average(s[0], s[1], mu, g),
            average(s[2], s[3], delta, change),
            average(s[4], s[5], nu, square(g + s[2] * change)),
            lambda mu, delta, nu: after(g, delta, nu),
        )

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        on_mu, on_delta, small, small_root = s[7:]
        numerator = on_mu * new[0] + on_delta * new[1]
        return numerator / (jnp.sqrt(after(new[2], new[3]) + small_root) + small)

    return elementwise(AdanState, moments, scalars, advance, direction)


def scale_by_adan(
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale Nesterov's momentum, estimated from differences of gradients.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad d_t = \beta_2 d_{t-1} + (1 - \beta_2) (g_t - g_{t-1}), \quad
    \nu_t = \beta_3 \nu_{t-1} + (1 - \beta_3) \bigl(g_t + \beta_2 (g_t - g_{t-1})\bigr)^2$$

    $$u_t = \frac{m_t / (1 - \beta_1^t) + \beta_2 d_t / (1 - \beta_2^t)}
    {\sqrt{\nu_t / (1 - \beta_3^t) + \bar\varepsilon} + \varepsilon}$$

    where g_1 - g_0 = 0. The decays are those of the authors' code, 1 minus those of the paper. Differences weigh β2, as
    in both of these; `optax.scale_by_adan` has 1 - β2 in the two places, 0.08 where 0.92 is meant, and a copy of
    the moments.

    Args:
        b1: Decay of the average of gradients, in [0, 1).
        b2: Decay of the average of differences, in [0, 1), and their weight.
        b3: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        eps_root: Added under the root, at least 0, in squared units.
        mu_dtype: dtype of the two averages and of the last gradient, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_adan()
        >>> gradient = jnp.array([0.5, -2.0, 0.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))
        [ 1. -1.  0.]

    Source:
        X. Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", 2022.
    """
    return _adan("scale_by_adan", b1, b2, b3, eps, eps_root, mu_dtype, nu_dtype)


def adan(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adan: adaptive Nesterov momentum, which tolerates learning rates 5 to 10 times those of Adam.

    $$\theta_t = \theta_{t-1} - \eta_t (u_t + \lambda\,\theta_{t-1})$$

    with the u of `scale_by_adan`, where the difference from `optax.adan` is explained. The decay is decoupled, as in
    Optax and under `no_prox` in the authors' code; the paper divides the parameters by 1 + λη instead. `eps_root` is
    Optax's default; the paper has 0.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the average of gradients, in [0, 1).
        b2: Decay of the average of differences, in [0, 1), and their weight.
        b3: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        eps_root: Added under the root, at least 0.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        mu_dtype: dtype of the averages and of the last gradient, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adan(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.02

    Source:
        X. Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", 2022.
    """
    check_descent("adan", learning_rate, weight_decay)
    return descend(_adan("adan", b1, b2, b3, eps, eps_root, mu_dtype, nu_dtype), learning_rate, weight_decay, mask)


def _diffgrad(
    function: str, b1: Any, b2: Any, eps: Any, mu_dtype: Any, nu_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, b1=b1, b2=b2)
    start = two_moments(function, mu_dtype, nu_dtype)
    moments = {**start, "gradient": start["mu"]}
    b1, b2, eps = (wide_scalar(x) for x in (b1, b2, eps))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        root, small, _ = root_scalars(b2, eps, 0.0, step)
        return b1, 1 - b1, b2, 1 - b2, root / bias_correction(b1, step), small

    def scaled_friction(g: jax.Array, last: jax.Array, s: Scalars) -> jax.Array:
        return s[4] / (1 + jnp.exp(-jnp.abs(last - g)))

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        mu, nu, last = old
        # The friction takes the place of the last gradient for as long as the direction reads it.
        return average(s[0], s[1], mu, g), average(s[2], s[3], nu, square(g)), after(g, scaled_friction(g, last, s))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        return scaled_friction(g, old[2], s) * new[0] / (jnp.sqrt(new[1]) + s[5])

    return elementwise(DiffGradState, moments, scalars, advance, direction)


def scale_by_diffgrad(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam's direction times a friction between 1/2, where the gradient stands still, and 1, where it changes.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) g_t^2, \quad
    u_t = \frac{1}{1 + e^{-|g_{t-1} - g_t|}} \cdot \frac{m_t / (1 - \beta_1^t)}{\sqrt{\nu_t / (1 - \beta_2^t)} +
    \varepsilon}$$

    with g_0 = 0. The friction depends on the scale of the gradients, which Adam does not. pytorch-optimizer adds ε to
    the root before its correction; this is the paper's place, after it.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        mu_dtype: dtype of the first moment and of the last gradient, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_diffgrad()
        >>> state = tx.init(jnp.zeros(2))
        >>> for gradient in (jnp.array([1.0, 1.0]), jnp.array([1.0, 9.0])):
        ...     update, state = tx.update(gradient, state)
        >>> print([round(float(u), 4) for u in update])
        [0.5, 0.8133]

    Source:
        S. R. Dubey et al., "diffGrad: An Optimization Method for Convolutional Neural Networks", 2020.
    """
    return _diffgrad("scale_by_diffgrad", b1, b2, eps, mu_dtype, nu_dtype)


def diffgrad(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""diffGrad: Adam that slows down where the gradient does not change, as near a minimum.

    $$\theta_t = \theta_{t-1} - \eta_t\, u_t$$

    with the u of `scale_by_diffgrad`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        mu_dtype: dtype of the first moment and of the last gradient, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), diffgrad(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        2.26

    Source:
        S. R. Dubey et al., "diffGrad: An Optimization Method for Convolutional Neural Networks", 2020.
    """
    check_descent("diffgrad", learning_rate)
    return descend(_diffgrad("diffgrad", b1, b2, eps, mu_dtype, nu_dtype), learning_rate)
