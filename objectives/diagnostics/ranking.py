"""How well scores rank positives above negatives."""

import jax.numpy as jnp

from objectives._batch import all_sum, gather
from objectives._inputs import check_same_shape, clean, compute_dtype, mask, real
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real


def roc_auc(
    scores: Real[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Area under the ROC curve: the share of pairs of a positive and a negative that are in the right order.

    $$
    \frac{1}{P N} \sum_{i \in \mathcal P} \sum_{j \in \mathcal N} \big( [s_i > s_j] + \tfrac12 [s_i = s_j] \big)
    $$

    Exact, in O(n log n). It has no gradient to train with; `mann_whitney_loss` bounds 1 - AUC.

    Args:
        scores: Scores `[...]`, of any shape.
        labels: Positives are those above one half, of the same shape.
        where: Boolean mask `[...]`; a masked entry is in no pair and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the value is then that of the
            global batch.

    Returns:
        The area in [0, 1], a scalar, float32 (float64 for float64 scores); NaN without positives or without negatives,
        or where a score is NaN.

    Raises:
        TypeError: If scores or labels are not real or `where` is not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(roc_auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])))
        0.875

    Source:
        Mann, Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other", 1947.
    """
    name = "roc_auc"
    scores, positive = real(name, "scores", scores), real(name, "labels", labels)
    check_same_shape(name, "labels", positive, "scores", scores)
    kept, dtype = mask(name, where, scores.shape), compute_dtype(scores)
    counted = jnp.ones(scores.size, bool) if kept is None else kept.reshape(-1)
    values = clean(scores, kept).astype(dtype).reshape(-1)
    above = counted & (clean(positive, kept).reshape(-1) > 0.5)
    below = counted & ~above
    others = gather(jnp.where(below, values, jnp.inf), axis_name)
    positives, negatives = all_sum((jnp.sum(above), jnp.sum(below)), axis_name)
    ordered = jnp.sort(others)
    lower = jnp.searchsorted(ordered, values, side="left")
    upper = jnp.searchsorted(ordered, values, side="right")
    beaten = (
        (jnp.minimum(lower, negatives) + jnp.minimum(upper, negatives)) / 2 / jnp.where(negatives > 0, negatives, 1)
    )
    beaten = jnp.where(jnp.isnan(values), jnp.nan, beaten.astype(dtype))
    spoilt = jnp.any(jnp.isnan(values)).astype(dtype)
    total, spoilt = all_sum((jnp.sum(jnp.where(above, beaten, 0)), spoilt), axis_name)
    defined = (positives > 0) & (negatives > 0) & (spoilt == 0)
    return jnp.where(defined, total / jnp.where(positives > 0, positives, 1), jnp.nan)
