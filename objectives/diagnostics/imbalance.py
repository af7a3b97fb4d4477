"""How a classifier treats rare classes, and how its features lie."""

import jax.numpy as jnp
import jax.scipy as jsp
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    check_rank,
    check_same_shape,
    class_labels,
    clean,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    integers,
    mask,
    real,
    static_integer,
)
from objectives._numerics import root, unit_vectors
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.imbalance._shared import distribution, only_ids, present
from objectives.reductions import reduce_mean


def false_head_rate(
    predicted: Integer[ArrayLike, "*batch"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    border: int | Integer[ArrayLike, ""],
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""False head rate: how often a tail class is taken for a head class.

    $$
    \frac{\#\{ i: y_i \ge b,\ \hat y_i < b \}}{\#\{ i: y_i \ge b \}}
    $$

    with classes in the order of decreasing frequency, and b the first of the tail. The paper reports the mean over
    b = C/4, C/2 and 3C/4, rounded.

    Args:
        predicted: Predicted class ids `[...]`.
        labels: True class ids `[...]`.
        border: The first class of the tail, b.
        where: Boolean mask `[...]`; a masked example counts nowhere.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The rate, a scalar in float32; 0 where no example is of the tail, NaN where an id is negative.

    Raises:
        TypeError: If ids are not integers or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{false_head_rate(jnp.array([0, 0, 2, 3]), jnp.array([0, 2, 3, 3]), border=2):.4f}")
        0.3333

    Source:
        Li, Zhang, "Long-tailed Classification from a Bayesian-decision-theory Perspective", 2023.
    """
    name = "false_head_rate"
    guesses, truths = integers(name, "predicted", predicted), integers(name, "labels", labels)
    check_same_shape(name, "labels", truths, "predicted", guesses)
    first = integers(name, "border", border)
    if first.ndim:
        raise ValueError(f"{name}: border must be a scalar, got {describe(first)}")
    kept = mask(name, where, truths.shape)
    guesses, truths = clean(guesses, kept), clean(truths, kept)
    counted = present(kept, truths.shape, jnp.dtype(jnp.float32))
    tail = jnp.where(truths >= first, counted, 0)
    valid = jnp.where((guesses >= 0) & (truths >= 0), 1, jnp.nan)
    total = all_sum(jnp.sum(tail), axis_name)
    wrong = all_sum(jnp.sum(jnp.where(guesses < first, tail, 0) * valid), axis_name)
    return wrong / jnp.where(total == 0, 1, total)


def weighted_triplet_recall(
    hits: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    counts: Real[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, ""]:
    r"""Recall of the triplets of scene graphs that counts rare and new compositions most.

    $$
    \frac{\sum_t h_t / (n_t + 1)}{\sum_t 1 / (n_t + 1)}
    $$

    Args:
        hits: Whether the triplet was found among the first k predictions `[...]`; ranks give the weighted mean rank.
        counts: How often the triplet occurs in the training data n `[...]`, at least 0.
        where: Boolean mask `[...]`; a masked triplet counts nowhere and may hold anything.

    Returns:
        The recall, a scalar, float32 (float64 for float64 inputs); 0 without triplets.

    Raises:
        TypeError: If the arrays are not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{weighted_triplet_recall(jnp.array([True, False]), jnp.array([0, 9])):.4f}")
        0.9091

    Source:
        Knyazev, de Vries, Cangea, Taylor, Courville, Belilovsky, "Graph Density-Aware Losses for Novel Compositions in
        Scene Graph Generation", 2020.
    """
    name = "weighted_triplet_recall"
    found, seen = real(name, "hits", hits), real(name, "counts", counts)
    check_same_shape(name, "counts", seen, "hits", found)
    kept = mask(name, where, found.shape)
    weights = 1 / (clean(seen, kept).astype(compute_dtype(found, seen)) + 1)
    return reduce_mean(found, where=kept, weights=weights)


def class_weight_norms(weights: Float[ArrayLike, "classes features"]) -> Float[Array, " classes"]:
    r"""Lengths of the weight vectors of a classifier: frequent classes tend to have the longest.

    $$
    \lVert w_c \rVert_2
    $$

    Args:
        weights: Weight vectors, one a class `[C, D]`.

    Returns:
        Lengths `[C]`, float32 (float64 for float64 weights).

    Raises:
        TypeError: If the weights are not floating point.
        ValueError: If they are no matrix.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(class_weight_norms(jnp.array([[3.0, 4.0], [0.0, 1.0]])))
        [5. 1.]

    Source:
        Alshammari, Wang, Ramanan, Kong, "Long-Tailed Recognition via Weight Balancing", 2022.
    """
    name = "class_weight_norms"
    array = floating(name, "weights", weights)
    check_rank(name, "weights", array, 2, "[C, D]", 2)
    return root(jnp.sum(array.astype(compute_dtype(array)) ** 2, axis=-1))


def cone_effect(
    features: Float[ArrayLike, "examples features"],
    *,
    where: Bool[ArrayLike, " examples"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Mean cosine of all pairs of features: near 1 where they lie in a narrow cone, about 0 where they are spread.

    $$
    \frac{1}{N (N - 1)} \sum_{i \ne j} \frac{\langle h_i, h_j \rangle}{\lVert h_i \rVert \lVert h_j \rVert}
    $$

    Computed from the sum of the directions, not from pairs.

    Args:
        features: Features h `[N, D]`, of any length; one of length 0 has cosine 0 with all.
        where: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`.

    Returns:
        The mean cosine, a scalar, float32 (float64 for float64 features); 0 for fewer than two examples.

    Raises:
        TypeError: If the features are not floating point or `where` not boolean.
        ValueError: If they are no matrix.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{cone_effect(jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])):.4f}")
        0.3333

    Source:
        Liang, Zhang, Kwon, Yeung, Zou, "Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive
        Representation Learning", 2022. Hasegawa, Sato, "Exploring Weight Balancing on Long-Tailed Recognition
        Problem", 2024.
    """
    name = "cone_effect"
    array = floating(name, "features", features)
    check_rank(name, "features", array, 2, "[N, D]", 2)
    kept, dtype = mask(name, where, array.shape[:1]), compute_dtype(array)
    unit = unit_vectors(clean(array, kept).astype(dtype))
    count = all_sum(jnp.sum(present(kept, array.shape[:1], dtype)), axis_name)
    total = all_sum(jnp.sum(unit, axis=0), axis_name)
    themselves = all_sum(jnp.sum(unit**2), axis_name)
    return (jnp.sum(total**2) - themselves) / jnp.maximum(count * (count - 1), 1)


def fisher_discriminant_ratio(
    features: Float[ArrayLike, "examples features"],
    labels: Integer[ArrayLike, " examples"],
    *,
    classes: int,
    epsilon: Scalar = 1e-6,
    where: Bool[ArrayLike, " examples"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Fisher's discriminant ratio: how far apart classes lie, in units of their own spread.

    $$
    \operatorname{tr} \big( S_W^{-1} S_B \big), \qquad
    S_W = \sum_i (h_i - \mu_{y_i})(h_i - \mu_{y_i})^\top, \quad
    S_B = \sum_c n_c (\mu_c - \mu)(\mu_c - \mu)^\top
    $$

    It is the sum of the eigenvalues of linear discriminant analysis, and up to epsilon does not change under an
    invertible linear map of the features.

    Args:
        features: Features h `[N, D]`.
        labels: Class ids `[N]`.
        classes: Number of classes C.
        epsilon: Ridge added to S_W, as a share of its mean eigenvalue, at least 0; with 0 it has to be invertible.
        where: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`.

    Returns:
        The ratio, a scalar, float32 (float64 for float64 features, which large ratios need); inf where classes have no
        spread but distance, NaN where a class id is out of range.

    Raises:
        TypeError: If the features are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, labels = jnp.array([[0.0], [2.0], [4.0], [6.0]]), jnp.array([0, 0, 1, 1])
        >>> print(f"{fisher_discriminant_ratio(features, labels, classes=2):.4f}")
        4.0000

    Source:
        Fisher, "The Use of Multiple Measurements in Taxonomic Problems", 1936. Hasegawa, Sato, "Exploring Weight
        Balancing on Long-Tailed Recognition Problem", 2024.
    """
    name = "fisher_discriminant_ratio"
    array = floating(name, "features", features)
    check_rank(name, "features", array, 2, "[N, D]", 2)
    number = static_integer(name, "classes", classes)
    kept, dtype = mask(name, where, array.shape[:1]), compute_dtype(array)
    targets = class_labels(name, labels, (len(array), number), dtype, kept)
    only_ids(name, targets, array.shape[:1])
    ridge = hyperparameter(name, "epsilon", epsilon, dtype, 0)
    mass = distribution(targets, number, dtype) * present(kept, array.shape[:1], dtype)[:, None]
    values = clean(array, kept).astype(dtype)
    sizes = all_sum(jnp.sum(mass, axis=0), axis_name)
    count = jnp.maximum(jnp.sum(sizes), 1)
    values = clean(values - all_sum(jnp.sum(values, axis=0), axis_name) / count, kept)
    centres = all_sum(_product(mass.T, values), axis_name) / jnp.where(sizes == 0, 1, sizes)[:, None]
    centred = clean(values - centres[targets.values], kept)
    within = all_sum(_product(centred.T, centred), axis_name)
    offsets = centres - jnp.sum(sizes[:, None] * centres, axis=0) / count
    between = _product(offsets.T * sizes, offsets)
    spread = jnp.trace(within)
    rounding = (16 * jnp.finfo(dtype).eps) ** 2
    spread = jnp.where(spread > rounding * all_sum(jnp.sum(values**2), axis_name), spread, 0)
    regular = within + jnp.where(spread > 0, ridge * spread / len(within), 1) * jnp.eye(len(within), dtype=dtype)
    ratio = jnp.trace(jsp.linalg.solve(regular, between, assume_a="pos"))
    ratio = jnp.where(spread > 0, ratio, jnp.where(jnp.trace(between) > 0, jnp.inf, 0))
    assert targets.valid is not None
    return ratio * jnp.where(all_sum(jnp.sum(~targets.valid), axis_name) > 0, jnp.nan, 1)


def _product(a: Array, b: Array) -> Array:
    """A matrix product in full precision."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
