"""Robust fitting by hypotheses, as in RANSAC: how good each model is, and what all of them cost together."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    floating,
    hyperparameter,
    mask,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Scalar


def msac_score(
    squared_residuals: Float[ArrayLike, "*models points"],
    threshold: Scalar,
    *,
    where: Bool[ArrayLike, "*models points"] | None = None,
) -> Float[Array, "*models"]:
    r"""MSAC's quality of a model: the number of points it explains, each discounted by its residual.

    $$
    \sum_n \max\left( 0,\; 1 - r_n^2 / T^2 \right)
    $$

    A higher score is better: a perfect fit of N points has N. To minimise, take `N - msac_score(...)`.

    Args:
        squared_residuals: r², at least 0, of each point under each model `[..., N]`; inf is an outlier.
        threshold: Residual T from which a point counts nothing, positive, in the units of the residuals (the authors of
            differentiable RANSAC take 3/2 of the threshold of an inlier).
        where: Boolean mask of points `[..., N]`; a masked point counts nothing and may hold anything.

    Returns:
        Scores `[...]` in [0, N], float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the residuals are not floating point or `where` not boolean.
        ValueError: If shapes do not match or the threshold is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(msac_score(jnp.array([[0.0, 1.0, 9.0], [4.0, 2.0, 4.0]]), 2.0))
        [1.75 0.5 ]

    Source:
        Torr, Zisserman, "MLESAC: A New Robust Estimator with Application to Estimating Image Geometry", 2000; Wei,
        Patel, Shekhovtsov, Matas, Barath, "Generalized Differentiable RANSAC", 2023.
    """
    residuals = floating("msac_score", "squared_residuals", squared_residuals)
    check_rank("msac_score", "squared_residuals", residuals, 1, "[..., N]")
    kept, dtype = mask("msac_score", where, residuals.shape), compute_dtype(residuals)
    threshold = hyperparameter("msac_score", "threshold", threshold, dtype, 0, open_low=True)
    counts = jnp.maximum(1 - clean(residuals, kept).astype(dtype) / threshold**2, 0)
    return jnp.sum(clean(counts, kept), axis=-1)


def expected_hypothesis_loss(
    scores: Float[ArrayLike, "*batch hypotheses"],
    losses: Float[ArrayLike, "*batch hypotheses"],
    *,
    temperature: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch hypotheses"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The expected loss of a hypothesis drawn by its score, instead of that of the best.

    $$
    \sum_m p_m \ell_m, \qquad p = \operatorname{softmax}(s / T)
    $$

    All hypotheses receive a gradient, and so do the scores: those rise whose loss is below the expected one. A small
    temperature leaves the best hypothesis, a large one the plain mean of the losses.

    Args:
        scores: Quality of each hypothesis `[..., M]`, higher is better (`msac_score`).
        losses: Loss of each hypothesis `[..., M]`.
        temperature: T, positive, in the units of the scores.
        where: Boolean mask of hypotheses `[..., M]`; a masked one is never drawn and may hold anything.

    Returns:
        Expected losses `[...]`, float32 (float64 for float64 inputs); 0 where no hypothesis is left.

    Raises:
        TypeError: If scores or losses are not floating point or `where` not boolean.
        ValueError: If shapes differ or the temperature is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = expected_hypothesis_loss(jnp.log(jnp.array([1.0, 3.0])), jnp.array([4.0, 8.0]))
        >>> print(f"{loss:.4f}")
        7.0000

    Source:
        Wei, Patel, Shekhovtsov, Matas, Barath, "Generalized Differentiable RANSAC", 2023; Brachmann, Krull, Nowozin,
        Shotton, Michel, Gumhold, Rother, "DSAC: Differentiable RANSAC for Camera Localization", 2017.
    """
    name = "expected_hypothesis_loss"
    scores, losses = floating(name, "scores", scores), floating(name, "losses", losses)
    check_rank(name, "scores", scores, 1, "[..., M]")
    check_same_shape(name, "losses", losses, "scores", scores)
    kept, dtype = mask(name, where, scores.shape), compute_dtype(scores, losses)
    temperature = hyperparameter(name, "temperature", temperature, dtype, 0, open_low=True)
    scaled = clean(scores, kept).astype(dtype) / temperature
    competing = scaled if kept is None else jnp.where(kept, scaled, -jnp.inf)
    peak = lax.stop_gradient(jnp.max(competing, axis=-1, keepdims=True, initial=-jnp.inf))
    weights = clean(jnp.exp(scaled - jnp.where(jnp.isneginf(peak), 0, peak)), kept)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return jnp.sum(weights / jnp.where(total == 0, 1, total) * clean(losses, kept).astype(dtype), axis=-1)
