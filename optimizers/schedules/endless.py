"""Schedules that know no last step: decays by powers of the step, warm restarts, and half-lives that grow."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import wide_scalar

LAST_COUNT = np.iinfo(np.int32).max


def inverse_sqrt_schedule(
    peak_value: jax.typing.ArrayLike, warmup_steps: int, timescale: int | None = None
) -> optax.Schedule:
    r"""The Transformer's: a linear warm-up, and a decay by the square root of the step.

    $$\eta(t) = \eta_{peak} \min\Big(\frac{t}{W}, \sqrt{\frac{\tau}{\max(t - W, 0) + \tau}}\Big)$$

    With τ = W, the default, $\eta_{peak} \min(t / W, \sqrt{W / t})$: Vaswani et al.'s with peak $(d\,W)^{-1/2}$ and t
    counted from 1, and that of the `transformers` library.

    Args:
        peak_value: Value at the end of the warm-up, at least 0.
        warmup_steps: W, steps of the linear warm-up from 0, at least 1.
        timescale: τ, steps in which the decay falls to 1/√2, at least 1; None means W.

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: `peak_value` is negative, or a number of steps less than 1.
        TypeError: A number of steps is no integer.

    Examples:
        >>> schedule = inverse_sqrt_schedule(1.0, warmup_steps=100)
        >>> print([float(schedule(count)) for count in (50, 100, 400)])
        [0.5, 1.0, 0.5]

    Source:
        A. Vaswani et al., "Attention Is All You Need", 2017.
    """
    function = "inverse_sqrt_schedule"
    check_range(function, "peak_value", peak_value, 0.0)
    warmup = check_positive_integer(function, "warmup_steps", warmup_steps)
    scale = warmup if timescale is None else check_positive_integer(function, "timescale", timescale)
    peak = wide_scalar(peak_value)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(count, float)
        decay = jnp.sqrt(scale / (jnp.maximum(count - warmup, 0.0) + scale))
        return peak * jnp.minimum(count / warmup, decay)

    return schedule


def inverse_time_schedule(beta: jax.typing.ArrayLike, gamma: jax.typing.ArrayLike) -> optax.Schedule:
    r"""Step sizes that fall as 1/k, and so does the gap of stochastic gradient descent where they start large enough.

    $$\alpha_k = \frac{\beta}{\gamma + k}, \qquad k = 1, 2, \dots$$

    On a c-strongly convex loss, with β > 1/c (for unbiased gradients) and α₁ ≤ 1/(L M), where L is the smoothness and M
    the growth of the gradient's second moment, the expected gap is O(1/k); with β too small it falls as slowly as may
    be. Optax counts updates from 0, the source from 1: the schedule is its formula at k = count + 1.

    Args:
        beta: β, positive.
        gamma: γ, at least 0.

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: `beta` is not positive, or `gamma` negative.

    Examples:
        >>> schedule = inverse_time_schedule(2.0, 3.0)
        >>> print([float(schedule(count)) for count in (0, 4, 12)])
        [0.5, 0.25, 0.125]

    Source:
        L. Bottou, F. Curtis, J. Nocedal, "Optimization Methods for Large-Scale Machine Learning", 2018, theorem 4.7.
    """
    check_range("inverse_time_schedule", "beta", beta, 0.0, open_low=True)
    check_range("inverse_time_schedule", "gamma", gamma, 0.0)
    beta, gamma = wide_scalar(beta), wide_scalar(gamma)
    return lambda count: beta / (gamma + 1 + jnp.asarray(count, float))


def warm_restarts_schedule(
    peak_value: jax.typing.ArrayLike,
    first_steps: int,
    factor: int = 2,
    end_value: jax.typing.ArrayLike = 0.0,
) -> optax.Schedule:
    r"""SGDR's cosine decays one after the other, each `factor` times as long as the one before, without end.

    $$\eta(t) = \eta_{end} + \tfrac12 (\eta_{peak} - \eta_{end}) \Big(1 + \cos \pi \frac{T_{cur}}{T_i}\Big), \qquad
    T_i = T_0\,m^i$$

    with $T_{cur}$ the steps since the last restart. `optax.sgdr_schedule` takes a list of cycles instead, each with its
    own peak, and stays at the end of the last.

    Args:
        peak_value: Value at each restart, at least 0.
        first_steps: T₀, steps of the first cycle, at least 1.
        factor: m, how much longer each cycle is, at least 1.
        end_value: Value that each cycle decays towards, at least 0.

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: A value is negative, or `first_steps` or `factor` less than 1.
        TypeError: `first_steps` or `factor` is no integer.

    Examples:
        >>> schedule = warm_restarts_schedule(1.0, 10)
        >>> print([round(float(schedule(count)), 3) for count in (0, 5, 9, 10, 20, 29, 30)])
        [1.0, 0.5, 0.024, 1.0, 0.5, 0.006, 1.0]

    Source:
        I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017.
    """
    function = "warm_restarts_schedule"
    for name, value in (("peak_value", peak_value), ("end_value", end_value)):
        check_range(function, name, value, 0.0)
    first = check_positive_integer(function, "first_steps", first_steps)
    factor = check_positive_integer(function, "factor", factor)
    starts, lengths = _cycles(first, factor)
    peak, end = wide_scalar(peak_value), wide_scalar(end_value)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(count)
        cycle = jnp.sum(count[..., None] >= starts, axis=-1) - 1  # lowers where searchsorted needs a loop
        length = jnp.asarray(lengths)[cycle]
        since = (count - jnp.asarray(starts)[cycle]) % length
        part = since.astype(float) / length.astype(float)
        return end + 0.5 * (peak - end) * (1 + jnp.cos(jnp.pi * part))

    return schedule


def _cycles(first: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """First steps and lengths of all cycles that an int32 counter can reach; of equal ones the first serves for all."""
    starts, lengths = [0], [first]
    while factor > 1 and starts[-1] + lengths[-1] <= LAST_COUNT:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * factor)
    return np.array(starts, np.int32), np.minimum(np.array(lengths), LAST_COUNT).astype(np.int32)


def half_life_schedule(
    init_value: jax.typing.ArrayLike, end_value: jax.typing.ArrayLike, transition_steps: int
) -> optax.Schedule:
    r"""A decay of a moving average whose half-life, and not the decay itself, moves linearly.

    $$\beta(t) = \exp \frac{\ln\beta_{init}\,\ln\beta_{end}}{(1 - z) \ln\beta_{end} + z \ln\beta_{init}}, \qquad
    z = \min(t / T, 1)$$

    The half-life of β is ln ½ / ln β steps. Halfway from 0.9 to 0.999 a linear schedule has a half-life of 13 steps,
    this one has 350, the mean of both ends'.

    Args:
        init_value: β at step 0, in (0, 1).
        end_value: β from step T on, in (0, 1).
        transition_steps: T, at least 1.

    Returns:
        An Optax schedule, count -> decay.

    Raises:
        ValueError: A decay is out of range, or `transition_steps` less than 1.
        TypeError: `transition_steps` is no integer.

    Examples:
        >>> schedule = half_life_schedule(0.9, 0.999, 100)
        >>> print([round(float(schedule(count)), 4) for count in (0, 50, 100)])
        [0.9, 0.998, 0.999]

    Source:
        M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, appendix A.1.
    """
    function = "half_life_schedule"
    for name, value in (("init_value", init_value), ("end_value", end_value)):
        check_range(function, name, value, 0.0, 1.0, open_low=True, open_high=True)
    steps = check_positive_integer(function, "transition_steps", transition_steps)
    init, end = wide_scalar(init_value), wide_scalar(end_value)
    log_init, log_end = (math.log(x) if isinstance(x, float) else jnp.log(x) for x in (init, end))

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        part = jnp.clip(jnp.asarray(count, float) / steps, 0.0, 1.0)
        value = jnp.exp(log_init * log_end / ((1 - part) * log_end + part * log_init))
        return jnp.clip(value, jnp.minimum(init, end), jnp.maximum(init, end))

    return schedule
