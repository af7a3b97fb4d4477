r"""Metric learning from labelled embeddings, by pairs of examples within the batch.

One equation: with a matrix of how near every anchor is to every other example, and two masks that say which of those
have the anchor's label (positives) and which another one (negatives), a loss is a function of an anchor's row,

    loss_i = l( nearness[i, :], positive[i, :], negative[i, :] ),

and its derivative is a weight for every pair. Members differ in the nearness (distance, inner product or cosine) and in
l. An anchor with nothing to compare has loss 0. `center_loss` compares examples with a record of class centres instead.

All of them return one value an anchor; `axis_name` makes the examples of all devices the others of every anchor. The
matrix takes `[B, B]` numbers (`[B, global B]` on a device).

To add a member, write its function of a row; the generalised lifted loss of Hermans et al. (2017) is

    def lifted_structure_loss(embeddings, labels, *, margin=1.0, where=None, axis_name=None):
        pairs = _read("lifted_structure_loss", embeddings, labels, where, axis_name)
        distance = _distances(pairs)
        loss = log_sum_exp(distance, where=pairs.positive) + log_sum_exp(margin - distance, where=pairs.negative)
        return finish(jnp.where(pairs.comparable, jax.nn.relu(loss), 0), pairs.kept)
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather, positions
from objectives._inputs import (
    check_rank,
    check_same_shape,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
    pick,
    real,
)
from objectives._log_domain import log_sum_exp
from objectives._numerics import root, unit_vectors
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Scalar


def contrastive_loss(
    embeddings: Float[ArrayLike, "batch features"],
    labels: Integer[ArrayLike, " batch"],
    *,
    margin: Scalar = 1.0,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""Contrastive loss: positives are pulled to distance zero, negatives pushed beyond a margin.

    $$
    \frac{1}{|P_i| + |N_i|} \Big[ \sum_{j \in P_i} \tfrac12 d_{ij}^2
    + \sum_{j \in N_i} \tfrac12 \max(0, m - d_{ij})^2 \Big], \qquad d_{ij} = \lVert x_i - x_j \rVert
    $$

    Every pair of the batch stands for a pair of the paper; the mean over anchors is then the mean over pairs.

    Args:
        embeddings: Embeddings x `[B, D]`, used as they are: normalise them for distances on the sphere.
        labels: Integer labels `[B]`, of any value; equal ones are positives P, different ones negatives N.
        margin: Distance m beyond which negatives do not count, positive.
        where: Boolean mask `[B]`; a masked example is neither anchor nor compared with, and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; anchors are then compared with
            the global batch.

    Returns:
        Losses `[B]`, one an anchor, float32 (float64 for float64 inputs); 0 for an anchor alone.

    Raises:
        TypeError: If the embeddings are not floating point, the labels not integers or `where` not boolean.
        ValueError: If the shapes do not match or `margin` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = contrastive_loss(jnp.array([[0.0], [0.5], [0.8]]), jnp.array([0, 0, 1]))
        >>> print(f"{loss[0]:.4f}")
        0.0725

    Source:
        Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006.
    """
    pairs = _read("contrastive_loss", embeddings, labels, where, axis_name)
    margin = hyperparameter("contrastive_loss", "margin", margin, pairs.anchors.dtype, 0, open_low=True)
    squared = _squared_distances(pairs)
    short = jax.nn.relu(margin - root(squared))
    terms = jnp.where(pairs.positive, 0.5 * squared, jnp.where(pairs.negative, 0.5 * short**2, 0))
    return finish(_mean(terms, pairs.positive | pairs.negative), pairs.kept)


def triplet_loss(
    embeddings: Float[ArrayLike, "batch features"],
    labels: Integer[ArrayLike, " batch"],
    *,
    margin: Scalar = 0.2,
    mining: Literal["all", "hard", "semi_hard"] = "hard",
    squared: bool = False,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""Triplet loss: an anchor is to be nearer to its positives than to its negatives by a margin.

    $$
    \operatorname{mean}_{(p, n)} \max(0,\ m + d_{ip} - d_{in})
    $$

    over triplets that `mining` chooses among the positives p and negatives n of the anchor in the batch:

    - `"all"`: every pair of one of each, in O(B log B) an anchor, without the [B, B, B] table;
    - `"hard"`: the farthest positive with the nearest negative (batch hard);
    - `"semi_hard"`: every positive with the nearest negative farther than it, or with the farthest negative where there
      is none such.

    Args:
        embeddings: Embeddings `[B, D]`, used as they are; FaceNet's are of length one.
        labels: Integer labels `[B]`, of any value; equal ones are positives, different ones negatives.
        margin: Margin m, at least 0, in the units of the distance.
        mining: `"all"`, `"hard"` or `"semi_hard"`.
        squared: Whether distances d are squared, as in FaceNet.
        where: Boolean mask `[B]`; a masked example is neither anchor nor compared with, and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; anchors are then compared with
            the global batch.

    Returns:
        Losses `[B]`, one an anchor, float32 (float64 for float64 inputs); 0 for an anchor without positives or without
        negatives.

    Raises:
        TypeError: If the embeddings are not floating point, the labels not integers or `where` not boolean.
        ValueError: If the shapes do not match, `margin` is out of range or `mining` unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = triplet_loss(jnp.array([[0.0], [1.0], [0.9]]), jnp.array([0, 0, 1]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f} {loss[2]:.4f}")
        0.3000 1.1000 0.0000

    Source:
        Schroff, Kalenichenko, Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", 2015;
        Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017.
    """
    name = "triplet_loss"
    if mining not in ("all", "hard", "semi_hard"):
        raise ValueError(f"{name}: mining must be 'all', 'hard' or 'semi_hard', got {mining!r}")
    pairs = _read(name, embeddings, labels, where, axis_name)
    margin = hyperparameter(name, "margin", margin, pairs.anchors.dtype, 0)
    distance = _squared_distances(pairs) if squared else root(_squared_distances(pairs))
    if mining == "hard":
        farthest = jnp.max(distance, axis=-1, where=pairs.positive, initial=-jnp.inf)
        nearest = jnp.min(distance, axis=-1, where=pairs.negative, initial=jnp.inf)
        gap = jnp.where(pairs.comparable, farthest, 0) - jnp.where(pairs.comparable, nearest, 0)
        return finish(jnp.where(pairs.comparable, jax.nn.relu(margin + gap), 0), pairs.kept)

    ordered = jnp.sort(jnp.where(pairs.negative, distance, jnp.inf), axis=-1)
    ordered = jnp.where(jnp.isfinite(ordered), ordered, 0)  # an anchor's negatives by distance, then zeros
    count = jnp.sum(pairs.negative, axis=-1, keepdims=True)
    if mining == "all":
        before = jax.vmap(lambda row, at: jnp.searchsorted(row, at))
        keys = jnp.where(jnp.arange(ordered.shape[-1]) < count, ordered, jnp.inf)
        active = before(keys, margin + distance)  # how many negatives are nearer than that
        sums = jnp.pad(jnp.cumsum(ordered, axis=-1), ((0, 0), (1, 0)))
        hinges = active * (margin + distance) - jnp.take_along_axis(sums, active, axis=-1)
        hinges = hinges / jnp.maximum(count, 1)
    else:
        farther = jax.vmap(lambda row, at: jnp.searchsorted(row, at, side="right"))
        keys = jnp.where(jnp.arange(ordered.shape[-1]) < count, ordered, jnp.inf)
        chosen = jnp.clip(farther(keys, distance), 0, jnp.maximum(count - 1, 0))
        hinges = jax.nn.relu(margin + distance - jnp.take_along_axis(ordered, chosen, axis=-1))
    losses = _mean(jnp.where(pairs.positive, hinges, 0), pairs.positive)
    return finish(jnp.where(pairs.comparable, losses, 0), pairs.kept)


def n_pair_loss(
    anchors: Float[ArrayLike, "batch features"],
    positives: Float[ArrayLike, "batch features"],
    labels: Integer[ArrayLike, " batch"],
    *,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""N-pair loss: an anchor's positive against the positives of all other classes at once, by inner products.

    $$
    \log \Big( 1 + \sum_{j: y_j \ne y_i} e^{\langle a_i, p_j \rangle - \langle a_i, p_i \rangle} \Big)
    $$

    The paper has one pair of each class in a batch, and adds the squared length of the embeddings, with a weight that
    is for the caller to choose.

    Args:
        anchors: Embeddings a `[B, D]`, of any length, which counts.
        positives: Embeddings p `[B, D]` of another example of each anchor's class.
        labels: Integer labels y of the pairs `[B]`, of any value.
        where: Boolean mask of pairs `[B]`; a masked pair is neither anchor nor compared with, and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; anchors are then compared with
            the global batch.

    Returns:
        Losses `[B]` in nats, one an anchor, float32 (float64 for float64 inputs); 0 for an anchor without negatives.

    Raises:
        TypeError: If the embeddings are not floating point, the labels not integers or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{n_pair_loss(jnp.eye(2), jnp.eye(2), jnp.array([0, 1]))[0]:.4f}")
        0.3133

    Source:
        Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", 2016.
    """
    name = "n_pair_loss"
    first, second = floating(name, "anchors", anchors), floating(name, "positives", positives)
    check_rank(name, "anchors", first, 2, "[B, D]", 2)
    check_same_shape(name, "positives", second, "anchors", first)
    ids, kept = _read_labels(name, labels, first.shape[:1]), mask(name, where, first.shape[:1])
    dtype = compute_dtype(first, second)
    a, p = clean(first, kept).astype(dtype), clean(second, kept).astype(dtype)
    scores = jnp.matmul(a, gather(p, axis_name).T, precision=lax.Precision.HIGHEST)
    negative = ids[:, None] != gather(ids, axis_name)
    negative = negative if kept is None else negative & gather(kept, axis_name)
    own = pick(scores, positions(ids.shape[0], axis_name))
    return finish(jax.nn.softplus(log_sum_exp(scores, where=negative) - own), kept)


def circle_loss(
    embeddings: Float[ArrayLike, "batch features"],
    labels: Integer[ArrayLike, " batch"],
    *,
    margin: Scalar = 0.25,
    scale: Scalar = 256.0,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""Circle loss: every cosine is weighted by how far it is from its optimum.

    $$
    \log \Big[ 1 + \sum_{n \in N_i} e^{\gamma \alpha_{in} (s_{in} - m)}
    \sum_{p \in P_i} e^{-\gamma \alpha_{ip} (s_{ip} - 1 + m)} \Big], \qquad
    \alpha_{in} = \max(0, s_{in} + m), \quad \alpha_{ip} = \max(0, 1 + m - s_{ip})
    $$

    with cosines s; the weights α are constants to the gradient, as in the paper's code.

    Args:
        embeddings: Embeddings `[B, D]`, of any length; a zero vector has cosine 0 with all.
        labels: Integer labels `[B]`, of any value; equal ones are positives P, different ones negatives N.
        margin: Relaxation m, in [0, 1].
        scale: Factor γ, positive; the paper takes 256 with margin 0.25 for faces, 80 with 0.4 for retrieval.
        where: Boolean mask `[B]`; a masked example is neither anchor nor compared with, and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; anchors are then compared with
            the global batch.

    Returns:
        Losses `[B]`, one an anchor, float32 (float64 for float64 inputs); 0 for an anchor without positives or without
        negatives.

    Raises:
        TypeError: If the embeddings are not floating point, the labels not integers or `where` not boolean.
        ValueError: If the shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> print(f"{circle_loss(embeddings, jnp.array([0, 0, 1]), scale=1.0)[0]:.4f}")
        2.0177

    Source:
        Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, "Circle Loss: A Unified Perspective of Pair Similarity
        Optimization", 2020.
    """
    pairs = _read("circle_loss", embeddings, labels, where, axis_name, normalise=True)
    m = hyperparameter("circle_loss", "margin", margin, pairs.anchors.dtype, 0, 1)
    gamma = hyperparameter("circle_loss", "scale", scale, pairs.anchors.dtype, 0, open_low=True)
    cosine = _products(pairs)
    held = lax.stop_gradient(cosine)
    against = log_sum_exp(gamma * jax.nn.relu(held + m) * (cosine - m), where=pairs.negative)
    towards = log_sum_exp(-gamma * jax.nn.relu(1 + m - held) * (cosine - 1 + m), where=pairs.positive)
    both = jnp.where(pairs.comparable, against, 0) + jnp.where(pairs.comparable, towards, 0)
    return finish(jnp.where(pairs.comparable, jax.nn.softplus(both), 0), pairs.kept)


def multi_similarity_loss(
    embeddings: Float[ArrayLike, "batch features"],
    labels: Integer[ArrayLike, " batch"],
    *,
    alpha: Scalar = 2.0,
    beta: Scalar = 50.0,
    threshold: Scalar = 0.5,
    mining_margin: Scalar | None = 0.1,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""Multi-similarity loss: pairs are mined by relative similarity and weighted by similarity to all the others.

    $$
    \frac1\alpha \log \Big[ 1 + \sum_{p \in P_i} e^{-\alpha (s_{ip} - \lambda)} \Big]
    + \frac1\beta \log \Big[ 1 + \sum_{n \in N_i} e^{\beta (s_{in} - \lambda)} \Big]
    $$

    with cosines s. Mining keeps the negatives with s_n > min_p s_p - ε and the positives with s_p < max_n s_n + ε; an
    anchor without positives or without negatives keeps none.

    Args:
        embeddings: Embeddings `[B, D]`, of any length; a zero vector has cosine 0 with all.
        labels: Integer labels `[B]`, of any value; equal ones are positives P, different ones negatives N.
        alpha: Sharpness α of the positives, positive.
        beta: Sharpness β of the negatives, positive.
        threshold: Cosine λ to which similarities are compared.
        mining_margin: Margin ε of the mining, or None to keep all pairs.
        where: Boolean mask `[B]`; a masked example is neither anchor nor compared with, and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; anchors are then compared with
            the global batch.

    Returns:
        Losses `[B]`, one an anchor, float32 (float64 for float64 inputs); 0 for an anchor that keeps no pair.

    Raises:
        TypeError: If the embeddings are not floating point, the labels not integers or `where` not boolean.
        ValueError: If the shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> print(f"{multi_similarity_loss(embeddings, jnp.array([0, 0, 1]))[0]:.4f}")
        1.1566

    Source:
        Wang, Han, Huang, Dong, Scott, "Multi-Similarity Loss with General Pair Weighting for Deep Metric
        Learning", 2019.
    """
    name = "multi_similarity_loss"
    pairs = _read(name, embeddings, labels, where, axis_name, normalise=True)
    dtype = pairs.anchors.dtype
    alpha = hyperparameter(name, "alpha", alpha, dtype, 0, open_low=True)
    beta = hyperparameter(name, "beta", beta, dtype, 0, open_low=True)
    offset = hyperparameter(name, "threshold", threshold, dtype)
    cosine, positive, negative = _products(pairs), pairs.positive, pairs.negative
    if mining_margin is not None:
        slack = hyperparameter(name, "mining_margin", mining_margin, dtype)
        hardest_positive = jnp.min(cosine, axis=-1, where=positive, initial=jnp.inf, keepdims=True)
        hardest_negative = jnp.max(cosine, axis=-1, where=negative, initial=-jnp.inf, keepdims=True)
        positive, negative = (
            positive & (cosine < hardest_negative + slack),
            negative & (cosine > hardest_positive - slack),
        )
    pull = jax.nn.softplus(log_sum_exp(-alpha * (cosine - offset), where=positive)) / alpha
    push = jax.nn.softplus(log_sum_exp(beta * (cosine - offset), where=negative)) / beta
    return finish(pull + push, pairs.kept)


def center_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    centers: Float[ArrayLike, "classes features"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Center loss: half the squared distance of an embedding to the centre of its class, which is held fixed.

    $$
    \tfrac12 \lVert x - c_y \rVert^2
    $$

    The centres are no parameters but a state `[C, D]`, zeros at first, which `update_centers` moves. In a train step
    they are the `model_state`:

        def loss_fn(params, batch, key, centers):
            embeddings, logits = model.apply(params, batch["x"])
            losses = softmax_cross_entropy(logits, batch["y"]) + 3e-3 * center_loss(embeddings, centers, batch["y"])
            return losses.mean(), ({}, update_centers(centers, embeddings, batch["y"]))

    Args:
        embeddings: Embeddings x `[..., D]`.
        centers: Class centres c `[C, D]`; no gradient reaches them.
        labels: Class ids `[...]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If the embeddings or centres are not floating point, the labels not integers or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{center_loss(jnp.array([1.0, 2.0]), jnp.array([[0.0, 0.0], [1.0, 0.0]]), jnp.array(1)):.4f}")
        2.0000

    Source:
        Wen, Zhang, Li, Qiao, "A Discriminative Feature Learning Approach for Deep Face Recognition", 2016.
    """
    x, c, ids, valid, kept = _read_centers("center_loss", embeddings, centers, labels, where)
    return finish(0.5 * jnp.sum((x - lax.stop_gradient(c)[ids]) ** 2, axis=-1), kept, valid)


def update_centers(
    centers: Float[ArrayLike, "classes features"],
    embeddings: Float[ArrayLike, "*batch features"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    rate: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "classes features"]:
    r"""The centres of `center_loss` after a batch: each moves towards the embeddings of its class.

    $$
    c_j \leftarrow c_j - \alpha \frac{\sum_{i: y_i = j} (c_j - x_i)}{1 + |\{i: y_i = j\}|}
    $$

    Args:
        centers: Class centres c `[C, D]`.
        embeddings: Embeddings x `[..., D]`, taken without their gradient.
        labels: Class ids `[...]`; an example whose id is out of range moves nothing.
        rate: Rate α, in [0, 1].
        where: Boolean mask `[...]`; a masked example moves nothing and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the centres then move by the
            global batch, alike on all devices.

    Returns:
        The new centres `[C, D]`, in the dtype of `centers`.

    Raises:
        TypeError: If the embeddings or centres are not floating point, the labels not integers or `where` not boolean.
        ValueError: If the shapes do not match or `rate` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> centers = update_centers(jnp.zeros((2, 1)), jnp.array([[3.0], [5.0]]), jnp.array([1, 1]))
        >>> print(f"{centers[0, 0]:.4f} {centers[1, 0]:.4f}")
        0.0000 1.3333

    Source:
        Wen, Zhang, Li, Qiao, "A Discriminative Feature Learning Approach for Deep Face Recognition", 2016.
    """
    name = "update_centers"
    x, c, ids, valid, kept = _read_centers(name, embeddings, centers, labels, where)
    rate = hyperparameter(name, "rate", rate, x.dtype, 0, 1)
    moving = valid if kept is None else valid & kept
    at = jnp.where(moving, ids, c.shape[0])  # one past the last: dropped
    sums = jnp.zeros_like(c).at[at].add(lax.stop_gradient(x), mode="drop")
    counts = jnp.zeros(c.shape[:1], c.dtype).at[at].add(1, mode="drop")
    sums, counts = all_sum(sums, axis_name), all_sum(counts, axis_name)[:, None]
    moved = lax.stop_gradient(c - rate * (counts * c - sums) / (1 + counts))
    return moved.astype(jnp.asarray(centers).dtype)


class _Pairs(NamedTuple):
    """Anchors `[A, D]`, all others `[B, D]`, which of those are positives and negatives `[A, B]`, and the mask."""

    anchors: Array
    others: Array
    positive: Array
    negative: Array
    own: Array  # where an anchor stands among the others `[A]`
    kept: Array | None
    axis_name: AxisName

    @property
    def comparable(self) -> Array:
        """Which anchors have both positives and negatives `[A]`."""
        return jnp.any(self.positive, axis=-1) & jnp.any(self.negative, axis=-1)


def _read(
    function: str,
    embeddings: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    axis_name: AxisName,
    *,
    normalise: bool = False,
) -> _Pairs:
    """Checked and cleaned anchors and others, and their relation."""
    vectors = floating(function, "embeddings", embeddings)
    check_rank(function, "embeddings", vectors, 2, "[B, D]", 2)
    ids = _read_labels(function, labels, vectors.shape[:1])
    kept, dtype = mask(function, where, vectors.shape[:1]), compute_dtype(vectors)
    anchors = clean(vectors, kept).astype(dtype)
    anchors = unit_vectors(anchors) if normalise else anchors
    own = positions(ids.shape[0], axis_name)
    others, all_ids = gather(anchors, axis_name), gather(ids, axis_name)
    same = ids[:, None] == all_ids
    pair = own[:, None] != jnp.arange(all_ids.shape[0])
    if kept is not None:
        pair = pair & kept[:, None] & gather(kept, axis_name)
    return _Pairs(anchors, others, same & pair, ~same & pair, own, kept, axis_name)


def _read_labels(function: str, labels: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Integer labels of any value, one for each example."""
    ids = real(function, "labels", labels)
    if ids.shape != shape:
        raise ValueError(f"{function}: labels must have shape {list(shape)}, got {describe(ids)}")
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{function}: labels must be integers, got {describe(ids)}")
    return ids


def _products(pairs: _Pairs) -> Array:
    """Inner products of anchors with others `[A, B]`."""
    return jnp.matmul(pairs.anchors, pairs.others.T, precision=lax.Precision.HIGHEST)


def _squared_distances(pairs: _Pairs) -> Array:
    """|a - b|² as |a|² + |b|² - 2ab, around the mean of the batch so that little cancels.

    The squared lengths are the products of vectors with themselves, rounded as the others are: equal vectors have
    distance 0.
    """
    size = jnp.maximum(all_sum(jnp.asarray(pairs.anchors.shape[0], pairs.anchors.dtype), pairs.axis_name), 1)
    middle = lax.stop_gradient(all_sum(jnp.sum(pairs.anchors, axis=0), pairs.axis_name) / size)
    products = _products(pairs._replace(anchors=pairs.anchors - middle, others=pairs.others - middle))
    lengths = pick(products, pairs.own)
    squared = lengths[:, None] + gather(lengths, pairs.axis_name) - 2 * products
    return jnp.where(squared > 0, squared, 0)


def _mean(terms: Array, some: Array) -> Array:
    """The mean of terms, which are 0 elsewhere, over those that `some` marks; 0 where there are none."""
    return jnp.sum(terms, axis=-1) / jnp.maximum(jnp.sum(some, axis=-1), 1).astype(terms.dtype)


def _read_centers(
    function: str, embeddings: ArrayLike, centers: ArrayLike, labels: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array, Array, Array | None]:
    """Embeddings and centres in the compute dtype, class ids, which of them are in range, and the mask."""
    x, c = floating(function, "embeddings", embeddings), floating(function, "centers", centers)
    check_rank(function, "embeddings", x, 1, "[..., D]")
    if c.ndim != 2 or c.shape[-1] != x.shape[-1] or c.shape[0] == 0:
        raise ValueError(f"{function}: centers must have shape [C, {x.shape[-1]}], got {describe(c)}")
    kept, dtype = mask(function, where, x.shape[:-1]), compute_dtype(x, c)
    targets = class_labels(function, labels, (*x.shape[:-1], c.shape[0]), dtype, kept)
    if targets.valid is None:
        raise TypeError(f"{function}: labels must be class ids {list(x.shape[:-1])}, got probabilities")
    return clean(x, kept).astype(dtype), c.astype(dtype), targets.values, targets.valid, kept
