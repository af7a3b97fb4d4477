"""One gradient a task, for the aggregators that resolve conflicts between tasks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers.gradients.backprop import LossFn, ValueAndGrad


def per_task(*, sequential: bool = False) -> Callable[..., ValueAndGrad]:
    r"""The gradients of several tasks from one forward pass: the Jacobian of the vector of losses.

    $$
    J_t = \nabla_\theta L_t(\theta), \qquad t = 1, \dots, T
    $$

    The forward pass runs once and is pulled back T times. Feed the result to an aggregator, which is a link of an
    Optax chain: `optax.chain(upgrad(), adamw(1e-3))`.

    Args:
        sequential: pull back one task after the other (`jax.lax.map`) instead of all at once (`jax.vmap`): the
            backward pass then needs the memory of one task, not of T, and usually more time.

    Returns:
        A gradient rule for a `loss_fn` that returns the losses of T tasks, shape `[T]`. Its value is that `[T]`
        vector; the leaves of its gradient are stacked, `[T, ...]`.

    Raises:
        ValueError: if `loss_fn` does not return a vector `[T]`.

    Examples:
        >>> import jax.numpy as jnp
        >>> two_tasks = lambda w: jnp.stack([jnp.sum(w**2), jnp.sum((w - 1.0) ** 2)])
        >>> losses, jacobian = per_task()(two_tasks)(jnp.array([1.0, 2.0]))
        >>> print(losses, jacobian.tolist())
        [5. 1.] [[2.0, 4.0], [0.0, 2.0]]

    Source:
        Pierre Quinton, Valérian Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.
    """

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def value_and_jacobian(params: Any, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            del step

            def losses_of(p: Any) -> Any:
                return loss_fn(p, *args, **kwargs)

            if has_aux:
                losses, pull_back, aux = jax.vjp(losses_of, params, has_aux=True)
            else:
                (losses, pull_back), aux = jax.vjp(losses_of, params), None
            if jnp.ndim(losses) != 1:
                raise ValueError(
                    "per_task: loss_fn must return the losses of the tasks as a vector [T], "
                    f"got shape {jnp.shape(losses)}"
                )
            basis = jnp.eye(losses.shape[0], dtype=losses.dtype)
            over_tasks = jax.lax.map if sequential else lambda function, rows: jax.vmap(function)(rows)
            jacobian = over_tasks(lambda cotangent: pull_back(cotangent)[0], basis)
            return ((losses, aux) if has_aux else losses), jacobian

        return value_and_jacobian

    return rule
