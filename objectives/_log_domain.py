"""Sums of exponentials that stay right where every term is absent."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import is_class
from objectives._typing import Array


def log_sum_exp(values: Array, axis: int = -1) -> Array:
    """log Σ exp over an axis; a large negative number, with gradient 0, where every value is -inf."""
    peak = lax.stop_gradient(jnp.max(values, axis=axis, keepdims=True, initial=-jnp.inf))
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    total = jnp.sum(jnp.exp(values - peak), axis=axis)
    present = total > 0
    floor = jnp.finfo(values.dtype).min / 2
    return jnp.where(present, jnp.log(jnp.where(present, total, 1)) + jnp.squeeze(peak, axis), floor)


def log_sum_exp_others(values: Array) -> Array:
    """For every class, log Σ exp over all the other classes.

    Taking one class out of the total by log1p(-p) is stable while its share p is at most one half, which only the
    largest can exceed; for that one the others are summed afresh.
    """
    largest = is_class(jnp.argmax(values, axis=-1), values.shape[-1])
    total = log_sum_exp(values)[..., None]
    share = jnp.where(largest, 0, jnp.exp(values - total))
    without_largest = log_sum_exp(jnp.where(largest, -jnp.inf, values))[..., None]
    return jnp.where(largest, without_largest, total + jnp.log1p(-share))
