"""Tversky losses: the overlap family with different prices for false positives and false negatives."""

from typing import Literal

import jax.numpy as jnp

from objectives._inputs import compute_dtype, floating, hyperparameter
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.segmentation._counts import overlap_loss


def tversky_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    smooth: Scalar = 1.0,
    alpha: Scalar = 0.3,
    beta: Scalar = 0.7,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    ignore_background: bool = False,
    classes: Literal["all", "present"] = "all",
    per: Literal["image", "dataset"] = "image",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Tversky loss: Dice's with false positives and false negatives at different prices.

    $$
    \operatorname{mean}_c\ w_c \left( 1 - \frac{tp_c + s}{tp_c + \alpha\, fp_c + \beta\, fn_c + s} \right)
    $$

    with the soft counts of `dice_loss`, which it is for alpha = beta = 1/2. Beta above alpha favours recall.

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
        >>> print(f"{tversky_loss(probabilities, jnp.array([[0, 0]]), apply_softmax=False)[0]:.4f}")
        0.2450

    Source:
        Salehi, Erdogmus, Gholipour, "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep
        Networks", 2017.
    """
    return overlap_loss(
        "tversky_loss",
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


def focal_tversky_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Real[ArrayLike, "*labels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    gamma: Scalar = 4 / 3,
    smooth: Scalar = 1.0,
    alpha: Scalar = 0.3,
    beta: Scalar = 0.7,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    ignore_background: bool = False,
    classes: Literal["all", "present"] = "all",
    per: Literal["image", "dataset"] = "image",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Focal Tversky loss: a power of every class's Tversky loss, which turns to classes that are still bad.

    $$
    \operatorname{mean}_c\ w_c\, (1 - T_c)^{1 / \gamma}
    $$

    with Tversky's index T of `tversky_loss`. For gamma above 1, as in the paper, the slope grows without bound as the
    loss goes to 0; at 0 it is taken as 0. (The paper's alpha is the weight of false negatives; here it is beta.)

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`, or probabilities (one-hot included) `[B, *space, C]`. For a single class,
            labels `[B, *space]` are the foreground: boolean, 0 or 1, or a probability.
        apply_softmax: Whether the predictions are logits.
        gamma: Inverse power γ, positive; the paper takes 4/3 out of [1, 3].
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
        >>> print(f"{focal_tversky_loss(probabilities, jnp.array([[0, 0]]), apply_softmax=False)[0]:.4f}")
        0.3481

    Source:
        Abraham, Khan, "A Novel Focal Tversky Loss Function with Improved Attention U-Net for Lesion
        Segmentation", 2019.
    """
    dtype = compute_dtype(floating("focal_tversky_loss", "predictions", predictions))
    gamma = hyperparameter("focal_tversky_loss", "gamma", gamma, dtype, 0, open_low=True)

    def bent(losses: Array) -> Array:
        some = ~(losses <= 0)  # NaN stays NaN
        return jnp.where(some, jnp.where(some, losses, 1) ** (1 / gamma), 0)

    return overlap_loss(
        "focal_tversky_loss",
        predictions,
        labels,
        overlap=jnp.multiply,
        transform=bent,
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
