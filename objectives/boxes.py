r"""Regression losses of axis-aligned boxes, from one box geometry.

One equation: with the intersection over union of a predicted and a true box,

    loss = 1 - IoU + penalty,

where the penalty is 0 (IoU), the share of the enclosing box that neither fills (GIoU), the squared distance of the
centres over the squared diagonal of the enclosing box (DIoU), that and a term for the aspect ratio (CIoU) or for width
and height (EIoU), or a distance along the axes and a term for the shape (SIoU).

Boxes are corners `[x1, y1, x2, y2]` with x1 <= x2 and y1 <= y2, in any units. A box without width or height is legal:
it has area 0, and a ratio of two zeros is 0 with gradient 0. A box whose corners are in the wrong order gives NaN.

To add a member, write its penalty of the geometry (`objectives._boxes`); one that minds where the centres are along
each side, as SIoU does without its angle, is

    def axis_iou_loss(predictions, targets, *, where=None):
        def penalty(box):
            return jnp.sum(ratio(box.offset**2, box.around**2), axis=-1)
        return _box_loss("axis_iou_loss", predictions, targets, where, penalty)
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from objectives._boxes import Geometry, geometry, ratio
from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._numerics import power
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


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
    box = geometry(first.astype(dtype)[..., :, None, :], second.astype(dtype)[..., None, :, :])
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

    def penalty(box: Geometry) -> Array:
        area = box.around[..., 0] * box.around[..., 1]
        return ratio(area - box.union, area)

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
    return _box_loss("diou_loss", predictions, targets, where, lambda box: ratio(box.distance, box.diagonal))


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

    def penalty(box: Geometry) -> Array:
        solid = jnp.any(box.size > 0, axis=-1) & jnp.any(box.true_size > 0, axis=-1)
        difference = _aspect(box.true_size, solid) - _aspect(box.size, solid)
        v = 4 / jnp.pi**2 * difference**2
        return ratio(box.distance, box.diagonal) + lax.stop_gradient(ratio(v, 1 - box.iou + v)) * v

    return _box_loss("ciou_loss", predictions, targets, where, penalty)


def eiou_loss(
    predictions: Float[ArrayLike, "*batch 4"],
    targets: Real[ArrayLike, "*batch 4"],
    *,
    gamma: Scalar = 0.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Efficient IoU loss (EIoU), and Focal-EIoU: distance IoU with terms for the width and the height.

    $$
    \mathrm{IoU}^\gamma \Big( 1 - \mathrm{IoU} + \frac{\lVert a - b \rVert^2}{d^2}
    + \frac{(w - w^\star)^2}{w_c^2} + \frac{(h - h^\star)^2}{h_c^2} \Big)
    $$

    with the width and height of the enclosing box C. Width and height are pulled each to its target, where complete IoU
    pulls their ratio alone. The focal weight, for γ > 0, is a constant to the gradient, as a weight of examples is; it
    leaves boxes that do not meet without gradient.

    Args:
        predictions: Predicted boxes `[..., 4]`, corners x1, y1, x2, y2.
        targets: True boxes (with a star) `[..., 4]`, in the same units.
        gamma: Exponent γ of the focal weight, at least 0; the paper takes 0.5 for Focal-EIoU.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 4], float32 (float64 for float64 inputs); NaN where the corners of a box are in the wrong
        order.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes do not match or `gamma` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{eiou_loss(jnp.array([0.0, 0.0, 1.0, 2.0]), jnp.array([0.0, 0.0, 2.0, 1.0])):.4f}")
        1.2292

    Source:
        Zhang, Ren, Zhang, Jia, Wang, Tan, "Focal and Efficient IOU Loss for Accurate Bounding Box Regression", 2021.
    """

    def penalty(box: Geometry) -> Array:
        sides = ratio((box.size - box.true_size) ** 2, box.around**2)
        return ratio(box.distance, box.diagonal) + jnp.sum(sides, axis=-1)

    def weight(box: Geometry) -> Array:
        exponent = hyperparameter("eiou_loss", "gamma", gamma, box.iou.dtype, 0)
        return jnp.where(jnp.asarray(exponent) == 0, 1, power(lax.stop_gradient(box.iou), exponent))

    return _box_loss("eiou_loss", predictions, targets, where, penalty, weight)


def siou_loss(
    predictions: Float[ArrayLike, "*batch 4"],
    targets: Real[ArrayLike, "*batch 4"],
    *,
    theta: Scalar = 4.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""SIoU loss: first to the nearest axis through the true centre, then along it, and to the true shape.

    $$
    1 - \mathrm{IoU} + \frac{\Delta + \Omega}{2}, \qquad
    \Delta = \sum_{t \in \{x, y\}} 1 - e^{-(2 - \Lambda) (\delta_t / c_t)^2}, \qquad
    \Lambda = \frac{2 |\delta_x \delta_y|}{\delta_x^2 + \delta_y^2}, \qquad
    \Omega = \sum_{s \in \{w, h\}} \Big( 1 - e^{-|s - s^\star| / \max(s, s^\star)} \Big)^\theta
    $$

    with the offset δ of the centres and the sides c of the enclosing box. Λ is the paper's
    $1 - 2 \sin^2(\arcsin \alpha - \pi / 4)$ of the angle between the line through the centres and an axis, without
    its inverse functions: 0 on an axis, 1 on a diagonal.

    Args:
        predictions: Predicted boxes `[..., 4]`, corners x1, y1, x2, y2.
        targets: True boxes (with a star) `[..., 4]`, in the same units.
        theta: Exponent θ of the shape's cost, at least 1; the paper finds values near 4.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 3], float32 (float64 for float64 inputs); NaN where the corners of a box are in the wrong
        order.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes do not match or `theta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{siou_loss(jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([2.0, 0.0, 3.0, 1.0])):.4f}")
        1.2944

    Source:
        Gevorgyan, "SIoU Loss: More Powerful Learning for Bounding Box Regression", 2022.
    """

    def penalty(box: Geometry) -> Array:
        exponent = hyperparameter("siou_loss", "theta", theta, box.iou.dtype, 1)
        angle = 2 * ratio(_magnitude(box.offset[..., 0] * box.offset[..., 1]), box.distance)
        reach = ratio(box.offset**2, box.around**2)
        change = ratio(_magnitude(box.size - box.true_size), jnp.maximum(box.size, box.true_size))
        distance = -jnp.expm1(-(2 - angle)[..., None] * reach)
        return 0.5 * jnp.sum(distance + power(-jnp.expm1(-change), exponent), axis=-1)

    return _box_loss("siou_loss", predictions, targets, where, penalty)


def _box_loss(
    function: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    where: ArrayLike | None,
    penalty: Callable[[Geometry], Array],
    weight: Callable[[Geometry], Array] | None = None,
) -> Array:
    """The one equation of this file, and a weight of it."""
    predictions, targets = floating(function, "predictions", predictions), real(function, "targets", targets)
    check_rank(function, "predictions", predictions, 1, "[..., 4]")
    if predictions.shape[-1] != 4:
        raise ValueError(f"{function}: predictions must have shape [..., 4], got {describe(predictions)}")
    check_same_shape(function, "targets", targets, "predictions", predictions)
    kept, dtype = mask(function, where, predictions.shape[:-1]), compute_dtype(predictions, targets)
    box = geometry(clean(predictions, kept).astype(dtype), clean(targets, kept).astype(dtype))
    loss = 1 - box.iou + penalty(box)
    return finish(loss if weight is None else weight(box) * loss, kept, box.valid)


def _aspect(size: Array, solid: Array) -> Array:
    """The angle arctan(width / height); 0, with gradient 0, unless solid."""
    return jnp.arctan2(jnp.where(solid, size[..., 0], 0), jnp.where(solid, size[..., 1], 1))


def _magnitude(x: Array) -> Array:
    """|x| with gradient 0 at 0."""
    return x * jnp.sign(x)
