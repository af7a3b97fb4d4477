"""GradNorm: task weights learnt so that the weighted gradients are of one norm, larger for tasks that lag behind."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import PyTree
from optimizers.aggregation._gramian import combine
from optimizers.aggregation._tasks import check_task_number, loss_vector, task_norms


class GradNormState(NamedTuple):
    """State of `gradnorm`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        weights: the weights of the next update, `[T]`, of sum T.
        initial_losses: the losses of the first update, `[T]`.
    """

    count: Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    weights: Array
    initial_losses: Array


def gradnorm(tasks: int, *, alpha: Any = 1.5, learning_rate: Any = 0.025) -> optax.GradientTransformationExtraArgs:
    r"""Gradient normalization: the weighted sum of the task gradients, with weights learnt to balance their norms.

    $$
    A(J) = \sum_t w_t g_t, \qquad
    w \leftarrow w - \eta \nabla_w \sum_t \bigl| G_t - \bar G r_t^\alpha \bigr|, \qquad G_t = w_t \lVert g_t \rVert
    $$

    where the targets $\bar G r_t^\alpha$ are held fixed: $\bar G$ is the mean of the G_t, and r_t the part of its first
    loss that is left of loss t, divided by the mean of these parts. The weights begin at 1, do not fall below 0 and are
    scaled to sum T after each step; an update is made with the weights that the previous ones have learnt.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype. The update takes `task_losses`, `[T]`, as an extra argument, which `make_train_step` passes; they must not be
    negative. A loss that is 0 from the start counts as one that does not change. A gradient with NaN or inf gives NaN,
    and so does such a loss or a negative one; skip such updates (`optax.apply_if_finite`, or the train step's
    `skip_nonfinite`), for the weights learn from them. The paper takes the norms over the last shared layer alone, to
    save time; here they are over the whole tree.

    Args:
        tasks: the number of tasks T.
        alpha: how strongly tasks are pulled towards one rate of training, at least 0; at 0 all norms become equal.
        learning_rate: the step $\eta$ of the weights, at least 0, in units of one over the norm of a gradient.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks that is not an integer.
        ValueError: no tasks, an alpha or a learning rate below 0; from the update, no task_losses, leaves without a
            leading task axis, or with another number of tasks.

    Examples:
        The gradient of norm 3 loses weight to that of norm 1:

        >>> import jax.numpy as jnp, optax
        >>> tx = gradnorm(2, learning_rate=0.1)
        >>> gradients, losses = jnp.array([[3.0, 0.0], [0.0, 1.0]]), jnp.array([1.0, 1.0])
        >>> first, state = tx.update(gradients, tx.init(jnp.zeros(2)), task_losses=losses)
        >>> second, state = tx.update(gradients, state, task_losses=losses)
        >>> first.tolist(), [round(float(u), 3) for u in second]
        ([3.0, 1.0], [2.333, 1.222])

    Source:
        Chen, Badrinarayanan, Lee, Rabinovich, "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
        Multitask Networks" (2018), Algorithm 1.
    """
    tasks = check_positive_integer("gradnorm", "tasks", tasks)
    check_range("gradnorm", "alpha", alpha, 0.0)
    check_range("gradnorm", "learning_rate", learning_rate, 0.0)

    def init(params: PyTree) -> GradNormState:
        del params
        return GradNormState(jnp.zeros([], jnp.int32), jnp.ones((tasks,)), jnp.zeros((tasks,)))

    def update(
        updates: PyTree, state: GradNormState, params: PyTree = None, *, task_losses: Any = None, **extra_args: Any
    ) -> tuple[PyTree, GradNormState]:
        del params, extra_args
        if check_task_number("gradnorm", tasks, updates) is None:
            return updates, state
        losses = loss_vector("gradnorm", task_losses, tasks)
        initial = jnp.where(state.count == 0, losses, state.initial_losses)
        norms = task_norms(updates)
        learnt = _learn(state.weights, norms, _rates(losses, initial), alpha, learning_rate)
        weights = jnp.where(jnp.all(jnp.isfinite(learnt)), state.weights, jnp.nan)  # NaN shows where it enters
        dtype = state.weights.dtype
        following = GradNormState(optax.safe_increment(state.count), learnt.astype(dtype), initial.astype(dtype))
        return combine(weights, updates), following

    return optax.GradientTransformationExtraArgs(init, update)


def _rates(losses: Float[Array, " T"], initial: Float[Array, " T"]) -> Float[Array, " T"]:
    """The inverse training rates r: the parts left of the first losses, divided by their mean."""
    left = jnp.where(initial == 0, 1.0, losses / jnp.where(initial == 0, 1.0, initial))
    mean = jnp.mean(left)
    return jnp.where(mean == 0, 1.0, left / jnp.where(mean == 0, 1.0, mean))


def _learn(
    weights: Float[Array, " T"], norms: Float[Array, " T"], rates: Float[Array, " T"], alpha: Any, learning_rate: Any
) -> Float[Array, " T"]:
    """One step of the weights; all 1 where none would be left above 0."""
    weighted_norms = weights * norms
    slope = jnp.sign(weighted_norms - jnp.mean(weighted_norms) * rates**alpha) * norms
    moved = jnp.maximum(weights - learning_rate * slope, 0.0)
    total = jnp.sum(moved)
    return jnp.where(total == 0, 1.0, moved * weights.size / jnp.where(total == 0, 1.0, total))
