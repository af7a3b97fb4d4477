"""The trace that ordered labels leave in the space of features: it should fill the sphere, evenly and without detours.

The labels of a regression are binned; bin l has a surrogate, the direction of its features in the batch or, where the
batch has none, a stored one. A train step keeps the stored ones:

    def loss_fn(params, batch, key, stored):
        features, predictions = model.apply(params, batch["x"])
        centroids, counts = label_centroids(features, batch["bin"], labels=len(stored))
        surrogates = jnp.where(counts[:, None] > 0, centroids, stored)
        points = jax.random.normal(key, (2000, stored.shape[-1]))
        loss = (
            jnp.abs(predictions - batch["y"]).mean()
            + surrogate_contrastive_loss(features, batch["bin"], jax.lax.stop_gradient(surrogates)).mean()
            + enveloping_loss(surrogates, points)
            + homogeneity_loss(surrogates)
        )
        return loss, ({}, update_surrogates(stored, centroids, counts))
"""

import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
    static_integer,
)
from objectives._numerics import unit_vectors
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.imbalance._shared import distribution, only_ids, present
from objectives.imbalance.rivals import weighted_rivals


def enveloping_loss(
    surrogates: Float[ArrayLike, "labels features"],
    points: Float[ArrayLike, "points features"],
    *,
    where: Bool[ArrayLike, " labels"] | None = None,
) -> Float[Array, ""]:
    r"""Enveloping loss: every point of the sphere should have a surrogate near it.

    $$
    1 - \frac{1}{M} \sum_m \max_l \langle s_l, u_m \rangle
    $$

    with all vectors of length 1: a surrogate for the share of the sphere that is near the trace. The points are drawn
    once or every step: `jax.random.normal(key, (M, D))`.

    Args:
        surrogates: Surrogates s of the labels `[L, D]`, of any length.
        points: Points u `[M, D]`, of any length, spread evenly.
        where: Boolean mask of labels `[L]`; a masked one counts nowhere and may hold anything.

    Returns:
        The loss, a scalar, float32 (float64 for float64 inputs); 0 without points or labels.

    Raises:
        TypeError: If an array is not floating point or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{enveloping_loss(jnp.eye(2), jnp.array([[1.0, 0.0], [3.0, 4.0]])):.4f}")
        0.1000

    Source:
        Dong, Wu, Chen, Zou, Zhang, Zhou, "Improve Representation for Imbalanced Regression through Geometric
        Constraints", 2025.
    """
    name = "enveloping_loss"
    array, others = _vectors(name, "surrogates", surrogates, "[L, D]"), _vectors(name, "points", points, "[M, D]")
    _check_width(name, "points", others, array)
    kept, dtype = mask(name, where, array.shape[:1]), compute_dtype(array, others)
    cosine = _cosine(unit_vectors(clean(array, kept).astype(dtype)), unit_vectors(others.astype(dtype)))
    if kept is not None:
        cosine = jnp.where(kept[:, None], cosine, -jnp.inf)
    nearest = jnp.max(cosine, axis=0, initial=-jnp.inf)
    covered = jnp.isfinite(nearest)
    return jnp.sum(jnp.where(covered, 1 - jnp.where(covered, nearest, 0), 0)) / max(len(others), 1)


def homogeneity_loss(
    surrogates: Float[ArrayLike, "labels features"],
    *,
    variance_weight: Scalar = 0.1,
    where: Bool[ArrayLike, " labels"] | None = None,
) -> Float[Array, ""]:
    r"""Homogeneity loss: the trace through the surrogates should be short and its steps of equal length.

    $$
    -\sum_l c_l + v\, \mathrm{Var}(c), \qquad c_l = \langle s_l, s_{l+1} \rangle
    $$

    with all vectors of length 1 and the unbiased variance, as in the authors' code. On the sphere the sum is that of
    the squared steps of the paper: $\lVert s_{l+1} - s_l \rVert^2 = 2 - 2 c_l$.

    Args:
        surrogates: Surrogates s of the labels in their order `[L, D]`, of any length.
        variance_weight: Weight v of the variance, at least 0.
        where: Boolean mask of labels `[L]`; a masked one is passed over and may hold anything.

    Returns:
        The loss, a scalar, float32 (float64 for float64 inputs); 0 for fewer than two labels.

    Raises:
        TypeError: If the surrogates are not floating point or `where` not boolean.
        ValueError: If they are no matrix or `variance_weight` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{homogeneity_loss(jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])):.4f}")
        -0.9500

    Source:
        Dong, Wu, Chen, Zou, Zhang, Zhou, "Improve Representation for Imbalanced Regression through Geometric
        Constraints", 2025.
    """
    name = "homogeneity_loss"
    array = _vectors(name, "surrogates", surrogates, "[L, D]")
    kept, dtype = mask(name, where, array.shape[:1]), compute_dtype(array)
    weight = hyperparameter(name, "variance_weight", variance_weight, dtype, 0)
    unit = unit_vectors(clean(array, kept).astype(dtype))
    counted = present(kept, array.shape[:1], dtype)
    if kept is not None:  # the labels that are kept come first, in their order
        unit = unit[jnp.argsort(~kept, stable=True)]
    steps = jnp.arange(max(len(unit) - 1, 0)) + 1 < jnp.sum(counted)
    cosine = jnp.where(steps, jnp.sum(unit[1:] * unit[:-1], axis=-1), 0)
    number = jnp.sum(steps).astype(dtype)
    deviation = jnp.where(steps, cosine - jnp.sum(cosine) / jnp.maximum(number, 1), 0)
    return -jnp.sum(cosine) + weight * jnp.sum(deviation**2) / jnp.maximum(number - 1, 1)


def surrogate_contrastive_loss(
    features: Float[ArrayLike, "*batch features"],
    labels: Integer[ArrayLike, "*batch"],
    surrogates: Float[ArrayLike, "labels features"],
    *,
    temperature: Scalar = 0.1,
    distance_weighted: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Contrastive loss of features against the surrogates of all labels.

    $$
    \log\Big( 1 + \sum_{l \ne y} w_{yl}\, e^{(\langle x, s_l \rangle - \langle x, s_y \rangle) / \tau} \Big), \qquad
    w_{yl} = 1 \ \text{ or, weighted by distance, }\ 1 + |l - y|
    $$

    with all vectors of length 1. The authors' code divides the weights by the largest in the batch, which shifts the
    value by a constant and changes no gradient.

    Args:
        features: Features x `[..., D]`, of any length.
        labels: Bins of the targets `[...]`, integers from 0 to L - 1.
        surrogates: Surrogates s of the labels `[L, D]`, of any length.
        temperature: Divides the cosines, positive.
        distance_weighted: Whether labels farther away push more.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a label is out of range.

    Raises:
        TypeError: If an array is not floating point, the labels not integers or `where` not boolean.
        ValueError: If shapes do not match or `temperature` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = surrogate_contrastive_loss(jnp.array([[2.0, 0.0]]), jnp.array([0]), jnp.eye(2), temperature=1.0)
        >>> print(f"{loss[0]:.4f}")
        0.3133

    Source:
        Dong, Wu, Chen, Zou, Zhang, Zhou, "Improve Representation for Imbalanced Regression through Geometric
        Constraints", 2025.
    """
    name = "surrogate_contrastive_loss"
    array, others = floating(name, "features", features), _vectors(name, "surrogates", surrogates, "[L, D]")
    check_rank(name, "features", array, 1, "[..., D]")
    _check_width(name, "surrogates", others, array)
    if len(others) == 0:
        raise ValueError(f"{name}: surrogates must have at least one label, got {describe(others)}")
    kept, dtype = mask(name, where, array.shape[:-1]), compute_dtype(array, others)
    temperature = hyperparameter(name, "temperature", temperature, dtype, 0, open_low=True)
    targets = class_labels(name, labels, (*array.shape[:-1], len(others)), dtype, kept)
    ids = only_ids(name, targets, array.shape[:-1])
    scores = _cosine(unit_vectors(clean(array, kept).astype(dtype)), unit_vectors(others.astype(dtype))) / temperature
    log_weights = jnp.zeros((), dtype)
    if distance_weighted:
        log_weights = jnp.log1p(jnp.abs(jnp.arange(len(others)) - ids[..., None]).astype(dtype))
    return weighted_rivals(name, scores, targets, kept, log_weights)


def label_centroids(
    features: Float[ArrayLike, "*batch features"],
    label_ids: Integer[ArrayLike, "*batch"],
    *,
    labels: int,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> tuple[Float[Array, "labels features"], Float[Array, " labels"]]:
    r"""The mean direction of the features of every label in the batch, and how many there are.

    $$
    s_l = \frac{1}{n_l} \sum_{i: y_i = l} \frac{x_i}{\lVert x_i \rVert}
    $$

    Args:
        features: Features x `[..., D]`, of any length.
        label_ids: Bins of the targets `[...]`, integers from 0 to `labels` - 1.
        labels: Number of labels L.
        where: Boolean mask `[...]` of the examples that count; the others may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        Centroids `[L, D]`, 0 where the batch has none, and counts `[L]`, float32 (float64 for float64 features); NaN
        where a label is out of range.

    Raises:
        TypeError: If the features are not floating point, the labels not integers or `where` not boolean.
        ValueError: If shapes do not match or `labels` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> centroids, counts = label_centroids(jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([1, 1]), labels=2)
        >>> print(centroids[1], counts)
        [0.5 0.5] [0. 2.]

    Source:
        Dong, Wu, Chen, Zou, Zhang, Zhou, "Improve Representation for Imbalanced Regression through Geometric
        Constraints", 2025.
    """
    name = "label_centroids"
    array = floating(name, "features", features)
    check_rank(name, "features", array, 1, "[..., D]")
    number = static_integer(name, "labels", labels)
    kept, dtype = mask(name, where, array.shape[:-1]), compute_dtype(array)
    targets = class_labels(name, label_ids, (*array.shape[:-1], number), dtype, kept, "label_ids")
    only_ids(name, targets, array.shape[:-1])
    # Not multiplied by NaN: under jit XLA makes of 0 * NaN, the 0 being a class that is not the label, a 0.
    valid = clean(finish(jnp.ones(array.shape[:-1], dtype), None, targets.valid), kept)
    mass = jnp.where(jnp.isnan(valid)[..., None], jnp.nan, distribution(targets, number, dtype))
    mass = mass * present(kept, array.shape[:-1], dtype)[..., None]
    axes = tuple(range(array.ndim - 1))
    unit = unit_vectors(clean(array, kept).astype(dtype))
    totals = all_sum(jnp.tensordot(mass, unit, axes=(axes, axes), precision=lax.Precision.HIGHEST), axis_name)
    counts = all_sum(jnp.sum(mass, axis=axes), axis_name)
    return totals / jnp.where(counts == 0, 1, counts)[:, None], counts


def update_surrogates(
    surrogates: Float[ArrayLike, "labels features"],
    centroids: Float[ArrayLike, "labels features"],
    counts: Real[ArrayLike, " labels"],
    *,
    momentum: Scalar = 0.9,
) -> Float[Array, "labels features"]:
    r"""The stored surrogates after a batch: those of labels that it held move towards their centroids.

    $$
    s_l \leftarrow m\, s_l + (1 - m)\, \bar x_l \quad \text{where } n_l > 0
    $$

    A row of zeros, a label never seen, takes its first centroid whole. No gradient flows.

    Args:
        surrogates: Stored surrogates `[L, D]`, zeros at first.
        centroids: Centroids of the batch `[L, D]`, from `label_centroids`.
        counts: Number of examples of every label in the batch `[L]`.
        momentum: Momentum m, in [0, 1].

    Returns:
        The new surrogates `[L, D]`, in the dtype of the old.

    Raises:
        TypeError: If an array is not floating point, or the counts not real.
        ValueError: If shapes do not match or `momentum` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(update_surrogates(jnp.array([[1.0], [0.0]]), jnp.array([[3.0], [5.0]]), jnp.ones(2), momentum=0.5))
        [[2.]
         [5.]]

    Source:
        Dong, Wu, Chen, Zou, Zhang, Zhou, "Improve Representation for Imbalanced Regression through Geometric
        Constraints", 2025.
    """
    name = "update_surrogates"
    stored, new = _vectors(name, "surrogates", surrogates, "[L, D]"), floating(name, "centroids", centroids)
    if new.shape != stored.shape:
        raise ValueError(f"{name}: centroids must have shape {list(stored.shape)}, got {describe(new)}")
    number = real(name, "counts", counts)
    if number.shape != stored.shape[:1]:
        raise ValueError(f"{name}: counts must have shape {list(stored.shape[:1])}, got {describe(number)}")
    dtype = compute_dtype(stored, new)
    momentum = hyperparameter(name, "momentum", momentum, dtype, 0, 1)
    old, fresh = lax.stop_gradient(stored).astype(dtype), lax.stop_gradient(new).astype(dtype)
    moved = jnp.where(jnp.any(old != 0, axis=-1, keepdims=True), momentum * old + (1 - momentum) * fresh, fresh)
    return jnp.where(number[:, None] > 0, moved, old).astype(stored.dtype)


def _vectors(function: str, name: str, value: ArrayLike, expected: str) -> Array:
    """A floating matrix."""
    array = floating(function, name, value)
    check_rank(function, name, array, 2, expected, 2)
    return array


def _check_width(function: str, name: str, array: Array, other: Array) -> None:
    """ValueError unless the vectors have as many features as the others."""
    if array.shape[-1] != other.shape[-1]:
        raise ValueError(f"{function}: {name} must have {other.shape[-1]} features, got {describe(array)}")


def _cosine(a: Array, b: Array) -> Array:
    """Inner products of all pairs."""
    return jnp.tensordot(a, b, axes=(-1, -1), precision=lax.Precision.HIGHEST)
