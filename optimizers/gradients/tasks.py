"""One gradient a task, for the aggregators that resolve conflicts between tasks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable
from optimizers._trees import PyTree, mask_by_path
from optimizers.gradients._losses import pullback_of_losses
from optimizers.gradients.backprop import LossFn, ValueAndGrad


def per_task(*, sequential: bool = False, shared: Callable[[str], bool] | None = None) -> Callable[..., ValueAndGrad]:
    r"""The gradients of several tasks from one forward pass: the Jacobian of the vector of losses.

    $$
    J_t = \nabla_\theta L_t(\theta), \qquad t = 1, \dots, T
    $$

    The forward pass runs once and is pulled back T times. Feed the result to an aggregator, which is a link of an
    Optax chain: `optax.chain(upgrad(), adamw(1e-3))`.

    A network of a shared trunk $\theta$ and a head $\phi_t$ a task has conflicts in the trunk alone. With `shared`, the
    other leaves get the gradient of the sum of the losses, in which each head only hears its own task; the aggregator
    is `shared_only(upgrad(), shared)`. That gradient is one more pullback, of the sum, through the heads alone: under
    `jax.jit` none of the T pullbacks computes the gradient of a head, and nothing is stacked for it.

    Args:
        sequential: pull back one task after the other (`jax.lax.map`) instead of all at once (`jax.vmap`): the
            backward pass then needs the memory of one task, not of T. On accelerators that takes more time; on CPU
            less, once the model has some hundred thousand parameters.
        shared: which leaves get one gradient a task, a function of the leaf's path, its keys joined by slashes:
            `lambda path: path.startswith("trunk/")`. All of them by default.

    Returns:
        A gradient rule for a `loss_fn` that returns the losses of T tasks, shape `[T]`. Its value is that `[T]`
        vector; the leaves of its gradient are stacked, `[T, ...]`, those that are not shared excepted, `[...]`.

    Raises:
        TypeError: if `shared` is not a function.
        ValueError: if `loss_fn` does not return a vector `[T]`, or no parameter is shared.

    Examples:
        >>> import jax.numpy as jnp
        >>> two_tasks = lambda w: jnp.stack([jnp.sum(w**2), jnp.sum((w - 1.0) ** 2)])
        >>> losses, jacobian = per_task()(two_tasks)(jnp.array([1.0, 2.0]))
        >>> print(losses, jacobian.tolist())
        [5. 1.] [[2.0, 4.0], [0.0, 2.0]]

    Source:
        Pierre Quinton, Valérian Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.
    """
    if shared is not None:
        check_callable("per_task", "shared", shared, "path -> bool")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def value_and_jacobian(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, PyTree]:
            del step
            value, losses, pull_back = pullback_of_losses("per_task", loss_fn, has_aux, params, args, kwargs)
            basis = jnp.eye(losses.shape[0], dtype=losses.dtype)
            over_tasks = jax.lax.map if sequential else lambda function, rows: jax.vmap(function)(rows)
            if shared is None:
                return value, over_tasks(pull_back, basis)

            is_shared = mask_by_path(shared, params)
            if not any(jax.tree.leaves(is_shared)):
                raise ValueError("per_task: expected shared to hold for a parameter, it holds for none of their paths")

            def pull_back_shared(cotangent: jax.Array) -> PyTree:
                return jax.tree.map(lambda s, g: g if s else None, is_shared, pull_back(cotangent))

            of_sum, stacked = pull_back(jnp.ones_like(losses)), over_tasks(pull_back_shared, basis)
            return value, jax.tree.map(lambda s, own, g: g if s else own, is_shared, of_sum, stacked)

        return value_and_jacobian

    return rule
