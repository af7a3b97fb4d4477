"""A vector of losses and its pullback, which the rules of several losses start from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._trees import PyTree
from optimizers.gradients.backprop import LossFn


def pullback_of_losses(
    function: str, loss_fn: LossFn, has_aux: bool, params: PyTree, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, jax.Array, Callable[[jax.Array], PyTree]]:
    """The value that a rule returns (losses, or losses and aux), the losses `[T]`, and `cotangent [T] -> gradient`.

    Raises:
        ValueError: `loss_fn` returns no vector; `function` names the rule.
    """

    def losses_of(p: PyTree) -> Any:
        return loss_fn(p, *args, **kwargs)

    if has_aux:
        losses, pull_back, aux = jax.vjp(losses_of, params, has_aux=True)
        value = losses, aux
    else:
        losses, pull_back = jax.vjp(losses_of, params)
        value = losses
    if jnp.ndim(losses) != 1 or losses.shape[0] == 0:
        raise ValueError(
            f"{function}: loss_fn must return the losses of the tasks as a vector [T], got shape {jnp.shape(losses)}"
        )
    return value, losses, lambda cotangent: pull_back(cotangent)[0]
