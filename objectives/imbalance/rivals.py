"""Softmax losses that weigh the terms of the wrong classes, so that frequent classes do not push rare ones down.

One equation, with a weight S_yj for the term of class j in an example of class y (S_yy = 1):

    loss = log( 1 + Σ_{j≠y} S_yj e^{f_j - f_y} ).

Members differ in S: seesaw takes it from counts and from the model's mistakes, the softmax equalisation loss (in
`equalization`) leaves rare classes out at random, the contrastive loss of `traces` raises it with the distance of
labels. A member more is one line for its log weights:

    def my_loss(logits, labels, *, where=None):
        logits, targets, kept = read("my_loss", logits, labels, where)
        return weighted_rivals("my_loss", logits, targets, kept, log_weights=jnp.log(0.5))
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    Labels,
    check_rank,
    class_labels,
    class_vector,
    clean,
    compute_dtype,
    describe,
    finish,
    hyperparameter,
    is_class,
    mask,
    pick,
    real,
)
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.imbalance._shared import distribution, only_ids


def seesaw_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    class_counts: Real[ArrayLike, " classes"],
    mitigation: Scalar = 0.8,
    compensation: Scalar = 2.0,
    epsilon: Scalar = 1e-2,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Seesaw loss: frequent classes push rare ones down less, unless they take their examples.

    $$
    \log\Big( 1 + \sum_{j \ne y} M_{yj} C_{yj}\, e^{f_j - f_y} \Big), \qquad
    M_{yj} = \min\Big(1, \frac{n_j}{n_y}\Big)^p, \quad C_{yj} = \max\Big(1, \frac{p_j}{\max(p_y, \epsilon)}\Big)^q
    $$

    The counts are those of the examples seen so far, this batch included: a state of the train step, kept by
    `accumulate_class_counts`. No gradient flows through the weights. The paper's separate branch for objects against
    background is a loss of its own, beside this one.

        def loss_fn(params, batch, key, counts):
            counts = accumulate_class_counts(counts, batch["y"])
            losses = seesaw_loss(model.apply(params, batch["x"]), batch["y"], class_counts=counts)
            return losses.mean(), ({}, counts)

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`; the weights need one class an example.
        class_counts: Number n of examples of every class `[C]`; less than one counts as one.
        mitigation: Exponent p of the ratio of counts, at least 0.
        compensation: Exponent q of the ratio of probabilities, at least 0.
        epsilon: Least probability of the label that a probability is divided by, in (0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = seesaw_loss(jnp.zeros((1, 2)), jnp.array([0]), class_counts=jnp.array([16, 1]), mitigation=0.5)
        >>> print(f"{loss[0]:.4f}")
        0.2231

    Source:
        Wang, Zhang, Zang, Cao, Pang, Gong, Chen, Liu, Loy, Lin, "Seesaw Loss for Long-Tailed Instance Segmentation",
        2021.
    """
    name = "seesaw_loss"
    logits, targets, kept = read(name, logits, labels, where)
    ids, dtype = only_ids(name, targets, logits.shape[:-1]), compute_dtype(logits)
    counts = jnp.maximum(class_vector(name, "class_counts", class_counts, logits.shape[-1], dtype), 1)
    p = hyperparameter(name, "mitigation", mitigation, dtype, 0)
    q = hyperparameter(name, "compensation", compensation, dtype, 0)
    least = hyperparameter(name, "epsilon", epsilon, dtype, 0, 1, open_low=True)
    seen = jnp.log(counts)
    mitigate = jnp.minimum(seen - seen[ids][..., None], 0)
    log_p = jax.nn.log_softmax(lax.stop_gradient(logits).astype(dtype))
    compensate = jnp.maximum(log_p - jnp.maximum(pick(log_p, ids), jnp.log(least))[..., None], 0)
    return weighted_rivals(name, logits, targets, kept, p * mitigate + q * compensate)


def accumulate_class_counts(
    class_counts: Real[ArrayLike, " classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " classes"]:
    r"""Counts of the classes with those of a batch added: the state of `seesaw_loss`, or counts of a data set.

    $$
    n_c \mathrel{+}= \sum_i q_{ic}
    $$

    Args:
        class_counts: Counts so far `[C]`, zeros at first.
        labels: Class ids `[...]` if integer, else probabilities `[..., C]`; an id out of range makes the counts NaN.
        where: Boolean mask `[...]` of the examples that count.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        Counts `[C]`, float32 (float64 for float64 counts), exact up to 2²⁴ in float32.

    Raises:
        TypeError: If class ids are not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(accumulate_class_counts(jnp.zeros(3), jnp.array([0, 2, 2])))
        [1. 0. 2.]

    Source:
        Wang, Zhang, Zang, Cao, Pang, Gong, Chen, Liu, Loy, Lin, "Seesaw Loss for Long-Tailed Instance Segmentation",
        2021.
    """
    name = "accumulate_class_counts"
    counts = real(name, "class_counts", class_counts)
    check_rank(name, "class_counts", counts, 1, "[C]", 1)
    array, dtype = real(name, "labels", labels), np.dtype(compute_dtype(counts))
    shape = (*array.shape, len(counts)) if jnp.issubdtype(array.dtype, jnp.integer) else array.shape
    if shape[-1:] != counts.shape:
        raise ValueError(
            f"{name}: labels must be integer class ids or have shape [..., {len(counts)}], got {describe(array)}"
        )
    kept = mask(name, where, shape[:-1])
    targets = class_labels(name, array, shape, dtype, kept)
    mass = distribution(targets, len(counts), dtype)
    mass = jnp.moveaxis(finish(jnp.moveaxis(mass, -1, 0), None, targets.valid), 0, -1)
    total = jnp.sum(clean(mass, kept), axis=tuple(range(len(shape) - 1)))
    return counts.astype(dtype) + all_sum(total, axis_name)


def weighted_rivals(function: str, logits: Array, targets: Labels, kept: Array | None, log_weights: Array) -> Array:
    """The one equation of the softmax members: cross-entropy with the rivals' exponentials weighted."""
    ids = only_ids(function, targets, logits.shape[:-1])
    scores = logits.astype(compute_dtype(logits))
    scores = jnp.where(is_class(ids, logits.shape[-1]), scores, scores + log_weights)
    return finish(expected_penalty(scores, targets, jnp.negative), kept, targets.valid)
