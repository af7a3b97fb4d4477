"""DB-MTL: losses balanced by their logarithms, and moving averages of the gradients by the longest one's norm."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import PyTree
from optimizers.aggregation._gramian import combine
from optimizers.aggregation._tasks import cast_like, check_task_number, loss_vector, stacked_zeros, task_norms
from optimizers.aggregation.moco import Rate, at, track


class DBMTLState(NamedTuple):
    """State of `db_mtl`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        averages: moving averages of the gradients of the log losses, leaves `[T, ...]` in float32 or wider.
    """

    count: Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    averages: PyTree


def db_mtl(tasks: int, *, decay: Rate = 0.9, eps: Any = 1e-8) -> optax.GradientTransformationExtraArgs:
    r"""Dual balancing: gradients of the log losses, averaged over time, scaled to the longest of them and added.

    $$
    \hat g_t \leftarrow \beta \hat g_t + (1 - \beta) \frac{g_t}{\mathcal{L}_t + \epsilon}, \qquad
    A = \max_s \lVert \hat g_s \rVert \sum_t \frac{\hat g_t}{\lVert \hat g_t \rVert}
    $$

    The logarithm makes the update free of the scales of the losses, and the norms make every task count alike. The
    averages begin at 0 and are not corrected for it, so the first updates are short.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype. The update takes `task_losses`, `[T]`, as an extra argument, which `make_train_step` passes; they must not be
    negative. Its state is T times the size of the parameters, and laid out as they are. A task whose average vanishes
    adds nothing. A gradient with NaN or inf gives NaN everywhere and enters the state, and so does such a loss or a
    negative one; skip such updates (`optax.apply_if_finite`, or the train step's `skip_nonfinite`).

    Args:
        tasks: the number of tasks T.
        decay: decay $\beta$ of the averages, in [0, 1], or a schedule of the number of updates so far; at 0 there is
            no averaging.
        eps: added to the losses, at least 0: bounds the gradient of the logarithm of a loss of 0.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks that is not an integer.
        ValueError: no tasks, a decay or an epsilon out of range; from the update, no task_losses, leaves without a
            leading task axis, or with another number of tasks.

    Examples:
        Losses 2 and 1/2 with gradients (4, 0) and (0, 1): those of the logarithms are (2, 0) and (0, 2).

        >>> import jax.numpy as jnp
        >>> tx = db_mtl(2, decay=0.0)
        >>> gradients, losses = jnp.array([[4.0, 0.0], [0.0, 1.0]]), jnp.array([2.0, 0.5])
        >>> updates, state = tx.update(gradients, tx.init(jnp.zeros(2)), task_losses=losses)
        >>> updates.round(3).tolist()
        [2.0, 2.0]

    Source:
        Lin, Jiang, Ye, Zhang, Chen, Chen, Liu, Kwok, "Dual-Balancing for Multi-Task Learning" (2023), Algorithm 1.
    """
    tasks = check_positive_integer("db_mtl", "tasks", tasks)
    check_range("db_mtl", "decay", decay, 0.0, 1.0)
    check_range("db_mtl", "eps", eps, 0.0)

    def init(params: PyTree) -> DBMTLState:
        return DBMTLState(jnp.zeros([], jnp.int32), stacked_zeros(tasks, params))

    def update(
        updates: PyTree, state: DBMTLState, params: PyTree = None, *, task_losses: Any = None, **extra_args: Any
    ) -> tuple[PyTree, DBMTLState]:
        del params, extra_args
        if check_task_number("db_mtl", tasks, updates) is None:
            return updates, state
        scales = 1.0 / (loss_vector("db_mtl", task_losses, tasks) + eps)
        averages = track(state.averages, updates, at(decay, state.count), scales)
        norms = task_norms(averages)
        weights = jnp.where(norms == 0, 1.0, jnp.max(norms) / jnp.where(norms == 0, 1.0, norms))
        weights = jnp.where(jnp.all(jnp.isfinite(norms)), weights, jnp.nan)
        return cast_like(combine(weights, averages), updates), DBMTLState(optax.safe_increment(state.count), averages)

    return optax.GradientTransformationExtraArgs(init, update)
