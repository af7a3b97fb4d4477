"""Special functions in the log domain, and the location-scale distributions with their tails.

Textbook forms of log densities subtract large numbers: lgamma(1e6 + 1) alone is 1e7, whose float32 neighbours are 1
apart. Here they are written with what is left after the subtraction (the deviance form of Loader, "Fast and Accurate
Computation of Binomial Probabilities", 2000).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaln

from objectives._typing import Array

LOG_2 = math.log(2)
LOG_PI = math.log(math.pi)
LOG_2_PI = math.log(2 * math.pi)
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
HALF_STEP = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224)


def polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """The polynomial with these coefficients, the constant first."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def scaled(value: Array, log_scale: Array) -> Array:
    """`value / exp(log_scale)`; a value of 0 stays 0, however small the scale."""
    lost = (value == 0) & (-log_scale > math.log(jnp.finfo(value.dtype).max))
    return value * jnp.exp(jnp.where(lost, 0, -log_scale))


def phi_2(x: Array) -> Array:
    """`(exp(x) - 1 - x) / x²`, which is 1/2 at 0."""
    small = jnp.abs(x) < 0.5
    series = polynomial(jnp.where(small, x, 0), tuple(1 / math.factorial(k + 2) for k in range(14)))
    far = jnp.where(small, 1, x)
    return jnp.where(small, series, (jnp.expm1(far) - far) / far / far)


def generalized_kl(log_a: Array, gap: Array) -> Array:
    """`b - a - a log(b / a)` from log a and the gap log b - log a: 0 at a = b and accurate beside it."""
    small = jnp.abs(gap) < 0.5
    near, far = jnp.where(small, gap, 0), jnp.where(small, 1, gap)
    step = jnp.exp(-jnp.abs(far))
    larger = jnp.where(small, 0, log_a + jnp.maximum(far, 0))
    apart = jnp.exp(larger) * jnp.where(far > 0, 1 - step * (1 + far), step - 1 - far)
    return jnp.where(small, scaled(near * near * phi_2(near), jnp.where(small, -log_a, 0)), apart)


def stirling(log_x: Array, x: Array | None = None) -> Array:
    """`lgamma(x + 1) - x log x + x` for x ≥ 0, about log(2πx) / 2; x is given where it may be 0."""
    large = log_x > math.log(16)
    far = jnp.where(large, log_x, math.log(16))
    inverse = jnp.exp(-far)
    series = 0.5 * (LOG_2_PI + far) + inverse * polynomial(inverse * inverse, STIRLING)
    log_near = jnp.where(large, 0, log_x)
    near = jnp.exp(log_near) if x is None else jnp.where(large, 1, x)
    return jnp.where(large, series, gammaln(near + 1) - near * log_near + near)


def half_step(log_x: Array) -> Array:
    """`lgamma(x + 1/2) - lgamma(x)` for x > 0: its series twelve steps up, and the recurrence down."""
    x = jnp.exp(log_x)
    product = jnp.ones_like(x)
    for k in range(1, 12):
        product = product * ((x + k) / (x + k + 0.5))
    top = x + 12
    series = 0.5 * jnp.log(top) + polynomial(1 / top / top, HALF_STEP) / top
    return log_x - jnp.log(x + 0.5) + jnp.log(product) + series


def log1mexp(x: Array) -> Array:
    """`log(1 - exp(-x))` for x > 0."""
    small = x < LOG_2
    return jnp.where(small, jnp.log(-jnp.expm1(-jnp.where(small, x, 1))), jnp.log1p(-jnp.exp(-jnp.where(small, 1, x))))


def log1mexp_of_log(log_x: Array) -> Array:
    """`log(1 - exp(-x))` from log x, right where x itself is 0 in floating point."""
    tiny = log_x < -12
    x = jnp.exp(jnp.where(tiny, log_x, -12))
    return jnp.where(tiny, log_x - x / 2 + x * x / 24, log1mexp(jnp.exp(jnp.where(tiny, 0, jnp.minimum(log_x, 80)))))


def log_softplus(x: Array) -> Array:
    """`log(log(1 + exp(x)))`, which is x far below 0."""
    tiny = x < -12
    low = jnp.where(tiny, x, -12)
    excess = jnp.exp(low)
    return jnp.where(tiny, low - excess / 2 + 5 * excess * excess / 24, jnp.log(jax.nn.softplus(jnp.where(tiny, 0, x))))


def log_ndtr(x: Array) -> Array:
    """Log of the standard normal distribution function; far below 0 from Laplace's continued fraction.

    There the derivative of JAX's own is the exponential of a difference of large numbers.
    """
    tail = x < -5
    t = jnp.where(tail, -x, 5)
    mills = t
    for k in range(8, 0, -1):
        mills = t + k / mills
    below = -0.5 * t * t - 0.5 * LOG_2_PI - jnp.log(mills)
    near = jnp.where(tail, 0, x)
    above = near > 0
    outside = 0.5 * lax.erfc(jnp.where(above, near, -near) / math.sqrt(2))
    return jnp.where(tail, below, jnp.where(above, jnp.log1p(-outside), jnp.log(jnp.where(above, 1, outside))))


class LocationScale(NamedTuple):
    """A standard distribution on the line.

    Attributes:
        log_density: Log of the density.
        log_cdf: Log of the probability to lie below.
        log_survival: Log of the probability to lie above.
        log_between: Log of the probability of an interval, from its ends and its length.
    """

    log_density: Callable[[Array], Array]
    log_cdf: Callable[[Array], Array]
    log_survival: Callable[[Array], Array]
    log_between: Callable[[Array, Array, Array], Array]


def _normal_log_density(z: Array) -> Array:
    return -0.5 * z * z - 0.5 * LOG_2_PI


def _normal_log_between(low: Array, high: Array, length: Array) -> Array:
    """In the lower tail, by symmetry; a short interval is its middle's density times its length."""
    middle = 0.5 * (low + high)
    limit = 0.05 if low.dtype == jnp.float32 else 1e-3
    short = length * (1 + jnp.abs(middle)) < limit
    near, at = jnp.where(short, length, limit), jnp.where(short, middle, 0)
    density = _normal_log_density(at) + jnp.log(near) + jnp.log1p((at * at - 1) * near * near / 24)
    above = middle > 0
    lower, upper = jnp.where(above, -high, low), jnp.where(above, -low, high)
    log_upper, log_lower = log_ndtr(jnp.where(short, 0, upper)), log_ndtr(jnp.where(short, -1, lower))
    return jnp.where(short, density, log_upper + log1mexp(log_upper - log_lower))


NORMAL = LocationScale(_normal_log_density, log_ndtr, lambda z: log_ndtr(-z), _normal_log_between)
LOGISTIC = LocationScale(
    lambda z: -jax.nn.softplus(z) - jax.nn.softplus(-z),
    lambda z: -jax.nn.softplus(-z),
    lambda z: -jax.nn.softplus(z),
    lambda low, high, length: -jax.nn.softplus(-high) - jax.nn.softplus(low) + log1mexp(length),
)
GUMBEL_MIN = LocationScale(
    lambda z: z - jnp.exp(z),
    lambda z: log1mexp_of_log(z),
    lambda z: -jnp.exp(z),
    lambda low, high, length: -jnp.exp(low) + log1mexp_of_log(low + length + log1mexp(length)),
)


def interval_log_probability(distribution: LocationScale, low: Array, high: Array, length: Array) -> Array:
    """Log probability of `[low, high]`, standardised; an end may be infinite, and no gradient is lost there."""
    no_low, no_high = jnp.isneginf(low), jnp.isposinf(high)
    both = ~(no_low | no_high)
    inner = distribution.log_between(jnp.where(both, low, -1), jnp.where(both, high, 1), jnp.where(both, length, 2))
    below = distribution.log_cdf(jnp.where(no_low & ~no_high, high, 0))
    above = distribution.log_survival(jnp.where(no_high & ~no_low, low, 0))
    one_sided = jnp.where(no_low, jnp.where(no_high, 0, below), above)
    return jnp.where(both, inner, one_sided)
