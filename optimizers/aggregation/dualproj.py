"""DualProj: the mean of the task gradients, projected onto the dual cone of all of them."""

from typing import Any

import optax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers.aggregation._dual_cone import dual_cone_projection_weights
from optimizers.aggregation._gramian import Preference, check_gramian, nan_unless_finite, task_vector, weighted


def dualproj_weights(
    gramian: Float[Array, "T T"], *, preference: Preference = None, norm_eps: Any = 1e-4, reg_eps: Any = 1e-4
) -> Float[Array, " T"]:
    r"""Weights of the task gradients in the projection of their mean onto their dual cone.

    $$
    J^\top w = \operatorname{argmin}_{x:\ J x \ge 0} \lVert x - J^\top p \rVert, \quad
    w = \operatorname{argmin}_{v \ge p} v^\top G v, \quad G = J J^\top
    $$

    As in gradient episodic memory, with the mean of all gradients (p = 1/T) in the place of the newest task's.
    `upgrad` projects each gradient by itself and then takes the mean.

    Args:
        gramian: inner products G of the task gradients, `[T, T]`.
        preference: weights p of the gradients whose sum is projected, `[T]`; 1/T each by default.
        norm_eps: below this trace of the Gramian (squared norm of all gradients together) nothing is projected.
        reg_eps: multiple of the identity added to the Gramian of trace one; see `dual_cone_projection_weights`.

    Returns:
        Weights `[T]`, equal to the preference where the sum harms no task; NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, a preference that is not a vector of length T, a negative epsilon.

    Examples:
        The mean of (1, 0) and (-3, 1) is (-1, 0.5), and (0, 0.5) the nearest point that harms neither:

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in dualproj_weights(jnp.array([[1.0, -3.0], [-3.0, 10.0]]), reg_eps=0.0)]
        [1.5, 0.5]

    Source:
        Lopez-Paz, Ranzato, "Gradient Episodic Memory for Continual Learning" (2017), equation 11.
    """
    gramian = check_gramian("dualproj_weights", gramian)
    check_range("dualproj_weights", "norm_eps", norm_eps, 0.0)
    check_range("dualproj_weights", "reg_eps", reg_eps, 0.0)
    vector = task_vector("dualproj_weights", "preference", preference, gramian, 1.0 / gramian.shape[0])
    weights = dual_cone_projection_weights(gramian, vector, norm_eps=norm_eps, reg_eps=reg_eps)
    return nan_unless_finite(gramian, weights)


def dualproj(
    *, preference: Preference = None, norm_eps: Any = 1e-4, reg_eps: Any = 1e-4
) -> optax.GradientTransformationExtraArgs:
    """The mean of the task gradients, projected so that it harms no task.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `dualproj_weights` for the definition. It conflicts with no task, up to `reg_eps`. The Gramian over the
    whole tree is accumulated in float32 or wider; a gradient with NaN or inf gives NaN.

    Args:
        preference: weights of the gradients whose sum is projected, `[T]`; 1/T each by default.
        norm_eps: below this squared norm of all gradients together nothing is projected: the result is their mean.
        reg_eps: multiple of the identity added to the Gramian of trace one.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: a negative epsilon; from the update, leaves without a leading task axis or with different ones,
            a preference of another length.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(dualproj(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-3.0, 1.0]]), tx.init(params), params)
        >>> [abs(round(float(updates[0]), 2)), round(float(updates[1]), 2)]
        [0.0, -0.5]

    Source:
        Lopez-Paz, Ranzato, "Gradient Episodic Memory for Continual Learning" (2017), equation 11.
    """
    check_range("dualproj", "norm_eps", norm_eps, 0.0)
    check_range("dualproj", "reg_eps", reg_eps, 0.0)
    return weighted(
        "dualproj", lambda gramian: dualproj_weights(gramian, preference=preference, norm_eps=norm_eps, reg_eps=reg_eps)
    )
