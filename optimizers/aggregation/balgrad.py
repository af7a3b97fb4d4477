"""BalGrad: the task's gradient without what opposes the balance of the modalities, and the balancing gradient."""

from collections.abc import Sequence

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers.aggregation._gramian import (
    check_gramian,
    nan_unless_finite,
    task_vector,
    unit_gramian,
    weighted,
)
from optimizers.aggregation._spectrum import rounding

Balance = Float[Array, " S"] | Sequence[float] | None


def balgrad_weights(
    gramian: Float[Array, "T T"], weights: Balance = None, *, project: str = "task"
) -> Float[Array, " T"]:
    r"""Weights of the gradients in BalGrad's update: the task's first, then those of the terms that balance modalities.

    $$
    g - \frac{\min(0, \langle g, h \rangle)}{\lVert h \rVert^2} h + h, \quad h = \sum_m v_m k_m
    $$

    with the task's gradient g and the gradients k of the balancing terms, such as the Kullback-Leibler divergences
    between the predictions of the modalities. Where the task and the balance conflict, the task's gradient loses its
    part along h and is orthogonal to it; with `project="balance"`, h loses its part along g instead.

    Args:
        gramian: inner products of the gradients, `[T, T]`, the task's first.
        weights: v, of the balancing terms, `[T - 1]`; 1/(T - 1) each by default. In the paper they come from what each
            modality contributes, and the weaker modality has the larger.
        project: the gradient that yields, "task" or "balance".

    Returns:
        Weights `[T]`, (1, v) where nothing conflicts or h cancels to rounding, NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, weights of another length, another name to project.

    Examples:
        Without its part along (-1, 1), (1, 0) is (0.5, 0.5), and (-1, 1) is added:

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in balgrad_weights(jnp.array([[1.0, -1.0], [-1.0, 2.0]]))]
        [1.0, 1.5]

    Source:
        Kwon, Kim, Lee, Choi, Kim, "See-Saw Modality Balance: See Gradient, and Sew Impaired Vision-Language Balance to
        Mitigate Dominant Modality Bias" (2025).
    """
    gramian = check_gramian("balgrad_weights", gramian)
    _check("balgrad_weights", project)
    given = task_vector("balgrad_weights", "weights", weights, gramian[1:], 1.0 / max(1, len(gramian) - 1))
    cosines, norms = unit_gramian(gramian)
    # The task's gradient and h as multiples of the unit gradients.
    task, balance = norms.at[1:].set(0.0), norms.at[0].set(0.0) * jnp.append(1.0, given)
    yields, stays = (task, balance) if project == "task" else (balance, task)
    along = jnp.dot(cosines, stays, precision=lax.Precision.HIGHEST)
    square = jnp.dot(stays, along, precision=lax.Precision.HIGHEST)
    conflict = jnp.minimum(jnp.dot(yields, along, precision=lax.Precision.HIGHEST), 0.0)
    cancels = square <= rounding(cosines) * jnp.sum(jnp.abs(stays)) ** 2
    grown = 1.0 - jnp.where(cancels, 0.0, conflict / jnp.where(cancels, 1.0, square))
    first, others = (1.0, grown) if project == "task" else (grown, 1.0)
    return nan_unless_finite(gramian, jnp.append(first, others * given))


def _check(function: str, project: str) -> None:
    if project not in ("task", "balance"):
        raise ValueError(f"{function}: project must be 'task' or 'balance', got {project!r}")


def balgrad(weights: Balance = None, *, project: str = "task") -> optax.GradientTransformationExtraArgs:
    """BalGrad: the task's gradient, without its part against the balance of the modalities, and the balancing gradient.

    Turns updates of leaves `[T, ...]`, the stacked gradients of the task and of T - 1 terms that balance the
    modalities, into one update of leaves `[...]` in the same dtype; see `balgrad_weights` for the definition. It is a
    sum: where nothing conflicts, the task's gradient and the weighted balancing ones. The Gramian over the whole tree
    is accumulated in float32 or wider; a gradient with NaN or inf gives NaN.

    Args:
        weights: those of the balancing terms, `[T - 1]`; 1/(T - 1) each by default.
        project: the gradient that yields in a conflict, "task" or "balance".

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: another name to project; from the update, leaves without a leading task axis or with different ones,
            weights of another length.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(balgrad(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [0.5, -1.5]

    Source:
        Kwon, Kim, Lee, Choi, Kim, "See-Saw Modality Balance: See Gradient, and Sew Impaired Vision-Language Balance to
        Mitigate Dominant Modality Bias" (2025).
    """
    _check("balgrad", project)
    return weighted("balgrad", lambda gramian: balgrad_weights(gramian, weights, project=project))
