"""How well predicted risks order survival times."""

import jax.numpy as jnp
from jax import lax

from objectives._batch import gather
from objectives._entries import entries
from objectives._inputs import check_rank
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real


def concordance_index(
    risks: Float[ArrayLike, " batch"],
    times: Real[ArrayLike, " batch"],
    events: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    *,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Harrell's concordance index: how often of two examples the one of larger risk has the event first.

    $$
    \frac{\sum_{ij} [r_i > r_j] + \tfrac12 [r_i = r_j]}{\sum_{ij} 1}
    \quad \text{over pairs with}\ e_i = 1 \ \text{and}\ t_i < t_j,
    \ \text{or}\ t_i = t_j \ \text{and}\ e_j = 0
    $$

    1 is a perfect order, one half a guess. Pairs are compared in blocks: time n², memory n.

    Args:
        risks: Predicted risks `[N]`: the larger, the sooner the event is expected.
        times: Time of the event or of the censoring `[N]`.
        events: Whether the event was observed at that time `[N]` (True or 1); else the example was censored (False or
            0).
        where: Boolean mask `[N]`; a masked example is in no pair and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the value is then that of the
            global batch.

    Returns:
        A number in [0, 1], float32 (float64 for float64 inputs), without gradient; one half where no pair can be
        compared, NaN where an input is NaN or an event neither 0 nor 1.

    Raises:
        TypeError: If the risks are not floating point, the times or events not real, or `where` not boolean.
        ValueError: If shapes differ or the batch is no vector.

    Examples:
        >>> import jax.numpy as jnp
        >>> times, events = jnp.array([1.0, 2.0, 3.0]), jnp.array([1, 1, 0])
        >>> print(f"{concordance_index(jnp.array([2.0, 0.5, 1.0]), times, events):.4f}")
        0.6667

    Source:
        Harrell, Califf, Pryor, Lee, Rosati, "Evaluating the Yield of Medical Tests", 1982.
    """
    name = "concordance_index"
    arrays, kept = entries(name, {"risks": risks}, {"times": times, "events": events}, where)
    check_rank(name, "risks", arrays[0], 1, "[N]", 1)
    inside = jnp.ones(arrays[0].shape, bool) if kept is None else kept
    risk, time, event = (lax.stop_gradient(x) for x in arrays)
    fault = inside & (jnp.isnan(risk) | jnp.isnan(time) | ((event != 0) & (event != 1)))
    others = [gather(x, axis_name) for x in (risk, time, event, inside)]

    def compare(example: tuple[Array, ...]) -> tuple[Array, Array]:
        r, t, e, i = example
        outlived = (others[1] > t) | ((others[1] == t) & (others[2] == 0))
        pairs = outlived & others[3] & i & (e == 1)
        wins = jnp.where(r > others[0], 1.0, jnp.where(r == others[0], 0.5, 0.0))
        return jnp.sum(jnp.where(pairs, wins, 0), dtype=risk.dtype), jnp.sum(pairs, dtype=risk.dtype)

    won, total = lax.map(compare, (risk, time, event, inside), batch_size=128)
    counts = jnp.stack([jnp.sum(won), jnp.sum(total), jnp.sum(fault, dtype=risk.dtype)])
    if axis_name is not None:
        counts = lax.psum(counts, axis_name)
    index = counts[0] / jnp.where(counts[1] == 0, 1, counts[1])
    return jnp.where(counts[2] > 0, jnp.nan, jnp.where(counts[1] == 0, 0.5, index))
