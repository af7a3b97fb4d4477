"""Adam and its relatives: moving averages of the gradient over the root of a moving average of its square.

One equation. With moments m_k and nu of the gradient g, weights w_k and the bias correction of nu at step t, B = 1 -
b2**t,

    direction = (Σ_k w_k m_k) / (sqrt(nu / B + eps_root) + eps)
              = (Σ_k w_k √B m_k) / (sqrt(nu + eps_root B) + eps √B),

the second line being what runs: every bias correction is part of a scalar, and an element costs one root and one
division. Adam weighs one average, its Nesterov form that average and the gradient, AdEMAMix a fast and a slow average.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._moments import (
    MU_DTYPES,
    NU_DTYPES,
    TINY,
    Moments,
    Scalars,
    average,
    bias_correction,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    elementwise,
    first_moment,
    root_scalars,
    second_moment,
    square,
    wide_scalar,
)

Direction = Callable[[jax.Array, Moments, Moments, Scalars], jax.Array]


def _adam(
    function: str,
    b1: Any,
    b2: Any,
    eps: Any,
    eps_root: Any,
    mu_dtype: Any,
    nu_dtype: Any,
    nesterov: bool,
    combined: Callable[[Direction], Direction] = lambda direction: direction,
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    nu_dtype = check_moment_dtype(function, "nu_dtype", nu_dtype, NU_DTYPES)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        root, small, small_root = root_scalars(b2, eps, eps_root, step)
        decays = b1, 1 - b1, b2, 1 - b2
        if nesterov:
            on_m = b1 * root / bias_correction(b1, optax.safe_increment(step))
            return *decays, on_m, small, small_root, (1 - b1) * root / bias_correction(b1, step)
        return *decays, root / bias_correction(b1, step), small, small_root

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return average(s[0], s[1], old[0], g), average(s[2], s[3], old[1], square(g))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        on_m, small, small_root, *on_g = s[4:]
        numerator = on_m * new[0] + (on_g[0] * g if nesterov else 0)
        return numerator / (jnp.sqrt(new[1] + small_root) + small)

    moments = {"mu": first_moment(mu_dtype), "nu": second_moment(nu_dtype)}
    return elementwise(optax.ScaleByAdamState, moments, scalars, advance, combined(direction))


def scale_by_adam(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the gradient by Adam's ratio of moments.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) g_t^2, \quad
    u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{\nu_t / (1 - \beta_2^t) + \bar\varepsilon} + \varepsilon}$$

    Equal to `optax.scale_by_adam`, and beyond it: arithmetic and moments in float32 or wider whatever the parameters'
    dtype, so float16 gradients of zero give 0 and not NaN; moments may be stored in bfloat16 without sticking
    (stochastic rounding).

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        eps_root: Added under the root, at least 0, in squared units; positive where the update is itself
            differentiated.
        mu_dtype: dtype of the first moment; None means float32, or the parameters' dtype where that is wider. bfloat16
            and float16 are rounded stochastically, hence without bias.
        nesterov: Look one step ahead: the numerator is β1 m_t / (1 - β1^(t+1)) + (1 - β1) g_t / (1 - β1^t).
        nu_dtype: dtype of the second moment, as `mu_dtype`, but not float16, in whose range squares of gradients
            vanish.

    Returns:
        An Optax transformation with state `optax.ScaleByAdamState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype named above.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_adam()
        >>> gradient = jnp.array([0.5, -2.0, 0.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))
        [ 1. -1.  0.]

    Source:
        D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015; T. Dozat, "Incorporating Nesterov
        Momentum into Adam", 2016 (`nesterov`).
    """
    return _adam("scale_by_adam", b1, b2, eps, eps_root, mu_dtype, nu_dtype, nesterov)


def adam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam: each coordinate moves by about the learning rate, in the direction of the averaged gradient.

    $$\theta_t = \theta_{t-1} - \eta_t\, \frac{m_t / (1 - \beta_1^t)}
    {\sqrt{\nu_t / (1 - \beta_2^t) + \bar\varepsilon} + \varepsilon}$$

    with the moments of `scale_by_adam`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        eps_root: Added under the root, at least 0.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nesterov: Look one step ahead, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with the state of `optax.adam`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adam(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.06

    Source:
        D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """
    check_descent("adam", learning_rate)
    return descend(_adam("adam", b1, b2, eps, eps_root, mu_dtype, nu_dtype, nesterov), learning_rate)


def adamw(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
    decouple_lr: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""AdamW: Adam with weight decay that bypasses the moments.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \frac{m_t / (1 - \beta_1^t)}
    {\sqrt{\nu_t / (1 - \beta_2^t) + \bar\varepsilon} + \varepsilon} + \lambda\,\theta_{t-1} \right)$$

    with the moments of `scale_by_adam`; the convention of Optax and PyTorch, in which the learning rate multiplies the
    decay. With `decouple_lr=True` the decay is λ θ alone, untouched by the learning rate and by its schedule. The
    paper's form, where a multiplier η_t schedules both while the base rate α scales the Adam term only, is
    `optax.chain(adamw(alpha, weight_decay=lam, decouple_lr=True), optax.scale_by_schedule(eta))`. Its warm restarts
    (AdamWR) are Optax's `sgdr_schedule` as that `eta`, or as the learning rate.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        eps_root: Added under the root, at least 0.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        nesterov: Look one step ahead, see `scale_by_adam` (NAdamW).
        nu_dtype: dtype of the second moment, see `scale_by_adam`.
        decouple_lr: Whether the decay is free of the learning rate. λ is then per step: 1e-4, not 1e-1.

    Returns:
        An Optax transformation; `update` needs `params`. With 16-bit parameters `optax.inject_hyperparams` needs
        `hyperparam_dtype=jnp.float32`: it stores them in the parameters' dtype, and bfloat16 makes 0.999 a 1.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adamw(0.1, weight_decay=0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        0.78

    Source:
        I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019.
    """
    check_descent("adamw", learning_rate, weight_decay)
    directions = _adam("adamw", b1, b2, eps, eps_root, mu_dtype, nu_dtype, nesterov)
    return descend(directions, learning_rate, weight_decay, mask, decouple_lr=decouple_lr)


def adamax(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaMax: Adam with the decaying maximum of the gradient's magnitude in place of its root mean square.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad \nu_t = \max(\beta_2 \nu_{t-1}, |g_t| + \varepsilon), \quad
    \theta_t = \theta_{t-1} - \frac{\eta_t}{1 - \beta_1^t} \cdot \frac{m_t}{\nu_t}$$

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the maximum, in [0, 1).
        eps: Added to the magnitude, at least 0, in the units of the gradient.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the maximum, see `scale_by_adam`.

    Returns:
        An Optax transformation with the state of `optax.adamax`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = adamax(0.002)
        >>> gradient = jnp.array([0.5, -2.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update)
        [-0.002  0.002]

    Source:
        D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015, section 7.1.
    """
    check_decays("adamax", eps, b1=b1, b2=b2)
    check_descent("adamax", learning_rate)
    mu_dtype = check_moment_dtype("adamax", "mu_dtype", mu_dtype, MU_DTYPES)
    nu_dtype = check_moment_dtype("adamax", "nu_dtype", nu_dtype, NU_DTYPES)
    b1, b2, eps = (wide_scalar(x) for x in (b1, b2, eps))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        return b1, 1 - b1, b2, eps, 1 / bias_correction(b1, step)

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return average(s[0], s[1], old[0], g), jnp.maximum(s[2] * old[1], jnp.abs(g) + s[3])

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        return s[4] * new[0] / (new[1] + TINY)

    moments = {"mu": first_moment(mu_dtype), "nu": second_moment(nu_dtype)}
    return descend(elementwise(optax.ScaleByAdamState, moments, scalars, advance, direction), learning_rate)
