"""Schedules of a run whose length is known: a linear warm-up, a plateau, and a decay along a profile.

One equation; a member is its profile s on [0, 1], from s(0) = 1 to s(1) = 0, and where its decay begins:

    value(t) = peak * t / warmup                                     for t < warmup
               end + (peak - end) * s((t - start) / (total - start)) from there, the fraction clipped to [0, 1]
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_count, check_positive_integer, check_range
from optimizers._moments import wide_scalar

Profile = Callable[[jax.Array], jax.Array]


def _profiled(
    function: str, profile: Profile, peak: Any, end: Any, warmup: int, start: int, total: int
) -> optax.Schedule:
    """The family: `profile` of the part of the decay that is over."""
    for name, value in (("peak_value", peak), ("end_value", end)):
        check_range(function, name, value, 0.0)
    peak, end = wide_scalar(peak), wide_scalar(end)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(count, float)
        decayed = end + (peak - end) * profile(jnp.clip((count - start) / (total - start), 0.0, 1.0))
        return jnp.where(count < warmup, peak * count / max(warmup, 1), decayed)

    return schedule


def _run(function: str, total_steps: int, warmup_steps: int) -> tuple[int, int]:
    total = check_positive_integer(function, "total_steps", total_steps)
    warmup = check_count(function, "warmup_steps", warmup_steps)
    if warmup >= total:
        raise ValueError(f"{function}: warmup_steps must be less than total_steps, {total}, got {warmup}")
    return total, warmup


def linear_decay_schedule(
    peak_value: jax.typing.ArrayLike,
    total_steps: int,
    warmup_steps: int = 0,
    end_value: jax.typing.ArrayLike = 0.0,
) -> optax.Schedule:
    r"""A linear warm-up and a linear decay: of all schedules the one with the best worst case.

    $$\eta(t) = \eta_{end} + (\eta_{peak} - \eta_{end}) \Big(1 - \frac{t - W}{T - W}\Big), \qquad
    \eta(t) = \eta_{peak}\,\frac{t}{W} \text{ for } t < W$$

    Among all step sizes of gradient descent with bounded gradients, those that fall linearly to zero give the last
    iterate the best guarantee. `optax.linear_schedule` is the decay without the warm-up.

    Args:
        peak_value: Value at the end of the warm-up, at least 0.
        total_steps: T, steps of the run with its warm-up, at least 1.
        warmup_steps: W, steps of the warm-up from 0, fewer than T.
        end_value: Value from step T on, at least 0.

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: A value is negative, or a number of steps out of range.
        TypeError: A number of steps is no integer.

    Examples:
        >>> schedule = linear_decay_schedule(1.0, 10, warmup_steps=2)
        >>> print([float(schedule(count)) for count in (0, 1, 2, 6, 10)])
        [0.0, 0.5, 1.0, 0.5, 0.0]

    Source:
        A. Defazio, A. Cutkosky, H. Mehta, K. Mishchenko, "When, Why and How Much? Adaptive Learning Rate Scheduling by
        Refinement", 2023.
    """
    total, warmup = _run("linear_decay_schedule", total_steps, warmup_steps)
    return _profiled("linear_decay_schedule", lambda part: 1 - part, peak_value, end_value, warmup, warmup, total)


def rex_schedule(
    peak_value: jax.typing.ArrayLike,
    total_steps: int,
    warmup_steps: int = 0,
    end_value: jax.typing.ArrayLike = 0.0,
) -> optax.Schedule:
    r"""REX, the reflected exponential: above the linear decay all the way, and steep at the end.

    $$\eta(t) = \eta_{end} + (\eta_{peak} - \eta_{end})\,\frac{1 - z}{1 - z / 2}, \qquad z = \frac{t - W}{T - W}$$

    Args:
        peak_value: Value at the end of the warm-up, at least 0.
        total_steps: T, steps of the run with its warm-up, at least 1.
        warmup_steps: W, steps of the linear warm-up from 0, fewer than T.
        end_value: Value from step T on, at least 0.

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: A value is negative, or a number of steps out of range.
        TypeError: A number of steps is no integer.

    Examples:
        >>> schedule = rex_schedule(1.0, 10)
        >>> print([round(float(schedule(count)), 3) for count in (0, 5, 10)])
        [1.0, 0.667, 0.0]

    Source:
        J. Chen, C. Wolfe, A. Kyrillidis, "REX: Revisiting Budgeted Training with an Improved Schedule", 2021.
    """
    total, warmup = _run("rex_schedule", total_steps, warmup_steps)
    return _profiled(
        "rex_schedule", lambda part: (1 - part) / (1 - 0.5 * part), peak_value, end_value, warmup, warmup, total
    )


def cosine_power_schedule(
    peak_value: jax.typing.ArrayLike,
    total_steps: int,
    warmup_steps: int = 0,
    end_value: jax.typing.ArrayLike = 0.0,
    power: jax.typing.ArrayLike = 10.0,
) -> optax.Schedule:
    r"""Cosine power annealing: between a cosine, which stays high for long, and an exponential, which falls at once.

    $$\eta(t) = \eta_{end} + (\eta_{peak} - \eta_{end})\,\frac{p^{c + 1} - p}{p^2 - p}, \qquad
    c = \tfrac12 \Big(1 + \cos \pi \frac{t - W}{T - W}\Big)$$

    At `power` 1 it is the cosine decay, its limit. Written with `expm1`, so that powers near 1 lose no digits.

    Args:
        peak_value: Value at the end of the warm-up, at least 0.
        total_steps: T, steps of the run with its warm-up, at least 1.
        warmup_steps: W, steps of the linear warm-up from 0, fewer than T.
        end_value: Value from step T on, at least 0.
        power: p, at least 1; the larger, the faster the first decay. The authors take 10 for ImageNet, 2 for CIFAR.

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: A value is negative, `power` below 1, or a number of steps out of range.
        TypeError: A number of steps is no integer.

    Examples:
        >>> schedule = cosine_power_schedule(1.0, 10)
        >>> print([round(float(schedule(count)), 4) for count in (0, 5, 10)])
        [1.0, 0.2403, 0.0]

    Source:
        A. Hundt, V. Jain, G. Hager, "sharpDARTS: Faster and More Accurate Differentiable Architecture Search", 2019.
    """
    function = "cosine_power_schedule"
    check_range(function, "power", power, 1.0)
    total, warmup = _run(function, total_steps, warmup_steps)
    exponent = wide_scalar(power)

    def profile(part: jax.Array) -> jax.Array:
        cosine, log_power = 0.5 * (1 + jnp.cos(jnp.pi * part)), jnp.log(exponent)
        curved = log_power > 0
        powered = jnp.expm1(cosine * log_power) / jnp.where(curved, jnp.expm1(log_power), 1.0)
        return jnp.where(curved, powered, jnp.where(log_power == 0, cosine, jnp.nan))

    return _profiled(function, profile, peak_value, end_value, warmup, warmup, total)


COOLDOWNS: dict[str, Profile] = {
    "1-sqrt": lambda part: 1 - jnp.sqrt(part),
    "linear": lambda part: 1 - part,
    "cosine": lambda part: 0.5 * (1 + jnp.cos(jnp.pi * part)),
    "1-square": lambda part: 1 - part**2,
}


def wsd_schedule(
    peak_value: jax.typing.ArrayLike,
    warmup_steps: int,
    stable_steps: int,
    decay_steps: int,
    end_value: jax.typing.ArrayLike = 0.0,
    cooldown: Literal["1-sqrt", "linear", "cosine", "1-square"] = "1-sqrt",
) -> optax.Schedule:
    r"""WSD, warm-up, stable, decay: a plateau that can be prolonged, and a short cooldown from wherever it ends.

    $$\eta(t) = \eta_{peak} \cdot \begin{cases} t / W & t < W \\ 1 & W \le t < W + S \end{cases}, \qquad
    \eta(t) = \eta_{end} + (\eta_{peak} - \eta_{end})\, s\Big(\frac{t - W - S}{D}\Big)$$

    The run's length need not be known before the cooldown: a checkpoint of the plateau goes on, or cools down.
    pytorch-optimizer's WSD, which has the same four cooldowns, heeds the end value in the cosine's alone and jumps to
    it after the others; here all four end there.

    Args:
        peak_value: Value of the plateau, at least 0.
        warmup_steps: W, steps of the linear warm-up from 0, at least 0.
        stable_steps: S, steps of the plateau, at least 0.
        decay_steps: D, steps of the cooldown, at least 1.
        end_value: Value after the cooldown, at least 0.
        cooldown: The profile s: `"1-sqrt"` is 1 - √z, found best by Hägele et al.; `"linear"` 1 - z, `"cosine"`
            (1 + cos πz) / 2, `"1-square"` 1 - z².

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: A value is negative, a number of steps out of range, or `cooldown` none of the four.
        TypeError: A number of steps is no integer.

    Examples:
        >>> schedule = wsd_schedule(1.0, warmup_steps=2, stable_steps=6, decay_steps=4)
        >>> print([float(schedule(count)) for count in (0, 1, 2, 8, 9, 12)])
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]

    Source:
        S. Hu et al., "MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies",
        2024; A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", 2024.
    """
    function = "wsd_schedule"
    warmup = check_count(function, "warmup_steps", warmup_steps)
    start = warmup + check_count(function, "stable_steps", stable_steps)
    total = start + check_positive_integer(function, "decay_steps", decay_steps)
    if cooldown not in COOLDOWNS:
        raise ValueError(f"{function}: cooldown must be one of {', '.join(map(repr, COOLDOWNS))}, got {cooldown!r}")
    return _profiled(function, COOLDOWNS[cooldown], peak_value, end_value, warmup, start, total)
