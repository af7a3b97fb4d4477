r"""Losses of images and of depth maps: structural similarity, photometric loss, scale-invariant depth, smoothness.

Images are `[..., H, W, C]`, disparities `[..., H, W]`, and there is one value an image (or a pixel, where it says so).
Structural similarity is one equation on local means, variances and covariance; its users differ in the window. The
smoothness terms are one sum over differences of neighbours, which differ in what weighs a difference.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

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
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def structural_similarity(
    predictions: Float[ArrayLike, "*batch height width channels"],
    targets: Real[ArrayLike, "*batch height width channels"],
    *,
    data_range: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Structural similarity (SSIM) of two images, which is 1 for equal ones; minimise one minus it.

    $$
    \operatorname{mean}\ \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
    {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}, \qquad c_1 = (0.01 L)^2,\ c_2 = (0.03 L)^2
    $$

    over all windows that fit into the image and all channels; means, variances and the covariance of a window are
    weighted by a Gaussian of 11 by 11 pixels with standard deviation 1.5.

    Args:
        predictions: Images x `[..., H, W, C]`, of at least 11 by 11 pixels.
        targets: Images y of the same shape.
        data_range: Range L of the values, positive: 1 for images in [0, 1], 255 for bytes.
        where: Boolean mask of images `[...]`; a masked one has value 0 and gradient 0 and may hold anything.

    Returns:
        Similarities `[...]` in [-1, 1], float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ, the images are too small or `data_range` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> image = jnp.linspace(0.0, 1.0, 144).reshape(12, 12, 1)
        >>> print(f"{structural_similarity(image, 0.5 * image):.4f}")
        0.6470

    Source:
        Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
        Similarity", 2004.
    """
    name = "structural_similarity"
    x, y, kept, dtype = _read_pair(name, predictions, targets, where, per_pixel=False)
    if min(x.shape[-3:-1]) < 11:
        raise ValueError(f"{name}: predictions must have at least 11 by 11 pixels, got {describe(x)}")
    data_range = hyperparameter(name, "data_range", data_range, dtype, 0, open_low=True)
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    similarity = _similarity(x, y, weights / weights.sum(), (0.01 * data_range) ** 2, (0.03 * data_range) ** 2)
    return finish(jnp.mean(similarity, axis=(-3, -2, -1)), kept)


def photometric_loss(
    predictions: Float[ArrayLike, "*batch height width channels"],
    targets: Real[ArrayLike, "*batch height width channels"],
    *,
    alpha: Scalar = 0.85,
    where: Bool[ArrayLike, "*batch height width"] | None = None,
) -> Float[Array, "*batch height width"]:
    r"""Photometric loss of every pixel of a reconstructed image: structural dissimilarity and absolute error.

    $$
    \frac{\alpha}{2} (1 - \mathrm{SSIM}(x, y)) + (1 - \alpha) |x - y|, \quad \text{mean over channels}
    $$

    with SSIM over windows of 3 by 3 pixels, images in [0, 1] and reflected at their edges. Values per pixel are what
    the minimum over several reconstructions needs.

    Args:
        predictions: Reconstructed images x `[..., H, W, C]`, in [0, 1], of at least 2 by 2 pixels.
        targets: Images y of the same shape.
        alpha: Share α of the structural term, in [0, 1].
        where: Boolean mask of pixels `[..., H, W]`; a masked one has loss 0 and gradient 0, may hold anything and is
            black in the windows of its neighbours, in both images.

    Returns:
        Losses `[..., H, W]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ, the images are too small or `alpha` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{photometric_loss(jnp.ones((4, 4, 1)), 0.5 * jnp.ones((4, 4, 1)))[0, 0]:.4f}")
        0.1600

    Source:
        Godard, Mac Aodha, Brostow, "Unsupervised Monocular Depth Estimation with Left-Right Consistency", 2017; Godard,
        Mac Aodha, Firman, Brostow, "Digging into Self-Supervised Monocular Depth Estimation", 2019 (3 by 3 windows).
    """
    name = "photometric_loss"
    x, y, kept, dtype = _read_pair(name, predictions, targets, where, per_pixel=True)
    if min(x.shape[-3:-1]) < 2:
        raise ValueError(f"{name}: predictions must have at least 2 by 2 pixels, got {describe(x)}")
    alpha = hyperparameter(name, "alpha", alpha, dtype, 0, 1)
    edges = [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    padded = jnp.pad(x, edges, mode="reflect"), jnp.pad(y, edges, mode="reflect")
    dissimilarity = jnp.clip((1 - _similarity(*padded, np.full(3, 1 / 3), 0.01**2, 0.03**2)) / 2, 0, 1)
    losses = jnp.mean(dissimilarity, axis=-1) * alpha + jnp.mean(_absolute(x - y), axis=-1) * (1 - alpha)
    return finish(losses, kept)


def disparity_smoothness_loss(
    disparities: Float[ArrayLike, "*batch height width"],
    images: Real[ArrayLike, "*batch height width channels"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Edge-aware smoothness: disparity may change where the image does.

    $$
    \operatorname{mean} |\partial_x d|\, e^{-|\partial_x I|} + \operatorname{mean} |\partial_y d|\, e^{-|\partial_y I|}
    $$

    with differences of neighbouring pixels and |∂I| the mean over channels. Later work divides the disparity of an
    image by its mean first, so that it cannot shrink: pass `d / d.mean((-2, -1), keepdims=True)`.

    Args:
        disparities: Disparities (or inverse depths) d `[..., H, W]`.
        images: Images I `[..., H, W, C]`, in [0, 1]; no gradient is wanted of them, but there is one.
        where: Boolean mask of images `[...]`; a masked one has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the disparities are not floating point, the images not real or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> step = jnp.array([[0.0, 0.0, 1.0, 1.0]])
        >>> print(f"{disparity_smoothness_loss(step, step[..., None]):.4f}")
        0.1226

    Source:
        Heise, Klose, Jensen, Knoll, "PM-Huber: PatchMatch with Huber Regularization for Stereo Matching", 2013; Godard,
        Mac Aodha, Brostow, "Unsupervised Monocular Depth Estimation with Left-Right Consistency", 2017.
    """
    name = "disparity_smoothness_loss"
    d, guide = floating(name, "disparities", disparities), real(name, "images", images)
    check_rank(name, "disparities", d, 2, "[..., H, W]")
    if guide.ndim != d.ndim + 1 or guide.shape[:-1] != d.shape or guide.shape[-1] == 0:
        raise ValueError(f"{name}: images must have shape [{', '.join(map(str, d.shape))}, C], got {describe(guide)}")
    kept, dtype = mask(name, where, d.shape[:-2]), compute_dtype(d, guide)
    d, guide = clean(d, kept).astype(dtype)[..., None], clean(guide, kept).astype(dtype)

    def smoothness(axis: int) -> Array:
        edges = jnp.mean(_absolute(jnp.diff(guide, axis=axis)), axis=-1, keepdims=True)
        return _mean_over_pixels(_absolute(jnp.diff(d, axis=axis)) * jnp.exp(-edges))

    return finish(smoothness(-2) + smoothness(-3), kept)


def silog_loss(
    predictions: Float[ArrayLike, "*batch height width"],
    targets: Real[ArrayLike, "*batch height width"],
    *,
    variance_focus: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch height width"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Scale-invariant logarithmic loss (SILog) of depth maps: a common factor costs less than other errors.

    $$
    \operatorname{mean} d^2 - \lambda \left( \operatorname{mean} d \right)^2, \qquad d = \log x - \log y
    $$

    that is, the variance of d and 1 - λ of its squared mean. Later work takes λ = 0.85 and trains ten times the root.

    Args:
        predictions: Depths x `[..., H, W]`, positive.
        targets: Depths y `[..., H, W]`, positive, in the same units.
        variance_focus: Share λ of the squared mean that is taken away, in [0, 1]; with 1 the scale of x is free.
        where: Boolean mask of pixels `[..., H, W]`, as of those that have a measured depth; what is masked counts
            nowhere and may hold anything.

    Returns:
        Losses `[...]`, one for each image, float32 (float64 for float64 inputs); 0 where nothing is counted, NaN where
        a depth is not positive.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes differ or `variance_focus` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> depths = jnp.array([[1.0, 2.0, 4.0]])
        >>> print(f"{silog_loss(2.0 * depths, depths):.4f} {silog_loss(2.0 * depths, depths, variance_focus=1.0):.4f}")
        0.2402 0.0000

    Source:
        Eigen, Puhrsch, Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network", 2014; Lee,
        Han, Ko, Suh, "From Big to Small: Multi-Scale Local Planar Guidance for Monocular Depth Estimation", 2019.
    """
    name = "silog_loss"
    x, y = floating(name, "predictions", predictions), real(name, "targets", targets)
    check_rank(name, "predictions", x, 2, "[..., H, W]")
    check_same_shape(name, "targets", y, "predictions", x)
    kept, dtype = mask(name, where, x.shape), compute_dtype(x, y)
    focus = hyperparameter(name, "variance_focus", variance_focus, dtype, 0, 1)
    x, y = (jnp.where(kept, z, 1) if kept is not None else z for z in (x.astype(dtype), y.astype(dtype)))
    positive = (x > 0) & (y > 0)
    ratio = jnp.log(jnp.where(positive, x, jnp.nan)) - jnp.log(jnp.where(positive, y, 1))
    present = jnp.ones(x.shape, bool) if kept is None else kept
    size = jnp.maximum(jnp.sum(present, axis=(-2, -1), keepdims=True), 1).astype(dtype)
    mean = jnp.sum(ratio, axis=(-2, -1), keepdims=True) / size
    variance = jnp.sum(clean(ratio - mean, kept) ** 2, axis=(-2, -1)) / size[..., 0, 0]
    return variance + (1 - focus) * mean[..., 0, 0] ** 2


def total_variation(
    images: Float[ArrayLike, "*batch height width channels"], *, where: Bool[ArrayLike, "*batch"] | None = None
) -> Float[Array, "*batch"]:
    r"""Total variation of images: the absolute differences of neighbouring pixels, summed.

    $$
    \sum |\partial_x I| + |\partial_y I|
    $$

    The anisotropic form, summed over pixels and channels, as in TensorFlow and torchmetrics.

    Args:
        images: Images I `[..., H, W, C]`.
        where: Boolean mask of images `[...]`; a masked one has value 0 and gradient 0 and may hold anything.

    Returns:
        Values `[...]`, at least 0, float32 (float64 for float64 images).

    Raises:
        TypeError: If the images are not floating point or `where` is not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{total_variation(jnp.eye(2)[..., None]):.4f}")
        4.0000

    Source:
        Rudin, Osher, Fatemi, "Nonlinear Total Variation Based Noise Removal Algorithms", 1992 (isotropic).
    """
    image = floating("total_variation", "images", images)
    check_rank("total_variation", "images", image, 3, "[..., H, W, C]")
    kept, dtype = mask("total_variation", where, image.shape[:-3]), compute_dtype(image)
    image = clean(image, kept).astype(dtype)
    values = [jnp.sum(_absolute(jnp.diff(image, axis=axis)), axis=(-3, -2, -1)) for axis in (-2, -3)]
    return finish(values[0] + values[1], kept)


def _read_pair(
    function: str, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None, *, per_pixel: bool
) -> tuple[Array, Array, Array | None, np.dtype]:
    """Two images in the compute dtype, 0 where masked; the mask, over pixels or over images; the dtype."""
    predictions, targets = floating(function, "predictions", predictions), real(function, "targets", targets)
    check_rank(function, "predictions", predictions, 3, "[..., H, W, C]")
    check_same_shape(function, "targets", targets, "predictions", predictions)
    kept = mask(function, where, predictions.shape[: -1 if per_pixel else -3])
    dtype = compute_dtype(predictions, targets)
    return clean(predictions, kept).astype(dtype), clean(targets, kept).astype(dtype), kept, dtype


def _similarity(x: Array, y: Array, window: np.ndarray, c1: Scalar, c2: Scalar) -> Array:
    """SSIM of every window that fits, `[..., H', W', C]`; the window is the outer product of one vector with itself."""
    mean_x, mean_y = _filter(x, window), _filter(y, window)
    square_x, square_y, product = _filter(x * x, window), _filter(y * y, window), _filter(x * y, window)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    covariance, variances = product - mean_x * mean_y, square_x + square_y - mean_x**2 - mean_y**2
    return luminance * (2 * covariance + c2) / (jnp.maximum(variances, 0) + c2)


def _filter(images: Array, window: np.ndarray) -> Array:
    """The weighted mean over every window that fits, along height and then width."""
    for axis in (images.ndim - 3, images.ndim - 2):
        length = images.shape[axis] - len(window) + 1
        shifts = (lax.slice_in_dim(images, k, k + length, axis=axis) * w for k, w in enumerate(window.tolist()))
        images = sum(shifts, start=jnp.zeros((), images.dtype))
    return images


def _absolute(values: Array) -> Array:
    """Absolute values, with gradient 0 at 0, where `jnp.abs` has 1: equal neighbours pull nowhere."""
    return values * jnp.sign(values)


def _mean_over_pixels(values: Array) -> Array:
    """The mean over height, width and channels; 0 where an image has only one pixel along an axis."""
    return jnp.sum(values, axis=(-3, -2, -1)) / max(int(np.prod(values.shape[-3:])), 1)
