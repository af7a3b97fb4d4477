"""Linear scalarization: task gradients averaged or added up with fixed weights, whatever they are."""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optimizers.aggregation._gramian import Preference, blindly_weighted, task_vector


def mean_tasks() -> optax.GradientTransformationExtraArgs:
    r"""The mean of the task gradients: the gradient of the mean loss.

    $$
    A(J) = \frac{1}{T} \sum_t g_t
    $$

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype, summed in float32 or wider: the baseline of every other aggregator, also called equal weighting. NaN and inf
    stay in the entries that hold them.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(mean_tasks(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.0, -0.5]

    Source:
        Caruana, "Multitask Learning" (1997).
    """
    return blindly_weighted(
        "mean_tasks", lambda count, state: (jnp.full((count,), 1.0 / count, jnp.float32), state), optax.EmptyState
    )


def sum_tasks(*, weights: Preference = None) -> optax.GradientTransformationExtraArgs:
    r"""The weighted sum of the task gradients: the gradient of the weighted sum of the losses.

    $$
    A(J) = \sum_t w_t g_t
    $$

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype, summed in float32 or wider: linear scalarization. NaN and inf stay in the entries that hold them.

    Args:
        weights: weights w of the tasks, `[T]`, of any sign; all 1 by default.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones, weights of another
            length.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(sum_tasks(weights=[2.0, 1.0]), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> updates.tolist()
        [-1.0, -1.0]

    Source:
        Caruana, "Multitask Learning" (1997).
    """

    def weigh(count: int, state: Any) -> tuple[Array, Any]:
        return task_vector("sum_tasks", "weights", weights, jnp.zeros((count,), jnp.float32), 1.0), state

    return blindly_weighted("sum_tasks", weigh, optax.EmptyState)
