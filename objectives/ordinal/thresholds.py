"""Cumulative link models: a latent score between two of several thresholds.

A further link is a distribution in `_LINKS`.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from objectives._distributions import GUMBEL_MIN, LOGISTIC, NORMAL, interval_log_probability
from objectives._entries import settle
from objectives._inputs import (
    check_choice,
    check_classes,
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    floating,
    mask,
    pick,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real

_LINKS = {"logit": LOGISTIC, "probit": NORMAL, "cloglog": GUMBEL_MIN}


def cumulative_link_loss(
    scores: Float[ArrayLike, "*batch"],
    thresholds: Float[ArrayLike, " cuts"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch levels"] | Bool[ArrayLike, "*batch levels"],
    *,
    link: Literal["logit", "probit", "cloglog"] = "logit",
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cumulative link model, as proportional odds: a latent score between two thresholds.

    $$
    -\log \left[ F(\theta_y - \eta) - F(\theta_{y-1} - \eta) \right],
    \qquad \theta_{-1} = -\infty, \quad \theta_{K-1} = \infty
    $$

    Args:
        scores: Position η of every example on the latent scale `[...]`; the higher, the higher the level.
        thresholds: Places θ `[K - 1]` where one level ends and the next begins, increasing; see `ordered_thresholds`.
        labels: Levels `[...]` from 0 to K - 1, or their probabilities (one-hot included) `[..., K]`.
        link: Distribution F: logistic (proportional odds), normal, or Gumbel's of minima (proportional hazards).
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a level is out of range or the
        thresholds do not increase.

    Raises:
        TypeError: If scores or thresholds are not floating point, levels not integers or `where` not boolean.
        ValueError: If shapes do not match, there is no threshold or `link` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = cumulative_link_loss(jnp.array([0.5]), jnp.array([-1.0, 1.0]), jnp.array([1]))
        >>> print(f"{loss[0]:.4f}")
        0.8209

    Source:
        McCullagh, "Regression Models for Ordinal Data", 1980.
    """
    name = "cumulative_link_loss"
    log_probabilities, kept, ordered = _levels(name, scores, thresholds, link, where)
    targets = class_labels(name, labels, log_probabilities.shape, log_probabilities.dtype, kept)
    if targets.are_ids:
        losses = -pick(log_probabilities, targets.values)
    else:
        losses = -jnp.sum(targets.values * log_probabilities, axis=-1)
    valid = ordered if targets.valid is None else targets.valid & ordered
    return settle(losses, jnp.broadcast_to(valid, losses.shape), kept)


def cumulative_link_probabilities(
    scores: Float[ArrayLike, "*batch"],
    thresholds: Float[ArrayLike, " cuts"],
    *,
    link: Literal["logit", "probit", "cloglog"] = "logit",
) -> Float[Array, "*batch levels"]:
    r"""Probabilities of the levels of a cumulative link model.

    $$
    p_k = F(\theta_k - \eta) - F(\theta_{k-1} - \eta), \qquad \theta_{-1} = -\infty, \quad \theta_{K-1} = \infty
    $$

    Args:
        scores: Position η of every example on the latent scale `[...]`; the higher, the higher the level.
        thresholds: Places θ `[K - 1]` where one level ends and the next begins, increasing; see `ordered_thresholds`.
        link: Distribution F: logistic (proportional odds), normal, or Gumbel's of minima (proportional hazards).

    Returns:
        Probabilities `[..., K]`, float32 (float64 for float64 inputs); NaN where the thresholds do not increase.

    Raises:
        TypeError: If scores or thresholds are not floating point.
        ValueError: If there is no threshold or `link` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = cumulative_link_probabilities(jnp.array([0.0]), jnp.array([-1.0, 1.0]))
        >>> print(" ".join(f"{p:.4f}" for p in probabilities[0]))
        0.2689 0.4621 0.2689

    Source:
        McCullagh, "Regression Models for Ordinal Data", 1980.
    """
    log_probabilities, _, ordered = _levels("cumulative_link_probabilities", scores, thresholds, link, None)
    return jnp.where(ordered, jnp.exp(log_probabilities), jnp.nan)


def ordered_thresholds(
    values: Float[ArrayLike, " cuts"],
) -> Float[Array, " cuts"]:
    r"""Increasing thresholds from any numbers: the first as it is, and steps that are positive.

    $$
    \theta_0 = v_0, \qquad \theta_k = \theta_{k-1} + \log (1 + e^{v_k})
    $$

    Args:
        values: Any real numbers `[K - 1]`, the parameters to learn.

    Returns:
        Increasing numbers `[K - 1]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the values are not floating point.
        ValueError: If they are no vector.

    Examples:
        >>> import jax.numpy as jnp
        >>> thresholds = ordered_thresholds(jnp.zeros(3))
        >>> print(" ".join(f"{t:.4f}" for t in thresholds))
        0.0000 0.6931 1.3863

    Source:
        Christensen, "Cumulative Link Models for Ordinal Regression with the R Package ordinal" (structured thresholds),
        2018.
    """
    array = floating("ordered_thresholds", "values", values)
    check_rank("ordered_thresholds", "values", array, 1, "[K - 1]", 1)
    array = array.astype(compute_dtype(array))
    return jnp.cumsum(jnp.concatenate([array[:1], jax.nn.softplus(array[1:])]))


def _levels(
    function: str, scores: ArrayLike, thresholds: ArrayLike, link: str, where: ArrayLike | None
) -> tuple[Array, Array | None, Array]:
    """Log probabilities `[..., K]`, the mask, and whether the thresholds increase."""
    check_choice(function, "link", link, _LINKS)
    position, cuts = floating(function, "scores", scores), floating(function, "thresholds", thresholds)
    check_rank(function, "thresholds", cuts, 1, "[K - 1]", 1)
    check_classes(function, "thresholds", cuts, "[K - 1]")
    kept, dtype = mask(function, where, position.shape), compute_dtype(position, cuts)
    position, cuts = clean(position, kept).astype(dtype), cuts.astype(dtype)
    end = jnp.full(1, jnp.inf, dtype)
    low, high = jnp.concatenate([-end, cuts]), jnp.concatenate([cuts, end])
    lengths = jnp.concatenate([end, cuts[1:] - cuts[:-1], end])
    ordered = jnp.all(lengths > 0)
    bounded = jnp.where(ordered & jnp.isfinite(lengths), lengths, 1)
    shift = position[..., None]
    levels = (jnp.where(jnp.isfinite(x), jnp.where(jnp.isfinite(x), x, 0) - shift, x) for x in (low, high))
    shape = (*position.shape, cuts.shape[0] + 1)
    below, above = levels
    return interval_log_probability(_LINKS[link], below, above, jnp.broadcast_to(bounded, shape)), kept, ordered
