"""A batch that is split over devices, whole again for the losses whose examples are compared with each other."""

from jax import lax

from objectives._typing import Array


def gather(array: Array, axis_name: str | tuple[str, ...] | None) -> Array:
    """The global batch of which this device holds a part."""
    return array if axis_name is None else lax.all_gather(array, axis_name, tiled=True)


def own(array: Array, size: int, axis_name: str | tuple[str, ...] | None) -> Array:
    """The part of a global batch that is this device's."""
    if axis_name is None:
        return array
    return lax.dynamic_slice_in_dim(array, lax.axis_index(axis_name) * size, size)
