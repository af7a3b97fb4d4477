"""Likelihoods of a location-scale distribution of which a value, an interval or a bound was seen."""

import jax.numpy as jnp

from objectives._distributions import LocationScale, interval_log_probability, scaled
from objectives._typing import Array


def censored_validity(lower: Array, upper: Array) -> Array:
    """Whether the ends are in order and hold a point: NaN, `[inf, inf]` and `[-inf, -inf]` do not."""
    return (lower <= upper) & (lower < jnp.inf) & (upper > -jnp.inf)


def censored_nll(distribution: LocationScale, lower: Array, upper: Array, location: Array, log_scale: Array) -> Array:
    """Minus the log density where the ends are equal, minus the log probability between them elsewhere."""
    valid = censored_validity(lower, upper)
    exact = (lower == upper) & valid
    point = scaled(jnp.where(exact, lower, location) - location, log_scale)
    density = log_scale - distribution.log_density(point)
    open_ended = valid & ~exact
    low, high = jnp.where(open_ended, lower, -jnp.inf), jnp.where(open_ended, upper, jnp.inf)
    bounded, limited = jnp.isfinite(low), jnp.isfinite(high)
    below = jnp.where(bounded, scaled(jnp.where(bounded, low, location) - location, log_scale), -jnp.inf)
    above = jnp.where(limited, scaled(jnp.where(limited, high, location) - location, log_scale), jnp.inf)
    both = bounded & limited
    length = scaled(jnp.where(both, high, 0) - jnp.where(both, low, 0), log_scale)
    return jnp.where(exact, density, -interval_log_probability(distribution, below, above, length))
