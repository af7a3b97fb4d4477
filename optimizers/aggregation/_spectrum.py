"""Eigenvalues of a Gramian: which count as 0, and solving without those."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


def rounding(matrix: Float[Array, "T T"]) -> Array:
    """The part of its largest eigenvalue that cannot be told from 0 in a Gramian of T tasks."""
    return jnp.asarray(10 * matrix.shape[-1] * jnp.finfo(matrix.dtype).eps, matrix.dtype)


def spectrum(matrix: Float[Array, "T T"]) -> tuple[Float[Array, " T"], Float[Array, "T T"], Bool[Array, " T"]]:
    """Eigenvalues in ascending order, eigenvectors in columns, and which eigenvalues are not 0."""
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors, values > rounding(matrix) * jnp.maximum(values[-1], 0.0)


def pseudo_solve(matrix: Float[Array, "T T"], vector: Float[Array, " T"]) -> tuple[Float[Array, " T"], Array]:
    """`pinv(A) b` of a positive semi-definite A (0 for b orthogonal to its range), and whether A is of full rank."""
    values, vectors, kept = spectrum(matrix)
    within = jnp.where(kept, jnp.dot(vector, vectors, precision=lax.Precision.HIGHEST), 0.0)
    vanishes = jnp.linalg.norm(within) <= jnp.sqrt(jnp.finfo(matrix.dtype).eps) * jnp.linalg.norm(vector)
    scaled = jnp.where(kept & ~vanishes, within / jnp.where(kept, values, 1.0), 0.0)
    return jnp.dot(vectors, scaled, precision=lax.Precision.HIGHEST), jnp.all(kept)
