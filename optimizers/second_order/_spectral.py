"""Functions of a symmetric matrix that is known by its products: of all its spectrum, or within a Krylov space.

A method of this kind is one function of the eigenvalues: 1 / (|λ| + δ) is saddle-free Newton, (1 - exp(-λ t)) / λ the
relaxation of an Ornstein-Uhlenbeck process.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from optimizers._trees import PyTree, wide
from optimizers.curvature import Product, tree_dot

Spectral = Callable[[jax.Array], jax.Array]


def dimension(tree: PyTree) -> int:
    """The number of elements of a tree."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def coordinates(basis: PyTree, vector: PyTree) -> jax.Array:
    """Inner products with the stacked vectors of a basis, [k]."""
    return jax.vmap(lambda q: tree_dot(q, vector))(basis)


def combination(basis: PyTree, weights: jax.Array) -> PyTree:
    """The sum of the stacked vectors, weighted."""
    return jax.tree.map(
        lambda q: jnp.tensordot(weights.astype(q.dtype), q, axes=1, precision=lax.Precision.HIGHEST), basis
    )


def laid_out_as(vector: PyTree, result: PyTree) -> PyTree:
    """The result in the dtypes of the vector and over devices as it is: nothing of the vector is added."""
    return jax.tree.map(lambda x, v: (x + 0.0 * v).astype(v.dtype), result, vector)


def dense(product: Product, vector: PyTree) -> tuple[jax.Array, jax.Array, Callable[[jax.Array], PyTree]]:
    """The matrix itself `[n, n]`, made symmetric; a vector's coordinates `[n]`; and from coordinates to a vector."""
    inside, back = ravel_pytree(jax.tree.map(wide, vector))
    matrix = jax.vmap(lambda unit: ravel_pytree(product(back(unit)))[0])(jnp.eye(inside.size, dtype=inside.dtype))
    return 0.5 * (matrix + matrix.T), inside, back


def lanczos(product: Product, start: PyTree, rank: int) -> tuple[PyTree, jax.Array]:
    """An orthonormal basis of the Krylov space of `start`, leaves [k, ...], and the matrix within it, [k, k].

    Every vector is made orthogonal to all before it, twice. Where the space is exhausted, further vectors are 0.
    """
    rank = min(rank, dimension(start))
    dtype = tree_dot(start, start).dtype
    small = 32 * jnp.finfo(dtype).eps

    def normalised(vector: PyTree, least: jax.Array | float) -> PyTree:
        norm = jnp.sqrt(tree_dot(vector, vector))
        scale = jnp.where(norm > least, 1.0 / jnp.where(norm > least, norm, 1.0), 0.0)
        return jax.tree.map(lambda v: scale.astype(v.dtype) * v, vector)

    def put(basis: PyTree, number: jax.Array | int, vector: PyTree) -> PyTree:
        return jax.tree.map(lambda q, v: lax.dynamic_update_index_in_dim(q, v, number, 0), basis, vector)

    def step(basis: PyTree, number: jax.Array) -> tuple[PyTree, jax.Array]:
        image = product(jax.tree.map(lambda q: q[number], basis))
        column = coordinates(basis, image)
        rest = jax.tree.map(jnp.subtract, image, combination(basis, column))
        rest = jax.tree.map(jnp.subtract, rest, combination(basis, coordinates(basis, rest)))
        following = normalised(rest, small * jnp.sqrt(tree_dot(image, image)))
        # The last vector has no place, and is dropped.
        return put(basis, number + 1, following), column

    zeros = jax.tree.map(lambda v: jnp.zeros((rank + 1, *v.shape), v.dtype), start)
    basis, columns = lax.scan(step, put(zeros, 0, normalised(start, 0.0)), jnp.arange(rank))
    # Column j holds the products with vectors 0 … j; what lies below the diagonal was computed before its vector was.
    upper = jnp.triu(columns[:, :rank].T)
    return jax.tree.map(lambda q: q[:rank], basis), upper + jnp.triu(upper, 1).T


def matrix_function(function: Spectral, product: Product, vector: PyTree, rank: int | None) -> PyTree:
    """`f(A) v`, exactly (rank None), or within the Krylov space of the vector of dimension `rank`."""
    if dimension(vector) == 0:
        return vector
    if rank is None:
        matrix, inside, back = dense(product, vector)
    else:
        basis, matrix = lanczos(product, vector, rank)
        inside, back = coordinates(basis, vector), partial(combination, basis)
    values, vectors = jnp.linalg.eigh(matrix)
    turned = jnp.dot(inside, vectors, precision=lax.Precision.HIGHEST)
    result = back(jnp.dot(vectors, function(values) * turned, precision=lax.Precision.HIGHEST))
    return laid_out_as(vector, result)
