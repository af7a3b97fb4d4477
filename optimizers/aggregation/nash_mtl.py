"""Nash-MTL: task gradients weighed by Nash's solution of their bargain over the update."""

from typing import Any

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers.aggregation._bargaining import bargaining_weights
from optimizers.aggregation._carried import carrying
from optimizers.aggregation._gramian import check_gramian, weighted


def nash_mtl_weights(gramian: Float[Array, "T T"], *, max_norm: Any = 1.0) -> Float[Array, " T"]:
    r"""Weights of the task gradients in Nash's bargaining solution.

    $$
    G w = 1 / w, \quad w > 0, \quad G = J J^\top
    $$

    so that `J^T w` maximises `sum_t log <g_t, x>` over the x of its norm, which is `sqrt(T)` whatever the gradients:
    the tasks' gains enter by ratios, and no rescaling of one task changes the direction. With a `max_norm` below
    `sqrt(T)`, as the authors' 1, the weights are then scaled down to it. FairGrad with alpha of 1 is the same equation;
    see `fairgrad_weights` for how it is solved. (The authors' code divides G by its norm on the way, for the sake of
    its solver: the weights are these.)

    Args:
        gramian: inner products G of the task gradients, `[T, T]`.
        max_norm: bound on the norm of `J^T w`, above 0; `math.inf` for none.

    Returns:
        Weights `[T]`, positive; all 0, the disagreement point of the bargain, where the gradients are Pareto stationary
        (see `fairgrad_weights`), NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, a bound of 0 or less.

    Examples:
        Orthogonal gradients (2, 0) and (0, 1) are made equally long:

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in nash_mtl_weights(jnp.array([[4.0, 0.0], [0.0, 1.0]]))]
        [0.354, 0.707]

    Source:
        Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya, "Multi-Task Learning as a Bargaining Game" (2022).
    """
    gramian = check_gramian("nash_mtl_weights", gramian)
    check_range("nash_mtl_weights", "max_norm", max_norm, 0.0, open_low=True)
    return _shortened(gramian, bargaining_weights(gramian, 1.0), max_norm)


def _shortened(gramian: Array, weights: Array, max_norm: Any) -> Array:
    """Weights whose aggregate has norm `max_norm` at most."""
    square = jnp.sum(weights * jnp.dot(gramian, weights, precision=lax.Precision.HIGHEST))
    norm = jnp.sqrt(jnp.maximum(square, 0.0))
    bound = jnp.asarray(max_norm, gramian.dtype)
    return weights * jnp.where(norm > bound, bound / jnp.where(norm > bound, norm, 1.0), 1.0)


def nash_mtl(
    *, max_norm: Any = 1.0, update_weights_every: int = 1, tasks: int | None = None
) -> optax.GradientTransformationExtraArgs:
    """Multi-task learning as a bargaining game: the update on which the tasks, by Nash's axioms, would agree.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `nash_mtl_weights` for the definition. It improves every task, or is 0 where the gradients are Pareto
    stationary. Without the bound its norm would be `sqrt(T)`: with the default, the authors', it is 1 at every update,
    and the learning rate alone says how far to go. The Gramian over the whole tree is accumulated in float32 or wider,
    and the equation solved inside jit on any backend; a gradient with NaN or inf gives NaN.

    Args:
        max_norm: bound on the norm of the update, above 0; `math.inf` for none.
        update_weights_every: so many updates share weights, the bound aside; the equation is solved at the first.
        tasks: their number T, which the state needs where weights are shared.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of updates or tasks that is not an integer.
        ValueError: a bound of 0 or less, shared weights without `tasks`; from the update, leaves without a leading task
            axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(nash_mtl(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.383, -0.924]

    Source:
        Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya, "Multi-Task Learning as a Bargaining Game" (2022).
    """
    check_range("nash_mtl", "max_norm", max_norm, 0.0, open_low=True)
    every = check_positive_integer("nash_mtl", "update_weights_every", update_weights_every)
    if every == 1:
        return weighted("nash_mtl", lambda gramian: nash_mtl_weights(gramian, max_norm=max_norm))
    if tasks is None:
        raise ValueError(f"nash_mtl: tasks must be given where update_weights_every is above 1, got {every}")

    def weigh(gramian: Array, former: Array, count: Array) -> tuple[Array, Array]:
        weights = lax.cond(count % every == 0, lambda: bargaining_weights(gramian, 1.0), lambda: former)
        return _shortened(gramian, weights, max_norm), weights

    return carrying("nash_mtl", tasks, weigh)
