"""Losses that are vectors: one entry an example, or one entry a term of the objective."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers.gradients.backprop import LossFn


def losses_of_examples(function: str, loss_fn: LossFn, has_aux: bool) -> Callable[..., tuple[jax.Array, Any]]:
    """`loss_fn` as `(params, ...) -> (losses [B], aux)`, whose aux is None where it has none."""
    return _losses(function, loss_fn, has_aux, "the losses of the examples as a vector [B]", None)


def losses_of_terms(function: str, loss_fn: LossFn, has_aux: bool, terms: str) -> Callable[..., tuple[jax.Array, Any]]:
    """`loss_fn` as `(params, ...) -> (losses [2], aux)`; `terms` says what the two are."""
    return _losses(function, loss_fn, has_aux, f"the vector [{terms}], of shape (2,)", 2)


def _losses(
    function: str, loss_fn: LossFn, has_aux: bool, expected: str, size: int | None
) -> Callable[..., tuple[jax.Array, Any]]:
    def losses_and_aux(*args: Any, **kwargs: Any) -> tuple[jax.Array, Any]:
        result = loss_fn(*args, **kwargs)
        losses, aux = result if has_aux else (result, None)
        if jnp.ndim(losses) != 1 or size not in (None, losses.shape[0]):
            raise ValueError(f"{function}: loss_fn must return {expected}, got shape {jnp.shape(losses)}")
        return losses, aux

    return losses_and_aux
