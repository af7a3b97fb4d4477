"""What the losses of a residual share: predictions minus targets, checked, in the compute dtype."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from objectives._inputs import check_callable, check_same_shape, clean, compute_dtype, describe, floating, mask, real
from objectives._typing import Array, ArrayLike


def magnitude(values: Array) -> Array:
    """|x| with gradient 0 at 0, where that of `jnp.abs` is 1."""
    return values * jnp.sign(values)


class Pair(NamedTuple):
    """Predictions and targets of one shape in the compute dtype, both 0 where masked; the mask; the dtype."""

    predictions: Array
    targets: Array
    kept: Array | None
    dtype: np.dtype

    @property
    def error(self) -> Array:
        """Predictions minus targets."""
        return self.predictions - self.targets


def pair(function: str, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None) -> Pair:
    """Checked predictions and targets; nothing is broadcast."""
    predictions, targets = floating(function, "predictions", predictions), real(function, "targets", targets)
    check_same_shape(function, "targets", targets, "predictions", predictions)
    kept, dtype = mask(function, where, predictions.shape), compute_dtype(predictions, targets)
    return Pair(clean(predictions, kept).astype(dtype), clean(targets, kept).astype(dtype), kept, dtype)


def per_example(function: str, loss: Callable[[Array, Array], Array], predictions: Array, targets: Array) -> Array:
    """The losses of a function that was given as an argument, which must be one per prediction."""
    check_callable(function, "loss", loss, "(predictions, targets) -> losses")
    losses = jnp.asarray(loss(predictions, targets))
    if losses.shape != predictions.shape:
        raise ValueError(
            f"{function}: loss must return one value per prediction, {list(predictions.shape)}, got {describe(losses)}"
        )
    return losses


def check_one_a_row(function: str, name: str, array: Array, other_name: str, other: Array) -> None:
    """ValueError unless `array` has the shape of `other` without its last axis."""
    check_same_shape(function, name, array, f"{other_name} but for the last axis", other[..., 0])
