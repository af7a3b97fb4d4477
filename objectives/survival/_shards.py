"""A batch that is split over devices, whole again for the losses whose examples are compared with each other."""

from jax import lax

from objectives._typing import Array, AxisName


def own(array: Array, size: int, axis_name: AxisName) -> Array:
    """The part of a global batch that is this device's."""
    if axis_name is None:
        return array
    return lax.dynamic_slice_in_dim(array, lax.axis_index(axis_name) * size, size)
