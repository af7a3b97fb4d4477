"""Functions compiled once for all calls of a test file that are alike; a test in float64."""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

import jax
import numpy as np

F = TypeVar("F", bound=Callable)
STATIC = {"axis_name", "easy_margin", "error_free", "gain", "iterations", "network", "plus", "swap", "top"}


def shared(function: F) -> F:
    """The function jitted, numbers traced: a sweep of hyperparameters compiles one program, not one a value."""
    return jax.jit(function, static_argnames=tuple(STATIC & set(inspect.signature(function).parameters)))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one program for every call: arrays are traced, and whatever else is given is what it is."""
    programs: dict[Any, Callable[..., Any]] = {}

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, keywords))
        arrays = [x if isinstance(x, jax.Array | np.ndarray) else None for x in leaves]
        others = [(type(x), x) if array is None else None for x, array in zip(leaves, arrays)]

        def run(arrays: list[Any]) -> Any:
            given = [array if other is None else other[1] for array, other in zip(arrays, others)]
            args, keywords = jax.tree.unflatten(tree, given)
            return function(*args, **keywords)

        return programs.setdefault((tree, *others), jax.jit(run))(arrays)

    return call


def all_compiled(module: ModuleType) -> Any:
    """The public functions of a module, each `compiled`; its types as they are."""
    public = {name: getattr(module, name) for name in module.__all__}
    return SimpleNamespace(**{name: compiled(f) if inspect.isfunction(f) else f for name, f in public.items()})


def x64(test: F) -> F:
    """A test run in float64."""

    @functools.wraps(test)
    def run(*args: Any, **keywords: Any) -> None:
        with jax.enable_x64(True):
            test(*args, **keywords)

    return run  # type: ignore[return-value]


def gradient(function: Callable[..., jax.Array], *inputs: Any) -> Any:
    """The gradient of the sum, at the first input."""
    return jax.jit(jax.grad(lambda *x: function(*x).sum()))(*inputs)
