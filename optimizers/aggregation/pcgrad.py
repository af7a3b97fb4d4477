"""PCGrad: project each task gradient onto the normal planes of those it conflicts with, and add the results."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from optimizers._keys import split_data, typed_key
from optimizers.aggregation._gramian import check_gramian, stateful_weighted


class PCGradState(NamedTuple):
    """State of `pcgrad`: the raw data of its PRNG key, as plain integers that any checkpoint format can hold."""

    key_data: Array


def pcgrad_weights(gramian: Float[Array, "T T"], key: Array) -> Float[Array, " T"]:
    """Weights of the task gradients in PCGrad's sum.

    For each task i, start from `g = g_i` and visit the other tasks j in an order drawn uniformly for this i:

        if <g, g_j> < 0:  g <- g - <g, g_j> / |g_j|^2 g_j        (g_j as given, not projected)

    and add up the T results. Every step stays in the span of the gradients, so it is carried out on coefficients:
    `<g, g_j>` is row j of the Gramian times the coefficients of g. Tasks with zero gradient are passed over. With two
    tasks the order does not matter.

    Args:
        gramian: inner products of the task gradients, `[T, T]`.
        key: PRNG key of the orders.

    Returns:
        Weights `[T]`, all 1 where no gradients conflict; the aggregate is `sum_t weights[t] g_t`.

    Raises:
        ValueError: a Gramian that is not square.

    Examples:
        Gradients (1, 0) and (-1, 1) add up to (0.5, 1.5):

        >>> import jax, jax.numpy as jnp
        >>> pcgrad_weights(jnp.array([[1.0, -1.0], [-1.0, 2.0]]), jax.random.key(0)).tolist()
        [2.0, 1.5]

    Source:
        Yu, Kumar, Gupta, Levine, Hausman, Finn, "Gradient Surgery for Multi-Task Learning" (2020), Algorithm 1.
    """
    gramian = check_gramian("pcgrad_weights", gramian)
    keys = jax.random.split(key, gramian.shape[0])
    return _weights_in_order(gramian, jax.vmap(lambda k: jax.random.permutation(k, gramian.shape[0]))(keys))


@jax.jit
def _weights_in_order(gramian: Float[Array, "T T"], orders: Int[Array, "T T"]) -> Float[Array, " T"]:
    """PCGrad's weights when task i visits the tasks in the order `orders[i]`, itself passed over."""
    tasks = jnp.arange(gramian.shape[0])

    def project(task: Array, order: Array) -> Array:
        def step(position: Array, coefficients: Array) -> Array:
            other = order[position]
            inner = jnp.dot(gramian[other], coefficients, precision=lax.Precision.HIGHEST)
            square = gramian[other, other]
            vanishes = square < jnp.finfo(gramian.dtype).tiny  # and so does inner
            removed = jnp.minimum(inner, 0.0) / jnp.where(vanishes, 1.0, square)
            removed = jnp.where(other == task, 0.0, removed)
            return coefficients.at[other].add(-removed)

        return lax.fori_loop(0, tasks.size, step, (tasks == task).astype(gramian.dtype))

    return jnp.sum(jax.vmap(project)(tasks, orders), axis=0)


def pcgrad(key: Array | int = 0) -> optax.GradientTransformationExtraArgs:
    """Gradient surgery: conflicting task gradients are projected onto each other's normal planes, and added.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into `sum_i g_i^PC` of leaves `[...]` in the
    same dtype; see `pcgrad_weights` for the definition. As in the paper it is a sum: where no gradients conflict, the
    plain sum. The projections work on the Gramian over the whole tree, accumulated in float32 or wider; a gradient
    with NaN or inf gives NaN.

    Args:
        key: seed or PRNG key of the random orders; the state advances it at each update.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(pcgrad(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> updates.tolist()
        [-0.5, -1.5]

    Source:
        Yu, Kumar, Gupta, Levine, Hausman, Finn, "Gradient Surgery for Multi-Task Learning" (2020).
    """

    def init() -> PCGradState:
        return PCGradState(jax.random.key_data(typed_key(key)))

    def weighting(gramian: Array, state: PCGradState) -> tuple[Array, PCGradState]:
        current, following = split_data(key, state.key_data)
        return pcgrad_weights(gramian, current), PCGradState(following)

    return stateful_weighted("pcgrad", weighting, init)
