"""Linear complementarity problems of a positive definite matrix, solved inside jit on any backend."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Bool, Float

# So many exchanges of whole blocks may fail to reduce the violated constraints before single exchanges take over.
_PATIENCE = 3


class _Exchange(NamedTuple):
    free: Bool[Array, " T"]
    patience: Array
    fewest: Array
    best: Float[Array, " T"]
    violation: Array
    iteration: Array
    done: Array


@jax.jit
def complementary(matrix: Float[Array, "T T"], slope: Float[Array, " T"]) -> Float[Array, " T"]:
    """The s of `s >= 0, y = A s + slope >= 0, s y = 0`, or argmin_{s >= 0} s^T A s / 2 + slope^T s.

    Block principal pivoting: a guess of the free set (where s > 0, so y = 0) gives s by one linear solve; the violated
    indices change sides all at once, and the last one alone after `_PATIENCE` exchanges without progress, which
    terminates (Judice, Pires 1994; Kim, Park 2011). Should rounding make it cycle, the least violated s is kept.

    Args:
        matrix: A `[T, T]`, positive definite, of diagonal about 1.
        slope: `[T]`, of size about 1 at most.
    """
    size = slope.shape[0]
    tolerance = 4 * jnp.finfo(matrix.dtype).eps
    identity = jnp.eye(size, dtype=matrix.dtype)

    def solve(free: Array) -> tuple[Array, Array]:
        block = jnp.where(free[:, None] & free, matrix, identity)
        s = cho_solve(cho_factor(block, lower=True), jnp.where(free, -slope, 0.0))
        y = slope + jnp.dot(matrix, s, precision=lax.Precision.HIGHEST)
        return s, jnp.where(free, 0.0, y)

    def exchange(state: _Exchange) -> _Exchange:
        s, y = solve(state.free)
        shortfall = -jnp.where(state.free, s, y)
        violation = jnp.max(shortfall)
        violated = shortfall > tolerance * (1.0 + jnp.max(jnp.abs(s)))
        count = jnp.sum(violated, dtype=jnp.int32)
        progress = count < state.fewest
        patience = jnp.where(progress, _PATIENCE, state.patience - 1)
        last = jnp.arange(size) == jnp.max(jnp.where(violated, jnp.arange(size), -1))
        better = ~(violation >= state.violation)  # NaN replaces
        return _Exchange(
            free=state.free ^ (violated & ((patience >= 0) | last)),
            patience=patience,
            fewest=jnp.minimum(count, state.fewest),
            best=jnp.where(better, s, state.best),
            violation=jnp.where(better, violation, state.violation),
            iteration=state.iteration + 1,
            done=count == 0,
        )

    start = _Exchange(
        free=slope < 0,
        patience=jnp.int32(_PATIENCE),
        fewest=jnp.int32(size + 1),
        best=jnp.zeros_like(slope),
        violation=jnp.full((), jnp.inf, matrix.dtype),
        iteration=jnp.int32(0),
        done=jnp.bool_(False),
    )
    limit = 20 + 4 * size
    end = lax.while_loop(lambda state: ~state.done & (state.iteration < limit), exchange, start)
    return jnp.maximum(end.best, 0.0)
