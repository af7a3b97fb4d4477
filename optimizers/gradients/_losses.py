"""Losses that are vectors: one entry a task, an example, or a term of the objective."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._trees import PyTree
from optimizers.gradients.backprop import LossFn

LossesAndAux = Callable[..., tuple[jax.Array, Any]]


def losses_of_tasks(function: str, loss_fn: LossFn, has_aux: bool, tasks: int | None = None) -> LossesAndAux:
    """`loss_fn` as `(params, ...) -> (losses [T], aux)`; aux is None where it has none, and `function` names errors."""
    size = "T" if tasks is None else tasks
    return _losses(function, loss_fn, has_aux, f"the losses of the tasks as a vector [{size}]", tasks)


def losses_of_examples(function: str, loss_fn: LossFn, has_aux: bool) -> LossesAndAux:
    """`loss_fn` as `(params, ...) -> (losses [B], aux)`."""
    return _losses(function, loss_fn, has_aux, "the losses of the examples as a vector [B]", None)


def losses_of_terms(function: str, loss_fn: LossFn, has_aux: bool, terms: str) -> LossesAndAux:
    """`loss_fn` as `(params, ...) -> (losses [2], aux)`; `terms` says what the two are."""
    return _losses(function, loss_fn, has_aux, f"the vector [{terms}], of shape (2,)", 2)


def pullback_of_losses(
    function: str, loss_fn: LossFn, has_aux: bool, params: PyTree, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, jax.Array, Callable[[jax.Array], PyTree]]:
    """The value that a rule returns (losses, or losses and aux), the losses `[T]`, and `cotangent [T] -> gradient`."""
    losses_and_aux = losses_of_tasks(function, loss_fn, has_aux)
    losses, pull_back, aux = jax.vjp(lambda p: losses_and_aux(p, *args, **kwargs), params, has_aux=True)
    return ((losses, aux) if has_aux else losses), losses, lambda cotangent: pull_back(cotangent)[0]


def _losses(function: str, loss_fn: LossFn, has_aux: bool, expected: str, size: int | None) -> LossesAndAux:
    def losses_and_aux(*args: Any, **kwargs: Any) -> tuple[jax.Array, Any]:
        losses, aux = loss_fn(*args, **kwargs) if has_aux else (loss_fn(*args, **kwargs), None)
        shape = jnp.shape(losses)
        if len(shape) != 1 or shape[0] == 0 or size not in (None, shape[0]):
            raise ValueError(f"{function}: loss_fn must return {expected}, got shape {shape}")
        return losses, aux

    return losses_and_aux
