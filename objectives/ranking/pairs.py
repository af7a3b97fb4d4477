"""Ranking of positives above negatives, over all pairs of a batch."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather
from objectives._inputs import check_same_shape, clean, compute_dtype, floating, mask, real
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real

BLOCK = 256
"""Rows of the matrix of pairs that are held at a time."""


def mann_whitney_loss(
    scores: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Mann–Whitney loss: every positive should score higher than every negative, wherever they are in the batch.

    $$
    \frac{1}{P N} \sum_{i \in \mathcal P} \sum_{j \in \mathcal N} \log\big(1 + e^{s_j - s_i}\big)
    $$

    Divided by log 2 it is an upper bound of 1 - AUC (`roc_auc`). For a retriever with two encoders, `scores` is the
    matrix of similarities of queries and passages and `labels` the identity: positives are then compared with the
    negatives of all queries, so that one threshold serves them all, which a softmax within each query does not see to.

    The loss is coupled over the batch: only the batch has a value. A few hundred rows of the matrix of pairs are held
    at a time, in the backward pass too.

    Args:
        scores: Scores `[...]`, of any shape.
        labels: 1 for positives, 0 for negatives, of the same shape; a probability counts as so much of both.
        where: Boolean mask `[...]`; a masked entry is in no pair and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        The loss in nats, a scalar, float32 (float64 for float64 scores); 0 where there is no pair, NaN where a label is
        not in [0, 1].

    Raises:
        TypeError: If the scores are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> similarities = jnp.array([[2.0, 0.0], [1.0, 1.0]])
        >>> print(f"{mann_whitney_loss(similarities, jnp.eye(2)):.4f}")
        0.3616

    Source:
        Mann, Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other", 1947.
        Sheikholeslami, Hosseini, Bechard, Daruru, Rajeswar, "Optimizing What Matters: AUC-Driven Learning for Robust
        Neural Retrieval", 2025.
    """
    name = "mann_whitney_loss"
    scores, positive = floating(name, "scores", scores), real(name, "labels", labels)
    check_same_shape(name, "labels", positive, "scores", scores)
    kept, dtype = mask(name, where, scores.shape), compute_dtype(scores)
    counted = jnp.ones(scores.shape, dtype) if kept is None else kept.astype(dtype)
    values = clean(scores, kept).astype(dtype).reshape(-1)
    above = clean(positive, kept).astype(dtype).reshape(-1)
    above = jnp.where((above >= 0) & (above <= 1), above, jnp.nan)
    below = counted.reshape(-1) - above
    others, weights = gather(values, axis_name), gather(below, axis_name)
    positives, negatives = all_sum((jnp.sum(above), jnp.sum(below)), axis_name)
    shares = weights / jnp.where(negatives == 0, 1, negatives)

    @jax.checkpoint
    def of_block(block: tuple[Array, Array]) -> Array:
        losses = jax.nn.softplus(others - block[0][:, None])
        return jnp.sum(block[1] * jnp.matmul(losses, shares, precision=lax.Precision.HIGHEST))

    size = min(BLOCK, max(values.size, 1))
    padded = (jnp.pad(x, (0, -values.size % size)).reshape(-1, size) for x in (values, above))
    total = jnp.sum(lax.map(of_block, tuple(padded)))
    total = all_sum(total, axis_name)
    return jnp.where((positives == 0) | (negatives == 0), 0, total) / jnp.where(positives == 0, 1, positives)
