"""The soft confusion count that the overlap losses share, and what every segmentation loss does before it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    check_classes,
    check_rank,
    class_labels,
    class_vector,
    clean,
    compute_dtype,
    expand,
    floating,
    hyperparameter,
    is_class,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, AxisName, Scalar


class Counts(NamedTuple):
    """Soft counts of pixels, `[B, C]` or `[C]`: true positives, all predicted and all actual ones.

    `present` says in which the labels have the class at all; NaN counts stand for class ids out of range.
    """

    tp: Array
    predicted: Array
    actual: Array
    present: Array


def soft_counts(
    function: str,
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    overlap: Callable[[Array, Array], Array],
    apply_softmax: bool,
    per: str,
    where: ArrayLike | None,
    axis_name: AxisName,
) -> Counts:
    """Counts over the pixels of each image, or of the dataset that the (global) batch is."""
    scores = floating(function, "predictions", predictions)
    check_rank(function, "predictions", scores, 2, "[B, *space, C]")
    check_classes(function, "predictions", scores, "[B, *space, C]")
    check_word(function, "per", per, ("image", "dataset"))
    if axis_name is not None and per == "image":
        raise ValueError(f'{function}: axis_name needs per="dataset"; losses per image are not coupled')
    kept, dtype = pixel_mask(function, where, scores.shape[:-1]), compute_dtype(scores)

    probabilities = to_probabilities(clean(scores, kept), apply_softmax, dtype)
    targets, poison = read_targets(function, labels, scores.shape, dtype, kept)
    probabilities = clean(probabilities * poison, kept)
    pixels = tuple(range(0 if per == "dataset" else 1, scores.ndim - 1))

    def count(values: Array) -> Array:
        return all_sum(jnp.sum(values, axis=pixels), axis_name)

    if targets.dtype == jnp.bool_:  # both overlaps are p where the label is 1 and 0 elsewhere
        both = jnp.where(targets, probabilities, 0)
    else:
        both = overlap(probabilities, targets)
    present = count(lax.stop_gradient(targets > 0.01).astype(dtype)) > 0
    return Counts(count(both), count(probabilities), count(targets.astype(dtype)), present)


def overlap_loss(
    function: str,
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    overlap: Callable[[Array, Array], Array],
    apply_softmax: bool,
    smooth: Scalar,
    alpha: Scalar,
    beta: Scalar,
    class_weights: ArrayLike | None,
    ignore_background: bool,
    classes: str,
    per: str,
    where: ArrayLike | None,
    axis_name: AxisName,
    transform: Callable[[Array], Array] = lambda losses: losses,
) -> Array:
    """The one equation of the overlap losses; `transform` bends the loss of a class."""
    check_word(function, "classes", classes, ("all", "present"))
    counts = soft_counts(
        function,
        predictions,
        labels,
        overlap=overlap,
        apply_softmax=apply_softmax,
        per=per,
        where=where,
        axis_name=axis_name,
    )
    tp, predicted, actual = counts[:3]
    dtype, number = tp.dtype, tp.shape[-1]
    smooth = hyperparameter(function, "smooth", smooth, dtype, 0)
    alpha, beta = hyperparameter(function, "alpha", alpha, dtype, 0), hyperparameter(function, "beta", beta, dtype, 0)
    union = tp + alpha * (predicted - tp) + beta * (actual - tp) + smooth
    losses = transform(jnp.where(union == 0, 0, 1 - (tp + smooth) / jnp.where(union == 0, 1, union)))
    if class_weights is not None:
        losses = losses * class_vector(function, "class_weights", class_weights, number, dtype)

    active = counts.present if classes == "present" else jnp.ones(losses.shape, bool)
    if ignore_background and number > 1:
        active = active & (jnp.arange(number) > 0)
    return jnp.sum(jnp.where(active, losses, 0), axis=-1) / jnp.maximum(jnp.sum(active, axis=-1), 1).astype(dtype)


def check_word(function: str, name: str, value: str, words: tuple[str, str]) -> None:
    """ValueError unless `value` is one of `words`."""
    if value not in words:
        raise ValueError(f"{function}: {name} must be {words[0]!r} or {words[1]!r}, got {value!r}")


def pixel_mask(function: str, where: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    """The mask over pixels `[B, *space]`, from one over pixels or over images `[B]`."""
    if where is None:
        return None
    rank = jnp.ndim(where)
    kept = mask(function, where, shape[:1] if rank == 1 else shape)
    return None if kept is None else jnp.broadcast_to(expand(kept, len(shape)), shape)


def to_probabilities(scores: Array, apply_softmax: bool, dtype: np.dtype) -> Array:
    """Class probabilities in the compute dtype."""
    scores = scores.astype(dtype)
    if not apply_softmax:
        return scores
    return jax.nn.sigmoid(scores) if scores.shape[-1] == 1 else jax.nn.softmax(scores, axis=-1)


def read_targets(
    function: str, labels: ArrayLike, shape: tuple[int, ...], dtype: np.dtype, kept: Array | None
) -> tuple[Array, Array]:
    """Labels `[B, *space, C]`, boolean for class ids, else in the compute dtype; and NaN, else 1, at invalid pixels."""
    array = real(function, "labels", labels)
    if shape[-1] == 1 and array.shape == shape[:-1]:  # binary: the labels are the foreground
        foreground = clean(array, kept)[..., None]
        if not jnp.issubdtype(array.dtype, jnp.integer):
            return foreground if array.dtype == jnp.bool_ else foreground.astype(dtype), jnp.ones((), dtype)
        valid = (foreground == 0) | (foreground == 1)
        return foreground == 1, jnp.where(valid, 1, jnp.nan).astype(dtype)
    targets = class_labels(function, array, shape, dtype, kept)
    if targets.valid is None:
        return clean(targets.values, kept), jnp.ones((), dtype)
    hard = is_class(targets.values, shape[-1])
    hard = hard if kept is None else hard & kept[..., None]
    return hard, jnp.where(targets.valid, 1, jnp.nan).astype(dtype)[..., None]
