"""Directions of vectors, and sums of exponentials over some of the entries, safe on zero vectors and empty sums."""

import jax.numpy as jnp
from jax import lax

from objectives._typing import Array


def log_sum_exp(values: Array, some: Array) -> Array:
    """log Σ exp over those entries of the last axis that `some` marks; -inf, with gradient 0, where there is none."""
    peak = lax.stop_gradient(jnp.max(values, axis=-1, where=some, initial=-jnp.inf))
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    total = jnp.sum(jnp.where(some, jnp.exp(jnp.where(some, values - peak[..., None], 0)), 0), axis=-1)
    present = total > 0
    return jnp.where(present, jnp.log(jnp.where(present, total, 1)) + peak, -jnp.inf)
