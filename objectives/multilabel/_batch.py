"""What the losses over a batch of labels share: checks, and global sums."""

from typing import NamedTuple

import jax.numpy as jnp

from objectives._batch import all_sum
from objectives._inputs import check_rank, check_same_shape, clean, compute_dtype, floating, mask, real
from objectives._typing import Array, ArrayLike, AxisName


class LabelBatch(NamedTuple):
    """Checked scores `[N, L]`, who is present and absent; for every label its global counts and whether it counts."""

    scores: Array
    present: Array
    absent: Array
    positives: Array
    negatives: Array
    active: Array
    poison: Array


def read_batch(
    function: str,
    scores: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    axis_name: AxisName,
    name: str = "logits",
) -> LabelBatch:
    """A batch of examples with labels that are present or absent; a label that is neither poisons the result."""
    values, targets = floating(function, name, scores), real(function, "labels", labels)
    check_rank(function, name, values, 2, "[N, L]", 2)
    check_same_shape(function, "labels", targets, name, values)
    kept, dtype = mask(function, where, values.shape), compute_dtype(values)
    targets = clean(targets, kept)
    valid = jnp.all((targets == 0) | (targets == 1))
    everyone = jnp.ones(values.shape, bool) if kept is None else kept
    present, absent = everyone & (targets == 1), everyone & (targets == 0)
    counts = jnp.sum(present, axis=0).astype(dtype), jnp.sum(absent, axis=0).astype(dtype)
    positives, negatives, invalid = all_sum((*counts, jnp.where(valid, 0, 1)), axis_name)
    poison = jnp.where(invalid == 0, 0, jnp.nan).astype(dtype)
    active = (positives > 0) & (negatives > 0)
    return LabelBatch(clean(values, kept).astype(dtype), present, absent, positives, negatives, active, poison)


def safe_mean(total: Array, number: Array) -> Array:
    """The total over the number; 0 of nothing."""
    return total / jnp.maximum(number, 1).astype(total.dtype)


def macro_mean(sums: Array, numbers: Array, batch: LabelBatch) -> Array:
    """The mean over active labels of the sums over the numbers."""
    means = jnp.where(batch.active, sums, 0) / jnp.where(batch.active, numbers, 1)
    return safe_mean(jnp.sum(means), jnp.sum(batch.active)) + batch.poison
