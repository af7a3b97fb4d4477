"""The refined generalised focal loss (REG) of detection and segmentation together."""

import jax.numpy as jnp

from objectives._inputs import check_rank, clean, compute_dtype, describe, finish, floating, hyperparameter, mask, real
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.classification import sigmoid_focal_loss


def refined_generalized_focal_loss(
    detection_logits: Float[ArrayLike, "batch height width"],
    detection_labels: Real[ArrayLike, "batch height width"] | Bool[ArrayLike, "batch height width"],
    segmentation_logits: Float[ArrayLike, "batch rows columns"],
    segmentation_labels: Real[ArrayLike, "batch rows columns"] | Bool[ArrayLike, "batch rows columns"],
    *,
    alpha: Scalar = 0.25,
    gamma: Scalar = 2.0,
    detection_weight: Scalar = 1.0,
    segmentation_weight: Scalar = 1.0,
    smoothness_weight: Scalar = 0.1,
    spatial_weights: Real[ArrayLike, "batch height width"] | None = None,
    where: Bool[ArrayLike, " batch"] | None = None,
) -> Float[Array, " batch"]:
    r"""Refined generalised focal loss (REG): focal detection, segmentation, and smooth logits of the segmentation.

    $$
    \lambda_d \operatorname{mean}_i g_i\, \alpha (1 - p_{t,i})^\gamma\, \mathrm{BCE}_i
    + \lambda_s \operatorname{mean}_j \mathrm{BCE}_j
    + \lambda_r \operatorname{mean}_j (\nabla^2 z_j)^2
    $$

    This is the authors' code, in which alpha weighs both classes alike, with the spatial weights g of the paper, there
    a sigmoid of the distance of a pixel to the nearest object. The paper's probabilistic refinement, an expectation
    over noise in the predictions, is a mean of this loss over draws of noisy logits.

    Args:
        detection_logits: Log odds of an object at every place `[B, H, W]`.
        detection_labels: 0 or 1, boolean, or probability, of the same shape.
        segmentation_logits: Log odds z of the mask `[B, H', W']`.
        segmentation_labels: 0 or 1, boolean, or probability, of the same shape.
        alpha: Weight of the focal loss, at least 0.
        gamma: Focusing exponent, at least 0.
        detection_weight: Weight λ_d, at least 0.
        segmentation_weight: Weight λ_s, at least 0.
        smoothness_weight: Weight λ_r of `laplacian_smoothness`, at least 0.
        spatial_weights: Weight g of every place of the detection `[B, H, W]`; 1 by default.
        where: Boolean mask of images `[B]`; a masked image has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[B]` in nats, float32 (float64 for float64 logits); their mean is that of the authors' code.

    Raises:
        TypeError: If logits are not floating point, labels not real or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits, labels = jnp.zeros((1, 4, 4)), jnp.ones((1, 4, 4))
        >>> print(f"{refined_generalized_focal_loss(logits, labels, logits, labels)[0]:.4f}")
        0.7365

    Source:
        Panboonyuen, "REG: Refined Generalized Focal Loss for Road Asset Detection on Thai Highways Using Vision-Based
        Detection and Segmentation Models", 2024.
    """
    name = "refined_generalized_focal_loss"
    found, masks = (
        _images(name, "detection_logits", detection_logits),
        _images(name, "segmentation_logits", segmentation_logits),
    )
    if len(masks) != len(found):
        raise ValueError(f"{name}: segmentation_logits must be of {len(found)} images, got {describe(masks)}")
    kept, dtype = mask(name, where, found.shape[:1]), compute_dtype(found, masks)
    scales = [
        hyperparameter(name, key, value, dtype, 0)
        for key, value in (
            ("alpha", alpha),
            ("gamma", gamma),
            ("detection_weight", detection_weight),
            ("segmentation_weight", segmentation_weight),
            ("smoothness_weight", smoothness_weight),
        )
    ]
    objects = _labels(name, "detection_labels", detection_labels, found, kept)
    shapes = _labels(name, "segmentation_labels", segmentation_labels, masks, kept)
    found, masks = clean(found, kept).astype(dtype), clean(masks, kept).astype(dtype)
    focal = _focal(found, objects.astype(dtype), scales[1])
    if spatial_weights is not None:
        focal = focal * _labels(name, "spatial_weights", spatial_weights, found, kept).astype(dtype)
    segmented = sigmoid_focal_loss(masks, shapes.astype(dtype), gamma=0.0)
    losses = (
        scales[2] * scales[0] * _mean(focal) + scales[3] * _mean(segmented) + scales[4] * _mean(_laplacian(masks) ** 2)
    )
    return finish(losses, kept)


def laplacian_smoothness(
    logits: Float[ArrayLike, "batch height width"], *, where: Bool[ArrayLike, " batch"] | None = None
) -> Float[Array, " batch"]:
    r"""Mean square of the discrete Laplacian of every image: 0 inside planes, large at isolated pixels.

    $$
    \frac{1}{HW} \sum_{ij} \big( z_{i-1,j} + z_{i+1,j} + z_{i,j-1} + z_{i,j+1} - 4 z_{ij} \big)^2
    $$

    with the image reflected at its borders.

    Args:
        logits: Images z `[B, H, W]`.
        where: Boolean mask of images `[B]`; a masked image has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[B]` in squared units, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point or `where` not boolean.
        ValueError: If they have not three axes.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{laplacian_smoothness(jnp.zeros((1, 5, 5)).at[0, 2, 2].set(1.0))[0]:.4f}")
        0.8000

    Source:
        Panboonyuen, "REG: Refined Generalized Focal Loss for Road Asset Detection on Thai Highways Using Vision-Based
        Detection and Segmentation Models", 2024.
    """
    name = "laplacian_smoothness"
    images = _images(name, "logits", logits)
    kept = mask(name, where, images.shape[:1])
    return finish(_mean(_laplacian(clean(images, kept).astype(compute_dtype(images))) ** 2), kept)


def _images(function: str, name: str, value: ArrayLike) -> Array:
    """Floating images."""
    array = floating(function, name, value)
    check_rank(function, name, array, 3, "[B, H, W]", 3)
    return array


def _labels(function: str, name: str, value: ArrayLike, like: Array, kept: Array | None) -> Array:
    """Real numbers of the shape of the images, 0 where masked."""
    array = real(function, name, value)
    if array.shape != like.shape:
        raise ValueError(f"{function}: {name} must have shape {list(like.shape)}, got {describe(array)}")
    return clean(array, kept)


def _mean(images: Array) -> Array:
    """The mean of every image; 0 of one without pixels."""
    return jnp.sum(images, axis=(1, 2)) / max(images[0].size if len(images) else 1, 1)


def _focal(scores: Array, labels: Array, gamma: Scalar) -> Array:
    """(1 - e^{-BCE})^γ BCE: for labels between 0 and 1 not the focal loss, whose p_t is linear in the label."""
    cross_entropy = sigmoid_focal_loss(scores, labels, gamma=0.0)
    wrong = -jnp.expm1(-cross_entropy)
    positive = wrong > 0
    return jnp.where(positive, jnp.where(positive, wrong, 1) ** gamma, 0) * cross_entropy


def _laplacian(images: Array) -> Array:
    """The five-point Laplacian with reflected borders; an axis of one pixel has no neighbours along it."""
    total = jnp.zeros_like(images)
    for axis in (1, 2):
        if images.shape[axis] > 1:
            padding = [(1, 1) if i == axis else (0, 0) for i in range(3)]
            padded = jnp.pad(images, padding, mode="reflect")
            before = jnp.take(padded, jnp.arange(images.shape[axis]), axis=axis)
            after = jnp.take(padded, jnp.arange(images.shape[axis]) + 2, axis=axis)
            total = total + before + after - 2 * images
    return total
