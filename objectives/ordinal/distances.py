"""Distances between levels: in soft labels, and between distributions."""

import jax
import jax.numpy as jnp
import numpy as np

from objectives._inputs import compute_dtype, describe, finish, hyperparameter, real
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Integer, Scalar
from objectives.scoring_rules.classes import cumulative_gaps


def soft_ordinal_labels(
    labels: Integer[ArrayLike, "*batch"],
    *,
    levels: int,
    scale: Scalar = 1.0,
    power: Scalar = 1.0,
) -> Float[Array, "*batch levels"]:
    r"""SORD: soft labels for levels with an order, the nearer the likelier.

    $$
    q_k = \frac{e^{-s |k - y|^p}}{\sum_j e^{-s |j - y|^p}}
    $$

    For `softmax_cross_entropy`, or any loss that takes probabilities.

    Args:
        labels: Levels `[...]` from 0 to K - 1.
        levels: Number K of levels.
        scale: Factor of the distance, at least 0; 0 makes all levels equal, and infinity would make the label hard.
        power: Power of the distance, positive: 1 (absolute) or 2 (squared).

    Returns:
        Probabilities `[..., K]`, float32; NaN where a level is out of range.

    Raises:
        TypeError: If the labels or `levels` are not integers.
        ValueError: If a number is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> labels = soft_ordinal_labels(jnp.array([1]), levels=3)
        >>> print(" ".join(f"{q:.4f}" for q in labels[0]))
        0.2119 0.5761 0.2119

    Source:
        Díaz, Marathe, "Soft Labels for Ordinal Regression", 2019.
    """
    name = "soft_ordinal_labels"
    ids = real(name, "labels", labels)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{name}: labels must be integers, got {describe(ids)}")
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer):
        raise TypeError(f"{name}: levels must be an integer, got {type(levels).__name__}")
    if levels < 1:
        raise ValueError(f"{name}: levels must be at least 1, got {levels}")
    dtype = np.dtype(np.float32)
    factor, exponent = (
        hyperparameter(name, "scale", scale, dtype, 0),
        hyperparameter(name, "power", power, dtype, 0, open_low=True),
    )
    valid = (ids >= 0) & (ids < levels)
    steps = jnp.abs(jnp.arange(levels) - jnp.where(valid, ids, 0)[..., None]).astype(dtype)
    penalty = factor * jnp.where(steps > 0, jnp.where(steps > 0, steps, 1) ** exponent, 0)
    return jnp.where(valid[..., None], jax.nn.softmax(-penalty), jnp.nan)


def earth_movers_distance_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    power: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Earth mover's distance between classes in order: how much mass has to travel how far.

    $$
    \sum_{k=1}^{C-1} |P_k - Q_k|^r, \qquad
    P_k = \sum_{c \le k} p_c, \quad Q_k = \sum_{c \le k} q_c, \quad p = \mathrm{softmax}(\mathrm{logits})
    $$

    At power 2 it is the squared earth mover's distance, which trains better and is proper: `ranked_probability_score`.
    At power 1 it is the distance itself, least at the median's class. NIMA's loss is the root of the mean over classes
    at power 2.

    Args:
        logits: Unnormalised log probabilities `[..., C]` of classes in order.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        power: Power r, at least 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in steps, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `power` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{earth_movers_distance_loss(jnp.array([[0.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        1.0000

    Source:
        Hou, Yu, Samaras, "Squared Earth Mover's Distance-Based Loss for Training Deep Neural Networks", 2016; Talebi,
        Milanfar, "NIMA: Neural Image Assessment", 2018.
    """
    name = "earth_movers_distance_loss"
    logits, targets, kept = read(name, logits, labels, where)
    exponent = hyperparameter(name, "power", power, compute_dtype(logits), 1)
    gaps = jnp.abs(cumulative_gaps(logits, targets))
    some = gaps > 0
    return finish(jnp.sum(jnp.where(some, jnp.where(some, gaps, 1) ** exponent, 0), axis=-1), kept, targets.valid)
