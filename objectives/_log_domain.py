"""Sums of exponentials that stay right where every term is absent."""

import jax.numpy as jnp
from jax import lax

from objectives._typing import Array


def log_sum_exp(values: Array, axis: int = -1) -> Array:
    """log Σ exp over an axis; a large negative number, with gradient 0, where every value is -inf."""
    peak = lax.stop_gradient(jnp.max(values, axis=axis, keepdims=True, initial=-jnp.inf))
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    total = jnp.sum(jnp.exp(values - peak), axis=axis)
    present = total > 0
    floor = jnp.finfo(values.dtype).min / 2
    return jnp.where(present, jnp.log(jnp.where(present, total, 1)) + jnp.squeeze(peak, axis), floor)
