"""Aggregators that carry one number per task from update to update: former weights, or average squared norms."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from optimizers._checks import check_positive_integer
from optimizers._trees import PyTree
from optimizers.aggregation._gramian import (
    check_gramian,
    combine,
    nan_unless_finite,
    stateful_weighted,
)
from optimizers.aggregation._tasks import check_count, check_task_number


class TaskState(NamedTuple):
    """One number per task in `values`, `[T]`, and in `step` the updates so far that had finite gradients."""

    values: Float[Array, " T"]
    step: Int[Array, ""]


# (gramian, values, count) -> the weights of this update and the values that the state carries on
CarryingWeighting = Callable[[Array, Array, Array], tuple[Array, Array]]


def carrying(function: str, tasks: int, weigh: CarryingWeighting) -> optax.GradientTransformationExtraArgs:
    """The transformation of a weighting with a `TaskState` whose values begin at 1/T; `function` names it in errors.

    A Gramian with NaN or inf leaves the state as it is.
    """
    tasks = check_positive_integer(function, "tasks", tasks)
    return stateful_weighted(function, _step(function, tasks, weigh), lambda: _initial(tasks))


def carrying_across(function: str, tasks: int, weigh: CarryingWeighting) -> optax.GradientTransformationExtraArgs:
    """As `carrying`, with an extra argument `cross_gramian` of the update that takes the place of the Gramian."""
    alone = carrying(function, tasks, weigh)

    def update(
        updates: PyTree, state: TaskState, params: PyTree = None, *, cross_gramian: Any = None, **extra_args: Any
    ) -> tuple[PyTree, TaskState]:
        if cross_gramian is None:
            return alone.update(updates, state, params, **extra_args)
        check_task_number(function, tasks, updates)
        products = check_gramian(function, cross_gramian)
        weights, state = _step(function, tasks, weigh)(products, state)
        return combine(nan_unless_finite(products, weights), updates), state

    return optax.GradientTransformationExtraArgs(alone.init, update)


def keep_unless(accept: Array, new: PyTree, old: PyTree) -> PyTree:
    """`new` where `accept`, else `old`, in the dtypes of `old`."""
    return jax.tree.map(lambda n, o: jnp.where(accept, n.astype(o.dtype), o), new, old)


def _initial(tasks: int) -> TaskState:
    return TaskState(jnp.ones(tasks) / tasks, jnp.int32(0))


def _step(function: str, tasks: int, weigh: CarryingWeighting) -> Callable[[Array, TaskState], tuple[Array, TaskState]]:
    def step(products: Array, state: TaskState) -> tuple[Array, TaskState]:
        check_count(function, tasks, products.shape[0])
        weights, values = weigh(products, state.values.astype(products.dtype), state.step)
        return weights, keep_unless(jnp.all(jnp.isfinite(products)), TaskState(values, state.step + 1), state)

    return step
