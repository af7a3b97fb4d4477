"""AdEMAMix: Adam with a second, much slower average of the gradient; one more term in the equation of `adam.py`."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import (
    MU_DTYPES,
    NU_DTYPES,
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
from optimizers.schedules.endless import half_life_schedule


def _ademamix(
    function: str, b1: Any, b2: Any, b3: Any, alpha: Any, eps: Any, eps_root: Any, mu_dtype: Any, nu_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2, b3=b3)
    check_range(function, "alpha", alpha, 0.0)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    nu_dtype = check_moment_dtype(function, "nu_dtype", nu_dtype, NU_DTYPES)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        slow = wide_scalar(b3(state.count_m2) if callable(b3) else b3)
        weight = wide_scalar(alpha(state.count_m2) if callable(alpha) else alpha)
        root, small, small_root = root_scalars(b2, eps, eps_root, step)
        decays = b1, 1 - b1, slow, 1 - slow, b2, 1 - b2
        return *decays, root / bias_correction(b1, step), weight * root, small, small_root

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        m1, m2, nu = old
        return average(s[0], s[1], m1, g), average(s[2], s[3], m2, g), average(s[4], s[5], nu, square(g))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        (m1, m2, nu), (on_m1, on_m2, small, small_root) = new, s[6:]
        return (on_m1 * m1 + on_m2 * m2) / (jnp.sqrt(nu + small_root) + small)

    moments = {"m1": first_moment(mu_dtype), "m2": first_moment(mu_dtype), "nu": second_moment(nu_dtype)}
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

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_ademamix(b3=0.9, alpha=5.0)
        >>> gradient = jnp.array([0.5, -2.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(4))  # 1 + 5 (1 - 0.9)
        [ 1.5 -1.5]

    Source:
        M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024.
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

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), ademamix(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.05

    Source:
        M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024.
    """
    check_descent("ademamix", learning_rate, weight_decay)
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

    Examples:
        >>> schedule = ademamix_alpha_schedule(5.0, 100)
        >>> print([round(float(schedule(count)), 2) for count in (0, 49, 99, 200)])
        [0.05, 2.5, 5.0, 5.0]

    Source:
        M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, section 3.
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

    As in `ademamix_alpha_schedule`, t = count + 1: Optax counts updates from 0, the paper from 1. Otherwise it is
    `half_life_schedule`.

    Args:
        b3: Final decay, in (0, 1).
        b_start: Decay the warm-up starts from, in (0, 1); the paper takes `b1`.
        warmup_steps: T, the number of steps of the warm-up (in the paper, all of training), at least 1.

    Returns:
        An Optax schedule, count -> b3.

    Raises:
        ValueError: A decay is out of range, or `warmup_steps` less than 1.
        TypeError: `warmup_steps` is no integer.

    Examples:
        >>> schedule = ademamix_b3_schedule(0.9999, 0.9, 100)
        >>> print([round(float(schedule(count)), 4) for count in (0, 49, 99, 200)])
        [0.9909, 0.9998, 0.9999, 0.9999]

    Source:
        M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, section 3.
    """
    for name, decay in (("b3", b3), ("b_start", b_start)):
        check_range("ademamix_b3_schedule", name, decay, 0.0, 1.0, open_low=True, open_high=True)
    steps = check_positive_integer("ademamix_b3_schedule", "warmup_steps", warmup_steps)
    schedule = half_life_schedule(b_start, b3, steps)
    return lambda count: schedule(jnp.asarray(count) + 1)
