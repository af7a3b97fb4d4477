"""The batch of a coupled loss when it is split over devices: sums over all of it, and all of it in one place."""

from typing import TypeVar

import jax.numpy as jnp
from jax import lax

from objectives._typing import Array, AxisName

T = TypeVar("T")


def all_sum(values: T, axis_name: AxisName) -> T:
    """The sum of an array, or of each of several, over the mapped axes, where there are any."""
    return values if axis_name is None else lax.psum(values, axis_name)


def gather(values: Array, axis_name: AxisName) -> Array:
    """The rows of all devices, `[B, ...]` of the global batch, for what each device goes on to make of its own rows."""
    return values if axis_name is None else lax.all_gather(values, axis_name, tiled=True)


def gather_alike(values: Array, axis_name: AxisName) -> Array:
    """As `gather`, but a sum to the compiler, equal on all devices: a result of it may leave `shard_map` unsplit."""
    if axis_name is None:
        return values
    slots = jnp.zeros((lax.psum(1, axis_name), *values.shape), values.dtype)
    return lax.psum(slots.at[lax.axis_index(axis_name)].set(values), axis_name).reshape(-1, *values.shape[1:])


def positions(count: int, axis_name: AxisName) -> Array:
    """Where this device's `count` rows stand in the global batch, `[count]`."""
    rows = jnp.arange(count, dtype=jnp.int32)
    return rows if axis_name is None else rows + count * lax.axis_index(axis_name)
