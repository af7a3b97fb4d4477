"""Survival in continuous time: Cox's partial likelihood and accelerated failure times."""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jax.ops import segment_sum

from objectives._batch import gather
from objectives._censoring import censored_nll, censored_validity
from objectives._distributions import GUMBEL_MIN, LOGISTIC, NORMAL
from objectives._entries import entries, settle
from objectives._inputs import check_choice, check_rank, describe, real
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real
from objectives.survival._shards import own

_AFT = {"weibull": GUMBEL_MIN, "log_normal": NORMAL, "log_logistic": LOGISTIC}


def cox_partial_likelihood_loss(
    log_hazards: Float[ArrayLike, " batch"],
    times: Real[ArrayLike, " batch"],
    events: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    *,
    ties: Literal["efron", "breslow"] = "efron",
    strata: Integer[ArrayLike, " batch"] | None = None,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""Cox's partial likelihood: the chance that of all at risk it was this one.

    $$
    -\eta_i + \frac{1}{d_i} \sum_{l=0}^{d_i - 1} \log\Big( \sum_{t_j \ge t_i} e^{\eta_j}
    - \frac{l}{d_i} \sum_{j \in D_i} e^{\eta_j} \Big)
    \quad \text{for an event } i, \qquad
    D_i = \{ j : t_j = t_i,\ j \text{ an event} \}
    $$

    The sum over the batch is the negative log partial likelihood; the loss of DeepSurv is its mean over the events,
    `reduce_mean(losses, where=events)`. A batch is compared with itself: the larger it is, the better it stands for the
    risk sets of the data. One sort and cumulative sums in the log domain: n log n.

    Args:
        log_hazards: Log of the relative hazard η `[N]`, a network's output; a constant added to all changes nothing.
        times: Time of the event or of the censoring `[N]`, any finite numbers.
        events: Whether the event was observed at that time `[N]` (True or 1); else the example was censored (False or
            0).
        ties: How events at the same time are counted: `"efron"` as if they had come in random order, `"breslow"` as if
            each had come while all others were at risk.
        strata: Groups `[N]` with hazards of their own, any integers; only examples of a group are compared.
        where: Boolean mask `[N]`; a masked example is in no comparison, has loss 0 and gradient 0 and may hold
            anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        One value for every example `[N]`, in nats, float32 (float64 for float64 inputs): 0 for those that were
        censored, equal shares for ties; NaN where a time is not finite or an event neither 0 nor 1, which then is in no
        risk set.

    Raises:
        TypeError: If the predictions are not floating point, the times or events not real, or `where` not boolean.
        ValueError: If shapes differ, the batch is no vector or `ties` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> times, events = jnp.array([1.0, 2.0, 2.0, 3.0]), jnp.array([1, 1, 1, 0])
        >>> loss = cox_partial_likelihood_loss(jnp.array([0.5, 0.0, 1.0, -0.5]), times, events)
        >>> print(f"{loss.sum():.4f}")
        2.6542

    Source:
        Cox, "Regression Models and Life-Tables", 1972; Efron, "The Efficiency of Cox's Likelihood Function for Censored
        Data", 1977; Breslow, "Covariance Analysis of Censored Survival Data", 1974; Katzman, Shaham, Cloninger, Bates,
        Jiang, Kluger, "DeepSurv", 2018.
    """
    name = "cox_partial_likelihood_loss"
    if ties not in ("efron", "breslow"):
        raise ValueError(f"{name}: ties must be 'efron' or 'breslow', got {ties!r}")
    arrays, kept = entries(name, {"log_hazards": log_hazards}, {"times": times, "events": events}, where)
    check_rank(name, "log_hazards", arrays[0], 1, "[N]", 1)
    groups = _strata(name, strata, arrays[0].shape)
    inside = jnp.ones(arrays[0].shape, bool) if kept is None else kept
    valid = jnp.isfinite(arrays[1]) & ((arrays[2] == 0) | (arrays[2] == 1))
    losses = _partial_likelihood(
        *(gather(x, axis_name) for x in (*arrays, groups, inside & valid)), efron=ties == "efron"
    )
    return settle(own(losses, arrays[0].shape[0], axis_name), valid, kept)


def aft_loss(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    lower: Real[ArrayLike, "*batch"],
    upper: Real[ArrayLike, "*batch"],
    *,
    distribution: Literal["weibull", "log_normal", "log_logistic"] = "weibull",
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Accelerated failure time: negative log likelihood of a time that was observed, censored or known to an interval.

    $$
    -\log \frac{f(z)}{\sigma t} \ \text{if}\ l = u = t, \qquad -\log \left[ S(z_l) - S(z_u) \right] \ \text{else},
    \qquad z = \frac{\log t - \mu}{\sigma}
    $$

    Times with a flag for events have `lower = times` and `upper = where(events, times, inf)`.

    Args:
        location: Location `[...]` of the log time: log of the median for `"log_normal"` and `"log_logistic"`, of the
            scale for `"weibull"`.
        log_scale: Log of the scale σ of the log time `[...]`; the shape of a Weibull or log-logistic distribution is
            1/σ.
        lower: Time before which the event did not come `[...]`, at least 0.
        upper: Time before which it came `[...]`: inf where it was censored, equal to `lower` where it was observed.
        distribution: Distribution of the time.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where the ends are out of order, negative or 0
        both.

    Raises:
        TypeError: If the parameters are not floating point, the times not real or `where` not boolean.
        ValueError: If shapes differ or `distribution` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> upper = jnp.array([2.0, jnp.inf])
        >>> loss = aft_loss(jnp.zeros(2), jnp.zeros(2), jnp.array([2.0, 2.0]), upper)
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        2.0000 2.0000

    Source:
        Wei, "The Accelerated Failure Time Model: A Useful Alternative to the Cox Regression Model in Survival
        Analysis", 1992.
    """
    name = "aft_loss"
    check_choice(name, "distribution", distribution, _AFT)
    (centre, log_scales, low, high), kept = entries(
        name, {"location": location, "log_scale": log_scale}, {"lower": lower, "upper": upper}, where
    )
    valid = censored_validity(low, high) & (low >= 0) & (high > 0)
    log_low = jnp.where(low > 0, jnp.log(jnp.where(low > 0, low, 1)), -jnp.inf)
    log_high = jnp.log(jnp.where(high > 0, high, 1))
    losses = censored_nll(_AFT[distribution], log_low, log_high, centre, log_scales)
    return settle(losses + jnp.where(low == high, log_high, 0), valid, kept)  # a density of the time, not of its log


def _strata(function: str, strata: ArrayLike | None, shape: tuple[int, ...]) -> Array:
    """The group of every example, one for all by default."""
    if strata is None:
        return jnp.zeros(shape, jnp.int32)
    groups = real(function, "strata", strata)
    if not jnp.issubdtype(groups.dtype, jnp.integer):
        raise TypeError(f"{function}: strata must be integers, got {describe(groups)}")
    if groups.shape != shape:
        raise ValueError(f"{function}: strata must have shape {list(shape)}, got {describe(groups)}")
    return groups


def _partial_likelihood(
    log_hazards: Array, times: Array, events: Array, strata: Array, inside: Array, *, efron: bool
) -> Array:
    """Losses of a whole batch; what is not inside has 0 and is in no risk set."""
    size = log_hazards.shape[0]
    if size == 0:
        return log_hazards
    times = jnp.where(inside, times, 0)
    order = jnp.lexsort((-times, strata, ~inside))  # by group, the latest first; what is not inside at the end
    eta, time, group, within = (x[order] for x in (jnp.where(inside, log_hazards, 0), times, strata, inside))
    event = (events[order] == 1) & within

    first = jnp.ones(1, bool)
    start = jnp.concatenate([first, (group[1:] != group[:-1]) | (within[1:] != within[:-1])])
    new_time = start | jnp.concatenate([first, time[1:] != time[:-1]])
    place = jnp.arange(size)
    last = lax.cummin(jnp.where(jnp.concatenate([new_time[1:], first]), place, size), reverse=True)
    peak, total = (x[last] for x in _running_sum(eta, start))  # of all as late or later, ties included
    terms = jnp.log(total)
    if efron:
        tie = jnp.cumsum(new_time) - 1
        before = jnp.cumsum(event) - event  # events earlier in the order
        rank = before - before[lax.cummax(jnp.where(new_time, place, 0))]
        count = jnp.maximum(segment_sum(event.astype(eta.dtype), tie, size, indices_are_sorted=True), 1)
        weights = jnp.where(event, jnp.exp(eta - peak), 0)
        share = rank / count[tie] * segment_sum(weights, tie, size, indices_are_sorted=True)[tie] / total
        each = jnp.where(event, terms + jnp.log1p(-jnp.where(event, share, 0)), 0)
        terms = (segment_sum(each, tie, size, indices_are_sorted=True) / count)[tie]
    losses = jnp.where(event, terms + (peak - eta), 0)
    return jnp.zeros_like(losses).at[order].set(losses, unique_indices=True)


def _running_sum(x: Array, start: Array) -> tuple[Array, Array]:
    """The running maximum m, taken as a constant, and sum of exp(x - m), begun anew at every start.

    Two numbers where their log sum would be one: its digits would be gone where x is large.
    """

    def join(left: tuple[Array, Array, Array], right: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        peak = jnp.where(right[2], right[0], jnp.maximum(left[0], right[0]))
        earlier = jnp.where(right[2], 0, left[1] * jnp.exp(jnp.where(right[2], 0, left[0] - peak)))
        return peak, earlier + right[1] * jnp.exp(right[0] - peak), left[2] | right[2]

    constant = lax.stop_gradient(x)
    peak, total, _ = lax.associative_scan(join, (constant, jnp.exp(x - constant), start))
    return peak, total
