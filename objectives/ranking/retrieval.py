"""Metrics of retrieval made smooth: ranks that are sums of sigmoids, and average precision and recall of them.

One equation: the rank of an item is one and, over all the others, how much each is above it,

    rank_i = 1 + Σ_{j ≠ i} σ((s_j - s_i) / temperature)

A member is a function of the ranks among all items and among the relevant ones (`_soft_ranks`). The reciprocal rank of
the first relevant item, for instance, is

    ranks = _soft_ranks(query, heat)[..., 0, :]
    return _settle(1 - jnp.max(query.relevant / ranks, axis=-1), query)
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    floating,
    hyperparameter,
    mask,
    real,
    static_integer,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar

BLOCK = 256
"""Rows of the matrix of pairs that are held at a time."""


def smooth_ap_loss(
    scores: Float[ArrayLike, "*batch items"],
    labels: Real[ArrayLike, "*batch items"] | Bool[ArrayLike, "*batch items"],
    *,
    temperature: Scalar = 0.01,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Smooth-AP: one minus the average precision of a query, with ranks that are sums of sigmoids.

    $$
    1 - \frac{1}{|P|} \sum_{i \in P}
    \frac{1 + \sum_{j \in P, j \ne i} \sigma((s_j - s_i) / \tau)}{1 + \sum_{j \ne i} \sigma((s_j - s_i) / \tau)}
    $$

    As the temperature goes to 0 it becomes 1 - `average_precision`. For embeddings, `scores` is the matrix of their
    cosines and `labels` which of them are of one class; the authors leave the query among its own items, `where` takes
    it out. A few hundred rows of the matrix of pairs are held at a time, in the backward pass too.

    Args:
        scores: Scores s of the items of a query `[..., n]`, cosines for the default temperature.
        labels: Whether each item is relevant `[..., n]`: boolean, or 0 or 1.
        temperature: Temperature τ of the ranks, positive.
        where: Boolean mask of items `[..., n]`; masked ones are not among the items and may hold anything.

    Returns:
        Losses of the queries `[...]`, in [0, 1], float32 (float64 for float64 scores); 0 for a query without relevant
        items, NaN for one with a label that is not 0 or 1.

    Raises:
        TypeError: If the scores are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match or `temperature` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([0.9, 0.8, 0.7]), jnp.array([1, 0, 1])
        >>> print(f"{smooth_ap_loss(scores, labels):.4f}")
        0.1667

    Source:
        Brown, Xie, Kalogeiton, Zisserman, "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", 2020.
    """
    query = _read("smooth_ap_loss", scores, labels, where)
    heat = hyperparameter("smooth_ap_loss", "temperature", temperature, query.scores.dtype, 0, open_low=True)
    ranks = _soft_ranks(query, heat)
    precisions = jnp.where(query.relevant, ranks[..., 1, :] / ranks[..., 0, :], 0)
    return _settle(1 - jnp.sum(precisions, axis=-1) / jnp.maximum(query.total, 1), query)


def recall_at_k_surrogate(
    scores: Float[ArrayLike, "*batch items"],
    labels: Real[ArrayLike, "*batch items"] | Bool[ArrayLike, "*batch items"],
    *,
    top: Sequence[int] = (1, 2, 4, 8, 16),
    temperature: Scalar = 0.01,
    rank_temperature: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Recall@k surrogate: one minus the recall of a query at several k, with smooth ranks and a smooth cut.

    $$
    1 - \frac{1}{|K|} \sum_{k \in K} \frac{\min\big(k,\ \sum_{i \in P} \sigma((k - r_i) / \tau_r)\big)}{\min(k, |P|)},
    \qquad r_i = 1 + \sum_{j \ne i} \sigma((s_j - s_i) / \tau)
    $$

    An item at rank k counts one half. As in the authors' code, no more than k items count at k, of those that could. A
    few hundred rows of the matrix of pairs are held at a time, in the backward pass too.

    Args:
        scores: Scores s of the items of a query `[..., n]`, cosines for the default temperature.
        labels: Whether each item is relevant `[..., n]`: boolean, or 0 or 1.
        top: The k at which recall is taken.
        temperature: Temperature τ of the ranks, positive.
        rank_temperature: Temperature τ_r of the cut, positive.
        where: Boolean mask of items `[..., n]`; masked ones are not among the items and may hold anything.

    Returns:
        Losses of the queries `[...]`, in [0, 1], float32 (float64 for float64 scores); 0 for a query without relevant
        items, NaN for one with a label that is not 0 or 1.

    Raises:
        TypeError: If the scores are not floating point, the labels not real, `where` not boolean or a k no integer.
        ValueError: If shapes do not match, there is no k or one less than 1, or a temperature is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([0.9, 0.8, 0.7]), jnp.array([0, 1, 0])
        >>> print(f"{recall_at_k_surrogate(scores, labels, top=(1, 2)):.4f}")
        0.6155

    Source:
        Patel, Tolias, Matas, "Recall@k Surrogate Loss with Large Batches and Similarity Mixup", 2022.
    """
    name = "recall_at_k_surrogate"
    query = _read(name, scores, labels, where)
    dtype = query.scores.dtype
    heat = hyperparameter(name, "temperature", temperature, dtype, 0, open_low=True)
    softness = hyperparameter(name, "rank_temperature", rank_temperature, dtype, 0, open_low=True)
    if len(top) == 0:
        raise ValueError(f"{name}: top must name at least one k, got {top!r}")
    ranks = _soft_ranks(query, heat)[..., 0, :]
    losses = jnp.zeros(ranks.shape[:-1], dtype)
    for k in top:
        k = static_integer(name, "top", k)
        found = jnp.sum(jnp.where(query.relevant, jax.nn.sigmoid((k - ranks) / softness), 0), axis=-1)
        losses += 1 - jnp.minimum(found, k) / jnp.clip(query.total, 1, k)
    return _settle(losses / len(top), query)


class _Query(NamedTuple):
    """Of every query the scores, 0 where masked, which items are relevant and present, how many, and if labels are."""

    scores: Array
    relevant: Array
    present: Array
    total: Array
    valid: Array


def _read(function: str, scores: ArrayLike, labels: ArrayLike, where: ArrayLike | None) -> _Query:
    array, marks = floating(function, "scores", scores), real(function, "labels", labels)
    check_rank(function, "scores", array, 1, "[..., n]")
    check_same_shape(function, "labels", marks, "scores", array)
    kept, dtype = mask(function, where, array.shape), compute_dtype(array)
    marks = clean(marks, kept)
    present = jnp.ones(array.shape, bool) if kept is None else kept
    relevant = marks == 1
    valid = jnp.all(relevant | (marks == 0), axis=-1)
    return _Query(clean(array, kept).astype(dtype), relevant, present, jnp.sum(relevant, axis=-1, dtype=dtype), valid)


def _soft_ranks(query: _Query, temperature: Scalar) -> Array:
    """Ranks among all items, and among the relevant ones, `[..., 2, n]`, at least 1."""
    *batch, items = query.scores.shape
    scores = query.scores.reshape(math.prod(batch), items)
    if scores.size == 0:
        return jnp.ones((*batch, 2, items), scores.dtype)
    among = jnp.stack([query.present, query.relevant], axis=-2).astype(scores.dtype).reshape(-1, 2, items)

    @jax.checkpoint
    def of_block(block: tuple[Array, Array]) -> Array:
        own, places = block
        above = jax.nn.sigmoid((scores[:, None, :] - own.T[:, :, None]) / temperature)
        above = jnp.where(places[:, None] == jnp.arange(items), 0, above)
        return jnp.einsum("qbn,qwn->qwb", above, among, precision=lax.Precision.HIGHEST)

    size = min(BLOCK, items)
    padding = -items % size
    rows = jnp.pad(scores.T, ((0, padding), (0, 0))).reshape(-1, size, scores.shape[0])
    blocks = lax.map(of_block, (rows, jnp.arange(items + padding).reshape(-1, size)))
    ranks = 1 + jnp.moveaxis(blocks, 0, 2).reshape(scores.shape[0], 2, -1)[..., :items]
    return ranks.reshape(*batch, 2, items)


def _settle(losses: Array, query: _Query) -> Array:
    """0 for a query without relevant items, NaN for one with a label that is none."""
    losses = jnp.where(query.total > 0, losses, 0)
    return losses * jnp.where(query.valid, 1, jnp.nan).astype(losses.dtype)
