"""Rare values of a regression: how important a value is, a loss of rank and slope, batches that hold all strata."""

import jax
import jax.numpy as jnp

from objectives._batch import all_sum
from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    mask,
    prng_key,
    real,
    static_integer,
)
from objectives._numerics import root
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.imbalance._shared import present


def mdi_importance(
    density: Float[ArrayLike, "*batch"], *, alpha: Scalar = 2.0, epsilon: Scalar = 1e-3
) -> Float[Array, "*batch"]:
    r"""Monotonically decreasing involution (MDI) importance of targets: the denser, the less important.

    $$
    w_i = (1 - d_i^\alpha)^{1 / \alpha}, \qquad d_i = \frac{\rho_i}{\max_j \rho_j + \epsilon}
    $$

    The curve is its own inverse: a quarter of a circle at alpha = 2, the straight line 1 - d at 1, convex below 1. The
    densities are those of the targets, `jax.scipy.stats.gaussian_kde(targets, 0.07)(targets)` in the paper; the weights
    are for `cisir_loss` or `reduce_mean(losses, weights=...)`, which divides by their sum.

    Args:
        density: Density ρ of the targets, over all the data `[...]`, at least 0.
        alpha: Shape of the curve, positive; the larger, the more alike the weights.
        epsilon: Added to the largest density, so that even the most common target keeps a weight; at least 0.

    Returns:
        Weights `[...]` in [0, 1], float32 (float64 for float64 densities).

    Raises:
        TypeError: If the densities are not floating point.
        ValueError: If a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> weights = mdi_importance(jnp.array([1.0, 0.6, 0.0]), epsilon=0.0)
        >>> print(f"{weights[0]:.4f} {weights[1]:.4f} {weights[2]:.4f}")
        0.0000 0.8000 1.0000

    Source:
        Moukpe, Chan, Zhang, "Highly Imbalanced Regression with Tabular Data in SEP and Other Applications", 2025.
    """
    name = "mdi_importance"
    values = floating(name, "density", density)
    dtype = compute_dtype(values)
    alpha = hyperparameter(name, "alpha", alpha, dtype, 0, open_low=True)
    guard = hyperparameter(name, "epsilon", epsilon, dtype, 0)
    values = values.astype(dtype)
    largest = jnp.max(values, initial=0) + guard
    share = values / jnp.where(largest == 0, 1, largest)
    return jnp.maximum(1 - share**alpha, 0) ** (1 / alpha)


def correlation_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"],
    *,
    weights: Real[ArrayLike, "*batch"] | None = None,
    epsilon: Scalar = 1e-7,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""One minus Pearson's correlation coefficient: 0 for predictions that rise linearly with the targets, at most 2.

    $$
    1 - \frac{\sum_i w_i (y_i - \bar y)(\hat y_i - \bar{\hat y})}
    {\sqrt{\sum_i w_i (y_i - \bar y)^2 \sum_i w_i (\hat y_i - \bar{\hat y})^2} + \epsilon}
    $$

    The means are not weighted, as in the authors' code. The loss is coupled over the batch: only the batch has a value.
    Where all predictions or all targets are equal the correlation counts as 0, with gradient 0.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets y, of the shape of `predictions`.
        weights: Weights w, of the same shape, at least 0; 1 by default.
        epsilon: Added to the denominator, at least 0, in squared units.
        where: Boolean mask `[...]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        The loss, a scalar, float32 (float64 for float64 inputs); 0 where nothing is kept.

    Raises:
        TypeError: If the predictions are not floating point, the others not real or `where` not boolean.
        ValueError: If shapes differ or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{correlation_loss(jnp.array([0.0, 2.0, 1.0]), jnp.array([1.0, 2.0, 3.0])):.4f}")
        0.5000

    Source:
        Moukpe, Chan, Zhang, "Highly Imbalanced Regression with Tabular Data in SEP and Other Applications", 2025.
    """
    name = "correlation_loss"
    predicted, actual, kept = _read(name, predictions, targets, where)
    importance = _weights(name, "weights", weights, predicted, kept)
    guard = hyperparameter(name, "epsilon", epsilon, predicted.dtype, 0)
    return _one_minus_correlation(predicted, actual, importance, guard, kept, axis_name)


def cisir_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"],
    *,
    mse_weights: Real[ArrayLike, "*batch"] | None = None,
    correlation_weights: Real[ArrayLike, "*batch"] | None = None,
    correlation_strength: Scalar = 1.0,
    epsilon: Scalar = 1e-7,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""CISIR's loss: the mean squared error with important targets first, and `correlation_loss`.

    $$
    \frac{1}{N} \sum_i w_i (\hat y_i - y_i)^2 + \lambda \big( 1 - \mathrm{PCC}_v(\hat y, y) \big)
    $$

    The third part of the method is `stratified_batch_indices`. The loss is coupled over the batch: only the batch has a
    value.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets y, of the shape of `predictions`.
        mse_weights: Weights w of the squared errors, of the same shape, from `mdi_importance`; 1 by default.
        correlation_weights: Weights v within the correlation, of the same shape; 1 by default.
        correlation_strength: Weight λ of the correlation, at least 0.
        epsilon: Added to the denominator of the correlation, at least 0, in squared units.
        where: Boolean mask `[...]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        The loss, a scalar, float32 (float64 for float64 inputs); 0 where nothing is kept.

    Raises:
        TypeError: If the predictions are not floating point, the others not real or `where` not boolean.
        ValueError: If shapes differ or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{cisir_loss(jnp.array([0.0, 2.0, 1.0]), jnp.array([1.0, 2.0, 3.0])):.4f}")
        2.1667

    Source:
        Moukpe, Chan, Zhang, "Highly Imbalanced Regression with Tabular Data in SEP and Other Applications", 2025.
    """
    name = "cisir_loss"
    predicted, actual, kept = _read(name, predictions, targets, where)
    squares = _weights(name, "mse_weights", mse_weights, predicted, kept)
    importance = _weights(name, "correlation_weights", correlation_weights, predicted, kept)
    strength = hyperparameter(name, "correlation_strength", correlation_strength, predicted.dtype, 0)
    guard = hyperparameter(name, "epsilon", epsilon, predicted.dtype, 0)
    count = all_sum(jnp.sum(present(kept, predicted.shape, predicted.dtype)), axis_name)
    error = all_sum(jnp.sum(squares * (predicted - actual) ** 2), axis_name) / jnp.maximum(count, 1)
    return error + strength * _one_minus_correlation(predicted, actual, importance, guard, kept, axis_name)


def stratified_batch_indices(
    targets: Real[ArrayLike, " examples"], batch_size: int, *, key: Array
) -> Integer[Array, "batches batch"]:
    r"""One epoch of batches that all hold a target of every stratum.

    The targets are sorted and cut into as many strata of equal size as a batch has places; a batch holds one example of
    each, drawn without replacement over the epoch. Where the numbers do not divide, the larger strata leave one example
    out, a random one, so that no target is left out always.

    Args:
        targets: Targets of all the data `[N]`.
        batch_size: Number of examples in a batch B, at most N.
        key: PRNG key.

    Returns:
        Indices of the examples `[N // B, B]`, a row a batch, in ascending strata, int32.

    Raises:
        TypeError: If the targets are not real, `batch_size` is no integer or `key` no PRNG key.
        ValueError: If the targets are no vector, or `batch_size` is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> indices = stratified_batch_indices(jnp.array([9.0, 1.0, 8.0, 2.0]), 2, key=jax.random.key(0))
        >>> print(jnp.sort(indices, axis=0))
        [[1 0]
         [3 2]]

    Source:
        Moukpe, Chan, Zhang, "Highly Imbalanced Regression with Tabular Data in SEP and Other Applications", 2025.
    """
    name = "stratified_batch_indices"
    values = real(name, "targets", targets)
    check_rank(name, "targets", values, 1, "[N]", 1)
    strata = static_integer(name, "batch_size", batch_size)
    if strata > len(values):
        raise ValueError(f"{name}: batch_size must be at most the number of targets, {len(values)}, got {strata}")
    bounds = jnp.arange(strata + 1) * len(values) // strata
    batches, widest = len(values) // strata, -(-len(values) // strata)
    offsets = jnp.arange(widest)
    inside = offsets < (bounds[1:] - bounds[:-1])[:, None]
    draws = jnp.where(inside, jax.random.uniform(prng_key(name, "key", key), (strata, widest)), jnp.inf)
    drawn = bounds[:-1, None] + jnp.argsort(draws, axis=-1)[:, :batches]
    return jnp.argsort(values)[drawn].T.astype(jnp.int32)


def _read(
    function: str, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Checked and cleaned predictions and targets in the compute dtype, and the mask."""
    predicted, actual = floating(function, "predictions", predictions), real(function, "targets", targets)
    check_same_shape(function, "targets", actual, "predictions", predicted)
    kept, dtype = mask(function, where, predicted.shape), compute_dtype(predicted, actual)
    return clean(predicted, kept).astype(dtype), clean(actual, kept).astype(dtype), kept


def _weights(function: str, name: str, value: ArrayLike | None, like: Array, kept: Array | None) -> Array:
    """Weights of the entries, 1 by default, 0 where masked."""
    if value is None:
        return present(kept, like.shape, like.dtype)
    array = real(function, name, value)
    if array.shape != like.shape:
        raise ValueError(
            f"{function}: {name} must have the shape of predictions, {list(like.shape)}, got {describe(array)}"
        )
    return clean(array, kept).astype(like.dtype)


def _one_minus_correlation(
    predicted: Array, actual: Array, weights: Array, epsilon: Scalar, kept: Array | None, axis_name: AxisName
) -> Array:
    """The correlation loss; 0 where nothing is kept."""
    count = all_sum(jnp.sum(present(kept, predicted.shape, predicted.dtype)), axis_name)

    def centred(values: Array) -> Array:
        for _ in range(2):  # the second time takes away the rounding error of the first mean
            values = clean(values - all_sum(jnp.sum(values), axis_name) / jnp.maximum(count, 1), kept)
        return values

    def power(values: Array) -> Array:
        return all_sum(jnp.sum(weights * values**2), axis_name)

    rounding = (4 * jnp.finfo(predicted.dtype).eps) ** 2
    least = rounding * power(predicted), rounding * power(actual)
    predicted, actual = centred(predicted), centred(actual)
    covariance = all_sum(jnp.sum(weights * predicted * actual), axis_name)
    own = power(predicted), power(actual)
    varied = (own[0] > least[0]) & (own[1] > least[1])  # equal values differ from their mean by rounding
    spread = root(own[0]) * root(own[1])
    correlation = jnp.where(varied, covariance / jnp.where(varied, spread + epsilon, 1), 0)
    return jnp.where(count > 0, 1 - correlation, 0)
