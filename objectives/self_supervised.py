"""Self-supervised losses of two views of the same examples.

By redundancy reduction on one cross-correlation matrix (Barlow Twins), by telling an example's other view from those of
the rest of the batch (InfoNCE), or by predicting it (SimSiam).
"""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather, positions
from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
)
from objectives._numerics import unit_vectors
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Scalar


def cross_correlation_matrix(
    embeddings_a: Float[ArrayLike, "batch features_a"],
    embeddings_b: Float[ArrayLike, "batch features_b"],
    *,
    epsilon: Scalar = 1e-5,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "features_a features_b"]:
    r"""Correlation over the batch between every feature of one view and every feature of the other.

    $$
    C_{ij} = \frac1B \sum_b \hat a_{bi} \hat b_{bj}, \qquad
    \hat z = \frac{z - \mathrm{mean}(z)}{\sqrt{\mathrm{var}(z) + \epsilon}}
    $$

    with the mean and the (population) variance of every feature over the batch.

    Args:
        embeddings_a: Embeddings of the first view `[B, D]`.
        embeddings_b: Embeddings of the second view `[B, E]`, row by row of the same examples.
        epsilon: Added to the variances, positive; a constant feature correlates with nothing.
        where: Boolean mask of examples `[B]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        Correlations `[D, E]`, float32 (float64 for float64 inputs); 0 for an empty batch.

    Raises:
        TypeError: If the embeddings are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> view = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> print(f"{cross_correlation_matrix(view, -view)[0, 0]:.4f}")
        -1.0000

    Source:
        Zbontar, Jing, Misra, LeCun, Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021.
    """
    return _correlate("cross_correlation_matrix", embeddings_a, embeddings_b, epsilon, where, axis_name)[0]


def barlow_twins_loss(
    embeddings_a: Float[ArrayLike, "batch features"],
    embeddings_b: Float[ArrayLike, "batch features"],
    *,
    redundancy_weight: Scalar = 5e-3,
    epsilon: Scalar = 1e-5,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Barlow Twins: the cross-correlation of two views is driven to the identity matrix.

    $$
    \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2
    $$

    with C from `cross_correlation_matrix`. The loss is coupled over the batch: only the batch has a value.

    Args:
        embeddings_a: Embeddings of the first view `[B, D]`.
        embeddings_b: Embeddings of the second view `[B, D]`, row by row of the same examples.
        redundancy_weight: Weight λ of the off-diagonal terms, at least 0.
        epsilon: Added to the variances, positive; a constant feature costs 1, with gradient near 0.
        where: Boolean mask of examples `[B]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        The loss, a scalar, float32 (float64 for float64 inputs); 0 for an empty batch.

    Raises:
        TypeError: If the embeddings are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> view = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> print(f"{barlow_twins_loss(view, -view):.4f}")
        7.9999

    Source:
        Zbontar, Jing, Misra, LeCun, Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021.
    """
    name = "barlow_twins_loss"
    correlation, count = _correlate(name, embeddings_a, embeddings_b, epsilon, where, axis_name)
    if correlation.shape[0] != correlation.shape[1]:
        raise ValueError(
            f"{name}: embeddings_a and embeddings_b must have equally many features, got {list(correlation.shape)}"
        )
    weight = hyperparameter(name, "redundancy_weight", redundancy_weight, correlation.dtype, 0)
    diagonal = jnp.eye(correlation.shape[0], dtype=bool)
    loss = jnp.sum(jnp.where(diagonal, (1 - correlation) ** 2, weight * correlation**2))
    return jnp.where(count > 0, loss, 0)


def simsiam_loss(
    predictions: Float[ArrayLike, "*batch features"],
    targets: Float[ArrayLike, "*batch features"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""SimSiam: the negative cosine between the prediction from one view and the embedding of the other, held fixed.

    $$
    -\Big\langle \frac{p}{\lVert p \rVert}, \frac{z}{\lVert z \rVert} \Big\rangle, \qquad z\ \text{a constant}
    $$

    The paper's loss is the mean over both directions,

        0.5 * simsiam_loss(p_a, z_b) + 0.5 * simsiam_loss(p_b, z_a)

    Args:
        predictions: Outputs p of the predictor for one view `[..., D]`.
        targets: Outputs z of the projector for the other view `[..., D]`; no gradient reaches them.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [-1, 1], float32 (float64 for float64 inputs); 0, with gradient 0, for a zero vector.

    Raises:
        TypeError: If the inputs are not floating point or `where` is not boolean.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{simsiam_loss(jnp.array([3.0, 4.0]), jnp.array([2.0, 0.0])):.4f}")
        -0.6000

    Source:
        Chen, He, "Exploring Simple Siamese Representation Learning", 2021.
    """
    name = "simsiam_loss"
    predictions, targets = floating(name, "predictions", predictions), floating(name, "targets", targets)
    check_rank(name, "predictions", predictions, 1, "[..., D]")
    check_same_shape(name, "targets", targets, "predictions", predictions)
    kept, dtype = mask(name, where, predictions.shape[:-1]), compute_dtype(predictions, targets)
    p = unit_vectors(clean(predictions, kept).astype(dtype))
    z = unit_vectors(lax.stop_gradient(clean(targets, kept)).astype(dtype))
    return finish(-jnp.sum(p * z, axis=-1), kept)


def info_nce_loss(
    embeddings_a: Float[ArrayLike, "batch features"],
    embeddings_b: Float[ArrayLike, "batch features"],
    *,
    temperature: Scalar = 0.1,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""InfoNCE: each example of the first view is to find its other view among those of the whole batch.

    $$
    -\log \frac{e^{\cos(a_i, b_i) / \tau}}{\sum_j e^{\cos(a_i, b_j) / \tau}}
    $$

    The loss is coupled over the batch and has one value for each anchor a; for the symmetric loss (CLIP's) take the
    mean of both orders of the views.

    Args:
        embeddings_a: Embeddings a of the first view `[B, D]`, of any length; a zero vector has cosine 0 with all.
        embeddings_b: Embeddings b of the second view `[B, D]`, row by row of the same examples.
        temperature: Temperature τ of the softmax, positive.
        where: Boolean mask of examples `[B]`; a masked example is neither anchor nor candidate and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the candidates are then those
            of the global batch.

    Returns:
        Losses `[B]` in nats, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the embeddings are not floating point or `where` is not boolean.
        ValueError: If the shapes differ or `temperature` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{info_nce_loss(jnp.eye(2), jnp.eye(2), temperature=1.0)[0]:.4f}")
        0.3133

    Source:
        van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018.
    """
    name = "info_nce_loss"
    first, second = floating(name, "embeddings_a", embeddings_a), floating(name, "embeddings_b", embeddings_b)
    check_rank(name, "embeddings_a", first, 2, "[B, D]", 2)
    check_same_shape(name, "embeddings_b", second, "embeddings_a", first)
    kept, dtype = mask(name, where, first.shape[:1]), compute_dtype(first, second)
    tau = hyperparameter(name, "temperature", temperature, dtype, 0, open_low=True)
    a = unit_vectors(clean(first, kept).astype(dtype))
    candidates = gather(unit_vectors(clean(second, kept).astype(dtype)), axis_name)
    scores = jnp.matmul(a, candidates.T, precision=lax.Precision.HIGHEST) / tau
    own = positions(first.shape[0], axis_name)[:, None] == jnp.arange(candidates.shape[0])
    if kept is not None:  # an anchor's own view stays among its candidates, and so the sum is never empty
        scores = jnp.where(gather(kept, axis_name) | own, scores, -jnp.inf)
    target = jnp.sum(jnp.where(own, scores, 0), axis=-1)
    return finish(jax.nn.logsumexp(scores, axis=-1) - target, kept)


def _correlate(
    function: str,
    embeddings_a: ArrayLike,
    embeddings_b: ArrayLike,
    epsilon: Scalar,
    where: ArrayLike | None,
    axis_name: AxisName,
) -> tuple[Array, Array]:
    """The cross-correlation matrix and the number of examples in it."""
    first, second = floating(function, "embeddings_a", embeddings_a), floating(function, "embeddings_b", embeddings_b)
    check_rank(function, "embeddings_a", first, 2, "[B, D]", 2)
    if second.ndim != 2 or second.shape[0] != first.shape[0]:
        raise ValueError(f"{function}: embeddings_b must have shape [{first.shape[0]}, D], got {describe(second)}")
    kept, dtype = mask(function, where, first.shape[:1]), compute_dtype(first, second)
    guard = hyperparameter(function, "epsilon", epsilon, dtype, 0, open_low=True)

    present = jnp.ones(first.shape[:1], bool) if kept is None else kept
    count = all_sum(jnp.sum(present, dtype=dtype), axis_name)
    size = jnp.maximum(count, 1)
    a = _standardize(clean(first, kept).astype(dtype), kept, size, guard, axis_name)
    b = _standardize(clean(second, kept).astype(dtype), kept, size, guard, axis_name)
    return all_sum(a.T @ b, axis_name) / size, count


def _standardize(values: Array, kept: Array | None, size: Array, epsilon: Scalar, axis_name: AxisName) -> Array:
    """Features with mean 0 and variance 1 over the examples kept, which are `size` on all devices together."""
    for _ in range(2):  # the second time takes away the rounding error of the first mean
        values = clean(values - all_sum(jnp.sum(values, axis=0), axis_name) / size, kept)
    variance = all_sum(jnp.sum(values**2, axis=0), axis_name) / size
    return values * lax.rsqrt(variance + epsilon)
