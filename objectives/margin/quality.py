"""Margins set by the length of the embedding, which tells the quality of the image: AdaFace and MagFace."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import check_rank, clean, compute_dtype, finish, floating, hyperparameter, mask
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Scalar
from objectives.margin._equation import add_angle, length, margin_softmax, read, shift_angle, total

EPSILON = 1e-3
"""AdaFace's guard of lengths, deviations and angles."""


class NormStatistics(NamedTuple):
    """Running statistics of the lengths of embeddings: a pytree to carry through training and to checkpoint.

    Attributes:
        mean: Moving average of the batch means, a scalar.
        std: Moving average of the batch standard deviations, a scalar.
    """

    mean: Array
    std: Array


def norm_statistics(mean: Scalar = 20.0, std: Scalar = 100.0) -> NormStatistics:
    """The statistics that `adaface_loss` starts from.

    Keep them in the `model_state` of a train step, whose `loss_fn` updates and uses them:

        def loss_fn(params, batch, key, statistics):
            embeddings = model.apply(params, batch["x"])
            statistics = update_norm_statistics(statistics, embeddings)
            losses = adaface_loss(embeddings, params["classes"], batch["y"], statistics)
            return losses.mean(), ({}, statistics)

    Args:
        mean: First mean, at least 0.
        std: First standard deviation, at least 0; a large one makes the first margins those of CosFace.

    Returns:
        A `NormStatistics`, float32 scalars.

    Raises:
        TypeError: If an argument is no number.
        ValueError: If an argument is out of range.

    Examples:
        >>> print(norm_statistics().mean)
        20.0

    Source:
        Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", 2022.
    """
    values = {"mean": mean, "std": std}
    dtype = np.dtype(np.float32)
    checked = (hyperparameter("norm_statistics", name, value, dtype, 0) for name, value in values.items())
    return NormStatistics(*(jnp.asarray(value, jnp.float32) for value in checked))


def update_norm_statistics(
    statistics: NormStatistics,
    embeddings: Float[ArrayLike, "*batch features"],
    *,
    decay: Scalar = 0.99,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> NormStatistics:
    r"""Moving averages of the mean and the standard deviation of the embeddings' lengths.

    $$
    \mu \leftarrow d \mu + (1 - d)\, \mathrm{mean}_i \lVert x_i \rVert, \qquad
    \sigma \leftarrow d \sigma + (1 - d)\, \mathrm{std}_i \lVert x_i \rVert
    $$

    with lengths clipped to [0.001, 100] and the unbiased standard deviation of the batch. What the batch cannot tell
    (the mean of nothing, the deviation of one) stays as it was.

    Args:
        statistics: Those of before, from `norm_statistics`.
        embeddings: Embeddings `[..., D]`, taken without their gradient.
        decay: Share d that is kept, in [0, 1].
        where: Boolean mask of examples `[...]`; a masked one does not count and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The new statistics.

    Raises:
        TypeError: If the embeddings are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or `decay` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> new = update_norm_statistics(norm_statistics(), jnp.array([[3.0, 4.0], [5.0, 12.0]]), decay=0.5)
        >>> print(f"{new.mean:.4f} {new.std:.4f}")
        14.5000 52.8284

    Source:
        Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", 2022.
    """
    name = "update_norm_statistics"
    embeddings = floating(name, "embeddings", embeddings)
    check_rank(name, "embeddings", embeddings, 1, "[..., D]")
    kept = mask(name, where, embeddings.shape[:-1])
    dtype = compute_dtype(embeddings)
    kept_share = hyperparameter(name, "decay", decay, dtype, 0, 1)
    lengths = _clipped(lax.stop_gradient(length(clean(embeddings, kept), dtype)))
    counted = jnp.ones(lengths.shape, bool) if kept is None else kept
    count = total(counted.astype(dtype), axis_name)
    mean = total(clean(lengths, counted), axis_name) / jnp.maximum(count, 1)
    squares = total(clean((lengths - mean) ** 2, counted), axis_name)
    std = jnp.sqrt(squares / jnp.maximum(count - 1, 1))

    def average(old: Array, new: Array, known: Array) -> Array:
        mixed = kept_share * old + (1 - kept_share) * new
        return jnp.where(known, mixed, old).astype(jnp.result_type(old))

    return NormStatistics(average(statistics.mean, mean, count > 0), average(statistics.std, std, count > 1))


def adaface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    statistics: NormStatistics,
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.4,
    concentration: Scalar = 0.333,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""AdaFace: a margin that stresses hard examples where images are good, and easy ones where they are poor.

    $$
    m(\cos\theta) = \cos(\theta - m \hat z) - m (1 + \hat z), \qquad
    \hat z = \mathrm{clip}\Big( h \frac{\lVert x \rVert - \mu}{\sigma}, -1, 1 \Big)
    $$

    The length of the embedding stands for the quality of the image, without a gradient: at $\hat z = -1$ the margin is
    ArcFace's, at 0 it is CosFace's, at 1 the angular margin is negative. The shifted angle is held in
    [0.001, π - 0.001] and the length in [0.001, 100]; σ + 0.001 is divided by.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        statistics: Mean μ and standard deviation σ of the lengths, from `update_norm_statistics` on this very batch.
        scale: Inverse temperature s of the softmax, positive.
        margin: Margin m, in [0, π].
        concentration: Factor h of the standardised length, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, w, y = jnp.array([[20.0, 20.0]]), jnp.eye(2), jnp.array([0])
        >>> print(f"{adaface_loss(x, w, y, norm_statistics(20.0, 10.0), scale=4.0)[0]:.4f}")
        1.9078

    Source:
        Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", 2022.
    """
    name = "adaface_loss"
    problem = read(name, embeddings, weights, labels, scale, where)
    dtype = problem.scores.dtype
    size = hyperparameter(name, "margin", margin, dtype, 0, jnp.pi)
    sharpness = hyperparameter(name, "concentration", concentration, dtype, 0)
    mean, std = (jnp.asarray(value, dtype) for value in statistics)
    standardised = (_clipped(problem.lengths) - mean) / (std + EPSILON)
    quality = lax.stop_gradient(jnp.clip(sharpness * standardised, -1, 1))[..., None]

    def margin_of(cosine: Array) -> Array:
        shift, low, high = -size * quality, EPSILON, jnp.pi - EPSILON
        below = (shift < low) & (cosine > jnp.cos(jnp.clip(low - shift, 0, jnp.pi)))
        above = (shift > -low) & (cosine < jnp.cos(jnp.clip(high - shift, 0, jnp.pi)))
        held = jnp.where(above, jnp.cos(high), shift_angle(cosine, shift))
        held = jnp.where(below, jnp.cos(low), held)
        return held - size * (1 + quality)

    return margin_softmax(problem, margin_of)


def magface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    scale: Scalar = 64.0,
    low_margin: Scalar = 0.45,
    high_margin: Scalar = 0.8,
    low_norm: Scalar = 10.0,
    high_norm: Scalar = 110.0,
    regularization: Scalar = 35.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""MagFace: ArcFace with a margin that grows with the embedding's length, which is rewarded for growing.

    $$
    \ell_{\mathrm{ArcFace}}\big(m(a)\big) + \lambda \Big( \frac{1}{a} + \frac{a}{u_a^2} \Big), \qquad
    m(a) = l_m + (u_m - l_m) \frac{a - l_a}{u_a - l_a}, \quad a = \mathrm{clip}(\lVert x \rVert, l_a, u_a)
    $$

    Easy examples afford a large margin and grow long, so that the length measures quality. The gradient reaches the
    length through the margin and the regulariser, where it is not clipped.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature s of the softmax, positive.
        low_margin: Margin $l_m$ at the least length in radians, in [0, π].
        high_margin: Margin $u_m$ at the greatest length in radians, in [0, π].
        low_norm: Least length $l_a$, positive.
        high_norm: Greatest length $u_a$, greater than `low_norm`.
        regularization: Weight λ of the regulariser, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, w, y = jnp.array([[10.0, 0.0]]), jnp.eye(2), jnp.array([0])
        >>> print(f"{magface_loss(x, w, y, scale=4.0, regularization=1.0)[0]:.4f}")
        0.1277

    Source:
        Meng, Zhao, Huang, Zhou, "MagFace: A Universal Representation for Face Recognition and Quality
        Assessment", 2021.
    """
    name = "magface_loss"
    problem = read(name, embeddings, weights, labels, scale, where)
    dtype = problem.scores.dtype
    low = hyperparameter(name, "low_margin", low_margin, dtype, 0, jnp.pi)
    high = hyperparameter(name, "high_margin", high_margin, dtype, 0, jnp.pi)
    short = hyperparameter(name, "low_norm", low_norm, dtype, 0, open_low=True)
    above = short if isinstance(short, float) else 0
    long = hyperparameter(name, "high_norm", high_norm, dtype, above, open_low=True)
    weight = hyperparameter(name, "regularization", regularization, dtype, 0)
    norm = jnp.clip(problem.lengths, short, long)
    margin = (low + (high - low) * (norm - short) / (long - short))[..., None]
    losses = margin_softmax(problem, lambda cosine: add_angle(cosine, margin))
    return losses + finish(weight * (1 / norm + norm / long**2), problem.where)


def _clipped(lengths: Array) -> Array:
    """Lengths as AdaFace sees them."""
    return jnp.clip(lengths, EPSILON, 100)
