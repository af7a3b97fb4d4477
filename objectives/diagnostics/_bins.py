"""Probabilities of an outcome, and the bins that they fall into."""

import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather_alike
from objectives._inputs import check_same_shape, clean, compute_dtype, finish, floating, mask, real
from objectives._typing import Array, ArrayLike, AxisName


def forecast(
    function: str, probabilities: ArrayLike, outcomes: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Probabilities, NaN where they are none, outcomes and the mask, cleaned."""
    p, y = floating(function, "probabilities", probabilities), real(function, "outcomes", outcomes)
    check_same_shape(function, "outcomes", y, "probabilities", p)
    kept, dtype = mask(function, where, p.shape), compute_dtype(p, y)
    p, y = (lax.stop_gradient(clean(x, kept)).astype(dtype) for x in (p, y))
    return finish(p, kept, (p >= 0) & (p <= 1)), y, kept


def bin_index(probabilities: Array, kept: Array | None, num_bins: int, binning: str, axis_name: AxisName) -> Array:
    """The bin of every example."""
    if binning == "uniform":
        index = jnp.ceil(jnp.nan_to_num(probabilities) * num_bins).astype(jnp.int32) - 1
        return jnp.clip(index, 0, num_bins - 1)
    present = jnp.ones(probabilities.shape, bool) if kept is None else kept
    everything = jnp.sort(gather_alike(jnp.where(present, probabilities, jnp.inf).reshape(-1), axis_name))
    ranks = jnp.searchsorted(everything, probabilities)  # that of the first of equal ones
    count = all_sum(jnp.sum(present, dtype=jnp.int32), axis_name)
    return jnp.clip(ranks * num_bins // jnp.maximum(count, 1), 0, num_bins - 1)
