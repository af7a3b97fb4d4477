"""FairGrad: task gradients weighed so that the tasks' gains are alpha-fair."""

from typing import Any

import optax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers.aggregation._bargaining import bargaining_weights
from optimizers.aggregation._gramian import check_gramian, weighted


def fairgrad_weights(gramian: Float[Array, "T T"], alpha: Any = 1.0) -> Float[Array, " T"]:
    r"""Weights of the task gradients in the update that is alpha-fair to the tasks.

    $$
    G w = w^{-1/\alpha}, \quad w > 0, \quad G = J J^\top
    $$

    so that the gains `<g_t, J^T w>` of a step, among steps of one length, maximise `sum_t gain_t^(1 - alpha) /
    (1 - alpha)`: proportionally fair (Nash's bargain, see `nash_mtl`) for alpha of 1, near the sum of the gradients as
    alpha goes to 0, and near equal gains for large alpha. Its length is not that of a sum: gradients c times as long
    give an update `c^((1 - alpha) / (1 + alpha))` times as long, of norm `sqrt(T)` always for alpha of 1.

    A damped Newton method solves it as the stationarity of a convex function. The aggregate is accurate to 1e-12 of its
    norm in float64 and 1e-5 in float32 for alpha from 0.1 to 5, up to 64 tasks and shortest combinations of the unit
    gradients down to 0.03; for larger alpha and gradients of very different lengths the weights span more than float32
    holds.

    Args:
        gramian: inner products G of the task gradients, `[T, T]`.
        alpha: above 0.

    Returns:
        Weights `[T]`, positive; all 0 where the gradients are Pareto stationary and no w exists: a gradient vanishes,
        or some convex combination of the unit gradients has a norm below `sqrt(10 T eps)`. NaN where the Gramian holds
        NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, an alpha of 0 or less.

    Examples:
        Orthogonal gradients (2, 0) and (0, 1) are made equally long, and (1.59, 1.26) in between:

        >>> import jax.numpy as jnp
        >>> gramian = jnp.array([[4.0, 0.0], [0.0, 1.0]])
        >>> [round(float(w), 3) for w in fairgrad_weights(gramian)]
        [0.5, 1.0]
        >>> [round(float(w), 3) for w in fairgrad_weights(gramian, 2.0)]
        [0.397, 1.0]

    Source:
        Ban, Ji, "Fair Resource Allocation in Multi-Task Learning" (2024).
    """
    gramian = check_gramian("fairgrad_weights", gramian)
    check_range("fairgrad_weights", "alpha", alpha, 0.0, float("inf"), open_low=True, open_high=True)
    return bargaining_weights(gramian, alpha)


def fairgrad(alpha: Any = 1.0) -> optax.GradientTransformationExtraArgs:
    """Fair resource allocation: the update whose gains are alpha-fair to the tasks.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `fairgrad_weights` for the definition. It improves every task, or is 0 where the gradients are Pareto
    stationary. The Gramian over the whole tree is accumulated in float32 or wider, and the equation solved inside jit
    on any backend; a gradient with NaN or inf gives NaN.

    Args:
        alpha: above 0; the larger, the more equal the gains.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: an alpha of 0 or less; from the update, leaves without a leading task axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(fairgrad(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.541, -1.307]

    Source:
        Ban, Ji, "Fair Resource Allocation in Multi-Task Learning" (2024).
    """
    check_range("fairgrad", "alpha", alpha, 0.0, float("inf"), open_low=True, open_high=True)
    return weighted("fairgrad", lambda gramian: fairgrad_weights(gramian, alpha))
