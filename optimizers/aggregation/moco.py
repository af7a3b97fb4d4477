"""MoCo: MGDA on tracked gradients, whose weights move a step at a time: noise does not bias the direction."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import PyTree
from optimizers.aggregation._gramian import combine, gramian, nan_unless_finite
from optimizers.aggregation._tasks import (
    cast_like,
    check_task_number,
    loss_vector,
    scale_tasks,
    stacked_zeros,
    task_norms,
)

Rate = float | Array | Callable[[Array], Any]


class MoCoState(NamedTuple):
    """State of `moco`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        tracked: moving averages of the task gradients, leaves `[T, ...]` in float32 or wider.
        weights: their weights, `[T]`, non-negative and of sum 1.
    """

    count: Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    tracked: PyTree
    weights: Array


def moco(
    tasks: int,
    *,
    tracking_rate: Rate = 0.5,
    learning_rate: Rate = 0.1,
    regularization: Any = 0.0,
    max_norm: Any = None,
    projection: Literal["simplex", "softmax"] = "simplex",
    normalize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Multi-objective gradient correction: a convex combination of tracked gradients that seeks their common descent.

    $$
    y_t \leftarrow \Pi_{L} \bigl( y_t - \beta (y_t - g_t) \bigr), \qquad
    \lambda \leftarrow \Pi_{\Delta} \bigl( \lambda - \gamma (Y Y^\top + \rho I) \lambda \bigr), \qquad
    A = \sum_t \lambda_t y_t
    $$

    with $\Pi_L$ the projection onto the ball of radius L and $\Pi_\Delta$ that onto the simplex; y begins at 0 and
    $\lambda$ at 1/T. The tracked gradients converge to the true ones while $\beta$ decays, and $\lambda$ to MGDA's
    weights of these, which the weights of one noisy batch do not.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype. Its state is T times the size of the parameters, and laid out as they are. A gradient with NaN or inf gives
    NaN everywhere and enters the state; skip such updates (`optax.apply_if_finite`, or the train step's
    `skip_nonfinite`).

    Args:
        tasks: the number of tasks T.
        tracking_rate: $\beta$ in [0, 1], or a schedule of the number of updates so far; the authors let it decay as
            `0.5 / (count + 1)**0.5`.
        learning_rate: $\gamma$, the step of the weights, at least 0, in units of one over the square of a gradient; or
            a schedule; the authors' is `0.1 / (count + 1)**0.5`.
        regularization: $\rho$, at least 0: pulls the weights towards 1/T.
        max_norm: L, above 0; no ball by default.
        projection: "softmax" puts the softmax in place of the projection onto the simplex, as the authors' code does.
        normalize: track $\mathcal{L}_t g_t / \lVert g_t \rVert$ instead of $g_t$, as the authors' code does; the update
            then takes the losses, `[T]` and not negative, as the extra argument `task_losses`, which `make_train_step`
            passes.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks that is not an integer.
        ValueError: no tasks, another projection, a hyperparameter out of range; from the update, no task_losses where
            they are needed, leaves without a leading task axis, or with another number of tasks.

    Examples:
        Weights of (1, 0) and (-1, 1) reach those of the shortest combination, 0.6 and 0.4:

        >>> import jax, jax.numpy as jnp
        >>> tx = moco(2)
        >>> step = lambda state, _: tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), state)[::-1]
        >>> state, updates = jax.lax.scan(step, tx.init(jnp.zeros(2)), length=100)
        >>> [round(float(w), 3) for w in state.weights], [round(float(u), 3) for u in updates[-1]]
        ([0.6, 0.4], [0.2, 0.4])

    Source:
        Fernando, Shen, Liu, Chaudhury, Murugesan, Chen, "Mitigating Gradient Bias in Multi-objective Learning: A
        Provably Convergent Approach" (2023), Algorithm 1.
    """
    tasks = check_positive_integer("moco", "tasks", tasks)
    check_range("moco", "tracking_rate", tracking_rate, 0.0, 1.0)
    check_range("moco", "learning_rate", learning_rate, 0.0)
    check_range("moco", "regularization", regularization, 0.0)
    check_range("moco", "max_norm", max_norm, 0.0, open_low=True)
    if projection not in ("simplex", "softmax"):
        raise ValueError(f"moco: projection must be 'simplex' or 'softmax', got {projection!r}")

    def init(params: PyTree) -> MoCoState:
        return MoCoState(jnp.zeros([], jnp.int32), stacked_zeros(tasks, params), jnp.ones((tasks,)) / tasks)

    def update(
        updates: PyTree, state: MoCoState, params: PyTree = None, *, task_losses: Any = None, **extra_args: Any
    ) -> tuple[PyTree, MoCoState]:
        del params, extra_args
        if check_task_number("moco", tasks, updates) is None:
            return updates, state
        scales = jnp.ones((tasks,))
        if normalize:
            scales = _divided(loss_vector("moco", task_losses, tasks), task_norms(updates))
        tracked = track(state.tracked, updates, 1.0 - at(tracking_rate, state.count), scales)
        products = gramian(tracked)
        if max_norm is not None:
            norms = jnp.sqrt(jnp.diagonal(products))
            shrink = jnp.minimum(1.0, max_norm / jnp.maximum(norms, max_norm))
            tracked = jax.tree.map(lambda y: scale_tasks(shrink, y).astype(y.dtype), tracked)
            products = shrink[:, None] * products * shrink
        slope = jnp.dot(products, state.weights, precision=lax.Precision.HIGHEST) + regularization * state.weights
        moved = state.weights - at(learning_rate, state.count) * slope
        weights = jax.nn.softmax(moved) if projection == "softmax" else _onto_simplex(moved)
        weights = nan_unless_finite(products, weights).astype(state.weights.dtype)
        following = MoCoState(optax.safe_increment(state.count), tracked, weights)
        return cast_like(combine(weights, tracked), updates), following

    return optax.GradientTransformationExtraArgs(init, update)


def at(rate: Rate, count: Array) -> Any:
    """The value of a number or of a schedule."""
    return rate(count) if callable(rate) else rate


def track(averages: PyTree, updates: PyTree, decay: Any, scales: Float[Array, " T"]) -> PyTree:
    """`decay * average + (1 - decay) * scales[t] * gradient`, in the dtypes of the averages."""

    def leaf(average: Array, g: Array) -> Array:
        return (decay * average + scale_tasks((1.0 - decay) * scales, g)).astype(average.dtype)

    return jax.tree.map(leaf, averages, updates)


def _divided(losses: Float[Array, " T"], norms: Float[Array, " T"]) -> Float[Array, " T"]:
    return jnp.where(norms == 0, 0.0, losses / jnp.where(norms == 0, 1.0, norms))


def _onto_simplex(weights: Float[Array, " T"]) -> Float[Array, " T"]:
    """The nearest point of the simplex; adding a constant does not move it, and keeps the sums accurate."""
    return optax.projections.projection_simplex(weights - jnp.max(weights))
