"""Losses of real predictions against real targets, one value per entry; nothing is broadcast."""

import jax.numpy as jnp
import numpy as np

from objectives._inputs import check_same_shape, clean, compute_dtype, finish, floating, hyperparameter, mask, real
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def huber_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    delta: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Huber loss: quadratic near zero error, linear beyond delta.

    $$
    \tfrac12 e^2 \ \text{if}\ |e| \le \delta, \qquad \delta \left( |e| - \tfrac12 \delta \right)\ \text{else},
    \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Its gradient is the error clipped to [-delta, delta].

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        delta: Error at which the loss turns linear, positive, in the units of the predictions.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `delta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(huber_loss(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0])))
        [0.125 2.5  ]

    Source:
        Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    error, kept, dtype = _error("huber_loss", predictions, targets, where)
    delta = hyperparameter("huber_loss", "delta", delta, dtype, 0, open_low=True)
    clipped = jnp.clip(error, -delta, delta)
    return finish(clipped * (error - 0.5 * clipped), kept)


def pseudo_huber_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    delta: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Pseudo-Huber loss: a smooth passage from half the squared error to delta times the absolute error.

    $$
    \delta^2 \left( \sqrt{1 + (e / \delta)^2} - 1 \right), \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        delta: Error around which the loss turns linear, positive, in the units of the predictions.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `delta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{pseudo_huber_loss(jnp.array([0.75]), jnp.array([0.0]))[0]:.4f}")
        0.2500

    Source:
        Charbonnier, Blanc-Féraud, Aubert, Barlaud, "Deterministic Edge-Preserving Regularization in Computed Imaging",
        1997.
    """
    error, kept, dtype = _error("pseudo_huber_loss", predictions, targets, where)
    delta = hyperparameter("pseudo_huber_loss", "delta", delta, dtype, 0, open_low=True)
    ratio = error / delta  # sqrt(1 + r²) - 1 = r² / (sqrt(1 + r²) + 1), without the cancellation
    return finish(error * (error / (jnp.sqrt(1 + ratio * ratio) + 1)), kept)


def _error(
    function: str, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array | None, np.dtype]:
    """Predictions minus targets in the compute dtype, 0 where masked; the mask; the dtype."""
    predictions, targets = floating(function, "predictions", predictions), real(function, "targets", targets)
    check_same_shape(function, "targets", targets, "predictions", predictions)
    kept, dtype = mask(function, where, predictions.shape), compute_dtype(predictions, targets)
    return clean(predictions, kept).astype(dtype) - clean(targets, kept).astype(dtype), kept, dtype
