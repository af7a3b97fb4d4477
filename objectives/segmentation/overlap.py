"""Dice, Jaccard metric and Dice semimetric losses, which differ in what a true positive is."""

from typing import Literal

import jax.numpy as jnp

from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.segmentation._counts import overlap_loss


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
    axis_name: AxisName = None,
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
    return overlap_loss(
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
    axis_name: AxisName = None,
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
    return overlap_loss(
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
    axis_name: AxisName = None,
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
    return overlap_loss(
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
