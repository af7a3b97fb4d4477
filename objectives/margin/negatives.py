"""Other negatives than all the classes: pairs of the batch besides (UNPG), or a sample of the classes (Partial FC)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import gather
from objectives._inputs import check_callable, class_labels, clean, compute_dtype, hyperparameter, mask, prng_key
from objectives._log_domain import finite_log_sum_exp
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Scalar
from objectives.margin._equation import Problem, cosines, length, margin_softmax, read, vectors


def unpg_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    margin: Callable[[Array], Array],
    scale: Scalar = 64.0,
    whisker: Scalar = 1.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Unified negative pair generation: the dissimilar pairs of the batch are negatives of every example besides.

    $$
    \log\Big( 1 + \sum_{j \ne y} e^{s (c_j - m(c_y))} + \sum_{c \in S} e^{s (c - m(c_y))} \Big)
    $$

    S holds the cosines of all pairs of embeddings with different labels, each pair once, that lie between
    $Q_1 - k (Q_3 - Q_1)$ and $Q_3 + k (Q_3 - Q_1)$: pairs that are too easy teach nothing, those that are too hard are
    mislabelled. The loss is coupled over the batch, and returns one value for each example.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`.
        margin: Maps target cosines to the smaller cosines that are trained, elementwise; see `combined_margin`.
        scale: Inverse temperature s of the softmax, positive.
        whisker: Length k of the whiskers of the box plot, in quartile distances, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; losses and gradients are then
            those of the global batch.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, w, y = jnp.eye(4)[:2], jnp.eye(4)[2:], jnp.array([0, 1])
        >>> print(f"{unpg_loss(x, w, y, margin=lambda c: c)[0]:.4f}")
        1.0986

    Source:
        Jung, Lee, Oh, Cho, Park, "Unified Negative Pair Generation toward Well-discriminative Feature Space for Face
        Recognition", 2022.
    """
    name = "unpg_loss"
    check_callable(name, "margin", margin, "of cosines")
    problem = read(name, embeddings, weights, labels, scale, where, ids=True)
    reach = hyperparameter(name, "whisker", whisker, problem.scores.dtype, 0)
    vector = clean(jnp.asarray(embeddings), problem.where)
    vector, ids, kept = (
        vector.reshape(-1, vector.shape[-1]),
        problem.labels.values.reshape(-1),
        problem.kept.reshape(-1),
    )
    vector, ids, kept = (gather(x, axis_name) for x in (vector, ids, kept))
    similarity = cosines(vector, vector)
    negative = jnp.triu(kept[:, None] & kept & (ids[:, None] != ids), 1)
    inliers = negative & _within_whiskers(lax.stop_gradient(similarity), negative, reach)
    pairs = jnp.where(inliers, problem.scale * similarity, -jnp.inf).reshape(-1)
    return margin_softmax(problem, margin, extra=finite_log_sum_exp(pairs))


def partial_fc_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: Integer[ArrayLike, "*batch"],
    key: Array,
    *,
    margin: Callable[[Array], Array],
    samples: int,
    scale: Scalar = 64.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Partial FC: margin softmax over the classes of the batch and as many random others as make up a sample.

    $$
    \log\Big( 1 + \sum_{j \in S,\, j \ne y} e^{s (c_j - m(c_y))} \Big), \qquad
    S \supseteq \{y_i\}_i, \quad |S| = \mathtt{samples}
    $$

    Only the sampled rows of the weights are read, and only they have a gradient: with a million classes, a tenth of
    the memory and of the products does as well. The sample is coupled over the batch; the losses are one for each
    example.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`.
        key: Typed PRNG key of the sample; every device that shares the batch must have the same.
        margin: Maps target cosines to the smaller cosines that are trained, elementwise; see `combined_margin`.
        samples: Number of classes in the sample: at most C, and at least the smaller of C and the (global) batch, so
            that every label is in it.
        scale: Inverse temperature s of the softmax, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; losses and gradients are then
            those of the global batch.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, w, y = jnp.eye(4)[:2], jnp.eye(4), jnp.array([0, 1])
        >>> losses = partial_fc_loss(x, w, y, jax.random.key(0), margin=lambda c: c, samples=3, scale=1.0)
        >>> print(f"{losses[0]:.4f}")
        0.5514

    Source:
        An, Zhu, Gao, Xiao, Zhao, Feng, Wu, Qin, Zhang, Zhang, Fu, "Partial FC: Training 10 Million Identities on a
        Single Machine", 2021. An, Deng, Guo, Feng, Zhu, Yang, Liu, "Killing Two Birds with One Stone: Efficient and
        Robust Training of Face Recognition CNNs by Partial FC", 2022.
    """
    name = "partial_fc_loss"
    check_callable(name, "margin", margin, "of cosines")
    embeddings, weights = vectors(name, embeddings, weights)
    kept, dtype = mask(name, where, embeddings.shape[:-1]), compute_dtype(embeddings, weights)
    sharpness = hyperparameter(name, "scale", scale, dtype, 0, open_low=True)
    classes, key = weights.shape[0], prng_key(name, "key", key)
    targets = class_labels(name, labels, (*embeddings.shape[:-1], classes), dtype, kept)
    if targets.valid is None:
        raise ValueError(f"{name}: labels must be class ids {list(embeddings.shape[:-1])}, got probabilities")
    shards = 1 if axis_name is None else lax.axis_size(axis_name)
    least = min(classes, shards * targets.values.size)
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer):
        raise TypeError(f"{name}: samples must be an integer, got {type(samples).__name__}")
    if not least <= samples <= classes:
        raise ValueError(f"{name}: samples must lie in [{least}, {classes}], got {samples}")
    counted = targets.valid if kept is None else targets.valid & kept
    present = gather(jnp.where(counted, targets.values, classes).reshape(-1), axis_name)
    priority = jax.random.uniform(key, (classes,)).at[present].set(2, mode="drop")
    sample = jnp.sort(lax.top_k(priority, samples)[1]).astype(targets.values.dtype)
    place = jnp.minimum(jnp.searchsorted(sample, targets.values), samples - 1).astype(targets.values.dtype)
    embeddings = clean(embeddings, kept)
    scores = cosines(embeddings, weights[sample])
    problem = Problem(scores, length(embeddings, dtype), targets._replace(values=place), kept, sharpness)
    return margin_softmax(problem, margin)


def _within_whiskers(values: Array, valid: Array, reach: Scalar) -> Array:
    """Which values lie within the whiskers of the box plot of the valid ones."""
    ordered = jnp.sort(jnp.where(valid, values, jnp.inf), axis=None)
    count = jnp.sum(valid)
    low, high = ordered[count // 4], ordered[3 * count // 4]  # of the sorted values, not between them
    slack = jnp.where(count > 0, reach * (high - low), 0)
    return (values >= low - slack) & (values <= high + slack)
