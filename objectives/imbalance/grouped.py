"""Means within groups of examples before the mean over groups, so that large groups do not drown small ones."""

from typing import Literal

import jax.numpy as jnp

from objectives._batch import all_sum
from objectives._inputs import class_vector, clean, compute_dtype, finish, hyperparameter
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Integer, Real, Scalar
from objectives.imbalance._shared import distribution, only_ids, present


def class_mean_log_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Cross-entropy averaged within every class, then over classes: the log-loss of PLAsTiCC.

    $$
    \frac{1}{\sum_{c: N_c > 0} w_c} \sum_{c: N_c > 0} \frac{w_c}{N_c} \sum_i -q_{ic} \log p_{ic}, \qquad
    N_c = \sum_i q_{ic}
    $$

    Every class has the same effect however often it occurs, and classes that do not occur have none. The loss is
    coupled over the batch: only the batch has a value. Log probabilities are logits too; those of a probability of 0
    cost infinitely much, so clip them first (at 1e-15 in the challenge).

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`.
        class_weights: Weight w of every class's mean `[C]`; 1 by default.
        where: Boolean mask `[...]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        The loss in nats, a scalar, float32 (float64 for float64 logits); 0 where nothing is kept, NaN where a class id
        is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25]]))
        >>> print(f"{class_mean_log_loss(logits, jnp.array([0, 0, 1])):.4f}")
        1.0397

    Source:
        Malz et al., "The Photometric LSST Astronomical Time-series Classification Challenge (PLAsTiCC): Selection of a
        Performance Metric for Classification Probabilities Balancing Diverse Science Goals", 2019. Allam, McEwen,
        "Paying Attention to Astronomical Transients: Introducing the Time-series Transformer for Photometric
        Classification", 2021.
    """
    name = "class_mean_log_loss"
    logits, targets, kept = read(name, logits, labels, where)
    dtype, classes = compute_dtype(logits), logits.shape[-1]
    if class_weights is None:
        weights = jnp.ones(classes, dtype)
    else:
        weights = class_vector(name, "class_weights", class_weights, classes, dtype)
    mass = distribution(targets, classes, dtype) * present(kept, logits.shape[:-1], dtype)[..., None]
    sizes = all_sum(jnp.sum(mass, axis=tuple(range(logits.ndim - 1))), axis_name)
    seen = sizes > 0
    total = jnp.sum(jnp.where(seen, weights, 0))
    shares = jnp.where(seen, weights, 0) / (jnp.where(seen, sizes, 1) * jnp.where(total == 0, 1, total))
    losses = finish(expected_penalty(logits, targets, jnp.negative, shares), kept, targets.valid)
    return all_sum(jnp.sum(losses), axis_name)


def density_normalized_edge_loss(
    logits: Float[ArrayLike, "*edges relations"],
    labels: Integer[ArrayLike, "*edges"],
    *,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    normalize: Literal["foreground", "group"] = "foreground",
    where: Bool[ArrayLike, "*edges"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Density-normalised loss of the edges of scene graphs: per annotated edge, however many are not annotated.

    $$
    \frac{\alpha \sum_{i: y_i \ne 0} \ell_i + \beta \sum_{i: y_i = 0} \ell_i}{M_\mathrm{FG}}, \qquad
    \ell_i = -\log p_{i y_i}
    $$

    where M_FG is the number of edges that have a relation (label other than 0), at least 1. A mean over all edges would
    shrink every gradient of an annotated edge as the graph gets larger, as most pairs of objects have no relation. The
    loss is coupled over the batch: only the batch has a value.

    Args:
        logits: Unnormalised log probabilities of the relations of every edge `[..., R]`, background first.
        labels: Relation ids `[...]`, 0 for background.
        alpha: Weight of the annotated edges, at least 0.
        beta: Weight of the background edges, at least 0.
        normalize: What the background's sum is divided by: the number of `"foreground"` edges, as in the paper, or that
            of its own `"group"`, which makes two means.
        where: Boolean mask of edges `[...]`; a masked edge counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the edges are split, under `shard_map`; value and gradient are then
            those of all edges.

    Returns:
        The loss in nats, a scalar, float32 (float64 for float64 logits); 0 where nothing is kept, NaN where a relation
        id is out of range.

    Raises:
        TypeError: If the logits are not floating point, ids not integers or `where` not boolean.
        ValueError: If shapes do not match, a weight is negative or `normalize` unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{density_normalized_edge_loss(jnp.zeros((4, 2)), jnp.array([1, 0, 0, 0])):.4f}")
        2.7726

    Source:
        Knyazev, de Vries, Cangea, Taylor, Courville, Belilovsky, "Graph Density-Aware Losses for Novel Compositions in
        Scene Graph Generation", 2020.
    """
    name = "density_normalized_edge_loss"
    logits, targets, kept = read(name, logits, labels, where)
    ids, dtype = only_ids(name, targets, logits.shape[:-1]), compute_dtype(logits)
    if normalize not in ("foreground", "group"):
        raise ValueError(f"{name}: normalize must be 'foreground' or 'group', got {normalize!r}")
    alpha, beta = hyperparameter(name, "alpha", alpha, dtype, 0), hyperparameter(name, "beta", beta, dtype, 0)
    annotated = ids != 0
    counted = present(kept, ids.shape, dtype)
    edges = jnp.maximum(all_sum(jnp.sum(jnp.where(annotated, counted, 0)), axis_name), 1)
    others = jnp.maximum(all_sum(jnp.sum(jnp.where(annotated, 0, counted)), axis_name), 1)
    weights = jnp.where(annotated, alpha / edges, beta / (edges if normalize == "foreground" else others))
    losses = finish(clean(expected_penalty(logits, targets, jnp.negative), kept), kept, targets.valid)
    return all_sum(jnp.sum(weights * losses), axis_name)
