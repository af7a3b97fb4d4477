"""Probabilities that serve every loss: calibrated within groups of examples, and the actions chosen from them.

Nothing here has a gradient.
"""

import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    check_rank,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    mask,
    real,
    static_integer,
)
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real
from objectives.diagnostics._bins import bin_index, forecast


def multicalibration_error(
    probabilities: Float[ArrayLike, " batch"],
    outcomes: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    groups: Real[ArrayLike, "batch groups"] | Bool[ArrayLike, "batch groups"],
    *,
    num_bins: int = 10,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "groups num_bins"]:
    r"""Multicalibration: the bias of probabilities in every bin, within every group of examples.

    $$
    \left| \tfrac{1}{n} \sum_i g(x_i)\, (y_i - p_i)\, [p_i \in \mathrm{bin}_b] \right|
    $$

    The error is `.max()` over groups and bins; a predictor for which it is small serves every loss function
    (`omniprediction`), at least as well as any predictor that is linear in the groups. Divide by the mass of a group in
    a bin for the conditional bias. With one group of everybody, `.sum()` is the expected calibration error.

    Args:
        probabilities: Predicted probabilities p of the outcome `[N]`, in [0, 1].
        outcomes: What happened, y `[N]`: 0 or 1, or a frequency.
        groups: Membership g of the groups `[N, G]`, boolean or in [0, 1], or any test functions.
        num_bins: Number of bins of equal width, at least 1.
        where: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`.

    Returns:
        Errors `[G, num_bins]`, float32 (float64 for float64 inputs); NaN where a probability is not in [0, 1].

    Raises:
        TypeError: If the probabilities are not floating point, `num_bins` no integer or `where` not boolean.
        ValueError: If shapes do not match or there is no bin.

    Examples:
        >>> import jax.numpy as jnp
        >>> groups = jnp.array([[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> errors = multicalibration_error(jnp.full(4, 0.5), jnp.array([1, 1, 0, 1]), groups, num_bins=1)
        >>> print(f"{errors[0, 0]:.4f} {errors[1, 0]:.4f}")
        0.2500 0.0000

    Source:
        Hébert-Johnson, Kim, Reingold, Rothblum, "Multicalibration: Calibration for the (Computationally-Identifiable)
        Masses", 2018. Hu, Livni Navon, Reingold, Yang, "Omnipredictors for Constrained Optimization", 2023.
    """
    name = "multicalibration_error"
    bias, members, kept = _group_bias(name, probabilities, outcomes, groups, where)
    static_integer(name, "num_bins", num_bins)
    given = clean(jnp.asarray(probabilities), kept).astype(bias.dtype)
    index = bin_index(given, kept, num_bins, "uniform", axis_name)
    sums = jnp.zeros((num_bins, members.shape[-1]), bias.dtype).at[index].add(bias[:, None] * members)
    return jnp.abs(all_sum(sums, axis_name).T) / _examples(kept, bias, axis_name)


def multiaccuracy_error(
    probabilities: Float[ArrayLike, " batch"],
    outcomes: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    groups: Real[ArrayLike, "batch groups"] | Bool[ArrayLike, "batch groups"],
    *,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " groups"]:
    r"""Multiaccuracy: the bias of probabilities within every group of examples.

    $$
    \left| \tfrac{1}{n} \sum_i g(x_i)\, (y_i - p_i) \right|
    $$

    Args:
        probabilities: Predicted probabilities p of the outcome `[N]`, in [0, 1].
        outcomes: What happened, y `[N]`: 0 or 1, or a frequency.
        groups: Membership g of the groups `[N, G]`, boolean or in [0, 1], or any test functions.
        where: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`.

    Returns:
        Errors `[G]`, float32 (float64 for float64 inputs); NaN where a probability is not in [0, 1].

    Raises:
        TypeError: If the probabilities are not floating point or `where` is not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> groups = jnp.array([[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> errors = multiaccuracy_error(jnp.full(4, 0.5), jnp.array([1, 1, 0, 1]), groups)
        >>> print(f"{errors[0]:.4f} {errors[1]:.4f}")
        0.2500 0.0000

    Source:
        Kim, Ghorbani, Zou, "Multiaccuracy: Black-Box Post-Processing for Fairness in Classification", 2019. Hu, Livni
        Navon, Reingold, Yang, "Omnipredictors for Constrained Optimization", 2023.
    """
    bias, members, kept = _group_bias("multiaccuracy_error", probabilities, outcomes, groups, where)
    sums = all_sum(jnp.sum(bias[:, None] * members, axis=0), axis_name)
    return jnp.abs(sums) / _examples(kept, bias, axis_name)


def omniprediction(
    probabilities: Float[ArrayLike, "*batch"],
    actions: Float[ArrayLike, " actions"],
    losses: Float[ArrayLike, "actions 2"],
    *,
    costs: Float[ArrayLike, "*batch actions"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Omniprediction: the best action for a loss, from probabilities that were learnt without knowing the loss.

    $$
    \arg\min_a\ p\, \ell(a, 1) + (1 - p)\, \ell(a, 0) + \mathrm{cost}(a)
    $$

    From a multicalibrated predictor these actions are as good as the best hypothesis of the class it is multicalibrated
    for, for every loss. Constraints on groups enter as a cost for every example: `groups @ multipliers`, times what the
    constraint counts for each action, with Lagrange multipliers that are fitted on outcomes simulated from the
    probabilities.

    Args:
        probabilities: Predicted probabilities p of the outcome `[...]`, in [0, 1].
        actions: The actions to choose from, as numbers `[A]`.
        losses: What an action costs where the outcome is 0 and where it is 1, `[A, 2]`.
        costs: What an action costs an example beyond that `[..., A]`.
        where: Boolean mask `[...]`; a masked entry has action 0 and may hold anything.

    Returns:
        The chosen actions `[...]`, the first of equally good ones, float32 (float64 for float64 inputs); NaN where a
        probability is not in [0, 1].

    Raises:
        TypeError: If an input is not floating point or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> miss_is_worse = jnp.array([[0.0, 4.0], [1.0, 0.0]])
        >>> print(omniprediction(jnp.array([0.1, 0.3]), jnp.array([0.0, 1.0]), miss_is_worse))
        [0. 1.]

    Source:
        Gopalan, Kalai, Reingold, Sharan, Wieder, "Omnipredictors", 2022. Hu, Livni Navon, Reingold, Yang,
        "Omnipredictors for Constrained Optimization", 2023.
    """
    name = "omniprediction"
    p, choices = floating(name, "probabilities", probabilities), floating(name, "actions", actions)
    table = floating(name, "losses", losses)
    check_rank(name, "actions", choices, 1, "[A]", 1)
    if table.shape != (*choices.shape, 2) or choices.size == 0:
        shape = [*choices.shape, 2]
        raise ValueError(f"{name}: losses must have shape {shape} and at least one action, got {describe(table)}")
    kept, dtype = mask(name, where, p.shape), compute_dtype(p, choices, table)
    p = lax.stop_gradient(clean(p, kept)).astype(dtype)
    sound = (p >= 0) & (p <= 1)
    table = table.astype(dtype)
    expected = p[..., None] * table[:, 1] + (1 - p[..., None]) * table[:, 0]
    if costs is not None:
        more = floating(name, "costs", costs)
        if more.shape != expected.shape:
            raise ValueError(f"{name}: costs must have shape {list(expected.shape)}, got {describe(more)}")
        expected = expected + clean(more, kept).astype(dtype)
    return finish(choices.astype(dtype)[jnp.argmin(expected, axis=-1)], kept, sound)


def _group_bias(
    function: str, probabilities: ArrayLike, outcomes: ArrayLike, groups: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    p, y, kept = forecast(function, probabilities, outcomes, where)
    check_rank(function, "probabilities", p, 1, "[N]", 1)
    members = real(function, "groups", groups)
    if members.ndim != 2 or members.shape[0] != p.shape[0]:
        raise ValueError(f"{function}: groups must have shape [{p.shape[0]}, G], got {describe(members)}")
    return clean(y - p, kept), lax.stop_gradient(clean(members, kept)).astype(p.dtype), kept


def _examples(kept: Array | None, values: Array, axis_name: AxisName) -> Array:
    """The number of examples on all devices, at least 1."""
    present = jnp.ones(values.shape, bool) if kept is None else kept
    return jnp.maximum(all_sum(jnp.sum(present, dtype=values.dtype), axis_name), 1)
