"""Aggregation of a shared trunk's gradients, beside heads that have one gradient already."""

from collections.abc import Callable

import optax

from optimizers._checks import check_callable
from optimizers._trees import mask_by_path


def shared_only(
    aggregator: optax.GradientTransformation, shared: Callable[[str], bool]
) -> optax.GradientTransformationExtraArgs:
    """An aggregator for the shared leaves alone; all others pass as they are.

    The other half of `per_task(shared=...)`: of a trunk and a head a task, only the trunk's gradients are stacked, only
    they conflict, and only they enter the Gramian. It is `optax.masked` with a mask by path.

    Args:
        aggregator: an Optax transformation from stacked gradients `[T, ...]` to one `[...]`, such as `upgrad()`.
        shared: which leaves it aggregates, the function given to `per_task`: of the leaf's path, its keys joined by
            slashes.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: if `aggregator` is not an Optax transformation, or `shared` not a function.
        ValueError: from the update, what the aggregator raises.

    Examples:
        >>> import jax.numpy as jnp
        >>> from optimizers import upgrad
        >>> tx = shared_only(upgrad(), lambda path: path.startswith("trunk/"))
        >>> gradient = {"trunk": {"w": jnp.array([[1.0, 0.0], [-1.0, 1.0]])}, "head": jnp.array([3.0])}
        >>> updates, state = tx.update(gradient, tx.init({"trunk": {"w": jnp.zeros(2)}, "head": jnp.zeros(1)}))
        >>> print(updates["trunk"]["w"].round(2), updates["head"])
        [0.25 0.75] [3.]

    Source:
        Pierre Quinton, Valérian Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.
    """
    if not isinstance(aggregator, optax.GradientTransformation):
        raise TypeError(
            f"shared_only: aggregator must be an optax.GradientTransformation, got {type(aggregator).__name__}"
        )
    check_callable("shared_only", "shared", shared, "path -> bool")
    return optax.masked(aggregator, lambda tree: mask_by_path(shared, tree))
