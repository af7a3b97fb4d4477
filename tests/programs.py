"""Functions compiled once for all calls of a test file that are alike."""

import inspect
from collections.abc import Callable
from typing import TypeVar

import jax

F = TypeVar("F", bound=Callable)
STATIC = {"axis_name", "easy_margin", "error_free", "gain", "iterations", "network", "plus", "swap", "top"}


def shared(function: F) -> F:
    """The function jitted, numbers traced: a sweep of hyperparameters compiles one program, not one a value."""
    return jax.jit(function, static_argnames=tuple(STATIC & set(inspect.signature(function).parameters)))
