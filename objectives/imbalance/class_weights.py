"""Weights of classes from their counts, the schedule that defers them, and a limit on their weight vectors.

The weights go where a loss takes `class_weights` or `alpha`, or to `reduce_mean(losses, weights=weights[labels])`.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from objectives._inputs import check_rank, compute_dtype, floating, hyperparameter, real
from objectives._numerics import root
from objectives._typing import Array, ArrayLike, Float, Integer, Real, Scalar


def class_balanced_weights(
    class_counts: Real[ArrayLike, " classes"], beta: Scalar = 0.9999
) -> Float[Array, " classes"]:
    r"""Class-balanced weights: one over the effective number of examples of every class.

    $$
    w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}, \qquad \sum_c w_c = C
    $$

    Args:
        class_counts: Number n of training examples of every class `[C]`.
        beta: In [0, 1]: 0 weighs all classes alike, 1 in inverse proportion to their counts.

    Returns:
        Weights `[C]`, float32 (float64 for float64 counts), that sum to C; 0 for a class with count 0.

    Raises:
        TypeError: If the counts are not real.
        ValueError: If they have no class, or `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> weights = class_balanced_weights(jnp.array([1, 3]), beta=0.5)
        >>> print(f"{weights[0]:.4f} {weights[1]:.4f}")
        1.2727 0.7273

    Source:
        Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples", 2019.
    """
    name = "class_balanced_weights"
    counts = _counts(name, class_counts)
    beta = hyperparameter(name, "beta", beta, counts.dtype, 0, 1)
    # log β: in double precision where β is a Python float, as float32 holds 1 - 0.9999 to four digits only
    log_beta: Any = (math.log(beta) if beta > 0 else -math.inf) if isinstance(beta, float) else jnp.log(beta)
    seen = jnp.where(counts > 0, counts, 1)
    inverse_count = jnp.asarray(log_beta) == 0
    effective = jnp.where(inverse_count, seen, -jnp.expm1(seen * jnp.where(inverse_count, -1.0, log_beta)))
    return _normalized(jnp.where(counts == 0, 0, 1 / effective), counts)


def inverse_frequency_weights(
    class_counts: Real[ArrayLike, " classes"], power: Scalar = 1.0
) -> Float[Array, " classes"]:
    r"""Weights in inverse proportion to a power of the counts: 1 balances the classes, 1/2 goes half the way.

    $$
    w_c \propto n_c^{-p}, \qquad \sum_c w_c = C
    $$

    Args:
        class_counts: Number n of training examples of every class `[C]`, in any unit.
        power: Exponent p, at least 0.

    Returns:
        Weights `[C]`, float32 (float64 for float64 counts), that sum to C; 0 for a class with count 0.

    Raises:
        TypeError: If the counts are not real.
        ValueError: If they have no class, or `power` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> weights = inverse_frequency_weights(jnp.array([1, 9]), power=0.5)
        >>> print(f"{weights[0]:.4f} {weights[1]:.4f}")
        1.5000 0.5000

    Source:
        Huang, Li, Loy, Tang, "Learning Deep Representation for Imbalanced Classification", 2016.
    """
    name = "inverse_frequency_weights"
    counts = _counts(name, class_counts)
    power = hyperparameter(name, "power", power, counts.dtype, 0)
    seen = jnp.where(counts == 0, 1, counts)
    return _normalized(jnp.where(counts == 0, 0, (seen / jnp.max(counts)) ** -power), counts)


def deferred_class_weights(
    class_weights: Real[ArrayLike, " classes"],
    step: int | Integer[ArrayLike, ""],
    *,
    start: int | Integer[ArrayLike, ""],
) -> Float[Array, " classes"]:
    r"""Deferred re-weighting (DRW): no weights at first, the given ones from a step on.

    $$
    1 \text{ for step} < \text{start}, \qquad w_c \text{ from then on}
    $$

    Args:
        class_weights: Weights `[C]`, from `class_balanced_weights`, say.
        step: The step or epoch of now, an integer, possibly traced.
        start: The first one with weights, in the same unit (epoch 160 of 200 in the paper).

    Returns:
        Weights `[C]`, float32 (float64 for float64 weights).

    Raises:
        TypeError: If the weights are not real.
        ValueError: If they have no class.

    Examples:
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([0.5, 1.5])
        >>> print(deferred_class_weights(weights, 159, start=160), deferred_class_weights(weights, 160, start=160))
        [1. 1.] [0.5 1.5]

    Source:
        Cao, Wei, Gaidon, Arechiga, Ma, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", 2019.
    """
    weights = _counts("deferred_class_weights", class_weights, "class_weights")
    return jnp.where(jnp.asarray(step) < start, jnp.ones_like(weights), weights)


def max_norm_projection(
    weights: Float[ArrayLike, "classes features"], radius: Scalar
) -> Float[Array, "classes features"]:
    r"""MaxNorm: the weight vectors of a classifier, none longer than a radius.

    $$
    w_c \min(1, r / \lVert w_c \rVert_2)
    $$

    Weight balancing applies it after every update of its second stage, so that frequent classes do not win by the
    length of their vectors.

    Args:
        weights: Weight vectors, one a class `[C, D]`.
        radius: Largest length r, positive.

    Returns:
        Weight vectors `[C, D]`, in the dtype of `weights`.

    Raises:
        TypeError: If the weights are not floating point.
        ValueError: If they are no matrix, or `radius` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> projected = max_norm_projection(jnp.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
        >>> print(f"{projected[0, 1]:.4f} {projected[1, 1]:.4f}")
        0.8000 0.4000

    Source:
        Alshammari, Wang, Ramanan, Kong, "Long-Tailed Recognition via Weight Balancing", 2022.
    """
    name = "max_norm_projection"
    array = floating(name, "weights", weights)
    check_rank(name, "weights", array, 2, "[C, D]", 2)
    dtype = compute_dtype(array)
    radius = hyperparameter(name, "radius", radius, dtype, 0, open_low=True)
    wide = array.astype(dtype)
    norms = root(jnp.sum(wide**2, axis=-1, keepdims=True))
    return (wide * (radius / jnp.maximum(norms, radius))).astype(array.dtype)


def _counts(function: str, values: ArrayLike, name: str = "class_counts") -> Array:
    """One number a class, in float32 or float64."""
    counts = real(function, name, values)
    check_rank(function, name, counts, 1, "[C]", 1)
    if counts.shape[0] == 0:
        raise ValueError(f"{function}: {name} must have at least one class, got {counts.dtype}[0]")
    return counts.astype(np.dtype(compute_dtype(counts)))


def _normalized(weights: Array, counts: Array) -> Array:
    """Weights that sum to the number of classes; NaN where a count is negative."""
    total = jnp.sum(weights)
    scaled = weights * (len(counts) / jnp.where(total == 0, 1, total))
    return jnp.where(counts >= 0, scaled, jnp.nan)
