"""Sums of exponentials that stay right where every term is absent."""

import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import is_class
from objectives._typing import Array, AxisName


def log_sum_exp(values: Array, axis: int = -1, *, where: Array | None = None, axis_name: AxisName = None) -> Array:
    """log Σ exp over an axis, of what `where` marks: -inf, with gradient 0, of nothing or of -inf alone; NaN stays NaN.

    The axis may be the one that devices share, whose sum `axis_name` then makes.
    """
    peak = lax.stop_gradient(jnp.max(values, axis=axis, keepdims=True, initial=-jnp.inf, where=where))
    peak = peak if axis_name is None else lax.pmax(peak, axis_name)
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    above = values - peak
    terms = jnp.exp(above) if where is None else jnp.where(where, jnp.exp(jnp.where(where, above, 0)), 0)
    total = all_sum(jnp.sum(terms, axis=axis), axis_name)
    nothing = total == 0
    return jnp.where(nothing, -jnp.inf, jnp.log(jnp.where(nothing, 1, total)) + jnp.squeeze(peak, axis))


def finite_log_sum_exp(values: Array, axis: int = -1) -> Array:
    """As `log_sum_exp`, but of nothing a large negative number, which may be subtracted from another."""
    total = log_sum_exp(values, axis)
    return jnp.where(jnp.isneginf(total), jnp.finfo(values.dtype).min / 2, total)


def log_sum_exp_others(values: Array) -> Array:
    """For every class, log Σ exp over all the other classes.

    Taking one class out of the total by log1p(-p) is stable while its share p is at most one half, which only the
    largest can exceed; for that one the others are summed afresh.
    """
    largest = is_class(jnp.argmax(values, axis=-1), values.shape[-1])
    total = finite_log_sum_exp(values)[..., None]
    share = jnp.where(largest, 0, jnp.exp(values - total))
    without_largest = finite_log_sum_exp(jnp.where(largest, -jnp.inf, values))[..., None]
    return jnp.where(largest, without_largest, total + jnp.log1p(-share))
