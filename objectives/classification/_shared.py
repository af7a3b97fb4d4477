"""What the families of this room share: powers and ratios that are safe at their ends, binary and expected labels."""

from collections.abc import Callable

import jax.numpy as jnp

from objectives._inputs import (
    Labels,
    check_same_shape,
    clean,
    compute_dtype,
    floating,
    mask,
    pick,
    real,
)
from objectives._typing import Array, ArrayLike, Scalar


def expm1_ratio(scale: Scalar, x: Array) -> Array:
    """(exp(scale x) - 1) / scale, which is x where the scale is 0; derivatives by either are right there too."""
    product = scale * x
    small = jnp.abs(product) < 1e-3
    t = jnp.where(small, product, 0)
    series = jnp.where(small, x, 0) * (1 + t / 2 * (1 + t / 3 * (1 + t / 4 * (1 + t / 5))))
    return jnp.where(small, series, jnp.expm1(jnp.where(small, 1, product)) / jnp.where(small, 1, scale))


def read_binary(
    function: str, logits: ArrayLike, labels: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Cleaned logits and probabilities of the positive class, in the compute dtype; NaN for one outside [0, 1]."""
    scores, targets = floating(function, "logits", logits), real(function, "labels", labels)
    check_same_shape(function, "labels", targets, "logits", scores)
    kept, dtype = mask(function, where, scores.shape), compute_dtype(scores)
    positive = clean(targets, kept).astype(dtype)
    positive = jnp.where((positive >= 0) & (positive <= 1), positive, jnp.nan)
    return clean(scores, kept).astype(dtype), positive, kept


def expected_loss(labels: Labels, losses: Callable[[Array | None], Array]) -> Array:
    """Σ_c q_c loss_c; `losses` maps class ids to the losses of those classes, and None to those of all, `[..., C]`."""
    if labels.are_ids:
        return losses(labels.values)
    possible = labels.values != 0  # an infinite loss of a class without probability counts nothing
    return jnp.sum(jnp.where(possible, labels.values * jnp.where(possible, losses(None), 0), 0), axis=-1)


def of_classes(values: Array, ids: Array | None) -> Array:
    """The values `[..., C]` of all classes, or those of the class ids."""
    return values if ids is None else pick(values, ids)
