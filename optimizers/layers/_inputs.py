"""What every layer does before its arithmetic: checks with telling errors."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def describe(array: Array) -> str:
    """Dtype and shape, as in `float32[8, 10]`."""
    return f"{array.dtype}{list(array.shape)}"


def floating(function: str, name: str, value: Any, axes: int = 0) -> Array:
    """`value` as an array in its own dtype; it must be floating point and have at least `axes` axes."""
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{function}: {name} must be an array, got {type(value).__name__}") from error
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{function}: {name} must be floating point, got {describe(array)}")
    if array.ndim < axes:
        raise ValueError(f"{function}: {name} must have at least {axes} axes, got {describe(array)}")
    return array


def check_shape(function: str, name: str, array: Array, shape: tuple[int, ...]) -> None:
    """ValueError unless `array` has that shape."""
    if array.shape != shape:
        raise ValueError(f"{function}: {name} must have shape {list(shape)}, got {describe(array)}")


def dense_inputs(function: str, x: Any, w: Any, b: Any) -> tuple[Array, Array, Array | None]:
    """Checked inputs `[..., in]`, weights `[in, out]` and bias `[out]` (or None) of a dense layer."""
    x, w = floating(function, "x", x, 1), floating(function, "w", w)
    if w.ndim != 2 or w.shape[0] != x.shape[-1]:
        raise ValueError(f"{function}: w must have shape [{x.shape[-1]}, outputs], got {describe(w)}")
    if b is not None:
        b = floating(function, "b", b)
        check_shape(function, "b", b, w.shape[1:])
    return x, w, b


def add_bias(y: Array, b: Array | None) -> Array:
    """`y + b`, or `y` where there is no bias."""
    return y if b is None else y + b
