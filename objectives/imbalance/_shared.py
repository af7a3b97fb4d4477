"""What the topics of this room share: totals over devices, directions, labels that are ids, powers of frequencies."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from objectives._inputs import Labels, describe, is_class, to_array
from objectives._typing import Array, Scalar


def present(kept: Array | None, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """1 for every entry that the mask keeps, 0 for the others."""
    return jnp.ones(shape, dtype) if kept is None else kept.astype(dtype)


def only_ids(function: str, labels: Labels, expected: tuple[int, ...]) -> Array:
    """The class ids; ValueError where the labels are probabilities."""
    if not labels.are_ids:
        raise ValueError(
            f"{function}: labels must be class ids {list(expected)}, got probabilities {list(labels.values.shape)}"
        )
    return labels.values


def distribution(labels: Labels, classes: int, dtype: np.dtype) -> Array:
    """Label probabilities `[..., C]`: of ids a comparison, which fuses."""
    return is_class(labels.values, classes).astype(dtype) if labels.are_ids else labels.values


def scaled_log(factor: Scalar, log: Array) -> Array:
    """factor times a logarithm, 0 for a factor of 0 even where the logarithm is -inf."""
    return jnp.where(jnp.asarray(factor) == 0, 0, factor * log)


def log_share(counts: Array) -> Array:
    """Logarithm of the frequencies n_c / N; -inf for a class that was never seen."""
    seen = counts > 0
    return jnp.where(counts == 0, -jnp.inf, jnp.log(jnp.where(seen, counts, jnp.nan)) - jnp.log(jnp.sum(counts)))


def boolean(function: str, name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """A boolean mask of `shape` under another name than `where`."""
    array = to_array(function, name, value)
    if array.dtype != jnp.bool_:
        raise TypeError(f"{function}: {name} must be boolean, got {describe(array)}")
    if array.shape != shape:
        raise ValueError(f"{function}: {name} must have shape {list(shape)}, got {describe(array)}")
    return array
