"""Average precision of detected boxes, as COCO and PASCAL VOC count it.

Two steps. In every image the detections of a class, the surest first, take a ground truth each (`_match_image`); then
all detections of a class are ranked by their scores, over all images, and every ground truth that was found has the
precision of the ranking down to it (`_envelope`). Average precision is the mean of those, or of those at some levels of
recall.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather
from objectives._boxes import geometry, ratio
from objectives._inputs import check_choice, clean, compute_dtype, describe, integers, mask, real, static_integer
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real

LEVELS = {"101-point": 100, "11-point": 10}
COCO = tuple(n / 100 for n in range(50, 100, 5))
IMAGES = 64
"""Images that are matched side by side."""


def mean_average_precision(
    boxes: Real[ArrayLike, "images detections 4"],
    scores: Real[ArrayLike, "images detections"],
    classes: Integer[ArrayLike, "images detections"],
    true_boxes: Real[ArrayLike, "images objects 4"],
    true_classes: Integer[ArrayLike, "images objects"],
    *,
    num_classes: int,
    iou_thresholds: Sequence[float] | Real[ArrayLike, " thresholds"] = COCO,
    interpolation: Literal["101-point", "11-point", "all-point"] = "101-point",
    matching: Literal["coco", "voc"] = "coco",
    max_detections: int = 100,
    average: Literal["macro", "none"] = "macro",
    ignored: Bool[ArrayLike, "images objects"] | None = None,
    where: Bool[ArrayLike, "images detections"] | None = None,
    true_where: Bool[ArrayLike, "images objects"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Mean average precision (mAP) of detected boxes, COCO's or PASCAL VOC's, over classes and thresholds of the IoU.

    $$
    \mathrm{AP} = \frac{1}{|R|} \sum_{r \in R} \max_{r' \ge r} \mathrm{precision}(r')
    $$

    The defaults are COCO's AP; `iou_thresholds=[0.5]` is its AP50; `matching="voc"`, `iou_thresholds=[0.5]` with
    `interpolation="11-point"` VOC 2007's and with `"all-point"` VOC 2010's. Images have all the same number of places
    for detections and for objects; the masks say which are taken. Several batches of images are concatenated.

    Levels of recall are compared as integers. pycocotools compares rounded numbers, and steps over a recall that is
    just reached where its level was rounded up (0.35 is 0.35000000000000003 there).

    Args:
        boxes: Detected boxes `[N, D, 4]`, corners x1, y1, x2, y2 of continuous coordinates (VOC's files name the last
            pixel inside: add 1 to its x2 and y2).
        scores: Their scores `[N, D]`; equal ones are taken in the order given.
        classes: Their class ids `[N, D]`.
        true_boxes: True boxes `[N, G, 4]`.
        true_classes: Their class ids `[N, G]`.
        num_classes: Number of classes C.
        iou_thresholds: What the intersection over union must reach for a hit `[T]`; COCO's 0.5, 0.55 … 0.95 by default.
        interpolation: Levels of recall R: `"101-point"` (COCO), `"11-point"` (VOC 2007) or `"all-point"`, one for each
            true box (VOC 2010; the area under the curve).
        matching: `"coco"`, a detection takes the nearest true box that is still free, or `"voc"`, it misses if the
            nearest one is taken.
        max_detections: How many detections of a class count in an image, the surest ones.
        average: `"macro"` for the mean over thresholds and classes, `"none"` for each.
        ignored: True boxes that need not be found, but may be `[N, G]`: COCO's crowds, of which a detection need only
            be a part, or VOC's difficult objects.
        where: Boolean mask of detections `[N, D]`; a masked one counts nowhere and may hold anything.
        true_where: Boolean mask of true boxes `[N, G]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the images are split, under `shard_map`; the result is then that of
            all images.

    Returns:
        A scalar in [0, 1], float32 (float64 for float64 inputs), over the classes that have true boxes; 0 where none
        has. For `average="none"` `[C, T]`, NaN for a class without true boxes. All is NaN where a score is, a class id
        out of range or the corners of a box in the wrong order.

    Raises:
        TypeError: If boxes or scores are not real, class ids not integers or masks not boolean.
        ValueError: If the shapes do not match, a count is less than 1 or an option is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> boxes = jnp.array([[[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]]])
        >>> scores, classes = jnp.array([[0.9, 0.8]]), jnp.array([[0, 0]])
        >>> truth = jnp.array([[[0.0, 0.0, 2.0, 1.5], [3.0, 3.0, 4.0, 4.0]]])
        >>> print(f"{mean_average_precision(boxes, scores, classes, truth, classes, num_classes=1):.4f}")
        0.3030

    Source:
        Everingham, Van Gool, Williams, Winn, Zisserman, "The Pascal Visual Object Classes (VOC) Challenge", 2010; Lin,
        Maire, Belongie, Bourdev, Girshick, Hays, Perona, Ramanan, Zitnick, Dollár, "Microsoft COCO: Common Objects in
        Context", 2014.
    """
    name = "mean_average_precision"
    found, confidence, kind, kept = _read(name, "", boxes, classes, where, scores)
    truth, _, true_kind, true_kept = _read(name, "true_", true_boxes, true_classes, true_where, None)
    if len(truth) != len(found):
        raise ValueError(f"{name}: true_boxes must be of {len(found)} images, got {describe(truth)}")
    count, most = (
        static_integer(name, "num_classes", num_classes),
        static_integer(name, "max_detections", max_detections),
    )
    for option, value, legal in (
        ("interpolation", interpolation, (*LEVELS, "all-point")),
        ("matching", matching, ("coco", "voc")),
        ("average", average, ("macro", "none")),
    ):
        check_choice(name, option, value, legal)
    dtype = compute_dtype(found, confidence, truth)
    limits = real(name, "iou_thresholds", iou_thresholds).astype(dtype)
    if limits.ndim != 1 or limits.size == 0:
        raise ValueError(f"{name}: iou_thresholds must have shape [T], with at least one, got {describe(limits)}")
    optional = jnp.zeros(true_kind.shape, bool)
    if ignored is not None:
        optional = jnp.asarray(mask(name, ignored, true_kind.shape, "ignored"))

    faults = jnp.sum(kept & (jnp.isnan(confidence) | _improper(found, kind, count)), dtype=jnp.int32)
    faults += jnp.sum(true_kept & _improper(truth, true_kind, count), dtype=jnp.int32)
    kind, true_kind = jnp.where(kept, kind, -1), jnp.where(true_kept, true_kind, -2)  # what is masked is of no class
    confidence = confidence.astype(dtype)
    images = (found.astype(dtype), confidence, kind, truth.astype(dtype), true_kind, optional)
    hits, counted = lax.map(
        lambda image: _match_image(image, limits, most, matching == "coco"), images, batch_size=IMAGES
    )

    owed = jnp.sort(gather(jnp.where(optional | (true_kind < 0), count, true_kind).reshape(-1), axis_name))
    starts = jnp.searchsorted(owed, jnp.arange(count))
    totals = jnp.searchsorted(owed, jnp.arange(count), side="right") - starts
    ranked = [gather(x.reshape(-1, *x.shape[2:]), axis_name) for x in (confidence, kind, hits, counted)]
    order = jnp.lexsort((-ranked[0], ranked[1]))
    ordered = ranked[1][order]
    envelope = jax.vmap(lambda hit, real: _envelope(ordered, hit, real, starts, owed, dtype), in_axes=1)(
        ranked[2][order], ranked[3][order]
    )
    precisions = _recall_levels(envelope, owed, starts, totals, LEVELS.get(interpolation)).T
    if axis_name is not None:  # the same everywhere
        precisions, totals = lax.pmax((precisions, totals), axis_name)
    present = (totals > 0)[:, None]
    result = jnp.where(present, precisions, jnp.nan)
    if average == "macro":
        share = jnp.maximum(jnp.sum(present) * limits.size, 1).astype(dtype)
        result = jnp.sum(jnp.where(present, precisions, 0)) / share
    return jnp.where(all_sum(faults, axis_name) > 0, jnp.nan, result)


def _read(
    function: str, prefix: str, boxes: ArrayLike, classes: ArrayLike, where: ArrayLike | None, scores: ArrayLike | None
) -> tuple[Array, Array, Array, Array]:
    """Boxes, scores, class ids and the mask of one side, checked, without gradient, cleaned."""
    corners, kind = real(function, f"{prefix}boxes", boxes), integers(function, f"{prefix}classes", classes)
    if corners.ndim != 3 or corners.shape[-1] != 4:
        raise ValueError(f"{function}: {prefix}boxes must have shape [N, _, 4], got {describe(corners)}")
    confidence = jnp.zeros(kind.shape) if scores is None else real(function, f"{prefix}scores", scores)
    for name, array in ((f"{prefix}classes", kind), (f"{prefix}scores", confidence)):
        if array.shape != corners.shape[:-1]:
            raise ValueError(
                f"{function}: {name} must have shape {list(corners.shape[:-1])}, as {prefix}boxes has, "
                f"got {describe(array)}"
            )
    kept = mask(function, where, kind.shape, f"{prefix}where")
    corners, confidence, kind = (clean(x, kept) for x in lax.stop_gradient((corners, confidence, kind)))
    return corners, confidence, kind, jnp.ones(kind.shape, bool) if kept is None else kept


def _improper(boxes: Array, classes: Array, count: int) -> Array:
    """Boxes whose corners are in the wrong order or NaN, or whose class is none."""
    return ~jnp.all(boxes[..., 2:] >= boxes[..., :2], axis=-1) | (classes < 0) | (classes >= count)


def _match_image(image: tuple[Array, ...], limits: Array, most: int, free_only: bool) -> tuple[Array, Array]:
    """Which detections of an image found a true box, and which count `[D, T]`, for each threshold.

    The detections are visited from the surest on. Each looks at the true boxes of its class: at those that must be
    found first, and then at those that need not be, which any number of detections may take and which count for
    nothing.
    """
    boxes, scores, classes, true_boxes, true_classes, optional = image
    detections, objects = scores.shape[0], true_classes.shape[0]
    order = jnp.argsort(-scores, stable=True)
    box = geometry(boxes[:, None], true_boxes)
    overlap = box.iou
    if free_only:
        area = box.size[..., 0] * box.size[..., 1]
        overlap = jnp.where(optional, ratio(box.intersection, area), overlap)
    same = classes[:, None] == true_classes
    alike = classes[:, None] == classes
    rank = jnp.argsort(order)  # the inverse permutation
    counts = jnp.sum(alike & (rank < rank[:, None]), axis=-1) < most
    overlap = jnp.where(same & counts[:, None], overlap, -1)
    if objects == 0:
        return jnp.zeros((detections, limits.size), bool), jnp.tile(counts[:, None], (1, limits.size))

    def visit(taken: Array, overlaps: Array) -> tuple[Array, tuple[Array, Array]]:
        free = ~taken if free_only else jnp.ones_like(taken)
        near = jnp.where(free, overlaps, -1)
        if free_only:  # what must be found comes first, if it is near enough; of equal ones the last
            good = near >= limits[:, None]
            required = good & ~optional
            near = jnp.where(jnp.any(required, axis=-1, keepdims=True), jnp.where(required, near, -1), near)
            nearest = objects - 1 - jnp.argmax(near[:, ::-1], axis=-1)
        else:
            nearest = jnp.argmax(near, axis=-1)
        reach = jnp.take_along_axis(near, nearest[:, None], axis=-1)[:, 0]
        reached = (reach >= limits) & (reach >= 0)
        chosen = jax.nn.one_hot(nearest, objects, dtype=bool)
        spare = optional[nearest]
        hit = reached & ~spare & ~jnp.any(taken & chosen, axis=-1)
        return taken | (chosen & hit[:, None]), (hit, ~(reached & spare))

    nothing = jnp.tile(true_classes != true_classes, (limits.size, 1))  # as the classes are, each device its own
    _, (hits, counted) = lax.scan(visit, nothing, overlap[order])
    return hits[rank], counted[rank] & counts[:, None]


def _envelope(classes: Array, hits: Array, counted: Array, starts: Array, owed: Array, dtype: jnp.dtype) -> Array:
    """For the true boxes, class by class in the order in which they are found, the best precision from there on.

    `classes` is sorted, and within a class the surest detection is first; `owed` are the sorted classes of the true
    boxes, of which those of class c begin at `starts[c]`. A box that is never found has precision 0.
    """
    before = jnp.searchsorted(classes, classes)

    def within(flags: Array) -> Array:
        sums = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(flags.astype(jnp.int32))])
        return sums[1:] - sums[before]

    found = within(hits & counted)
    precisions = found.astype(dtype) / jnp.maximum(within(counted), 1).astype(dtype)
    places = jnp.where(hits & counted, starts[jnp.maximum(classes, 0)] + found - 1, owed.size)
    table = jnp.zeros(owed.shape, dtype).at[places].set(precisions, mode="drop")

    def best(later: tuple[Array, Array], here: tuple[Array, Array]) -> tuple[Array, Array]:
        return here[0], jnp.where(later[0] == here[0], jnp.maximum(later[1], here[1]), here[1])

    return lax.associative_scan(best, (owed, table), reverse=True)[1] if owed.size else table


def _recall_levels(envelope: Array, owed: Array, starts: Array, totals: Array, steps: int | None) -> Array:
    """Average precision `[T, C]` of precisions `[T, G]`: over all true boxes, or at steps + 1 levels of recall."""
    if steps is None:
        sums = jax.vmap(lambda each: jax.ops.segment_sum(each, owed, starts.size))(envelope)
        return sums / jnp.maximum(totals, 1).astype(envelope.dtype)
    least = -(-jnp.arange(steps + 1)[:, None] * totals // steps)  # found at that recall, rounded up
    places = starts + jnp.maximum(least, 1) - 1
    values = jnp.pad(envelope, ((0, 0), (0, 1)))[:, jnp.minimum(places, envelope.shape[1])]
    return jnp.where(totals > 0, jnp.mean(values, axis=-2), 0)
