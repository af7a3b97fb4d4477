"""What aggregators ask of an update beyond its gradients: so many tasks, their losses, their norms, real leaves."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizers._trees import PyTree, accumulator_dtype, wide
from optimizers.aggregation._gramian import task_count


def check_task_number(function: str, tasks: int, updates: PyTree) -> int | None:
    """The number of tasks stacked in `updates`, None for an empty tree; ValueError unless it is `tasks`."""
    count = task_count(function, updates)
    check_count(function, tasks, count)
    return count


def check_count(function: str, tasks: int, count: int | None) -> None:
    """Raise ValueError unless there are gradients of `tasks` tasks, or none at all."""
    if count not in (None, tasks):
        raise ValueError(f"{function}: tasks is {tasks}, but the gradients are stacked for {count} tasks")


def check_real(function: str, updates: PyTree) -> None:
    """Raise TypeError where a leaf is complex: its entries have no sign and no order."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        if jnp.iscomplexobj(leaf):
            name = jax.tree_util.keystr(path) or "the gradient"
            raise TypeError(f"{function}: expected real gradients, {name} has dtype {jnp.result_type(leaf)}")


def loss_vector(function: str, task_losses: Any, tasks: int) -> Float[Array, " T"]:
    """The losses in float32 or wider, NaN where one is negative or not finite.

    Raises:
        ValueError: no losses, or another number of them.
    """
    if task_losses is None:
        raise ValueError(
            f"{function}: the update needs task_losses, the losses [T] of the tasks, as an extra argument; "
            "make_train_step passes them"
        )
    losses = jnp.asarray(task_losses)
    if losses.shape != (tasks,):
        raise ValueError(f"{function}: task_losses must have one entry per task, ({tasks},), got {losses.shape}")
    losses = losses.astype(accumulator_dtype(losses.dtype))
    return jnp.where((losses >= 0) & jnp.isfinite(losses), losses, jnp.nan)


def task_norms(tree: PyTree) -> Float[Array, " T"]:
    """The L2 norm of each task's gradient over the whole tree, in float32 or wider; 0 where its square vanishes."""
    squares = sum(map(_squares, jax.tree.leaves(tree)), start=jnp.zeros((), jnp.float32))
    return jnp.where(squares < jnp.finfo(squares.dtype).tiny, 0.0, jnp.sqrt(squares))


def _squares(leaf: Array) -> Float[Array, " T"]:
    return jnp.sum(jnp.square(jnp.abs(wide(jnp.asarray(leaf)))), axis=tuple(range(1, jnp.ndim(leaf))))


def stacked_zeros(tasks: int, params: PyTree) -> PyTree:
    """Zeros `[T, ...]` for each parameter `[...]`, in float32 or wider, laid out as the parameter is."""

    def leaf(p: Any) -> Array:
        zeros = jnp.zeros_like(p, dtype=accumulator_dtype(jnp.result_type(p)))
        return jnp.broadcast_to(zeros, (tasks, *zeros.shape))

    return jax.tree.map(leaf, params)


def scale_tasks(scales: Float[Array, " T"], leaf: Array) -> Array:
    """`scales[t] * leaf[t]`, in float32 or wider."""
    wider = wide(jnp.asarray(leaf))
    return scales.astype(wider.real.dtype).reshape(-1, *[1] * (wider.ndim - 1)) * wider


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """The leaves of `tree` in the dtypes of those of `like`."""
    return jax.tree.map(lambda x, other: x.astype(jnp.result_type(other)), tree, like)
