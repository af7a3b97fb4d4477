"""Directions of vectors, and sums of exponentials over some of the entries, safe on zero vectors and empty sums."""

import jax.numpy as jnp
from jax import lax

from objectives._typing import Array


def unit_vectors(vectors: Array) -> Array:
    """Vectors scaled to length one over the last axis; one shorter than 1e-12 becomes 0, with gradient 0."""
    squared = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    directed = squared > 1e-24
    return jnp.where(directed, vectors * lax.rsqrt(jnp.where(directed, squared, 1)), 0)


def log_sum_exp(values: Array, some: Array) -> Array:
    """log Σ exp over those entries of the last axis that `some` marks; -inf, with gradient 0, where there is none."""
    peak = lax.stop_gradient(jnp.max(values, axis=-1, where=some, initial=-jnp.inf))
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    total = jnp.sum(jnp.where(some, jnp.exp(jnp.where(some, values - peak[..., None], 0)), 0), axis=-1)
    present = total > 0
    return jnp.where(present, jnp.log(jnp.where(present, total, 1)) + peak, -jnp.inf)
