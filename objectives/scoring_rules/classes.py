"""Scores of the probabilities of classes."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import Labels, compute_dtype, finish, is_class
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float


def brier_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Brier score of softmax probabilities: their squared distance to the label.

    $$
    \sum_c (p_c - q_c)^2, \qquad p = \mathrm{softmax}(\mathrm{logits})
    $$

    In [0, 2], as Brier defined it, twice what is often reported for two classes. A label that sums to another number
    than 1 is taken as it is.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{brier_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.5000

    Source:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """
    logits, targets, kept = read("brier_loss", logits, labels, where)
    probabilities = jax.nn.softmax(logits.astype(compute_dtype(logits)))
    return finish(jnp.sum((probabilities - _label_masses(targets, probabilities)) ** 2, axis=-1), kept, targets.valid)


def ranked_probability_score(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Ranked probability score of classes with an order: squared distances between cumulative probabilities.

    $$
    \sum_{k=1}^{C-1} (P_k - Q_k)^2, \qquad
    P_k = \sum_{c \le k} p_c, \quad Q_k = \sum_{c \le k} q_c, \quad p = \mathrm{softmax}(\mathrm{logits})
    $$

    Strictly proper. It is the squared earth mover's distance; `earth_movers_distance_loss` has the other powers.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{ranked_probability_score(jnp.array([[0.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.5556

    Source:
        Epstein, "A Scoring System for Probability Forecasts of Ranked Categories", 1969; Hou, Yu, Samaras, "Squared
        Earth Mover's Distance-Based Loss for Training Deep Neural Networks", 2016.
    """
    logits, targets, kept = read("ranked_probability_score", logits, labels, where)
    return finish(jnp.sum(cumulative_gaps(logits, targets) ** 2, axis=-1), kept, targets.valid)


def cumulative_gaps(logits: Array, labels: Labels) -> Array:
    """Differences of the cumulative probabilities of predictions and labels, `[..., C - 1]`."""
    probabilities = jax.nn.softmax(logits.astype(compute_dtype(logits)))
    if labels.are_ids:  # the sum of what lies on the other side of the step, without 1 minus a number near 1
        reached = labels.values[..., None] <= jnp.arange(probabilities.shape[-1] - 1)
        above = lax.cumsum(probabilities, probabilities.ndim - 1, reverse=True)[..., 1:]
        return jnp.where(reached, -above, jnp.cumsum(probabilities, axis=-1)[..., :-1])
    return jnp.cumsum(probabilities - labels.values, axis=-1)[..., :-1]


def _label_masses(labels: Labels, probabilities: Array) -> Array:
    """Labels as probabilities; of ids a comparison that fuses."""
    if labels.are_ids:
        return is_class(labels.values, probabilities.shape[-1]).astype(probabilities.dtype)
    return labels.values
