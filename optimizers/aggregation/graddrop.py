"""GradDrop: at every coordinate pick a sign by chance, and add up the task gradients that have it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_callable, check_range
from optimizers._keys import split_data, typed_key
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.aggregation._gramian import Preference, task_count, task_vector
from optimizers.aggregation._tasks import check_real, scale_tasks


class GradDropState(NamedTuple):
    """State of `graddrop`: the raw data of its PRNG key, as plain integers that any checkpoint format can hold."""

    key_data: Array


def graddrop(
    key: Array | int = 0, *, leak: Preference = None, f: Callable[[Array], Array] | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Gradient sign dropout: each coordinate keeps the task gradients of one sign, drawn in proportion to their sum.

    $$
    A(J) = \sum_t \bigl( \ell_t + (1 - \ell_t) M_t \bigr) g_t, \qquad
    M_t = \begin{cases} 1[g_t > 0] & U < f(P) \\ 1[g_t < 0] & U \ge f(P) \end{cases}, \qquad
    P = \frac12 \Bigl(1 + \frac{\sum_t g_t}{\sum_t |g_t|}\Bigr)
    $$

    for every coordinate by itself, with U uniform on [0, 1). Turns updates of leaves `[T, ...]`, the stacked gradients
    of T tasks, into one update of leaves `[...]` in the same dtype. Where all gradients have one sign it is their sum;
    with f the identity it is their sum on average, and without leaks its variance is the product of the sums of the
    positive and of the negative ones. It cancels nothing, and so may harm a task.

    The tree is never flattened: one pass over each leaf. A leaf's draws depend on its place among the leaves and on its
    shape, not on how it is sharded. NaN and inf stay in the entries that hold them.

    Args:
        key: seed or PRNG key of U; the state advances it at each update.
        leak: the part of each task's gradient that passes whatever its sign, `[T]` in [0, 1]; 0 by default.
        f: increasing function of the sign purity P, `[0, 1] -> [0, 1]`, elementwise; the identity by default.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: an f that is no function; from the update, complex gradients.
        ValueError: a leak outside [0, 1]; from the update, leaves without a leading task axis or with different ones, a
            leak of another length.

    Examples:
        (1, 1) and (2, -3) agree on the sign of the first coordinate:

        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(graddrop(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 1.0], [2.0, -3.0]]), tx.init(params), params)
        >>> print(updates[0], float(updates[1]) in (-1.0, 3.0))
        -3.0 True

    Source:
        Chen, Ngiam, Huang, Luong, Kretzschmar, Chai, Anguelov, "Just Pick a Sign: Optimizing Deep Multitask Models with
        Gradient Sign Dropout" (2020), Algorithm 1.
    """
    for value in () if leak is None else leak:
        check_range("graddrop", "leak", value, 0.0, 1.0)
    transform = (lambda purity: purity) if f is None else check_callable("graddrop", "f", f, "of the sign purity")

    def init(params: PyTree) -> GradDropState:
        del params
        return GradDropState(jax.random.key_data(typed_key(key)))

    def update(
        updates: PyTree, state: GradDropState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, GradDropState]:
        del params, extra_args
        check_real("graddrop", updates)
        count = task_count("graddrop", updates)
        if count is None:
            return updates, state
        leaks = task_vector("graddrop", "leak", leak, jnp.zeros((count,)), 0.0)
        current, following = split_data(key, state.key_data)
        leaves, structure = jax.tree.flatten(updates)
        picked = []
        for number, leaf in enumerate(leaves):
            dtype = accumulator_dtype(jnp.result_type(leaf))
            draws = jax.random.uniform(jax.random.fold_in(current, number), jnp.shape(leaf)[1:], dtype)
            picked.append(_pick_sign(jnp.asarray(leaf), draws, leaks, transform))
        return jax.tree.unflatten(structure, picked), GradDropState(following)

    return optax.GradientTransformationExtraArgs(init, update)


def _pick_sign(
    leaf: Float[Array, "T ..."],
    draws: Float[Array, "..."],
    leaks: Float[Array, " T"],
    transform: Callable[[Array], Array],
) -> Float[Array, "..."]:
    """GradDrop of one leaf, with U given."""
    g = leaf.astype(draws.dtype)
    share = g / leaf.shape[0]  # the sum of the shares cannot overflow
    total = jnp.sum(jnp.abs(share), axis=0)
    purity = jnp.sum(jnp.maximum(share, 0.0), axis=0) / jnp.where(total > 0, total, 1.0)
    kept = jnp.where(draws < transform(purity), g > 0, g < 0).astype(g.dtype)
    return jnp.sum(kept * g + scale_tasks(leaks, (1.0 - kept) * g), axis=0).astype(leaf.dtype)
