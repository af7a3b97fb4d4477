"""Second moments of a matrix's rows and columns, their inverse roots and eigenvectors, for Shampoo and SOAP."""

from typing import Any

import jax
import jax.numpy as jnp

from optimizers._trees import PyTree, accumulator_dtype
from optimizers.matrix._stacks import WideView
from optimizers.matrix.dimensions import view_of


def view_and_sides(name: str, shape: tuple[int, ...], max_dim: int, vectors: bool) -> tuple[WideView, tuple[int, int]]:
    """The leaf as one wide matrix, and the sizes of its left and right factor, 0 where there is none.

    A factor is for an axis of more than one and at most `max_dim` entries; a scalar has a left one, of size 1.
    """
    view = view_of(name, shape)
    m, n = sorted((view.rows, view.columns))
    if m == 0 or (m == 1 and not vectors):
        return view, (0, 0)
    left = m if (m > 1 or n == 1) and m <= max_dim else 0
    return view, (left, n if 1 < n <= max_dim else 0)


def factors(name: str, params: PyTree, side: int, max_dim: int, vectors: bool) -> PyTree:
    """A square matrix of zeros for one side of each leaf, None where there is no factor."""

    def leaf(p: Any) -> jax.Array | None:
        dtype = jax.dtypes.canonicalize_dtype(accumulator_dtype(jnp.result_type(p)))
        size = view_and_sides(name, jnp.shape(p), max_dim, vectors)[1][side]
        return jnp.zeros((size, size), dtype) if size else None

    return jax.tree.map(leaf, params)


def outer(g: jax.Array, side: int) -> jax.Array:
    """The second moment of rows (side 0) or columns (side 1) of matrices [..., m, n]."""
    return g @ g.mT if side == 0 else g.mT @ g


def inverse_root(second: jax.Array, order: int, eps: Any) -> jax.Array:
    """(S + eps)**(-1 / order) of symmetric matrices [..., n, n]; directions whose eigenvalue is 0 have 0."""
    values, vectors = jnp.linalg.eigh(second)
    damped = jnp.maximum(values, 0) + eps
    scale = jnp.where(damped > 0, jnp.where(damped > 0, damped, 1) ** (-1 / order), 0)
    return (vectors * scale[..., None, :]) @ vectors.mT


def eigenvectors(second: jax.Array) -> jax.Array:
    """Eigenvectors of symmetric matrices as columns, the largest eigenvalue first."""
    return jnp.flip(jnp.linalg.eigh(second)[1], axis=-1)


def power_step(second: jax.Array, basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One orthogonal iteration from `basis`, its vectors sorted first by their quotients; and the order of that."""
    product = second @ basis
    order = jnp.argsort(jnp.sum(basis * product, axis=-2), axis=-1, descending=True)
    return jnp.linalg.qr(jnp.take_along_axis(product, order[..., None, :], axis=-1))[0], order


def laid_out_as(x: jax.Array, like: jax.Array) -> jax.Array:
    """`x`, on several devices split as `like` is: products along a split axis would leave it whole on each of them.

    The compiler lays out the result of an elementwise operation as its operands; NaN in `like` stays NaN.
    """
    return jnp.where(jnp.isnan(like), like, x)
