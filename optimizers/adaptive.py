"""Adam and its relatives: moving averages of the gradient over the root of a moving average of its square.

One equation. With moments m_k and nu of the gradient g, weights w_k and the bias correction of nu at step t, B = 1 -
b2**t,

    direction = (Σ_k w_k m_k) / (sqrt(nu / B + eps_root) + eps)
              = (Σ_k w_k √B m_k) / (sqrt(nu + eps_root B) + eps √B),

the second line being what runs: every bias correction is part of a scalar, and an element costs one root and one
division. Adam weighs one average, its Nesterov form that average and the gradient, AdEMAMix a fast and a slow average.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import (
    MU_DTYPES,
    NU_DTYPES,
    TINY,
    Moments,
    Scalars,
    bias_correction,
    check_moment_dtype,
    descend,
    elementwise,
    wide_scalar,
    zeros_for,
)
from optimizers._trees import PyTree


def _square(g: jax.Array) -> jax.Array:
    return jnp.real(g) ** 2 + jnp.imag(g) ** 2 if jnp.iscomplexobj(g) else g * g


def _average(decay: Any, growth: Any, old: jax.Array, x: jax.Array) -> jax.Array:
    return decay * old + growth * x


def _root_scalars(b2: Any, eps: Any, eps_root: Any, step: jax.Array) -> tuple[Any, Any, Any]:
    """√B, eps √B and eps_root B of the module's equation."""
    correction = bias_correction(b2, step)
    root = jnp.sqrt(correction)
    return root, eps * root + TINY, eps_root * correction


def _first(dtype: Any) -> Callable[[PyTree], PyTree]:
    return lambda params: zeros_for(params, dtype)


def _second(dtype: Any) -> Callable[[PyTree], PyTree]:
    return lambda params: zeros_for(params, dtype, real=True)


def _check(function: str, eps: Any, eps_root: Any = 0.0, **decays: Any) -> None:
    for name, decay in decays.items():
        check_range(function, name, decay, 0.0, 1.0, open_high=True)
    check_range(function, "eps", eps, 0.0)
    check_range(function, "eps_root", eps_root, 0.0)


def _check_descent(function: str, learning_rate: Any, weight_decay: Any = 0.0) -> None:
    check_range(function, "learning_rate", learning_rate, 0.0)
    check_range(function, "weight_decay", weight_decay, 0.0)


def _adam(
    function: str, b1: Any, b2: Any, eps: Any, eps_root: Any, mu_dtype: Any, nu_dtype: Any, nesterov: bool
) -> optax.GradientTransformationExtraArgs:
    _check(function, eps, eps_root, b1=b1, b2=b2)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    nu_dtype = check_moment_dtype(function, "nu_dtype", nu_dtype, NU_DTYPES)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        root, small, small_root = _root_scalars(b2, eps, eps_root, step)
        decays = b1, 1 - b1, b2, 1 - b2
        if nesterov:
            on_m = b1 * root / bias_correction(b1, optax.safe_increment(step))
            return *decays, on_m, small, small_root, (1 - b1) * root / bias_correction(b1, step)
        return *decays, root / bias_correction(b1, step), small, small_root

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return _average(s[0], s[1], old[0], g), _average(s[2], s[3], old[1], _square(g))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        on_m, small, small_root, *on_g = s[4:]
        numerator = on_m * new[0] + (on_g[0] * g if nesterov else 0)
        return numerator / (jnp.sqrt(new[1] + small_root) + small)

    moments = {"mu": _first(mu_dtype), "nu": _second(nu_dtype)}
    return elementwise(optax.ScaleByAdamState, moments, scalars, advance, direction)


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

    Example:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_adam()
        >>> gradient = jnp.array([0.5, -2.0, 0.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))
        [ 1. -1.  0.]

    Source: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015; T. Dozat, "Incorporating Nesterov
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

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adam(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.06

    Source: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """
    _check_descent("adam", learning_rate)
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
    `optax.chain(adamw(alpha, weight_decay=lam, decouple_lr=True), optax.scale_by_schedule(eta))`.

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

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adamw(0.1, weight_decay=0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        0.78

    Source: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019.
    """
    _check_descent("adamw", learning_rate, weight_decay)
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

    Example:
        >>> import jax.numpy as jnp
        >>> tx = adamax(0.002)
        >>> gradient = jnp.array([0.5, -2.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update)
        [-0.002  0.002]

    Source: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015, section 7.1.
    """
    _check("adamax", eps, b1=b1, b2=b2)
    _check_descent("adamax", learning_rate)
    mu_dtype = check_moment_dtype("adamax", "mu_dtype", mu_dtype, MU_DTYPES)
    nu_dtype = check_moment_dtype("adamax", "nu_dtype", nu_dtype, NU_DTYPES)
    b1, b2, eps = (wide_scalar(x) for x in (b1, b2, eps))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        return b1, 1 - b1, b2, eps, 1 / bias_correction(b1, step)

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return _average(s[0], s[1], old[0], g), jnp.maximum(s[2] * old[1], jnp.abs(g) + s[3])

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        return s[4] * new[0] / (new[1] + TINY)

    moments = {"mu": _first(mu_dtype), "nu": _second(nu_dtype)}
    return descend(elementwise(optax.ScaleByAdamState, moments, scalars, advance, direction), learning_rate)


def _ademamix(
    function: str, b1: Any, b2: Any, b3: Any, alpha: Any, eps: Any, eps_root: Any, mu_dtype: Any, nu_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    _check(function, eps, eps_root, b1=b1, b2=b2, b3=b3)
    check_range(function, "alpha", alpha, 0.0)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    nu_dtype = check_moment_dtype(function, "nu_dtype", nu_dtype, NU_DTYPES)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        slow = wide_scalar(b3(state.count_m2) if callable(b3) else b3)
        weight = wide_scalar(alpha(state.count_m2) if callable(alpha) else alpha)
        root, small, small_root = _root_scalars(b2, eps, eps_root, step)
        decays = b1, 1 - b1, slow, 1 - slow, b2, 1 - b2
        return *decays, root / bias_correction(b1, step), weight * root, small, small_root

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        m1, m2, nu = old
        return _average(s[0], s[1], m1, g), _average(s[2], s[3], m2, g), _average(s[4], s[5], nu, _square(g))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        (m1, m2, nu), (on_m1, on_m2, small, small_root) = new, s[6:]
        return (on_m1 * m1 + on_m2 * m2) / (jnp.sqrt(nu + small_root) + small)

    moments = {"m1": _first(mu_dtype), "m2": _first(mu_dtype), "nu": _second(nu_dtype)}
    return elementwise(optax.contrib.ScaleByAdemamixState, moments, scalars, advance, direction)


def scale_by_ademamix(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    b3: optax.ScalarOrSchedule = 0.9999,
    alpha: optax.ScalarOrSchedule = 5.0,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the gradient by AdEMAMix's mixture of a fast and a slow moving average.

    $$m^{(1)}_t = \beta_1 m^{(1)}_{t-1} + (1 - \beta_1) g_t, \quad m^{(2)}_t = \beta_3 m^{(2)}_{t-1} + (1 - \beta_3)
    g_t, \quad \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) g_t^2,$$
    $$u_t = \frac{m^{(1)}_t / (1 - \beta_1^t) + \alpha\, m^{(2)}_t}
    {\sqrt{\nu_t / (1 - \beta_2^t) + \bar\varepsilon} + \varepsilon}$$

    The slow average is not bias-corrected. `alpha` is 5 by default, here and in `ademamix` (Optax: 6 here, 5 there),
    and `mu_dtype` is the dtype of the two averages alone.

    Args:
        b1: Decay of the fast average, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        b3: Decay of the slow average, in [0, 1): a number, a traced scalar or a schedule (`ademamix_b3_schedule`).
        alpha: Weight of the slow average, at least 0: a number, a traced scalar or a schedule
            (`ademamix_alpha_schedule`).
        eps: Added to the root, at least 0.
        eps_root: Added under the root, at least 0.
        mu_dtype: dtype of the two averages, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with state `optax.contrib.ScaleByAdemamixState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Example:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_ademamix(b3=0.9, alpha=5.0)
        >>> gradient = jnp.array([0.5, -2.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))  # 1 + 5 (1 - 0.9)
        [ 1.5 -1.5]

    Source: M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024.
    """
    return _ademamix("scale_by_ademamix", b1, b2, b3, alpha, eps, eps_root, mu_dtype, nu_dtype)


def ademamix(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    b3: optax.ScalarOrSchedule = 0.9999,
    alpha: optax.ScalarOrSchedule = 5.0,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdEMAMix: AdamW whose numerator also holds gradients tens of thousands of steps old.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \frac{m^{(1)}_t / (1 - \beta_1^t) + \alpha_t\, m^{(2)}_t}
    {\sqrt{\nu_t / (1 - \beta_2^t) + \bar\varepsilon} + \varepsilon} + \lambda\,\theta_{t-1} \right)$$

    with the moments of `scale_by_ademamix`. The paper warms up both of the slow average's hyperparameters, over all of
    training: `ademamix(1e-3, b3=ademamix_b3_schedule(0.9999, 0.9, steps), alpha=ademamix_alpha_schedule(5.0, steps))`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the fast average, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        b3: Decay of the slow average, in [0, 1): a number, a traced scalar or a schedule.
        alpha: Weight of the slow average, at least 0: a number, a traced scalar or a schedule.
        eps: Added to the root, at least 0.
        eps_root: Added under the root, at least 0.
        mu_dtype: dtype of the two averages, see `scale_by_adam`.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), ademamix(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.05

    Source: M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024.
    """
    _check_descent("ademamix", learning_rate, weight_decay)
    directions = _ademamix("ademamix", b1, b2, b3, alpha, eps, eps_root, mu_dtype, nu_dtype)
    return descend(directions, learning_rate, weight_decay, mask)


def ademamix_alpha_schedule(alpha: float, warmup_steps: int) -> optax.Schedule:
    r"""AdEMAMix's warm-up of alpha: linear from 0 to its final value.

    $$\alpha_t = \min(t / T, 1)\,\alpha$$

    The paper's first step is t = 1; Optax gives a schedule the number of updates already made, 0 at the first. The
    schedule takes Optax's count and evaluates the paper's formula at t = count + 1: the first update has alpha / T,
    update number T has alpha.

    Args:
        alpha: Final weight of the slow average, at least 0.
        warmup_steps: T, the number of steps of the warm-up (in the paper, all of training), at least 1.

    Returns:
        An Optax schedule, count -> alpha.

    Raises:
        ValueError: `alpha` is negative, or `warmup_steps` less than 1.
        TypeError: `warmup_steps` is no integer.

    Example:
        >>> schedule = ademamix_alpha_schedule(5.0, 100)
        >>> print([round(float(schedule(count)), 2) for count in (0, 49, 99, 200)])
        [0.05, 2.5, 5.0, 5.0]

    Source: M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, section 3.
    """
    check_range("ademamix_alpha_schedule", "alpha", alpha, 0.0)
    steps = check_positive_integer("ademamix_alpha_schedule", "warmup_steps", warmup_steps)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        return alpha * jnp.minimum((jnp.asarray(count, float) + 1) / steps, 1.0)

    return schedule


def ademamix_b3_schedule(b3: float, b_start: float, warmup_steps: int) -> optax.Schedule:
    r"""AdEMAMix's warm-up of b3: the half-life of the slow average grows linearly from that of `b_start`.

    $$\beta_3(t) = \min\left(\exp\frac{\ln\beta_{start}\,\ln\beta_3}
    {(1 - t/T) \ln\beta_3 + (t/T) \ln\beta_{start}},\; \beta_3\right)$$

    As in `ademamix_alpha_schedule`, t = count + 1: Optax counts updates from 0, the paper from 1.

    Args:
        b3: Final decay, in (0, 1).
        b_start: Decay the warm-up starts from, in (0, 1); the paper takes `b1`.
        warmup_steps: T, the number of steps of the warm-up (in the paper, all of training), at least 1.

    Returns:
        An Optax schedule, count -> b3.

    Raises:
        ValueError: A decay is out of range, or `warmup_steps` less than 1.
        TypeError: `warmup_steps` is no integer.

    Example:
        >>> schedule = ademamix_b3_schedule(0.9999, 0.9, 100)
        >>> print([round(float(schedule(count)), 4) for count in (0, 49, 99, 200)])
        [0.9909, 0.9998, 0.9999, 0.9999]

    Source: M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, section 3.
    """
    for name, decay in (("b3", b3), ("b_start", b_start)):
        check_range("ademamix_b3_schedule", name, decay, 0.0, 1.0, open_low=True, open_high=True)
    steps = check_positive_integer("ademamix_b3_schedule", "warmup_steps", warmup_steps)
    log_start, log_end = math.log(b_start), math.log(b3)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        part = jnp.minimum((jnp.asarray(count, float) + 1) / steps, 1.0)
        return jnp.minimum(jnp.exp(log_start * log_end / ((1 - part) * log_end + part * log_start)), b3)

    return schedule


class MomentumState(NamedTuple):
    """State of momentum: the number of updates made, and the decaying sum of gradients."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    trace: PyTree


def _heavy_ball(momentum: Any, nesterov: bool, dtype: Any) -> optax.GradientTransformationExtraArgs:
    decay = wide_scalar(momentum)

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (s[0] * old[0] + g,)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        return s[0] * new[0] + g if nesterov else new[0]

    return elementwise(MomentumState, {"trace": _first(dtype)}, lambda state, step: (decay,), advance, direction)


def sgdw(
    learning_rate: optax.ScalarOrSchedule,
    momentum: jax.typing.ArrayLike = 0.9,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    decouple_lr: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""SGDW: gradient descent with momentum and weight decay that bypasses the momentum.

    $$m_t = \mu\, m_{t-1} + g_t, \qquad \theta_t = \theta_{t-1} - \eta_t\,(m_t + \lambda\,\theta_{t-1})$$

    (`nesterov`: $g_t + \mu m_t$ in place of $m_t$.) With `decouple_lr=True` the decay is λ θ, not multiplied by the
    learning rate; the paper's schedule multiplier on both is an `optax.scale_by_schedule` behind it, see `adamw`.
    Without momentum this is gradient descent on the loss plus (λ/2)·|θ|²; with momentum it is not, as the decay does
    not enter the average.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        momentum: Decay μ of the sum of gradients, in [0, 1).
        nesterov: Look one step ahead.
        accumulator_dtype: dtype of the sum; None means float32, or the parameters' dtype where that is wider. bfloat16
            and float16 are rounded stochastically, hence without bias.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        decouple_lr: Whether the decay is free of the learning rate.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `accumulator_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Example:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([1.0, -2.0]), sgdw(0.1, weight_decay=0.5)
        >>> update, state = tx.update(jnp.array([1.0, 1.0]), tx.init(params), params)
        >>> print(update)  # -0.1 (1 + 0.5 θ)
        [-0.15 -0.  ]

    Source: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019.
    """
    check_range("sgdw", "momentum", momentum, 0.0, 1.0, open_high=True)
    _check_descent("sgdw", learning_rate, weight_decay)
    dtype = check_moment_dtype("sgdw", "accumulator_dtype", accumulator_dtype, MU_DTYPES)
    return descend(_heavy_ball(momentum, nesterov, dtype), learning_rate, weight_decay, mask, decouple_lr=decouple_lr)


def normalized_weight_decay(
    lambda_norm: jax.typing.ArrayLike, batch_size: int, train_size: int, epochs: float
) -> jax.typing.ArrayLike:
    r"""The weight decay of a run, from one that suits runs of every length.

    $$\lambda = \lambda_{norm} \sqrt{\frac{b}{B\,T}}$$

    Args:
        lambda_norm: Normalised decay, at least 0, per root of the number of steps.
        batch_size: b, examples per step, at least 1.
        train_size: B, examples per epoch, at least 1.
        epochs: T, epochs of the run, positive.

    Returns:
        The decay λ, to be given as `weight_decay`.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `batch_size` or `train_size` is no integer.

    Example:
        >>> print(normalized_weight_decay(0.05, batch_size=128, train_size=51200, epochs=100))
        0.00025

    Source: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019, appendix B.1.
    """
    check_range("normalized_weight_decay", "lambda_norm", lambda_norm, 0.0)
    check_range("normalized_weight_decay", "epochs", epochs, 0.0, open_low=True)
    batch_size = check_positive_integer("normalized_weight_decay", "batch_size", batch_size)
    train_size = check_positive_integer("normalized_weight_decay", "train_size", train_size)
    return lambda_norm * math.sqrt(batch_size / (train_size * epochs))
