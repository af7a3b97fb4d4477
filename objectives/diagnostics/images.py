"""Measures of images."""

import jax.numpy as jnp

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def peak_signal_noise_ratio(
    predictions: Float[ArrayLike, "*batch height width channels"],
    targets: Real[ArrayLike, "*batch height width channels"],
    *,
    data_range: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Peak signal-to-noise ratio of every image, in decibels.

    $$
    10 \log_{10} \frac{L^2}{\operatorname{mean}\, (x - y)^2}
    $$

    Args:
        predictions: Images x `[..., H, W, C]`.
        targets: Images y of the same shape.
        data_range: Range L of the values, positive: 1 for images in [0, 1], 255 for bytes.
        where: Boolean mask of images `[...]`; a masked one has value 0 and may hold anything.

    Returns:
        Ratios `[...]` in dB, float32 (float64 for float64 inputs); inf for equal images.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If the shapes differ or `data_range` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{peak_signal_noise_ratio(jnp.zeros((2, 2, 1)), 0.1 * jnp.ones((2, 2, 1))):.4f}")
        20.0000

    Source:
        Huynh-Thu, Ghanbari, "Scope of Validity of PSNR in Image/Video Quality Assessment", 2008.
    """
    name = "peak_signal_noise_ratio"
    x, y = floating(name, "predictions", predictions), real(name, "targets", targets)
    check_rank(name, "predictions", x, 3, "[..., H, W, C]")
    check_same_shape(name, "targets", y, "predictions", x)
    kept, dtype = mask(name, where, x.shape[:-3]), compute_dtype(x, y)
    data_range = hyperparameter(name, "data_range", data_range, dtype, 0, open_low=True)
    error = jnp.mean(jnp.square(clean(x, kept).astype(dtype) - clean(y, kept).astype(dtype)), axis=(-3, -2, -1))
    safe = jnp.where(error > 0, error, 1)
    ratio = 20 * jnp.log10(jnp.asarray(data_range, dtype)) - 10 * jnp.log10(safe)
    return finish(jnp.where(error == 0, jnp.inf, jnp.where(error > 0, ratio, jnp.nan)), kept)
