"""The signal Dice similarity coefficient (SDSC): how far two signals overlap, sign by sign."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import compute_dtype, describe, floating, hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._ratios import Entries, entries
from objectives.regression._residuals import magnitude


def sdsc_loss(
    predictions: Float[ArrayLike, "*batch steps"],
    targets: Real[ArrayLike, "*batch steps"],
    *,
    sharpness: Scalar | None = None,
    epsilon: Scalar = 1e-6,
    where: Bool[ArrayLike, "*batch steps"] | None = None,
) -> Float[Array, "*batch"]:
    r"""One minus the signal Dice similarity coefficient: overlap of two signals where their signs agree.

    $$
    1 - \frac{2 \sum_t g_t \min(|\hat y_t|, |y_t|) + \epsilon}{\sum_t (|\hat y_t| + |y_t|) + \epsilon}, \qquad
    g_t = \mathbf 1[\hat y_t y_t > 0] \ \text{or}\ \sigma(a\, \hat y_t y_t)
    $$

    0 for equal signals, 1 for signals of opposite signs; for signals of one sign it is the Bray-Curtis dissimilarity.
    The gate g has no gradient, as in the authors' code, which sums over a whole batch where this sums over a series
    (reshape to one row for theirs).

    Args:
        predictions: Signals ŷ `[..., T]`, time last.
        targets: Signals y, of the shape of `predictions`.
        sharpness: Slope a of the soft gate, positive; None, the default, is the hard gate.
        epsilon: Smoothing ε of the quotient, positive, in the units of the signals.
        where: Boolean mask of entries `[..., T]`; a masked one counts nowhere and may hold anything.

    Returns:
        Losses of the signals `[...]` in [0, 1], float32 (float64 for float64 inputs); 0 where all is 0.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis, or `sharpness` or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sdsc_loss(jnp.array([1.0, -1.0, 0.5]), jnp.array([2.0, 1.0, 0.5])):.4f}")
        0.5000

    Source:
        Lee, Kang, "SDSC: A Structure-Aware Metric for Semantic Signal Representation Learning", 2025.
    """
    return _dissimilarity("sdsc_loss", entries("sdsc_loss", predictions, targets, where), sharpness, epsilon)


def sdsc_hybrid_loss(
    predictions: Float[ArrayLike, "*batch steps"],
    targets: Real[ArrayLike, "*batch steps"],
    scales: Float[ArrayLike, "2"],
    *,
    sharpness: Scalar | None = None,
    epsilon: Scalar = 1e-6,
    where: Bool[ArrayLike, "*batch steps"] | None = None,
) -> Float[Array, "*batch"]:
    r"""SDSC loss and mean squared error, weighted by what is learnt of how large each is.

    $$
    \sum_{k} \frac{L_k}{2 s_k^2} + \log(1 + s_k^2), \qquad L_1 = \text{SDSC loss}, \quad L_2 = \text{MSE}
    $$

    The first sees structure and is blind to amplitude beyond the overlap, the second the reverse.

    Args:
        predictions: Signals `[..., T]`, time last.
        targets: Signals, of the shape of `predictions`.
        scales: Scales s `[2]` of the two losses, not 0: parameters, trained beside the model from ones.
        sharpness: Slope of the soft gate, positive; None, the default, is the hard gate.
        epsilon: Smoothing of the quotient, positive, in the units of the signals.
        where: Boolean mask of entries `[..., T]`; a masked one counts nowhere and may hold anything.

    Returns:
        Losses of the signals `[...]`, float32 (float64 for float64 inputs); 0 where nothing is kept.

    Raises:
        TypeError: If predictions or scales are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes do not match, or `sharpness` or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sdsc_hybrid_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]), jnp.ones(2)):.4f}")
        1.7363

    Source:
        Lee, Kang, "SDSC: A Structure-Aware Metric for Semantic Signal Representation Learning", 2025; Liebel, Körner,
        "Auxiliary Tasks in Multi-task Learning", 2018.
    """
    name = "sdsc_hybrid_loss"
    rows, spreads = entries(name, predictions, targets, where), floating(name, "scales", scales)
    if spreads.shape != (2,):
        raise ValueError(f"{name}: scales must have shape [2], got {describe(spreads)}")
    spreads = spreads.astype(compute_dtype(spreads, rows.targets))
    variances = spreads**2
    losses = jnp.stack([_dissimilarity(name, rows, sharpness, epsilon), rows.mean(rows.error**2)], axis=-1)
    total = jnp.sum(0.5 * losses / variances + jnp.log1p(variances), axis=-1)
    return jnp.where(rows.total(jnp.ones_like(rows.error)) > 0, total, 0)


def _dissimilarity(function: str, rows: Entries, sharpness: Scalar | None, epsilon: Scalar) -> Array:
    dtype = rows.targets.dtype
    epsilon = hyperparameter(function, "epsilon", epsilon, dtype, 0, open_low=True)
    product = lax.stop_gradient(rows.predictions * rows.targets)
    if sharpness is None:
        gate = (product > 0).astype(dtype)
    else:
        gate = jax.nn.sigmoid(hyperparameter(function, "sharpness", sharpness, dtype, 0, open_low=True) * product)
    predictions, targets = magnitude(rows.predictions), magnitude(rows.targets)
    overlap = rows.total(gate * jnp.minimum(predictions, targets))
    return 1 - (2 * overlap + epsilon) / (rows.total(predictions + targets) + epsilon)
