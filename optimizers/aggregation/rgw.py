"""RGW: a random convex combination of the task gradients at each update."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer
from optimizers._keys import split_data, typed_key
from optimizers.aggregation._gramian import blindly_weighted


class RGWState(NamedTuple):
    """State of `rgw`: the raw data of its PRNG key, as plain integers that any checkpoint format can hold."""

    key_data: Array


def rgw_weights(tasks: int, key: Array) -> Float[Array, " T"]:
    r"""Random weights of the task gradients, whatever these are.

    $$
    w = \mathrm{softmax}(z), \quad z \sim \mathcal{N}(0, I_T)
    $$

    Args:
        tasks: their number T.
        key: PRNG key of z.

    Returns:
        Weights `[T]`, positive and of sum 1, 1/T each on average.

    Raises:
        TypeError: a number of tasks that is not an integer.
        ValueError: no tasks.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> draws = jax.vmap(lambda key: rgw_weights(4, key))(jax.random.split(jax.random.key(0), 10_000))
        >>> draws.mean(axis=0).round(2).tolist()
        [0.25, 0.25, 0.25, 0.25]

    Source:
        Lin, Ye, Zhang, Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning"
        (2022), Algorithm 2.
    """
    tasks = check_positive_integer("rgw_weights", "tasks", tasks)
    return jax.nn.softmax(jax.random.normal(key, (tasks,), jnp.float32))


def rgw(key: Array | int = 0) -> optax.GradientTransformationExtraArgs:
    """Random gradient weighting: a convex combination of the task gradients with new random weights at each update.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `rgw_weights` for the definition. A litmus test: what does no better than this has not learnt to balance
    its tasks. NaN and inf stay in the entries that hold them.

    Args:
        key: seed or PRNG key of the weights; the state advances it at each update.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones.

    Examples:
        Of (1, 0) and (0, 1), minus the weights themselves:

        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(rgw(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.eye(2), tx.init(params), params)
        >>> print(f"{updates.sum():.4f}")
        -1.0000

    Source:
        Lin, Ye, Zhang, Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning"
        (2022).
    """

    def init() -> RGWState:
        return RGWState(jax.random.key_data(typed_key(key)))

    def weighting(tasks: int, state: RGWState) -> tuple[Array, RGWState]:
        current, following = split_data(key, state.key_data)
        return rgw_weights(tasks, current), RGWState(following)

    return blindly_weighted("rgw", weighting, init)
