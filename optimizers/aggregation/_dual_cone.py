"""Projection onto the dual cone of the task gradients: a quadratic program, solved inside jit on any backend."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers.aggregation._complementarity import complementary
from optimizers.aggregation._gramian import check_gramian


def dual_cone_projection_weights(
    gramian: Float[Array, "T T"], u: Float[Array, "*batch T"], *, norm_eps: Any = 1e-4, reg_eps: Any = 1e-4
) -> Float[Array, "*batch T"]:
    """Weights of the projection of `J^T u` onto the dual cone `{x: J x >= 0}` of the rows of J, from the Gramian alone.

        pi_J(J^T u) = J^T w,    w = argmin_{v >= u} v^T (G / trace(G) + reg_eps I) v,    G = J J^T

    The solver is exact up to rounding: it finds which constraints hold with equality, and solves for the rest. In
    float32 with the default `reg_eps`, `J^T w` is accurate to 1e-5 of `|u| |J|` (Frobenius norm), the weights to 1e-3
    of the largest (3e-6 and 2e-4 are the worst seen against float64, up to 64 tasks, dependent ones among them); in
    float64 to 1e-12. A smaller `reg_eps` costs digits in proportion where gradients are nearly dependent.

    Args:
        gramian: inner products G of the task gradients, `[T, T]`, symmetric and positive semi-definite.
        u: weights of the vectors to project, `[..., T]`.
        norm_eps: below this trace (squared norm of all gradients together) G counts as 0, and `w = max(u, 0)`.
        reg_eps: multiple of the identity that makes the solution unique where gradients are dependent; at least T times
            the spacing of the dtype at 1 is added.

    Returns:
        Weights w `[..., T]`, `w >= u`; NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: arguments of other shapes, a negative epsilon.

    Examples:
        Gradients (1, 0) and (-1, 1): the first becomes (0.5, 0.5), the second is kept:

        >>> import jax.numpy as jnp
        >>> gramian = jnp.array([[1.0, -1.0], [-1.0, 2.0]])
        >>> dual_cone_projection_weights(gramian, jnp.eye(2)).round(3).tolist()
        [[1.0, 0.5], [1.0, 1.0]]

    Source:
        Quinton, Rey, "Jacobian Descent for Multi-Objective Optimization" (2024), Proposition 1.
    """
    function = "dual_cone_projection_weights"
    check_range(function, "norm_eps", norm_eps, 0.0)
    check_range(function, "reg_eps", reg_eps, 0.0)
    gramian = check_gramian(function, gramian)
    u = jnp.asarray(u, gramian.dtype)
    if u.shape[-1:] != gramian.shape[-1:]:
        raise ValueError(f"{function}: u must have shape [..., {gramian.shape[0]}], got {u.shape}")
    solve = jnp.vectorize(_smallest_above, signature="(t,t),(t)->(t)")
    return solve(_regularized(gramian, norm_eps, reg_eps), u)


def _regularized(gramian: Array, norm_eps: Any, reg_eps: Any) -> Array:
    """`G / trace(G) + reg_eps I`, with 0 for G where the trace is below `norm_eps`."""
    size = gramian.shape[-1]
    trace = jnp.trace(gramian)
    negligible = trace < jnp.maximum(norm_eps, jnp.finfo(gramian.dtype).tiny)
    normalized = jnp.where(negligible, 0.0, gramian / jnp.where(negligible, 1.0, trace))
    floor = size * jnp.finfo(gramian.dtype).eps
    return normalized + jnp.maximum(reg_eps, floor).astype(gramian.dtype) * jnp.eye(size, dtype=gramian.dtype)


def _smallest_above(matrix: Float[Array, "T T"], u: Float[Array, " T"]) -> Float[Array, " T"]:
    """argmin_{v >= u} v^T A v for a positive definite A.

    With `v = u + s` optimality is the linear complementarity problem `s >= 0, A (u + s) >= 0`, one of them 0.
    """
    root = jnp.sqrt(jnp.diagonal(matrix))
    matrix = matrix / (root[:, None] * root)
    length = jnp.max(jnp.abs(u * root))
    length = jnp.where(length == 0, 1.0, length)
    slope = jnp.dot(matrix, u * root / length, precision=lax.Precision.HIGHEST)
    return u + complementary(matrix, slope) * length / root
