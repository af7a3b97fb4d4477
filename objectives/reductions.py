"""Reductions of losses per example to one number, safe on nothing and blind to what is masked."""

from collections.abc import Sequence

import jax.numpy as jnp

from objectives._inputs import check_same_shape, clean, compute_dtype, mask, real
from objectives._typing import Array, ArrayLike, Bool, Float, Real


def reduce_sum(
    values: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    weights: Real[ArrayLike, "*batch"] | None = None,
    axis: int | Sequence[int] | None = None,
) -> Float[Array, "..."]:
    r"""Weighted sum over the entries that `where` keeps.

    $$
    \sum_i m_i w_i v_i
    $$

    Masked entries may hold NaN or inf: they change neither value nor gradient. A weight of zero is no mask: it does
    not hide a NaN.

    Args:
        values: Losses `[...]`; integers and booleans are summed as numbers.
        where: Boolean mask of the shape of `values`.
        weights: Weights of the shape of `values`.
        axis: Axis or axes to reduce; all by default.

    Returns:
        The sum, in float32 (float64 for float64 inputs); 0 where nothing is kept.

    Raises:
        TypeError: If `where` is not boolean or the values are not real.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(reduce_sum(jnp.array([1.0, 2.0, jnp.nan]), where=jnp.array([True, True, False])))
        3.0
    """
    return _totals("reduce_sum", values, where, weights, axis)[0]


def reduce_mean(
    values: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    weights: Real[ArrayLike, "*batch"] | None = None,
    axis: int | Sequence[int] | None = None,
) -> Float[Array, "..."]:
    r"""Weighted mean over the entries that `where` keeps.

    $$
    \frac{\sum_i m_i w_i v_i}{\sum_i m_i w_i}, \quad 0 \text{ where the denominator is } 0
    $$

    Masked entries may hold NaN or inf: they change neither value nor gradient. A weight of zero is no mask: it does
    not hide a NaN.

    Args:
        values: Losses `[...]`; integers and booleans (hits of a classifier, say) are averaged as numbers.
        where: Boolean mask of the shape of `values`.
        weights: Weights of the shape of `values`, non-negative.
        axis: Axis or axes to reduce; all by default.

    Returns:
        The mean, in float32 (float64 for float64 inputs); 0 where nothing is kept.

    Raises:
        TypeError: If `where` is not boolean or the values are not real.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(reduce_mean(jnp.array([1.0, 2.0, 5.0]), weights=jnp.array([1.0, 1.0, 2.0])))
        3.25
    """
    total, weight = _totals("reduce_mean", values, where, weights, axis)
    return jnp.where(weight == 0, 0, total) / jnp.where(weight == 0, 1, weight)


def _totals(
    function: str,
    values: ArrayLike,
    where: ArrayLike | None,
    weights: ArrayLike | None,
    axis: int | Sequence[int] | None,
) -> tuple[Array, Array]:
    """The weighted sum of the values and the sum of the weights, over the kept entries."""
    values = real(function, "values", values)
    kept = mask(function, where, values.shape)
    weighting = jnp.ones_like(values) if weights is None else real(function, "weights", weights)
    check_same_shape(function, "weights", weighting, "values", values)
    dtype = compute_dtype(values, weighting)
    values, weighting = clean(values, kept).astype(dtype), clean(weighting, kept).astype(dtype)
    axes = axis if axis is None or isinstance(axis, int) else tuple(axis)
    return jnp.sum(values * weighting, axis=axes), jnp.sum(weighting, axis=axes)
