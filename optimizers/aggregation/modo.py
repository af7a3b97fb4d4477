"""MoDo: task weights that take one projected gradient step per update towards the shortest combination."""

from typing import Any

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers.aggregation._carried import carrying_across
from optimizers.aggregation._gramian import Preference, check_gramian, nan_unless_finite, task_vector


def modo_weights(
    gramian: Float[Array, "T T"], former: Preference = None, *, gamma: Any = 0.1, rho: Any = 0.1
) -> Float[Array, " T"]:
    r"""The task weights that follow `former` ones in MoDo.

    $$
    w \leftarrow \Pi_\Delta \bigl( w - \gamma (C w + \rho w) \bigr), \quad C = J_1 J_2^\top
    $$

    with the Euclidean projection onto the simplex: a step of stochastic gradient descent on
    `|E[J]^T w|^2 + rho |w|^2`, half of it, which MGDA minimises at every update. It is unbiased where `J_1` and `J_2`
    are gradients of two independent batches; a Gramian of one batch adds the covariance of its gradients' noise to C,
    which draws the weights to the tasks of less noise.

    Args:
        gramian: the cross Gramian C of two batches, `[T, T]`, see `cross_gramian`, or the Gramian of one.
        former: weights w, `[T]`; 1/T each by default.
        gamma: step size, above 0. Unlike other weightings this one depends on the gradients' scale.
        rho: strength of the regularization, at least 0.

    Returns:
        Weights `[T]`, non-negative, of sum 1; NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, weights of another length, a step size or strength out of range.

    Examples:
        The longer gradient loses weight:

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in modo_weights(jnp.array([[4.0, 0.0], [0.0, 1.0]]))]
        [0.425, 0.575]

    Source:
        Chen, Fernando, Ying, Chen, "Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and
        Conflict-Avoidance" (2023).
    """
    gramian = check_gramian("modo_weights", gramian)
    _check("modo_weights", gamma, rho)
    weights = task_vector("modo_weights", "former", former, gramian, 1.0 / gramian.shape[0])
    slope = jnp.dot(gramian, weights, precision=lax.Precision.HIGHEST) + rho * weights
    projected = optax.projections.projection_simplex(weights - gamma * slope)
    return nan_unless_finite(gramian, projected.astype(gramian.dtype))


def _check(function: str, gamma: Any, rho: Any) -> None:
    check_range(function, "gamma", gamma, 0.0, open_low=True)
    check_range(function, "rho", rho, 0.0)


def modo(tasks: int, *, gamma: Any = 0.1, rho: Any = 0.1) -> optax.GradientTransformationExtraArgs:
    """Multi-objective gradient with double sampling: weights that approach MGDA's by one step per update.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `modo_weights` for the definition. The state holds the weights, even at first. The method's guarantees
    need gradients of independent batches: pass `cross_gramian=cross_gramian(first, second)` as an extra argument of the
    update, with the gradients of two batches, and for `updates` those of a third or the mean of the two. Without it
    the Gramian of `updates` itself is used, an approximation that is good where their noise is small.

    Args:
        tasks: their number T.
        gamma: step size of the weights, above 0.
        rho: strength of their regularization, at least 0.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks that is not an integer.
        ValueError: a step size or strength out of range; from the update, leaves without a leading axis of `tasks`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(modo(2), optax.sgd(1.0))
        >>> params, gradients = jnp.zeros(2), jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> updates, state = tx.update(gradients, tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.85, -0.575]
        >>> updates, state = tx.update(gradients, state, params, cross_gramian=jnp.eye(2))
        >>> [round(float(u), 3) for u in updates]
        [-0.867, -0.567]

    Source:
        Chen, Fernando, Ying, Chen, "Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and
        Conflict-Avoidance" (2023).
    """
    _check("modo", gamma, rho)

    def weigh(gramian: Array, former: Array, count: Array) -> tuple[Array, Array]:
        del count
        weights = modo_weights(gramian, former, gamma=gamma, rho=rho)
        return weights, weights

    return carrying_across("modo", tasks, weigh)
