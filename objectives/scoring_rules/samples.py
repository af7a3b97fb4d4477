"""Scores of ensembles: samples of a forecast, of numbers or vectors."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._entries import check_trailing, entries, settle
from objectives._inputs import check_classes, describe, hyperparameter, real
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def crps_ensemble(
    ensemble: Float[ArrayLike, "*batch members"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    fair: bool = True,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Continuous ranked probability score of an ensemble, from its sorted members.

    $$
    \frac1M \sum_i |x_i - y| - \frac{1}{2 N} \sum_{ij} |x_i - x_j|, \qquad
    \sum_{ij} |x_i - x_j| = 2 \sum_i (2 i - M - 1)\, x_{(i)}, \qquad N = M (M - 1) \ \text{or}\ M^2
    $$

    A step of training costs a sort, not M² differences. One member has no spread: its score is the absolute error. As a
    loss for samples of a network take the fair one; the other rewards members that are too close.

    Args:
        ensemble: Members `[..., M]`, samples of the forecast.
        targets: Targets `[...]`, any finite numbers.
        fair: Whether pairs of a member with itself are left out, which makes the score that of the distribution behind
            the members, whatever their number; else it is that of the members' empirical distribution.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes do not match or there are no members.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = crps_ensemble(jnp.array([[0.0, 1.0, 3.0]]), jnp.array([1.0]))
        >>> print(f"{score[0]:.4f}")
        0.0000

    Source:
        Zamo, Naveau, "Estimation of the Continuous Ranked Probability Score with Limited Information and Applications
        to Ensemble Weather Forecasts", 2018; Ferro, "Fair Scores for Ensemble Forecasts", 2014.
    """
    name, sizes = "crps_ensemble", {"ensemble": 1}
    (members, y), kept = entries(name, {"ensemble": ensemble}, {"targets": targets}, where, sizes)
    check_classes(name, "ensemble", members, "[..., M]")
    valid, size = jnp.isfinite(y), members.shape[-1]
    errors = jnp.sort(members - jnp.where(valid, y, 0)[..., None], axis=-1)
    ranks = jnp.arange(1 - size, size, 2, dtype=errors.dtype)
    spread = jnp.sum(ranks * errors, axis=-1) / _pairs(size, fair)
    return settle(jnp.mean(jnp.abs(errors), axis=-1) - spread, valid, kept)


def energy_score(
    ensemble: Float[ArrayLike, "*batch members dim"],
    targets: Real[ArrayLike, "*batch dim"],
    *,
    beta: Scalar = 1.0,
    fair: bool = True,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Energy score of an ensemble of vectors: the continuous ranked probability score in several dimensions.

    $$
    \frac1M \sum_i \lVert x_i - y \rVert^\beta - \frac{1}{2 N} \sum_{ij} \lVert x_i - x_j \rVert^\beta,
    \qquad N = M (M - 1) \ \text{or}\ M^2
    $$

    Members are compared one with all at a time: M D numbers of memory, not M² D.

    Args:
        ensemble: Members `[..., M, D]`, samples of the forecast.
        targets: Targets `[..., D]`.
        beta: Power β of the distances, in (0, 2]; at 2 only the mean of the ensemble counts.
        fair: Whether pairs of a member with itself are left out, which makes the score that of the distribution behind
            the members, whatever their number; else it is that of the members' empirical distribution.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets to the power β, float32 (float64 for float64 inputs); NaN where a
        target is not finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes do not match, there are no members or `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = energy_score(jnp.array([[[0.0, 0.0], [3.0, 4.0]]]), jnp.array([[0.0, 0.0]]))
        >>> print(f"{score[0]:.4f}")
        0.0000

    Source:
        Gneiting, Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007; Ferro, "Fair Scores for
        Ensemble Forecasts", 2014.
    """
    name = "energy_score"
    members, y, valid, kept = _vectors(name, ensemble, targets, where)
    power = hyperparameter(name, "beta", beta, y.dtype, 0, 2, open_low=True)

    @jax.checkpoint
    def distances(i: Array) -> Array:  # of one member from all, so that no [M, M, D] is held
        return jnp.sum(_distance(members - lax.dynamic_index_in_dim(members, i, -2), power), axis=-1)

    size = members.shape[-2]
    spread = jnp.sum(lax.map(distances, jnp.arange(size)), axis=0) / (2 * _pairs(size, fair))
    return settle(jnp.mean(_distance(members - y[..., None, :], power), axis=-1) - spread, valid, kept)


def variogram_score(
    ensemble: Float[ArrayLike, "*batch members dim"],
    targets: Real[ArrayLike, "*batch dim"],
    *,
    p: Scalar = 0.5,
    weights: Real[ArrayLike, "dim dim"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Variogram score of an ensemble of vectors, which sees wrong correlations better than the energy score.

    $$
    \sum_{de} w_{de} \left( |y_d - y_e|^p - \frac1M \sum_i |x_{id} - x_{ie}|^p \right)^2
    $$

    It is blind to what all components share (a common bias): use it beside another score.

    Args:
        ensemble: Members `[..., M, D]`, samples of the forecast.
        targets: Targets `[..., D]`.
        p: Power of the differences, positive.
        weights: Weights of the pairs of components `[D, D]`, at least 0; 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]`, float32 (float64 for float64 inputs); NaN where a target is not finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes do not match, there are no members or `p` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = variogram_score(jnp.array([[[0.0, 0.0], [3.0, 4.0]]]), jnp.array([[0.0, 1.0]]))
        >>> print(f"{score[0]:.4f}")
        0.5000

    Source:
        Scheuerer, Hamill, "Variogram-Based Proper Scoring Rules for Probabilistic Forecasts of Multivariate
        Quantities", 2015.
    """
    name = "variogram_score"
    members, y, valid, kept = _vectors(name, ensemble, targets, where)
    power = hyperparameter(name, "p", p, y.dtype, 0, open_low=True)
    size, dim = members.shape[-2:]

    def differences(x: Array) -> Array:
        return _power(jnp.abs(x[..., :, None] - x[..., None, :]), power)

    @jax.checkpoint
    def add(total: Array, i: Array) -> tuple[Array, None]:  # so that no [M, D, D] is held
        return total + differences(lax.dynamic_index_in_dim(members, i, -2, keepdims=False)), None

    start = 0 * differences(y)
    gaps = (differences(y) - lax.scan(add, start, jnp.arange(size))[0] / size) ** 2
    if weights is not None:
        factors = real(name, "weights", weights)
        if factors.shape != (dim, dim):
            raise ValueError(f"{name}: weights must have shape {[dim, dim]}, got {describe(factors)}")
        gaps = gaps * factors.astype(gaps.dtype)
    return settle(jnp.sum(gaps, axis=(-2, -1)), valid, kept)


def _pairs(size: int, fair: bool) -> int:
    """How many pairs of members a spread is averaged over."""
    return max(size * (size - 1), 1) if fair else size * size


def _power(x: Array, power: Scalar | Array) -> Array:
    """`x^power` of x ≥ 0, with gradient 0 at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.where(positive, x, 1) ** power, 0)


def _distance(difference: Array, power: Scalar | Array) -> Array:
    """Norms over the last axis to a power; the largest entry is taken out, so that no square overflows."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(difference), axis=-1, initial=0))
    safe = jnp.where(largest > 0, largest, 1)
    squared = jnp.sum((difference / safe[..., None]) ** 2, axis=-1)
    positive = squared > 0
    return jnp.where(positive, (safe * jnp.sqrt(jnp.where(positive, squared, 1))) ** power, 0)


def _vectors(
    function: str, ensemble: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array, Array | None]:
    """An ensemble of vectors `[..., M, D]`, targets `[..., D]`, where these are finite, and the mask."""
    sizes = {"ensemble": 2, "targets": 1}
    (members, y), kept = entries(function, {"ensemble": ensemble}, {"targets": targets}, where, sizes)
    check_trailing(function, "targets", y, members.shape[-1:], "[..., D]")
    if members.shape[-2] == 0:
        raise ValueError(f"{function}: ensemble must have at least one member, got {describe(members)}")
    valid = jnp.all(jnp.isfinite(y), axis=-1)
    return members, jnp.where(valid[..., None], y, 0), valid, kept
