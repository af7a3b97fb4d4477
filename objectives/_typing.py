"""Array and scalar types of the signatures; shapes are written with jaxtyping and checked at run time in the tests."""

from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Float, Integer, Num, Real

Array: TypeAlias = jax.Array
ArrayLike: TypeAlias = jax.Array | np.ndarray
Scalar: TypeAlias = int | float | np.number | Num[ArrayLike, ""]
"""A float hyperparameter: a Python or NumPy number, or a (possibly traced) array of rank 0."""

# Class ids [...], or probabilities (one-hot included) [..., C].
ClassLabels: TypeAlias = (
    Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"]
)
# Mapped axes over which a batch is split under `shard_map`; None where it is not.
AxisName: TypeAlias = str | tuple[str, ...] | None

__all__ = ["Array", "ArrayLike", "AxisName", "Bool", "ClassLabels", "Float", "Integer", "Real", "Scalar"]
