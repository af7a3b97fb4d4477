"""What every objective does before its arithmetic: checks with telling errors, dtypes, masks and labels.

Errors name the function, the argument, what was expected and what came. Masked entries are replaced before the
arithmetic, so that no NaN they hold can reach a value or a gradient.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from objectives._typing import Array


def describe(array: Any) -> str:
    """Dtype and shape, as in `float32[8, 10]`."""
    return f"{array.dtype}{list(array.shape)}"


def to_array(function: str, name: str, value: Any) -> Array:
    """`value` as an array; TypeError where it cannot be one, as a string or a ragged list cannot."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{function}: {name} must be an array, got {type(value).__name__}") from error


def floating(function: str, name: str, value: Any) -> Array:
    """`value` as an array in its own dtype; TypeError unless that is floating."""
    array = to_array(function, name, value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{function}: {name} must be floating point, got {describe(array)}")
    return array


def real(function: str, name: str, value: Any) -> Array:
    """`value` as an array; TypeError unless it holds floating-point numbers, integers or booleans."""
    array = to_array(function, name, value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating) or jnp.issubdtype(array.dtype, jax.dtypes.extended):
        raise TypeError(f"{function}: {name} must hold real numbers, got {describe(array)}")
    return array


def compute_dtype(*arrays: Array) -> np.dtype:
    """float64 where any input is float64, else float32: half precision is neither summed nor returned."""
    return np.dtype(np.float64 if any(array.dtype == jnp.float64 for array in arrays) else np.float32)


def check_rank(function: str, name: str, array: Array, minimum: int, expected: str, maximum: int | None = None) -> None:
    """ValueError unless `array` has from `minimum` to `maximum` axes; `expected` spells the shape, as in `[..., C]`."""
    if array.ndim < minimum or (maximum is not None and array.ndim > maximum):
        raise ValueError(f"{function}: {name} must have shape {expected}, got {describe(array)}")


def check_classes(function: str, name: str, array: Array, expected: str = "[..., C]") -> None:
    """ValueError unless `array` has a last axis of at least one class."""
    check_rank(function, name, array, 1, expected)
    if array.shape[-1] == 0:
        raise ValueError(f"{function}: {name} must have at least one class, got {describe(array)}")


def check_same_shape(function: str, name: str, array: Array, other_name: str, other: Array) -> None:
    """ValueError unless the shapes are equal; nothing is broadcast."""
    if array.shape != other.shape:
        raise ValueError(
            f"{function}: {name} must have the shape of {other_name}, {list(other.shape)}, got {describe(array)}"
        )


def hyperparameter(
    function: str,
    name: str,
    value: Any,
    dtype: np.dtype,
    low: int | float = -math.inf,
    high: int | float = math.inf,
    *,
    open_low: bool = False,
) -> Any:
    """A scalar hyperparameter, range-checked where it is concrete; traced values pass and take the compute dtype."""
    if isinstance(value, jax.Array | np.ndarray):
        if value.ndim != 0:
            raise ValueError(f"{function}: {name} must be a scalar, got {describe(value)}")
    elif not isinstance(value, int | float | np.number):
        raise TypeError(f"{function}: {name} must be a number, got {type(value).__name__}")
    if isinstance(value, jax.core.Tracer):
        return value.astype(dtype)
    number = float(value)
    if not ((number > low if open_low else number >= low) and number <= high):
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}]"
        raise ValueError(f"{function}: {name} must lie in {interval}, got {number!r}")
    return jnp.asarray(value, dtype) if isinstance(value, jax.Array) else number


def class_vector(function: str, name: str, value: Any, classes: int, dtype: np.dtype) -> Array:
    """A hyperparameter with one number per class, `[C]`, in the compute dtype."""
    array = real(function, name, value)
    if array.shape != (classes,):
        raise ValueError(f"{function}: {name} must have one entry per class, [{classes}], got {describe(array)}")
    return array.astype(dtype)


def mask(function: str, where: Any, shape: Sequence[int], name: str = "where") -> Array | None:
    """`where` as an array, or None; TypeError unless boolean, ValueError unless of `shape`."""
    if where is None:
        return None
    array = to_array(function, name, where)
    if array.dtype != jnp.bool_:
        raise TypeError(f"{function}: {name} must be boolean, got {describe(array)}")
    if array.shape != tuple(shape):
        raise ValueError(f"{function}: {name} must have shape {list(shape)}, got {describe(array)}")
    return array


def expand(array: Array, ndim: int) -> Array:
    """`array` with trailing axes of size one, up to `ndim` axes."""
    return array.reshape(array.shape + (1,) * (ndim - array.ndim))


def clean(array: Array, where: Array | None) -> Array:
    """`array` with 0 in place of what `where` masks; `where` covers its leading axes."""
    return array if where is None else jnp.where(expand(where, array.ndim), array, jnp.zeros((), array.dtype))


class Labels(NamedTuple):
    """Checked labels, class ids or probabilities; masked ones are cleaned.

    Attributes:
        values: Class ids `[...]`, all in range (one that was not is 0 here), or probabilities `[..., C]` in the
            compute dtype.
        valid: For class ids, `[...]`, False where the id was out of range; None for probabilities.
    """

    values: Array
    valid: Array | None

    @property
    def are_ids(self) -> bool:
        """Whether the labels are class ids."""
        return self.valid is not None


def class_labels(
    function: str, labels: Any, shape: Sequence[int], dtype: np.dtype, where: Array | None = None, name: str = "labels"
) -> Labels:
    """Read labels of predictions of `shape` `[..., C]`: rank and dtype alone decide the kind.

    Args:
        function: Name of the calling function, for errors.
        labels: Integer class ids `[...]`, or probabilities (one-hot included, of any real dtype) `[..., C]`.
        shape: Shape of the predictions.
        dtype: Compute dtype, given to probabilities.
        where: Mask over the leading axes; labels it masks may hold anything.
        name: Name of the argument, for errors.

    Returns:
        The checked labels.

    Raises:
        TypeError: If labels of rank one less than the predictions are not integers.
        ValueError: If the shape is neither `[...]` nor `[..., C]`.
    """
    array, shape = real(function, name, labels), tuple(shape)
    if array.shape not in (shape[:-1], shape):
        raise ValueError(
            f"{function}: {name} must be class ids {list(shape[:-1])} or probabilities {list(shape)}, "
            f"got {describe(array)}"
        )
    array = clean(array, where)
    if array.ndim == len(shape):
        return Labels(array.astype(dtype), None)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(
            f"{function}: {name} of shape {list(shape[:-1])} must be integer class ids, got {describe(array)}; "
            f"probabilities have shape {list(shape)}"
        )
    ids = array.astype(jnp.int64 if array.dtype.itemsize == 8 else jnp.int32)
    valid = (ids >= 0) & (ids < shape[-1])
    return Labels(jnp.where(valid, ids, 0), valid)


def is_class(ids: Array, classes: int) -> Array:
    """The one-hot mask `[..., C]` of class ids `[...]`; a comparison that fuses, never a table in memory."""
    return ids[..., None] == jnp.arange(classes, dtype=ids.dtype)


def pick(values: Array, ids: Array) -> Array:
    """The entry of `values` `[..., C]` at class `ids` `[...]`, which must be in range."""
    return jnp.take_along_axis(values, ids[..., None], axis=-1, mode="promise_in_bounds")[..., 0]


def finish(losses: Array, where: Array | None, valid: Array | None = None) -> Array:
    """Losses `[...]` with NaN (value and gradient) where a label was not valid and 0 where masked."""
    if valid is not None:
        losses = losses * jnp.where(valid, 1, jnp.nan).astype(losses.dtype)
    return clean(losses, where)


def prng_key(function: str, name: str, value: Any) -> Array:
    """`value` if it is one typed PRNG key; TypeError otherwise."""
    if not (isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.ndim == 0):
        raise TypeError(f"{function}: {name} must be a PRNG key (jax.random.key), got {type(value).__name__}")
    return value


def check_callable(function: str, name: str, value: Any, signature: str) -> None:
    """TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{function}: {name} must be a function {signature}, got {type(value).__name__}")


def static_integer(function: str, name: str, value: Any, least: int = 1) -> int:
    """`value` as an int that no array may be; TypeError unless it is an integer, ValueError below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{function}: {name} must be an integer, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{function}: {name} must be at least {least}, got {value}")
    return int(value)


def integers(function: str, name: str, value: Any) -> Array:
    """`value` as an array; TypeError unless it holds integers."""
    array = to_array(function, name, value)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{function}: {name} must be integers, got {describe(array)}")
    return array


def check_choice(function: str, name: str, value: str, words: Iterable[str]) -> None:
    """ValueError unless `value` is one of the words."""
    if value not in words:
        raise ValueError(f"{function}: {name} must be one of {', '.join(map(repr, words))}, got {value!r}")
