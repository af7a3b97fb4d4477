"""The geometry of two axis-aligned boxes, corners `[x1, y1, x2, y2]`, of losses and of measures of detection."""

from typing import NamedTuple

import jax.numpy as jnp

from objectives._typing import Array


class Geometry(NamedTuple):
    """What losses and measures need of two boxes; lengths and sizes are (width, height) in the last axis."""

    iou: Array
    intersection: Array
    union: Array
    size: Array
    true_size: Array
    around: Array  # the size of the box that encloses both
    offset: Array  # from the centre of the true box to that of the other, in x and y
    distance: Array  # its squared length
    diagonal: Array  # squared, of the enclosing box
    valid: Array


def geometry(a: Array, b: Array) -> Geometry:
    """The geometry of boxes `[..., 4]` and true ones, which may broadcast."""
    size, true_size = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    meeting = jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2])
    meeting = jnp.where(meeting > 0, meeting, 0)
    around = jnp.maximum(a[..., 2:], b[..., 2:]) - jnp.minimum(a[..., :2], b[..., :2])
    intersection = meeting[..., 0] * meeting[..., 1]
    union = size[..., 0] * size[..., 1] + true_size[..., 0] * true_size[..., 1] - intersection
    offset = (a[..., 2:] - b[..., 2:] + a[..., :2] - b[..., :2]) / 2
    valid = jnp.all(size >= 0, axis=-1) & jnp.all(true_size >= 0, axis=-1)
    return Geometry(
        iou=ratio(intersection, union),
        intersection=intersection,
        union=union,
        size=size,
        true_size=true_size,
        around=around,
        offset=offset,
        distance=jnp.sum(offset**2, axis=-1),
        diagonal=jnp.sum(around**2, axis=-1),
        valid=valid,
    )


def ratio(numerator: Array, denominator: Array) -> Array:
    """A ratio that is 0, with gradient 0, where the denominator is 0."""
    some = denominator > 0
    return jnp.where(some, numerator / jnp.where(some, denominator, 1), 0)
