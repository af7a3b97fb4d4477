"""UPGrad: project each task gradient onto the dual cone of all of them, and average the projections."""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers.aggregation._dual_cone import dual_cone_projection_weights
from optimizers.aggregation._gramian import Preference, check_gramian, task_vector, weighted


def upgrad_weights(
    gramian: Float[Array, "T T"],
    *,
    preference: Preference = None,
    norm_eps: Any = 1e-4,
    reg_eps: Any = 1e-4,
) -> Float[Array, " T"]:
    """Weights of the task gradients in UPGrad's aggregate.

    With J the gradients `[T, P]`, `pi_J` the projection onto the dual cone `{x: J x >= 0}` and p the preference,

        A(J) = sum_i p_i pi_J(g_i) = J^T w,        w = sum_i argmin_{v >= p_i e_i} v^T G v,        G = J J^T

    Args:
        gramian: inner products of the task gradients, `[T, T]`.
        preference: weights p of the projected gradients, `[T]`; 1/T each (their mean) by default.
        norm_eps: below this trace of the Gramian (squared norm of all gradients together) nothing is projected.
        reg_eps: multiple of the identity added to the Gramian of trace one; see `dual_cone_projection_weights`.

    Returns:
        Weights `[T]`, equal to the preference where no gradients conflict; the aggregate is `sum_t weights[t] g_t`.

    Raises:
        ValueError: a preference that is not a vector of length T, a negative epsilon.

    Examples:
        Gradients (1, 0) and (-1, 1) become (0.25, 0.75), which conflicts with neither:

        >>> import jax.numpy as jnp
        >>> upgrad_weights(jnp.array([[1.0, -1.0], [-1.0, 2.0]]), reg_eps=0.0).round(4).tolist()
        [1.0, 0.75]

    Source:
        Quinton, Rey, "Jacobian Descent for Multi-Objective Optimization" (2024).
    """
    check_range("upgrad_weights", "norm_eps", norm_eps, 0.0)
    check_range("upgrad_weights", "reg_eps", reg_eps, 0.0)
    gramian = check_gramian("upgrad_weights", gramian)
    vector = task_vector("upgrad_weights", "preference", preference, gramian, 1.0 / gramian.shape[0])
    return jnp.sum(dual_cone_projection_weights(gramian, jnp.diag(vector), norm_eps=norm_eps, reg_eps=reg_eps), axis=0)


def upgrad(
    *, preference: Preference = None, norm_eps: Any = 1e-4, reg_eps: Any = 1e-4
) -> optax.GradientTransformationExtraArgs:
    """Unconflicting projection of gradients: the mean of the task gradients, each projected so that it harms no task.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype, whose inner product with every task gradient is non-negative (up to `reg_eps`); see `upgrad_weights` for the
    definition. The projections work on the Gramian over the whole tree, accumulated in float32 or wider, and are solved
    inside jit on any backend; a gradient with NaN or inf gives NaN.

    Args:
        preference: weights of the projected gradients, `[T]`; 1/T each by default.
        norm_eps: below this squared norm of all gradients together nothing is projected: the result is their mean.
        reg_eps: multiple of the identity added to the Gramian of trace one.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: a negative epsilon; from the update, leaves without a leading task axis or with different ones,
            a preference of another length.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(upgrad(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.25, -0.75]

    Source:
        Quinton, Rey, "Jacobian Descent for Multi-Objective Optimization" (2024).
    """
    check_range("upgrad", "norm_eps", norm_eps, 0.0)
    check_range("upgrad", "reg_eps", reg_eps, 0.0)
    return weighted(
        "upgrad", lambda gramian: upgrad_weights(gramian, preference=preference, norm_eps=norm_eps, reg_eps=reg_eps)
    )
