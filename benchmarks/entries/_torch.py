"""PyTorch's side of a benchmark: its optimizers and losses as programs of the arrays that ours get.

Nothing is imported until a program is built, so that a peer that is not installed is merely left out.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import numpy as np

from benchmarks.harness import Peer, Program


def update_program(
    make: Callable[[list[Any]], Any], *, hessian: bool = False, overwrites: bool = False
) -> Callable[..., Program]:
    """One `step` of the optimizer that `make` builds of the parameters, which it replaces in place.

    The gradients are set once, as ours get the same ones at every call; where the optimizer `overwrites` them, they are
    copied in again before each step, or they would drift. `hessian` gives them as the diagonal, too.
    """

    def program(params: Any, gradients: Any) -> Program:
        torch = import_module("torch")
        tensors = [torch.nn.Parameter(tensor(leaf)) for leaf in jax.tree.leaves(params)]
        for parameter, gradient in zip(tensors, jax.tree.leaves(gradients), strict=True):
            parameter.grad = tensor(gradient)
        optimizer = make(tensors)
        given = {"hessian": [parameter.grad for parameter in tensors]} if hessian else {}
        kept = [parameter.grad.clone() for parameter in tensors] if overwrites else []

        def step() -> list[Any]:
            with torch.no_grad():
                for parameter, gradient in zip(tensors, kept):
                    parameter.grad.copy_(gradient)
                optimizer.step(**given)
            return tensors

        return Program(step, jit=False)

    return program


def optimizer_peer(
    name: str,
    make: Callable[[list[Any]], Any] | None = None,
    *,
    hessian: bool = False,
    overwrites: bool = False,
    **settings: Any,
) -> Peer:
    """An optimizer of pytorch-optimizer: the class of that name with these settings, or what `make` builds."""

    def from_class(tensors: list[Any]) -> Any:
        return getattr(import_module("pytorch_optimizer"), name)(tensors, **settings)

    program = update_program(make or from_class, hessian=hessian, overwrites=overwrites)
    label = f"pytorch_optimizer.{name}" + (" with a copy of the gradient, which it overwrites" if overwrites else "")
    return Peer(label, "pytorch-optimizer", program)


def loss_program(make: Callable[[], Callable[..., Any]], learned: int = 1) -> Callable[..., Program]:
    """Value and gradient, in the first `learned` arrays, of the scalar loss that `make` builds."""

    def program(*arrays: jax.Array) -> Program:
        torch = import_module("torch")
        tensors = [tensor(array) for array in arrays]
        loss, leaves = make(), [leaf.requires_grad_() for leaf in tensors[:learned]]

        def value_and_gradient() -> list[Any]:
            value = loss(*tensors)
            return [value.detach(), *torch.autograd.grad(value, leaves)]

        return Program(value_and_gradient, jit=False)

    return program


def tensor(array: Any) -> Any:
    """A tensor of its own memory; ids as PyTorch wants them, in 64 bits."""
    values = np.array(array)
    return import_module("torch").from_numpy(values.astype(np.int64) if values.dtype == np.int32 else values)


def leaves_of(output: Any) -> list[np.ndarray]:
    """The arrays or tensors of a result, in one order for both sides."""
    return [np.asarray(getattr(leaf, "detach", lambda leaf=leaf: leaf)()) for leaf in jax.tree.leaves(output)]
