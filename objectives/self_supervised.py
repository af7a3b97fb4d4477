"""Self-supervised losses of two views of the same examples, by redundancy reduction on one cross-correlation matrix."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import check_rank, clean, compute_dtype, describe, floating, hyperparameter, mask
from objectives._typing import Array, ArrayLike, Bool, Float, Scalar


def cross_correlation_matrix(
    embeddings_a: Float[ArrayLike, "batch features_a"],
    embeddings_b: Float[ArrayLike, "batch features_b"],
    *,
    epsilon: Scalar = 1e-5,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Float[Array, "features_a features_b"]:
    r"""Correlation over the batch between every feature of one view and every feature of the other.

    $$
    C_{ij} = \frac1B \sum_b \hat a_{bi} \hat b_{bj}, \qquad
    \hat z = \frac{z - \mathrm{mean}(z)}{\sqrt{\mathrm{var}(z) + \epsilon}}
    $$

    with the mean and the (population) variance of every feature over the batch.

    Args:
        embeddings_a: Embeddings of the first view `[B, D]`.
        embeddings_b: Embeddings of the second view `[B, E]`, row by row of the same examples.
        epsilon: Added to the variances, positive; a constant feature correlates with nothing.
        where: Boolean mask of examples `[B]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        Correlations `[D, E]`, float32 (float64 for float64 inputs); 0 for an empty batch.

    Raises:
        TypeError: If the embeddings are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> view = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> print(f"{cross_correlation_matrix(view, -view)[0, 0]:.4f}")
        -1.0000

    Source:
        Zbontar, Jing, Misra, LeCun, Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021.
    """
    return _correlate("cross_correlation_matrix", embeddings_a, embeddings_b, epsilon, where, axis_name)[0]


def barlow_twins_loss(
    embeddings_a: Float[ArrayLike, "batch features"],
    embeddings_b: Float[ArrayLike, "batch features"],
    *,
    redundancy_weight: Scalar = 5e-3,
    epsilon: Scalar = 1e-5,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Float[Array, ""]:
    r"""Barlow Twins: the cross-correlation of two views is driven to the identity matrix.

    $$
    \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2
    $$

    with C from `cross_correlation_matrix`. The loss is coupled over the batch: only the batch has a value.

    Args:
        embeddings_a: Embeddings of the first view `[B, D]`.
        embeddings_b: Embeddings of the second view `[B, D]`, row by row of the same examples.
        redundancy_weight: Weight λ of the off-diagonal terms, at least 0.
        epsilon: Added to the variances, positive; a constant feature costs 1, with gradient near 0.
        where: Boolean mask of examples `[B]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        The loss, a scalar, float32 (float64 for float64 inputs); 0 for an empty batch.

    Raises:
        TypeError: If the embeddings are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> view = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> print(f"{barlow_twins_loss(view, -view):.4f}")
        7.9999

    Source:
        Zbontar, Jing, Misra, LeCun, Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021.
    """
    name = "barlow_twins_loss"
    correlation, count = _correlate(name, embeddings_a, embeddings_b, epsilon, where, axis_name)
    if correlation.shape[0] != correlation.shape[1]:
        raise ValueError(
            f"{name}: embeddings_a and embeddings_b must have equally many features, got {list(correlation.shape)}"
        )
    weight = hyperparameter(name, "redundancy_weight", redundancy_weight, correlation.dtype, 0)
    diagonal = jnp.eye(correlation.shape[0], dtype=bool)
    loss = jnp.sum(jnp.where(diagonal, (1 - correlation) ** 2, weight * correlation**2))
    return jnp.where(count > 0, loss, 0)


def _correlate(
    function: str,
    embeddings_a: ArrayLike,
    embeddings_b: ArrayLike,
    epsilon: Scalar,
    where: ArrayLike | None,
    axis_name: str | tuple[str, ...] | None,
) -> tuple[Array, Array]:
    """The cross-correlation matrix and the number of examples in it."""
    first, second = floating(function, "embeddings_a", embeddings_a), floating(function, "embeddings_b", embeddings_b)
    check_rank(function, "embeddings_a", first, 2, "[B, D]", 2)
    if second.ndim != 2 or second.shape[0] != first.shape[0]:
        raise ValueError(f"{function}: embeddings_b must have shape [{first.shape[0]}, D], got {describe(second)}")
    kept, dtype = mask(function, where, first.shape[:1]), compute_dtype(first, second)
    guard = hyperparameter(function, "epsilon", epsilon, dtype, 0, open_low=True)

    present = jnp.ones(first.shape[:1], bool) if kept is None else kept
    count = _total(jnp.sum(present, dtype=dtype), axis_name)
    size = jnp.maximum(count, 1)
    a = _standardize(clean(first, kept).astype(dtype), kept, size, guard, axis_name)
    b = _standardize(clean(second, kept).astype(dtype), kept, size, guard, axis_name)
    return _total(a.T @ b, axis_name) / size, count


def _standardize(
    values: Array, kept: Array | None, size: Array, epsilon: Scalar, axis_name: str | tuple[str, ...] | None
) -> Array:
    """Features with mean 0 and variance 1 over the examples kept, which are `size` on all devices together."""
    for _ in range(2):  # the second time takes away the rounding error of the first mean
        values = clean(values - _total(jnp.sum(values, axis=0), axis_name) / size, kept)
    variance = _total(jnp.sum(values**2, axis=0), axis_name) / size
    return values * lax.rsqrt(variance + epsilon)


def _total(values: Array, axis_name: str | tuple[str, ...] | None) -> Array:
    """The sum over the mapped axes, where there are any."""
    return values if axis_name is None else lax.psum(values, axis_name)
