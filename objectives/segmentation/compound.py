"""Dice's loss weighted by the size of classes, smoothed by log-cosh, and combined with cross-entropy."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from objectives._batch import all_sum
from objectives._inputs import check_classes, check_rank, clean, compute_dtype, floating, hyperparameter
from objectives._log_domain import log_sum_exp
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.segmentation._counts import check_word, overlap_loss, pixel_mask, read_targets, soft_counts
from objectives.segmentation.overlap import dice_loss


def generalized_dice_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    smooth: Scalar = 1e-5,
    weighting: Literal["square", "simple", "uniform"] = "square",
    per: Literal["image", "dataset"] = "image",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Generalised Dice loss: one Dice score of all classes, which weigh by the inverse of their squared size.

    $$
    1 - \frac{2 \sum_c w_c\, tp_c + s}{\sum_c w_c \left( \sum_i p_{ic} + \sum_i t_{ic} \right) + s}, \qquad
    w_c = \Big( \sum_i t_{ic} \Big)^{-2}
    $$

    A class without pixels, whose weight is unbounded, gets the largest weight of the others, as in MONAI.

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`, or probabilities (one-hot included) `[B, *space, C]`. For a single class,
            labels `[B, *space]` are the foreground: boolean, 0 or 1, or a probability.
        apply_softmax: Whether the predictions are logits.
        smooth: Added to numerator and denominator, at least 0.
        weighting: The power of a class's size in its weight: `"square"` (the paper's), `"simple"` for the first power,
            `"uniform"` for none.
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
        >>> probabilities = jnp.array([[[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]])
        >>> print(f"{generalized_dice_loss(probabilities, jnp.array([[0, 1, 1]]), apply_softmax=False)[0]:.4f}")
        0.3704

    Source:
        Sudre, Li, Vercauteren, Ourselin, Cardoso, "Generalised Dice Overlap as a Deep Learning Loss Function for Highly
        Unbalanced Segmentations", 2017.
    """
    name = "generalized_dice_loss"
    powers = {"square": 2, "simple": 1, "uniform": 0}
    if weighting not in powers:
        raise ValueError(f"{name}: weighting must be 'square', 'simple' or 'uniform', got {weighting!r}")
    counts = soft_counts(
        name,
        predictions,
        labels,
        overlap=jnp.multiply,
        apply_softmax=apply_softmax,
        per=per,
        where=where,
        axis_name=axis_name,
    )
    tp, predicted, actual = counts[:3]
    smooth = hyperparameter(name, "smooth", smooth, tp.dtype, 0)
    weights = 1 / jnp.where(actual == 0, 1, actual) ** powers[weighting]
    largest = jnp.max(weights, axis=-1, where=actual != 0, initial=0, keepdims=True)
    weights = jnp.where(actual == 0, jnp.where(largest == 0, 1, largest), weights)
    both = jnp.sum(weights * (predicted + actual), axis=-1) + smooth
    score = (2 * jnp.sum(weights * tp, axis=-1) + smooth) / jnp.where(both == 0, 1, both)
    return jnp.where(both == 0, 0, 1 - score)


def log_cosh_dice_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    smooth: Scalar = 1.0,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    ignore_background: bool = False,
    classes: Literal["all", "present"] = "all",
    per: Literal["image", "dataset"] = "image",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Log-cosh Dice loss: quadratic where Dice's loss is near 0.

    $$
    \log \cosh (\text{Dice loss})
    $$

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`, or probabilities (one-hot included) `[B, *space, C]`. For a single class,
            labels `[B, *space]` are the foreground: boolean, 0 or 1, or a probability.
        apply_softmax: Whether the predictions are logits.
        smooth: Number s of pixels added to numerator and denominator, at least 0; it makes an empty class cost 0.
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
        >>> print(f"{log_cosh_dice_loss(probabilities, jnp.array([[0, 1]]), apply_softmax=False)[0]:.4f}")
        0.0078

    Source:
        Jadon, "A Survey of Loss Functions for Semantic Segmentation", 2020.
    """
    losses = overlap_loss(
        "log_cosh_dice_loss",
        predictions,
        labels,
        overlap=jnp.multiply,
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
    return losses + jax.nn.softplus(-2 * losses) - math.log(2)


def combo_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    mixture: Scalar = 0.5,
    recall_weight: Scalar = 0.5,
    smooth: Scalar = 1.0,
    per: Literal["image", "dataset"] = "image",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Combo loss: cross-entropy that prices false positives and false negatives apart, mixed with Dice's loss.

    $$
    \alpha \operatorname{mean}_{i, c} \left[ -\beta\, t_{ic} \log p_{ic}
    - (1 - \beta) (1 - t_{ic}) \log (1 - p_{ic}) \right] + (1 - \alpha) (\text{Dice loss})
    $$

    The paper has minus the Dice score in place of the Dice loss, which is less by the constant 1 - α.

    Args:
        predictions: Logits `[B, *space, C]`. A single class is binary: its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`, or probabilities (one-hot included) `[B, *space, C]`. For a single class,
            labels `[B, *space]` are the foreground: boolean, 0 or 1, or a probability.
        mixture: Share α of the cross-entropy, in [0, 1].
        recall_weight: Weight β of the label's own class, in [0, 1]; above 1/2 it is false negatives that cost more.
        smooth: Number of pixels added to numerator and denominator of Dice's score, at least 0.
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
        >>> print(f"{combo_loss(jnp.zeros((1, 2, 2)), jnp.array([[0, 1]]))[0]:.4f}")
        0.2983

    Source:
        Taghanaki, Zheng, Zhou, Georgescu, Sharma, Xu, Comaniciu, Hamarneh, "Combo Loss: Handling Input and Output
        Imbalance in Multi-Organ Segmentation", 2019.
    """
    name = "combo_loss"
    scores = floating(name, "predictions", predictions)
    check_rank(name, "predictions", scores, 2, "[B, *space, C]")
    check_classes(name, "predictions", scores, "[B, *space, C]")
    check_word(name, "per", per, ("image", "dataset"))
    if axis_name is not None and per == "image":
        raise ValueError(f'{name}: axis_name needs per="dataset"; losses per image are not coupled')
    kept, dtype = pixel_mask(name, where, scores.shape[:-1]), compute_dtype(scores)
    alpha = hyperparameter(name, "mixture", mixture, dtype, 0, 1)
    beta = hyperparameter(name, "recall_weight", recall_weight, dtype, 0, 1)
    hyperparameter(name, "smooth", smooth, dtype, 0)
    log_p, log_not_p = _log_probabilities(clean(scores, kept).astype(dtype))
    targets, poison = read_targets(name, labels, scores.shape, dtype, kept)
    shares = targets.astype(dtype) * poison
    present = jnp.ones(scores.shape[:-1], bool) if kept is None else kept
    entropy = beta * _product(shares, log_p) + (1 - beta) * _product(1 - shares, log_not_p)
    pixels = tuple(range(0 if per == "dataset" else 1, scores.ndim - 1))
    entropy = all_sum(jnp.sum(clean(jnp.mean(entropy, axis=-1), present), axis=pixels), axis_name)
    count = all_sum(jnp.sum(present, axis=pixels, dtype=dtype), axis_name)
    dice = dice_loss(predictions, labels, smooth=smooth, per=per, where=where, axis_name=axis_name)
    return alpha * -entropy / jnp.maximum(count, 1) + (1 - alpha) * dice


def _product(shares: Array, logarithms: Array) -> Array:
    """Shares times logarithms, where 0 times -inf is 0."""
    some = shares != 0
    return jnp.where(some, shares * jnp.where(some, logarithms, 0), 0)


def _log_probabilities(scores: Array) -> tuple[Array, Array]:
    """log p and log(1 - p) of softmax (of the sigmoid for a single class), neither by way of p."""
    if scores.shape[-1] == 1:
        return -jax.nn.softplus(-scores), -jax.nn.softplus(scores)
    log_p = jax.nn.log_softmax(scores, axis=-1)
    largest = jnp.argmax(scores, axis=-1)[..., None] == jnp.arange(scores.shape[-1])
    others = log_sum_exp(log_p, where=~largest)[..., None]  # of the others' probabilities, where p may be next to 1
    return log_p, jnp.where(largest, others, jnp.log1p(-jnp.exp(jnp.where(largest, -1, log_p))))
