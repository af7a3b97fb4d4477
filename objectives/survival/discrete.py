"""Survival in discrete time: hazards or probabilities of intervals, and a ranking of examples."""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from objectives._batch import gather
from objectives._entries import settle
from objectives._inputs import (
    check_classes,
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    mask,
    pick,
    real,
)
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar


def logistic_hazard_loss(
    logits: Float[ArrayLike, "*batch intervals"],
    durations: Integer[ArrayLike, "*batch"],
    events: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Discrete-time survival by hazards: one decision an interval, as long as an example is at risk.

    $$
    -e \log h_\tau - (1 - e) \log (1 - h_\tau) - \sum_{k < \tau} \log (1 - h_k), \qquad h_k = \sigma(\mathrm{logit}_k)
    $$

    Time is cut into T intervals; the target is the one in which the event or the censoring fell, and a censored example
    is known to have survived it.

    Args:
        logits: Logits of the hazards `[..., T]`.
        durations: Interval of the event or of the censoring `[...]`, from 0 to T - 1.
        events: Whether it was the event `[...]` (True or 1) or a censoring (False or 0).
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where an interval is out of range or an event
        is neither 0 nor 1.

    Raises:
        TypeError: If the logits are not floating point, the intervals not integers or `where` not boolean.
        ValueError: If shapes do not match or there is no interval.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = logistic_hazard_loss(jnp.zeros((2, 3)), jnp.array([1, 2]), jnp.array([1, 0]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        1.3863 2.0794

    Source:
        Gensheimer, Narasimhan, "A Scalable Discrete-Time Survival Model for Neural Networks", 2019; Kvamme, Borgan,
        "Continuous and Discrete-Time Survival Prediction with Neural Networks", 2019.
    """
    name = "logistic_hazard_loss"
    scores, bins, event, valid, kept = _intervals(name, logits, durations, events, where)
    steps = jnp.arange(scores.shape[-1])
    survived = jnp.sum(jnp.where(steps <= bins[..., None], jax.nn.softplus(scores), 0), axis=-1)
    return settle(survived - jnp.where(event, pick(scores, bins), 0), valid, kept)


def pmf_survival_loss(
    logits: Float[ArrayLike, "*batch intervals"],
    durations: Integer[ArrayLike, "*batch"],
    events: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Discrete-time survival by probabilities: a softmax over intervals and one class more, no event at all.

    $$
    -e \log p_\tau - (1 - e) \log \sum_{k > \tau} p_k, \qquad p = \mathrm{softmax}(\mathrm{logits}, 0)
    $$

    Time is cut into T intervals; the target is the one in which the event or the censoring fell, and a censored example
    is known to have survived it.

    Args:
        logits: Unnormalised log probabilities `[..., T]` of an event in each interval; that of none is 0.
        durations: Interval of the event or of the censoring `[...]`, from 0 to T - 1.
        events: Whether it was the event `[...]` (True or 1) or a censoring (False or 0).
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where an interval is out of range or an event
        is neither 0 nor 1.

    Raises:
        TypeError: If the logits are not floating point, the intervals not integers or `where` not boolean.
        ValueError: If shapes do not match or there is no interval.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = pmf_survival_loss(jnp.zeros((2, 3)), jnp.array([1, 2]), jnp.array([1, 0]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        1.3863 1.3863

    Source:
        Lee, Zame, Yoon, van der Schaar, "DeepHit: A Deep Learning Approach to Survival Analysis with Competing Risks",
        2018; Kvamme, Borgan, "Continuous and Discrete-Time Survival Prediction with Neural Networks", 2019.
    """
    name = "pmf_survival_loss"
    scores, bins, event, valid, kept = _intervals(name, logits, durations, events, where)
    classes = _with_none(scores)
    later = jnp.where(jnp.arange(classes.shape[-1]) > bins[..., None], classes, -jnp.inf)
    chosen = jnp.where(event, pick(scores, bins), logsumexp(later, axis=-1))
    return settle(logsumexp(classes, axis=-1) - chosen, valid, kept)


def deephit_ranking_loss(
    logits: Float[ArrayLike, "batch intervals"],
    durations: Integer[ArrayLike, " batch"],
    events: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    *,
    sigma: Scalar = 0.1,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""DeepHit's ranking loss: an example should be likelier to have the event by then than those that outlive it.

    $$
    \frac1N \sum_{j:\ \tau_j > \tau_i \ \text{or}\ (\tau_j = \tau_i,\ e_j = 0)}
    \exp \frac{F_j(\tau_i) - F_i(\tau_i)}{\sigma}
    \quad \text{for an event } i, \qquad F_i(\tau) = \sum_{k \le \tau} p_{ik}
    $$

    Beside `pmf_survival_loss`, weighed by a number to choose. All pairs of the batch are compared.

    Args:
        logits: Unnormalised log probabilities `[N, T]`, as in `pmf_survival_loss`.
        durations: Interval of the event or of the censoring `[N]`, from 0 to T - 1.
        events: Whether it was the event `[N]` (True or 1) or a censoring (False or 0).
        sigma: Scale σ of the differences of probability, positive.
        where: Boolean mask `[N]`; a masked example is in no comparison, has loss 0 and gradient 0 and may hold
            anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        One value for every example `[N]`, float32 (float64 for float64 logits): 0 for those that were censored; NaN
        where an interval is out of range or an event is neither 0 nor 1, which then is in no pair. N counts the others.

    Raises:
        TypeError: If the logits are not floating point, the intervals not integers or `where` not boolean.
        ValueError: If shapes do not match, the batch is no vector or `sigma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = deephit_ranking_loss(jnp.zeros((2, 3)), jnp.array([1, 2]), jnp.array([1, 0]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        0.5000 0.0000

    Source:
        Lee, Zame, Yoon, van der Schaar, "DeepHit: A Deep Learning Approach to Survival Analysis with Competing Risks",
        2018.
    """
    name = "deephit_ranking_loss"
    scores, bins, event, valid, kept = _intervals(name, logits, durations, events, where)
    check_rank(name, "logits", scores, 2, "[N, T]", 2)
    scale = hyperparameter(name, "sigma", sigma, scores.dtype, 0, open_low=True)
    inside = valid if kept is None else valid & kept
    reached = jnp.cumsum(jax.nn.softmax(_with_none(scores)), axis=-1)[..., :-1]
    others, other_bins, other_event, counted = (gather(x, axis_name) for x in (reached, bins, event, inside))
    outlives = (other_bins > bins[:, None]) | ((other_bins == bins[:, None]) & ~other_event)
    pairs = outlives & counted & (event & inside)[:, None]
    gaps = others.T[bins] - pick(reached, bins)[:, None]
    losses = jnp.sum(jnp.where(pairs, jnp.exp(jnp.where(pairs, gaps, 0) / scale), 0), axis=-1)
    return settle(losses / jnp.maximum(jnp.sum(counted), 1), valid, kept)


def _intervals(
    function: str, logits: ArrayLike, durations: ArrayLike, events: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array, Array, Array | None]:
    """Logits in the compute dtype, intervals in range, events as booleans, which of them are valid, and the mask."""
    scores = floating(function, "logits", logits)
    check_classes(function, "logits", scores, "[..., T]")
    bins, flags = real(function, "durations", durations), real(function, "events", events)
    if bins.shape != scores.shape[:-1]:
        raise ValueError(f"{function}: durations must have shape {list(scores.shape[:-1])}, got {describe(bins)}")
    if not jnp.issubdtype(bins.dtype, jnp.integer):
        raise TypeError(f"{function}: durations must be integers, got {describe(bins)}")
    check_same_shape(function, "events", flags, "durations", bins)
    kept = mask(function, where, bins.shape)
    bins, flags = clean(bins, kept), clean(flags, kept)
    valid = (bins >= 0) & (bins < scores.shape[-1]) & ((flags == 0) | (flags == 1))
    return clean(scores, kept).astype(compute_dtype(scores)), jnp.where(valid, bins, 0), flags == 1, valid, kept


def _with_none(scores: Array) -> Array:
    """The logits with that of no event, 0, at the end."""
    return jnp.concatenate([scores, jnp.zeros_like(scores[..., :1])], axis=-1)
