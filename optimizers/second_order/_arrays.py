"""What the functions of this room do before their arithmetic: arrays in float32 or wider, of the shapes they need."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from optimizers._trees import wide


def floats(function: str, **arrays: Any) -> list[Array]:
    """The arguments as arrays in float32 or wider; an argument that is no floating point array is named."""
    found = []
    for name, value in arrays.items():
        try:
            array = jnp.asarray(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{function}: {name} must be an array, got {type(value).__name__}") from error
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{function}: {name} must be floating point, got {array.dtype}")
        found.append(wide(array))
    return found


def check_shape(function: str, name: str, array: Array, shape: tuple[int | None, ...]) -> None:
    """ValueError unless the shape of `array` is that one, None standing for any size."""
    same = array.ndim == len(shape) and all(e in (None, s) for s, e in zip(array.shape, shape))
    if not same:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{function}: {name} must have shape [{wanted}], got {list(array.shape)}")
