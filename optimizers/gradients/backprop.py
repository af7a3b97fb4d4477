"""Reverse-mode differentiation, the rule that every other rule takes as its default inner one."""

from collections.abc import Callable
from typing import Any

import jax

LossFn = Callable[..., Any]
ValueAndGrad = Callable[..., tuple[Any, Any]]
GradientRule = Callable[..., ValueAndGrad]
"""`rule(loss_fn, has_aux=False) -> value_and_grad(params, *args, step=None, **kwargs)`."""


def backprop(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
    """`jax.value_and_grad` with the signature of a gradient rule: one forward and one backward pass.

    Args:
        loss_fn: `loss_fn(params, *args, **kwargs)` giving a scalar, or `(scalar, aux)` with `has_aux`.
        has_aux: whether `loss_fn` returns auxiliary data beside the loss.

    Returns:
        `value_and_grad(params, *args, step=None, **kwargs)` giving `(value, gradient)`, or `((value, aux), gradient)`.
        `step` is accepted, so that rules are interchangeable, and not used.

    Examples:
        >>> import jax.numpy as jnp
        >>> value, gradient = backprop(lambda w: jnp.sum(w**2))(jnp.array([3.0, 4.0]))
        >>> print(value, gradient)
        25.0 [6. 8.]
    """
    value_and_grad = jax.value_and_grad(loss_fn, has_aux=has_aux)

    def rule(params: Any, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
        del step
        return value_and_grad(params, *args, **kwargs)

    return rule
