r"""Regression losses of axis-aligned boxes, from one box geometry.

One equation: with the intersection over union of a predicted and a true box,

    loss = 1 - IoU + penalty,

where the penalty is 0 (IoU), the share of the enclosing box that neither fills (GIoU), the squared distance of the
centres over the squared diagonal of the enclosing box (DIoU), or that and a term for the aspect ratio (CIoU).

Boxes are corners `[x1, y1, x2, y2]` with x1 <= x2 and y1 <= y2, in any units. A box without width or height is legal:
it has area 0, and a ratio of two zeros is 0 with gradient 0. A box whose corners are in the wrong order gives NaN.

To add a member, write its penalty of the geometry; Efficient IoU, which penalises width and height, is

    def eiou_loss(predictions, targets, *, where=None):
        def penalty(box):
            sides = _ratio((box.size - box.true_size) ** 2, box.around**2)
            return _ratio(box.distance, box.diagonal) + jnp.sum(sides, axis=-1)
        return _box_loss("eiou_loss", predictions, targets, where, penalty)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real


def box_iou(
    boxes_a: Float[ArrayLike, "*batch boxes_a 4"], boxes_b: Float[ArrayLike, "*batch boxes_b 4"]
) -> Float[Array, "*batch boxes_a boxes_b"]:
    r"""Intersection over union of every box of one set with every box of another.

    $$
    \mathrm{IoU}_{ij} = \frac{|A_i \cap B_j|}{|A_i \cup B_j|}
    $$

    Args:
        boxes_a: Boxes `[..., N, 4]`, corners x1, y1, x2, y2.
        boxes_b: Boxes `[..., M, 4]`, in the same units.

    Returns:
        Ratios in [0, 1], `[..., N, M]`, float32 (float64 for float64 inputs); 0 for two boxes without area, NaN for a
        box whose corners are in the wrong order.

    Raises:
        TypeError: If the boxes are not floating point.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> boxes = jnp.array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]])
        >>> print(f"{box_iou(boxes, boxes)[0, 1]:.4f}")
        0.3333

    Source:
        Jaccard, "The Distribution of the Flora in the Alpine Zone", 1912.
    """
    first, second = floating("box_iou", "boxes_a", boxes_a), floating("box_iou", "boxes_b", boxes_b)
    for name, boxes in (("boxes_a", first), ("boxes_b", second)):
        if boxes.ndim < 2 or boxes.shape[-1] != 4:
            raise ValueError(f"box_iou: {name} must have shape [..., N, 4], got {describe(boxes)}")
    if first.shape[:-2] != second.shape[:-2]:
        raise ValueError(
            f"box_iou: boxes_b must have the batch shape of boxes_a, {list(first.shape[:-2])}, got {describe(second)}"
        )
    dtype = compute_dtype(first, second)
    box = _geometry(first.astype(dtype)[..., :, None, :], second.astype(dtype)[..., None, :, :])
    return finish(box.iou, None, box.valid)


def iou_loss(
    predictions: Float[ArrayLike, "*batch 4"],
    targets: Real[ArrayLike, "*batch 4"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""One minus the intersection over union of two boxes; without gradient where they do not meet.

    $$
    1 - \frac{|A \cap B|}{|A \cup B|}
    $$

    Args:
        predictions: Predicted boxes A `[..., 4]`, corners x1, y1, x2, y2.
        targets: True boxes B `[..., 4]`, in the same units.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 1], float32 (float64 for float64 inputs); NaN where the corners of a box are in the wrong
        order.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{iou_loss(jnp.array([0.0, 0.0, 2.0, 2.0]), jnp.array([1.0, 0.0, 3.0, 2.0])):.4f}")
        0.6667

    Source:
        Yu, Jiang, Wang, Cao, Huang, "UnitBox: An Advanced Object Detection Network", 2016 (with the logarithm);
        Rezatofighi, Tsoi, Gwak, Sadeghian, Reid, Savarese, "Generalized Intersection over Union: A Metric and a Loss
        for Bounding Box Regression", 2019.
    """
    return _box_loss("iou_loss", predictions, targets, where, lambda box: jnp.zeros_like(box.iou))


def giou_loss(
    predictions: Float[ArrayLike, "*batch 4"],
    targets: Real[ArrayLike, "*batch 4"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Generalized IoU loss: boxes that do not meet are pulled together through the box C that encloses both.

    $$
    1 - \frac{|A \cap B|}{|A \cup B|} + \frac{|C| - |A \cup B|}{|C|}
    $$

    Args:
        predictions: Predicted boxes A `[..., 4]`, corners x1, y1, x2, y2.
        targets: True boxes B `[..., 4]`, in the same units.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 2], float32 (float64 for float64 inputs); NaN where the corners of a box are in the wrong
        order.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{giou_loss(jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([2.0, 0.0, 3.0, 1.0])):.4f}")
        1.3333

    Source:
        Rezatofighi, Tsoi, Gwak, Sadeghian, Reid, Savarese, "Generalized Intersection over Union: A Metric and a Loss
        for Bounding Box Regression", 2019.
    """

    def penalty(box: _Geometry) -> Array:
        area = box.around[..., 0] * box.around[..., 1]
        return _ratio(area - box.union, area)

    return _box_loss("giou_loss", predictions, targets, where, penalty)


def diou_loss(
    predictions: Float[ArrayLike, "*batch 4"],
    targets: Real[ArrayLike, "*batch 4"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Distance IoU loss: the centres a and b are pulled together, over the diagonal d of the enclosing box.

    $$
    1 - \frac{|A \cap B|}{|A \cup B|} + \frac{\lVert a - b \rVert^2}{d^2}
    $$

    Args:
        predictions: Predicted boxes A `[..., 4]`, corners x1, y1, x2, y2.
        targets: True boxes B `[..., 4]`, in the same units.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 2], float32 (float64 for float64 inputs); NaN where the corners of a box are in the wrong
        order.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{diou_loss(jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([2.0, 0.0, 3.0, 1.0])):.4f}")
        1.4000

    Source:
        Zheng, Wang, Liu, Li, Ye, Ren, "Distance-IoU Loss: Faster and Better Learning for Bounding Box
        Regression", 2020.
    """
    return _box_loss("diou_loss", predictions, targets, where, lambda box: _ratio(box.distance, box.diagonal))


def ciou_loss(
    predictions: Float[ArrayLike, "*batch 4"],
    targets: Real[ArrayLike, "*batch 4"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Complete IoU loss: distance IoU with a term for the aspect ratio.

    $$
    1 - \mathrm{IoU} + \frac{\lVert a - b \rVert^2}{d^2} + \alpha v, \qquad
    v = \frac{4}{\pi^2} \Big( \arctan \frac{w^\star}{h^\star} - \arctan \frac{w}{h} \Big)^2, \qquad
    \alpha = \frac{v}{1 - \mathrm{IoU} + v}
    $$

    The trade-off α is a constant to the gradient, as in the authors' code and in torchvision. A box that is a point has
    no aspect ratio; its v is 0.

    Args:
        predictions: Predicted boxes A `[..., 4]`, corners x1, y1, x2, y2.
        targets: True boxes B `[..., 4]`, in the same units.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 3], float32 (float64 for float64 inputs); NaN where the corners of a box are in the wrong
        order.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{ciou_loss(jnp.array([0.0, 0.0, 1.0, 2.0]), jnp.array([0.0, 0.0, 2.0, 1.0])):.4f}")
        0.7629

    Source:
        Zheng, Wang, Liu, Li, Ye, Ren, "Distance-IoU Loss: Faster and Better Learning for Bounding Box
        Regression", 2020.
    """

    def penalty(box: _Geometry) -> Array:
        solid = jnp.any(box.size > 0, axis=-1) & jnp.any(box.true_size > 0, axis=-1)
        difference = _aspect(box.true_size, solid) - _aspect(box.size, solid)
        v = 4 / jnp.pi**2 * difference**2
        return _ratio(box.distance, box.diagonal) + lax.stop_gradient(_ratio(v, 1 - box.iou + v)) * v

    return _box_loss("ciou_loss", predictions, targets, where, penalty)


class _Geometry(NamedTuple):
    """What the losses need of two boxes; lengths and sizes are (width, height) in the last axis."""

    iou: Array
    union: Array
    size: Array
    true_size: Array
    around: Array  # the size of the box that encloses both
    distance: Array  # squared, of the centres
    diagonal: Array  # squared, of the enclosing box
    valid: Array


def _geometry(a: Array, b: Array) -> _Geometry:
    size, true_size = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    meeting = jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2])
    meeting = jnp.where(meeting > 0, meeting, 0)
    around = jnp.maximum(a[..., 2:], b[..., 2:]) - jnp.minimum(a[..., :2], b[..., :2])
    intersection = meeting[..., 0] * meeting[..., 1]
    union = size[..., 0] * size[..., 1] + true_size[..., 0] * true_size[..., 1] - intersection
    offset = (a[..., 2:] - b[..., 2:] + a[..., :2] - b[..., :2]) / 2
    valid = jnp.all(size >= 0, axis=-1) & jnp.all(true_size >= 0, axis=-1)
    return _Geometry(
        iou=_ratio(intersection, union),
        union=union,
        size=size,
        true_size=true_size,
        around=around,
        distance=jnp.sum(offset**2, axis=-1),
        diagonal=jnp.sum(around**2, axis=-1),
        valid=valid,
    )


def _box_loss(
    function: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    where: ArrayLike | None,
    penalty: Callable[[_Geometry], Array],
) -> Array:
    """The one equation of this file."""
    predictions, targets = floating(function, "predictions", predictions), real(function, "targets", targets)
    check_rank(function, "predictions", predictions, 1, "[..., 4]")
    if predictions.shape[-1] != 4:
        raise ValueError(f"{function}: predictions must have shape [..., 4], got {describe(predictions)}")
    check_same_shape(function, "targets", targets, "predictions", predictions)
    kept, dtype = mask(function, where, predictions.shape[:-1]), compute_dtype(predictions, targets)
    box = _geometry(clean(predictions, kept).astype(dtype), clean(targets, kept).astype(dtype))
    return finish(1 - box.iou + penalty(box), kept, box.valid)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """A ratio that is 0, with gradient 0, where the denominator is 0."""
    some = denominator > 0
    return jnp.where(some, numerator / jnp.where(some, denominator, 1), 0)


def _aspect(size: Array, solid: Array) -> Array:
    """The angle arctan(width / height); 0, with gradient 0, unless solid."""
    return jnp.arctan2(jnp.where(solid, size[..., 0], 0), jnp.where(solid, size[..., 1], 1))
