"""What all wrappers ask of the transformation inside them."""

from typing import Any

import optax

from optimizers._trees import PyTree


def check_transformation(function: str, name: str, inner: Any) -> optax.GradientTransformationExtraArgs:
    """Raise TypeError unless `inner` is an Optax transformation; returns it accepting extra arguments."""
    if not isinstance(inner, optax.GradientTransformation):
        raise TypeError(f"{function}: {name} must be an optax.GradientTransformation, got {type(inner).__name__}")
    return optax.with_extra_args_support(inner)


def check_given(function: str, name: str, value: PyTree) -> PyTree:
    """Raise ValueError where `update` was called without an argument that the method reads; returns the argument."""
    if value is None:
        raise ValueError(f"{function}: update needs {name}, got None")
    return value
