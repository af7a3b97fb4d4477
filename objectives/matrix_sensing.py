"""Recovery of a low-rank matrix from linear measurements of it, by a factor of it."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import check_rank, clean, compute_dtype, describe, finish, floating, mask
from objectives._typing import Array, ArrayLike, Bool, Float


def matrix_sensing_loss(
    factor: Float[ArrayLike, "n r"],
    sensing: Float[ArrayLike, "*batch n n"],
    measurements: Float[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared misfit of the measurements of a factorised matrix.

    $$\tfrac14 \left( \langle A_i, X X^\top \rangle - y_i \right)^2$$

    Its gradient in X, of the sum over all measurements, is $A^*(A(X X^\top) - y) X$ for symmetric $A_i$: what
    `optimizers.scaled_gd` preconditions by $(X^\top X + \lambda I)^{-1}$.

    Args:
        factor: X `[n, r]`, with as many columns as the rank that is allowed.
        sensing: Measurement matrices A `[..., n, n]`.
        measurements: y `[...]`.
        where: Mask `[...]` of the measurements that count; None means all.

    Returns:
        One loss a measurement `[...]`, at least in float32.

    Raises:
        TypeError: If an array is not floating point, or `where` not boolean.
        ValueError: If shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(matrix_sensing_loss(jnp.array([[1.0], [2.0]]), jnp.eye(2)[None], jnp.array([3.0])))
        [1.]

    Source:
        X. Xu, Y. Shen, Y. Chi, C. Ma, "The Power of Preconditioning in Overparameterized Low-Rank Matrix Sensing",
        2023.
    """
    name = "matrix_sensing_loss"
    factor, sensing = floating(name, "factor", factor), floating(name, "sensing", sensing)
    measurements = floating(name, "measurements", measurements)
    check_rank(name, "factor", factor, 2, "[n, r]", 2)
    expected = (*measurements.shape, len(factor), len(factor))
    if sensing.shape != expected:
        raise ValueError(f"{name}: sensing must have shape {list(expected)}, got {describe(sensing)}")
    where = mask(name, where, measurements.shape)
    dtype = compute_dtype(factor, sensing, measurements)
    x, a, y = factor.astype(dtype), clean(sensing, where).astype(dtype), clean(measurements, where).astype(dtype)
    seen = jnp.sum(jnp.matmul(a, x, precision=lax.Precision.HIGHEST) * x, axis=(-2, -1))
    return finish(0.25 * (seen - y) ** 2, where)
