"""Bloop: auxiliary gradients made orthogonal to a moving average of the main one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from optimizers._checks import check_range
from optimizers._trees import PyTree, accumulator_dtype, wide
from optimizers.aggregation._carried import keep_unless
from optimizers.aggregation._gramian import task_count


class BloopState(NamedTuple):
    """State of `bloop`: the moving `average` of the main gradients, and in `step` the updates that were finite."""

    average: PyTree
    step: Int[Array, ""]


def bloop(lam: Any = 0.1, rho: Any = 0.1) -> optax.GradientTransformationExtraArgs:
    r"""Bilevel optimization with orthogonal projection: auxiliary losses decrease where the main one does not mind.

    $$
    d = g_0 + \lambda \sum_{t \ge 1} \Bigl( g_t - \frac{\langle g_t, m \rangle}{\lVert m \rVert^2} m \Bigr), \quad
    m \leftarrow (1 - \rho) m + \rho g_0
    $$

    with the main loss's gradient first among the stacked ones, and m, updated before it is used, that of the first
    update in the beginning. Orthogonal to the average, the auxiliary gradients do not move the main loss to first order
    in expectation, which those made orthogonal to one batch's noisy gradient do: at a stationary point of the method
    the main loss is nearly minimal, and the auxiliary ones nearly so among its minimisers, for any `lam`.

    Turns updates of leaves `[T, ...]` into one update of leaves `[...]` in the same dtype. The state holds one float32
    number per parameter. A gradient with NaN or inf gives NaN, and leaves the average as it is.

    Args:
        lam: weight of the projected auxiliary gradients, at least 0.
        rho: weight of the newest main gradient in the average, in (0, 1]; at 1 each batch's own.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: a weight out of range; from the update, leaves without a leading task axis or with different ones.

    Examples:
        Of the auxiliary gradient (1, 3), the part along the main one (2, 0) is left out:

        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(bloop(0.5), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[2.0, 0.0], [1.0, 3.0]]), tx.init(params), params)
        >>> updates.tolist()
        [-2.0, -1.5]

    Source:
        Hsieh, Thornton, Ndiaye, Klein, Cuturi, Ablin, "Careful with that Scalpel: Improving Gradient Surgery with an
        EMA" (2024).
    """
    check_range("bloop", "lam", lam, 0.0)
    check_range("bloop", "rho", rho, 0.0, 1.0, open_low=True)

    def init(params: PyTree) -> BloopState:
        average = jax.tree.map(lambda p: jnp.zeros_like(p, dtype=accumulator_dtype(jnp.result_type(p))), params)
        return BloopState(average, jnp.int32(0))

    def update(
        updates: PyTree, state: BloopState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, BloopState]:
        del params, extra_args
        if task_count("bloop", updates) is None:
            return updates, state

        def averaged(m: Array, stacked: Array) -> Array:
            main = wide(stacked[0])
            return jnp.where(state.step == 0, main, m + rho * (main - m)).astype(m.dtype)

        average = jax.tree.map(averaged, state.average, updates)
        auxiliary = jax.tree.map(lambda stacked: jnp.sum(wide(stacked[1:]), axis=0), updates)
        square, inner = _inner(average, average), _inner(average, auxiliary)
        finite = jnp.isfinite(square) & jnp.isfinite(inner)
        vanishes = square < jnp.finfo(square.dtype).tiny
        ratio = jnp.where(vanishes, 0.0, inner / jnp.where(vanishes, 1.0, square))
        ratio = jnp.where(finite, ratio, jnp.nan)

        def direction(stacked: Array, m: Array, a: Array) -> Array:
            return (wide(stacked[0]) + lam * (a - ratio * m)).astype(stacked.dtype)

        directions = jax.tree.map(direction, updates, average, auxiliary)
        return directions, keep_unless(finite, BloopState(average, state.step + 1), state)

    return optax.GradientTransformationExtraArgs(init, update)


def _inner(first: PyTree, second: PyTree) -> Array:
    """The real part of the inner product over all leaves."""
    products = jax.tree.map(lambda a, b: jnp.sum(a.conj() * b).real, first, second)
    return sum(jax.tree.leaves(products), start=jnp.zeros((), jnp.float32))
