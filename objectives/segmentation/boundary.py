r"""The boundary loss, a distance between contours as an integral over regions, and the distance maps it needs."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import (
    check_classes,
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    floating,
    is_class,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real
from objectives.segmentation._counts import pixel_mask, to_probabilities


def boundary_loss(
    predictions: Float[ArrayLike, "batch *space classes"],
    distance_maps: Real[ArrayLike, "batch *space classes"],
    *,
    apply_softmax: bool = True,
    ignore_background: bool = False,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, " batch"]:
    r"""Boundary loss: probability weighted by the signed distance to the true contour.

    $$
    \operatorname{mean}_{i, c}\ p_{ic}\, \phi_{ic}
    $$

    It is linear in the probabilities and may be negative: it is least where exactly the foreground is predicted. The
    authors add it to an overlap loss (generalised Dice), with a weight that grows over the epochs.

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        distance_maps: Signed distances φ to the contour of every class `[B, *space, C]`, negative inside, in pixels or
            any other unit: those of `signed_distance_map`.
        apply_softmax: Whether the predictions are logits.
        ignore_background: Whether class 0 is left out of the mean (where it is not the only one).
        where: Boolean mask of pixels `[B, *space]` or of images `[B]`; what is masked counts nowhere and may hold
            anything.

    Returns:
        Losses `[B]` in units of the distance, float32 (float64 for float64 inputs); 0 where nothing is counted.

    Raises:
        TypeError: If the predictions are not floating point, the distances not real or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> maps = signed_distance_map(jnp.array([[0, 0, 1]]), classes=2)
        >>> print(f"{boundary_loss(jnp.zeros((1, 3, 2)), maps, ignore_background=True)[0]:.4f}")
        0.5000

    Source:
        Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed, "Boundary Loss for Highly Unbalanced
        Segmentation", 2019.
    """
    name = "boundary_loss"
    scores, maps = floating(name, "predictions", predictions), real(name, "distance_maps", distance_maps)
    check_rank(name, "predictions", scores, 2, "[B, *space, C]")
    check_classes(name, "predictions", scores, "[B, *space, C]")
    check_same_shape(name, "distance_maps", maps, "predictions", scores)
    kept, dtype = pixel_mask(name, where, scores.shape[:-1]), compute_dtype(scores, maps)
    terms = to_probabilities(clean(scores, kept), apply_softmax, dtype) * clean(maps, kept).astype(dtype)
    terms = terms[..., 1:] if ignore_background and scores.shape[-1] > 1 else terms
    terms = clean(jnp.mean(terms, axis=-1), kept)
    present = jnp.ones(terms.shape, bool) if kept is None else kept
    pixels = tuple(range(1, terms.ndim))
    return jnp.sum(terms, axis=pixels) / jnp.maximum(jnp.sum(present, axis=pixels), 1).astype(dtype)


def signed_distance_map(labels: Integer[ArrayLike, " batch *space"], *, classes: int) -> Float[Array, "..."]:
    r"""Signed Euclidean distances to the contour of every class, negative inside, as the boundary loss takes them.

    $$
    \phi_{ic} = \begin{cases} 1 - d(i, \text{not } c) & \text{where pixel } i \text{ is of class } c \\
    d(i, c) & \text{elsewhere} \end{cases}
    $$

    with exact distances d between the centres of pixels; 0 at the class's own pixels on the contour, 1 beside them. It
    takes O(P (H + W)) time for P pixels of an H by W image, in O(P) memory, on any device and under `jit`.

    Args:
        labels: Class ids `[B, *space]`; one out of range belongs to no class.
        classes: Number of classes C, at least 1. For one class the labels are the foreground, 0 or 1, and the map is
            that of 1.

    Returns:
        Distances in pixels `[B, *space, C]`, float32; 0 throughout for a class that an image has nowhere, or
            everywhere.

    Raises:
        TypeError: If the labels are not integers or `classes` is no integer.
        ValueError: If the labels have no spatial axis or `classes` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(signed_distance_map(jnp.array([[1, 1, 1, 0, 0]]), classes=2)[0, :, 1])
        [-2. -1.  0.  1.  2.]

    Source:
        Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed, "Boundary Loss for Highly Unbalanced
        Segmentation", 2019; Felzenszwalb, Huttenlocher, "Distance Transforms of Sampled Functions", 2012.
    """
    name = "signed_distance_map"
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer):
        raise TypeError(f"{name}: classes must be an integer, got {type(classes).__name__}")
    if classes < 1:
        raise ValueError(f"{name}: classes must be at least 1, got {classes}")
    ids = real(name, "labels", labels)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{name}: labels must be integer class ids [B, *space], got {describe(ids)}")
    check_rank(name, "labels", ids, 2, "[B, *space]")
    inside = (ids == 1)[..., None] if classes == 1 else is_class(ids, classes)
    space = tuple(range(1, ids.ndim))
    outward, inward = jnp.sqrt(_squared_distances(inside)), jnp.sqrt(_squared_distances(~inside))
    divided = jnp.any(inside, axis=space, keepdims=True) & ~jnp.all(inside, axis=space, keepdims=True)
    return jnp.where(divided, jnp.where(inside, 1 - inward, outward), 0)


def _squared_distances(members: Array) -> Array:
    """Squared distances to the nearest member, over the axes between the first and the last, one axis after another.

    Along an axis it is min_j f(j) + (i - j)²: one comparison for every offset i - j, all pixels at once.
    """
    far = jnp.float32(1e12)
    squared = jnp.where(members, 0, far).astype(jnp.float32)
    for axis in range(1, members.ndim - 1):
        squared = _along(squared, axis)
    return squared


def _along(f: Array, axis: int) -> Array:
    """min_j f(j) + (i - j)² over the places j of one axis."""
    length = f.shape[axis]
    places = jnp.arange(length).reshape((-1,) + (1,) * (f.ndim - 1 - axis))

    def nearer(offset: Array, best: Array) -> Array:
        cost = jnp.square(offset.astype(f.dtype))
        before = jnp.where(places >= offset, jnp.roll(f, offset, axis) + cost, jnp.inf)
        after = jnp.where(places < length - offset, jnp.roll(f, -offset, axis) + cost, jnp.inf)
        return jnp.minimum(best, jnp.minimum(before, after))

    return lax.fori_loop(1, length, nearer, f)
