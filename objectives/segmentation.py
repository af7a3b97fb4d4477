"""Overlap losses for segmentation, from one soft confusion count.

One equation: with the true positives, false positives and false negatives of a class summed over the pixels,

    loss_c = 1 - (tp_c + smooth) / (tp_c + α fp_c + β fn_c + smooth),

averaged over classes (Tversky's index; α = β = 1 is Jaccard's, α = β = 1/2 Dice's). Members differ in α, β and in what
a true positive is for soft labels: the product p·t, or the overlap min(p, t), which alone is largest at p = t.

The layout is `[batch, *space, classes]` throughout: classes last, any number of spatial axes (none is allowed).
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar


def dice_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    smooth: Scalar = 1.0,
    alpha: Scalar = 0.5,
    beta: Scalar = 0.5,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    ignore_background: bool = False,
    classes: Literal["all", "present"] = "all",
    per: Literal["image", "dataset"] = "image",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Float[Array, "..."]:
    r"""Dice loss, or with other alpha and beta the Tversky loss, on soft counts.

    $$
    \operatorname{mean}_c\ w_c \left( 1 - \frac{tp_c + s}{tp_c + \alpha\, fp_c + \beta\, fn_c + s} \right), \qquad
    tp_c = \sum_i p_{ic} t_{ic}, \quad fp_c = \sum_i p_{ic} - tp_c, \quad fn_c = \sum_i t_{ic} - tp_c
    $$

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`, or probabilities (one-hot included) `[B, *space, C]`. For a single class,
            labels `[B, *space]` are the foreground: boolean, 0 or 1, or a probability.
        apply_softmax: Whether the predictions are logits.
        smooth: Number s of pixels added to numerator and denominator, at least 0; it makes an empty class cost 0.
        alpha: Weight of false positives, at least 0.
        beta: Weight of false negatives, at least 0.
        class_weights: Factor w of every class's loss `[C]`; 1 by default.
        ignore_background: Whether class 0 is left out of the mean (where it is not the only one).
        classes: Whether the mean runs over `"all"` classes or those `"present"` in the labels counted together (label
            value above 0.01 at a pixel).
        per: Counts per `"image"`, which gives a loss for every one, or over the whole `"dataset"` in the batch.
        where: Boolean mask of pixels `[B, *space]` or of images `[B]`; what is masked counts nowhere and may hold
            anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for `per="dataset"`; value and
            gradient are then those of the global batch.

    Returns:
        Losses `[B]`, or a scalar for `per="dataset"`, float32 (float64 for float64 inputs); 0 where nothing is counted,
        NaN where a class id is out of range.

    Raises:
        TypeError: If the predictions are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match, a hyperparameter is out of range or a word unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = jnp.array([[[0.75, 0.25], [0.25, 0.75]]])
        >>> print(f"{dice_loss(probabilities, jnp.array([[0, 1]]), apply_softmax=False)[0]:.4f}")
        0.1250

    Source:
        Milletari, Navab, Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
        Segmentation", 2016; Salehi, Erdogmus, Gholipour, "Tversky Loss Function for Image Segmentation Using 3D Fully
        Convolutional Deep Networks", 2017.
    """
    return _overlap_loss(
        "dice_loss",
        predictions,
        labels,
        overlap=jnp.multiply,
        apply_softmax=apply_softmax,
        smooth=smooth,
        alpha=alpha,
        beta=beta,
        class_weights=class_weights,
        ignore_background=ignore_background,
        classes=classes,
        per=per,
        where=where,
        axis_name=axis_name,
    )


def jaccard_metric_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    smooth: Scalar = 1e-3,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    ignore_background: bool = False,
    classes: Literal["all", "present"] = "present",
    per: Literal["image", "dataset"] = "dataset",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Float[Array, "..."]:
    r"""Jaccard metric loss: one minus the intersection over union, valid for soft labels too.

    $$
    \operatorname{mean}_c\ w_c \left( 1 - \frac{tp_c + s}{tp_c + \alpha\, fp_c + \beta\, fn_c + s} \right), \qquad
    tp_c = \tfrac12 \left( \lVert p_c \rVert_1 + \lVert t_c \rVert_1 - \lVert p_c - t_c \rVert_1 \right)
    = \sum_i \min(p_{ic}, t_{ic})
    $$

    For hard labels it is the soft Jaccard loss; for soft labels, unlike that, it is 0 exactly at p = t. With
    alpha = beta = 1 and s = 0 it is a metric on [0, 1]^n.

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`, or probabilities (one-hot included) `[B, *space, C]`. For a single class,
            labels `[B, *space]` are the foreground: boolean, 0 or 1, or a probability.
        apply_softmax: Whether the predictions are logits.
        smooth: Number s of pixels added to numerator and denominator, at least 0.
        alpha: Weight of false positives, at least 0.
        beta: Weight of false negatives, at least 0.
        class_weights: Factor w of every class's loss `[C]`; 1 by default.
        ignore_background: Whether class 0 is left out of the mean (where it is not the only one).
        classes: Whether the mean runs over `"all"` classes, as the authors do for soft labels, or those `"present"` in
            the labels counted together (label value above 0.01 at a pixel), as they do for hard ones.
        per: Counts per `"image"`, which gives a loss for every one, or over the whole `"dataset"` in the batch.
        where: Boolean mask of pixels `[B, *space]` or of images `[B]`; what is masked counts nowhere and may hold
            anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for `per="dataset"`; value and
            gradient are then those of the global batch.

    Returns:
        A scalar, or losses `[B]` for `per="image"`, float32 (float64 for float64 inputs); 0 where nothing is counted,
        NaN where a class id is out of range.

    Raises:
        TypeError: If the predictions are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match, a hyperparameter is out of range or a word unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = jnp.array([[[0.75, 0.25], [0.25, 0.75]]])
        >>> print(f"{jaccard_metric_loss(probabilities, jnp.array([[0, 1]]), apply_softmax=False, smooth=0.0):.4f}")
        0.4000

    Source:
        Wang, Ning, Blaschko, "Jaccard Metric Losses: Optimizing the Jaccard Index with Soft Labels", 2023.
    """
    return _overlap_loss(
        "jaccard_metric_loss",
        predictions,
        labels,
        overlap=jnp.minimum,
        apply_softmax=apply_softmax,
        smooth=smooth,
        alpha=alpha,
        beta=beta,
        class_weights=class_weights,
        ignore_background=ignore_background,
        classes=classes,
        per=per,
        where=where,
        axis_name=axis_name,
    )


def dice_semimetric_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    smooth: Scalar = 1e-3,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    ignore_background: bool = False,
    classes: Literal["all", "present"] = "present",
    per: Literal["image", "dataset"] = "dataset",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Float[Array, "..."]:
    r"""Dice semimetric loss: one minus Dice's score, valid for soft labels too.

    $$
    \operatorname{mean}_c\ w_c
    \left( 1 - \frac{2\, tp_c + 2 s}{\lVert p_c \rVert_1 + \lVert t_c \rVert_1 + 2 s} \right), \qquad
    tp_c = \sum_i \min(p_{ic}, t_{ic})
    $$

    For hard labels it is the soft Dice loss; for soft labels, unlike that, it is 0 exactly at p = t.

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`, or probabilities (one-hot included) `[B, *space, C]`. For a single class,
            labels `[B, *space]` are the foreground: boolean, 0 or 1, or a probability.
        apply_softmax: Whether the predictions are logits.
        smooth: Number s of pixels added to numerator and denominator, at least 0.
        class_weights: Factor w of every class's loss `[C]`; 1 by default.
        ignore_background: Whether class 0 is left out of the mean (where it is not the only one).
        classes: Whether the mean runs over `"all"` classes, as the authors do for soft labels, or those `"present"` in
            the labels counted together (label value above 0.01 at a pixel), as they do for hard ones.
        per: Counts per `"image"`, which gives a loss for every one, or over the whole `"dataset"` in the batch.
        where: Boolean mask of pixels `[B, *space]` or of images `[B]`; what is masked counts nowhere and may hold
            anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for `per="dataset"`; value and
            gradient are then those of the global batch.

    Returns:
        A scalar, or losses `[B]` for `per="image"`, float32 (float64 for float64 inputs); 0 where nothing is counted,
        NaN where a class id is out of range.

    Raises:
        TypeError: If the predictions are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match, a hyperparameter is out of range or a word unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = jnp.array([[[0.75, 0.25], [0.25, 0.75]]])
        >>> print(f"{dice_semimetric_loss(probabilities, jnp.array([[0, 1]]), apply_softmax=False, smooth=0.0):.4f}")
        0.2500

    Source:
        Wang, Popordanoska, Bertels, Lemmens, Blaschko, "Dice Semimetric Losses: Optimizing the Dice Score with Soft
        Labels", 2023.
    """
    return _overlap_loss(
        "dice_semimetric_loss",
        predictions,
        labels,
        overlap=jnp.minimum,
        apply_softmax=apply_softmax,
        smooth=smooth,
        alpha=0.5,
        beta=0.5,
        class_weights=class_weights,
        ignore_background=ignore_background,
        classes=classes,
        per=per,
        where=where,
        axis_name=axis_name,
    )


def _overlap_loss(
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
    axis_name: str | tuple[str, ...] | None,
) -> Array:
    """The one equation of this file."""
    scores = floating(function, "predictions", predictions)
    check_rank(function, "predictions", scores, 2, "[B, *space, C]")
    check_classes(function, "predictions", scores, "[B, *space, C]")
    _check_word(function, "classes", classes, ("all", "present"))
    _check_word(function, "per", per, ("image", "dataset"))
    if axis_name is not None and per == "image":
        raise ValueError(f'{function}: axis_name needs per="dataset"; losses per image are not coupled')
    kept, dtype = _pixel_mask(function, where, scores.shape[:-1]), compute_dtype(scores)
    smooth = hyperparameter(function, "smooth", smooth, dtype, 0)
    alpha, beta = hyperparameter(function, "alpha", alpha, dtype, 0), hyperparameter(function, "beta", beta, dtype, 0)

    probabilities = _probabilities(clean(scores, kept), apply_softmax, dtype)
    targets, poison = _targets(function, labels, scores.shape, dtype, kept)
    probabilities = clean(probabilities * poison, kept)
    pixels = tuple(range(0 if per == "dataset" else 1, scores.ndim - 1))

    def count(values: Array) -> Array:
        totals = jnp.sum(values, axis=pixels)
        return totals if axis_name is None else lax.psum(totals, axis_name)

    if targets.dtype == jnp.bool_:  # both overlaps are p where the label is 1 and 0 elsewhere
        both = jnp.where(targets, probabilities, 0)
    else:
        both = overlap(probabilities, targets)
    tp, predicted, actual = count(both), count(probabilities), count(targets.astype(dtype))
    union = tp + alpha * (predicted - tp) + beta * (actual - tp) + smooth
    losses = jnp.where(union == 0, 0, 1 - (tp + smooth) / jnp.where(union == 0, 1, union))
    if class_weights is not None:
        losses = losses * class_vector(function, "class_weights", class_weights, scores.shape[-1], dtype)

    active = jnp.ones(losses.shape, bool)
    if classes == "present":
        active = count(lax.stop_gradient(targets > 0.01).astype(dtype)) > 0
    if ignore_background and scores.shape[-1] > 1:
        active = active & (jnp.arange(scores.shape[-1]) > 0)
    total = jnp.sum(jnp.where(active, losses, 0), axis=-1)
    return total / jnp.maximum(jnp.sum(active, axis=-1), 1).astype(dtype)


def _check_word(function: str, name: str, value: str, words: tuple[str, str]) -> None:
    """ValueError unless `value` is one of `words`."""
    if value not in words:
        raise ValueError(f"{function}: {name} must be {words[0]!r} or {words[1]!r}, got {value!r}")


def _pixel_mask(function: str, where: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    """The mask over pixels `[B, *space]`, from one over pixels or over images `[B]`."""
    if where is None:
        return None
    rank = jnp.ndim(where)
    kept = mask(function, where, shape[:1] if rank == 1 else shape)
    return None if kept is None else jnp.broadcast_to(expand(kept, len(shape)), shape)


def _probabilities(scores: Array, apply_softmax: bool, dtype: np.dtype) -> Array:
    """Class probabilities in the compute dtype."""
    scores = scores.astype(dtype)
    if not apply_softmax:
        return scores
    return jax.nn.sigmoid(scores) if scores.shape[-1] == 1 else jax.nn.softmax(scores, axis=-1)


def _targets(
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
