"""Soft sorting and ranking by projection onto the permutahedron: O(n log n), no matrix, exact for wide gaps.

One equation: with ρ = (n, …, 1) and P(z, w) the projection of z onto the convex hull of all permutations of w,

    soft ranks = P(θ / ε, ρ),    soft sort = P(ρ / ε, θ),

and P(z, w) is z less an isotonic regression of the sorted z - w, by pooling adjacent violators.
"""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import check_rank, clean, compute_dtype, floating, hyperparameter, mask
from objectives._typing import Array, ArrayLike, Bool, Float, Scalar


def soft_rank(
    values: Float[ArrayLike, "*batch items"],
    *,
    regularization: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch items"]:
    r"""Soft ranks: the projection of values onto the permutahedron of 1, …, n.

    $$
    \arg\min_{r \in \mathcal P(1, \dots, n)} \tfrac12 \Big\lVert r - \frac{\theta}{\epsilon} \Big\rVert^2
    $$

    The smallest value has rank 1. Ranks are exact where values differ enough, equal for equal values, always sum to
    n (n + 1) / 2, and are equivariant to permutations of the items.

    Args:
        values: Values θ `[..., n]`.
        regularization: Strength ε, positive: ranks are exact where neighbours differ by at least ε, and shrink to the
            mean rank as it grows.
        where: Boolean mask of items `[..., n]`; a masked one has rank 0 and gradient 0 and is not ranked.

    Returns:
        Soft ranks `[..., n]`, float32 (float64 for float64 values).

    Raises:
        TypeError: If the values are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or `regularization` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> ranks = soft_rank(jnp.array([3.0, 0.5, 1.0]))
        >>> print(f"{ranks[0]:.4f} {ranks[1]:.4f} {ranks[2]:.4f}")
        3.0000 1.2500 1.7500

    Source:
        Blondel, Teboul, Berthet, Djolonga, "Fast Differentiable Sorting and Ranking", 2020.
    """
    name = "soft_rank"
    values, kept, strength = _read(name, values, regularization, where)
    if values.size == 0:
        return values
    order = _descending(values, kept)
    ranked = jnp.take_along_axis(values / strength, order, axis=-1)
    vertex, counted = _vertex(values, kept)
    projected = jnp.where(counted, ranked - _isotonic(ranked - vertex, counted), 0)
    back = jnp.argsort(order, axis=-1)
    return jnp.take_along_axis(projected, back, axis=-1)


def soft_sort(
    values: Float[ArrayLike, "*batch items"],
    *,
    regularization: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch items"]:
    r"""Soft sort, ascending: the projection of 1, …, n, divided by ε, onto the permutahedron of the values.

    $$
    \arg\min_{s \in \mathcal P(\theta)} \tfrac12 \Big\lVert s - \frac{(1, \dots, n)}{\epsilon} \Big\rVert^2
    $$

    Values are exact where sorted neighbours differ by at most 1 / ε, and are averaged otherwise; their sum is kept.

    Args:
        values: Values θ `[..., n]`.
        regularization: Strength ε, positive.
        where: Boolean mask of items `[..., n]`; masked ones are left out, and the results after the others are 0.

    Returns:
        Sorted values `[..., n]`, float32 (float64 for float64 values).

    Raises:
        TypeError: If the values are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or `regularization` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> ordered = soft_sort(jnp.array([3.0, 0.5, 1.0]))
        >>> print(f"{ordered[0]:.4f} {ordered[1]:.4f} {ordered[2]:.4f}")
        0.5000 1.5000 2.5000

    Source:
        Blondel, Teboul, Berthet, Djolonga, "Fast Differentiable Sorting and Ranking", 2020.
    """
    name = "soft_sort"
    values, kept, strength = _read(name, values, regularization, where)
    if values.size == 0:
        return values
    ordered = jnp.take_along_axis(values, _descending(values, kept), axis=-1)
    vertex, counted = _vertex(values, kept)
    vertex = vertex / strength
    projected = jnp.where(counted, vertex - _isotonic(vertex - ordered, counted), 0)
    count = jnp.sum(counted, axis=-1, keepdims=True)
    positions = jnp.arange(values.shape[-1])
    turned = jnp.where(positions < count, count - 1 - positions, positions)
    return jnp.take_along_axis(projected, turned, axis=-1)


def _read(
    function: str, values: ArrayLike, regularization: Scalar, where: ArrayLike | None
) -> tuple[Array, Array | None, Scalar]:
    array = floating(function, "values", values)
    check_rank(function, "values", array, 1, "[..., n]")
    kept, dtype = mask(function, where, array.shape), compute_dtype(array)
    strength = hyperparameter(function, "regularization", regularization, dtype, 0, open_low=True)
    return clean(array, kept).astype(dtype), kept, strength


def _descending(values: Array, kept: Array | None) -> Array:
    """The order of the values, masked items last."""
    left_out = jnp.zeros(values.shape, bool) if kept is None else ~kept
    return jnp.lexsort((-values, left_out), axis=-1)


def _vertex(values: Array, kept: Array | None) -> tuple[Array, Array]:
    """n, …, 1 for n items that count, and which places they have once sorted."""
    items = values.shape[-1]
    count = jnp.full((*values.shape[:-1], 1), items) if kept is None else jnp.sum(kept, axis=-1, keepdims=True)
    left = count - jnp.arange(items)
    return left.astype(values.dtype), left > 0


def _isotonic(values: Array, counted: Array) -> Array:
    """The nearest non-increasing sequence to those that count: means of blocks, through which the gradient goes."""
    flat, places = values.reshape(-1, values.shape[-1]), counted.reshape(-1, values.shape[-1])
    blocks = jax.vmap(_pool)(lax.stop_gradient(flat), places)
    return jax.vmap(_block_means)(flat, blocks).reshape(values.shape)


def _block_means(values: Array, blocks: Array) -> Array:
    totals = jnp.zeros_like(values).at[blocks].add(values)
    counts = jnp.zeros_like(values).at[blocks].add(1)
    return (totals / jnp.maximum(counts, 1))[blocks]


def _pool(values: Array, counted: Array) -> Array:
    """Which block each value belongs to, pooling adjacent violators from left to right; those left out stay alone."""
    items = values.shape[0]
    Blocks = tuple[Array, Array, Array]

    def means(blocks: Blocks, at: Array) -> Array:
        return blocks[0][at] / blocks[1][at]

    def add(index: Array, blocks: Blocks) -> Blocks:
        totals, counts, top = blocks
        blocks = totals.at[top].set(values[index]), counts.at[top].set(1), top + 1

        def rises(blocks: Blocks) -> Array:
            top = blocks[2]
            return (top > 1) & counted[index] & (means(blocks, top - 2) < means(blocks, top - 1))

        def merge(blocks: Blocks) -> Blocks:
            totals, counts, top = blocks
            return totals.at[top - 2].add(totals[top - 1]), counts.at[top - 2].add(counts[top - 1]), top - 1

        return lax.while_loop(rises, merge, blocks)

    start = jnp.zeros_like(values), jnp.ones_like(values), jnp.zeros((), jnp.int32)
    _, counts, top = lax.fori_loop(0, items, add, start)
    ends = jnp.cumsum(jnp.where(jnp.arange(items) < top, counts, 0)).astype(jnp.int32)
    return jnp.searchsorted(ends, jnp.arange(items), side="right").astype(jnp.int32)
