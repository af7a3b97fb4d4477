"""Softmax losses with a margin on the angle between an embedding and its class.

One equation: with the cosines c_j between the embedding and the class weights, the target's cosine is replaced by a
smaller one before a scaled softmax cross-entropy,

    loss = -log( e^{s m(c_y)} / (e^{s m(c_y)} + Σ_{j≠y} e^{s c_j}) ),

and a member of the family is its margin function m.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    is_class,
    mask,
    pick,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar


def margin_softmax_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    *,
    margin: Callable[[Array], Array],
    scale: Scalar = 64.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Scaled softmax cross-entropy of cosines, with a margin function applied to the target's cosine.

    $$
    \log\Big( 1 + \sum_{j \ne y} e^{s\, (c_j - m(c_y))} \Big), \qquad
    c_j = \max_k \Big\langle \frac{x}{\lVert x \rVert}, \frac{w_{jk}}{\lVert w_{jk} \rVert} \Big\rangle
    $$

    This is the family's one function; CosFace, for one, is `margin=lambda cosine: cosine - 0.35`. Labels given as
    probabilities q mean the expected loss, the sum over classes y of q_y times the loss of label y, as mixing of
    examples wants it. A vector shorter than 1e-12 has no direction: its cosines are 0, with gradient 0.

    Args:
        embeddings: Embeddings x `[..., D]`, of any length.
        weights: Class weights w `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        margin: Maps target cosines to the smaller cosines that are trained, elementwise.
        scale: Inverse temperature s of the softmax, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers, `margin` not a function or
            `where` not boolean.
        ValueError: If shapes do not match or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> embeddings, weights = jnp.array([[2.0, 0.0]]), jnp.eye(2)
        >>> loss = margin_softmax_loss(embeddings, weights, jnp.array([0]), margin=lambda c: c - 0.5, scale=2.0)
        >>> print(f"{loss[0]:.4f}")
        0.3133

    Source:
        Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018;
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition", 2019.
    """
    if not callable(margin):
        raise TypeError(f"margin_softmax_loss: margin must be a function of cosines, got {type(margin).__name__}")
    return _margin_softmax("margin_softmax_loss", embeddings, weights, labels, margin, scale, where)


def arcface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.5,
    easy_margin: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""ArcFace: softmax of cosines with an additive margin on the angle to the target class.

    $$
    -\log \frac{e^{s \cos(\theta_y + m)}}{e^{s \cos(\theta_y + m)} + \sum_{j \ne y} e^{s \cos\theta_j}}
    $$

    Where the angle plus the margin would pass π, the target logit is s (cos θ_y − m sin m), which keeps it decreasing.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature s of the softmax, positive.
        margin: Margin m in radians, in [0, π].
        easy_margin: Whether the margin applies only to angles below π/2, the others being left as they are.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{arcface_loss(jnp.array([[2.0, 0.0]]), jnp.eye(2), jnp.array([0]), scale=4.0)[0]:.4f}")
        0.0294

    Source:
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition", 2019.
    """
    return _arcface("arcface_loss", embeddings, weights, labels, scale, margin, easy_margin, where, rank=2)


def subcenter_arcface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes centres features"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.5,
    easy_margin: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Sub-centre ArcFace: every class has K centres and the nearest one counts, which tolerates noisy labels.

    $$
    \cos\theta_j = \max_k \Big\langle \frac{x}{\lVert x \rVert}, \frac{w_{jk}}{\lVert w_{jk} \rVert} \Big\rangle
    $$

    and the loss is that of `arcface_loss`.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Sub-centres of every class `[C, K, D]`, of any length; the paper takes K = 3.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature of the softmax, positive.
        margin: Margin in radians, in [0, π].
        easy_margin: Whether the margin applies only to angles below π/2, the others being left as they are.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> centres = jnp.array([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [-1.0, 0.0]]])
        >>> print(f"{subcenter_arcface_loss(jnp.array([[2.0, 0.0]]), centres, jnp.array([0]), scale=4.0)[0]:.4f}")
        0.0294

    Source:
        Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces",
        2020.
    """
    return _arcface("subcenter_arcface_loss", embeddings, weights, labels, scale, margin, easy_margin, where, rank=3)


def _arcface(
    function: str,
    embeddings: ArrayLike,
    weights: ArrayLike,
    labels: ArrayLike,
    scale: Scalar,
    margin: Scalar,
    easy_margin: bool,
    where: ArrayLike | None,
    rank: int,
) -> Array:
    """The margin softmax with the additive angular margin."""
    embeddings, weights = floating(function, "embeddings", embeddings), floating(function, "weights", weights)
    check_rank(function, "weights", weights, rank, "[C, D]" if rank == 2 else "[C, K, D]", rank)
    angle = hyperparameter(function, "margin", margin, compute_dtype(embeddings, weights), 0, jnp.pi)

    def add_angle(cosine: Array) -> Array:
        squared = (1 - cosine) * (1 + cosine)
        sine = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)
        shifted = cosine * jnp.cos(angle) - sine * jnp.sin(angle)
        if easy_margin:
            return jnp.where(cosine > 0, shifted, cosine)
        return jnp.where(cosine >= -jnp.cos(angle), shifted, cosine - angle * jnp.sin(angle))

    return _margin_softmax(function, embeddings, weights, labels, add_angle, scale, where)


def _margin_softmax(
    function: str,
    embeddings: ArrayLike,
    weights: ArrayLike,
    labels: ArrayLike,
    margin: Callable[[Array], Array],
    scale: Scalar,
    where: ArrayLike | None,
) -> Array:
    """The one equation of this file, as softplus(log Σ_{j≠y} e^{s c_j} - s m(c_y))."""
    embeddings, weights = floating(function, "embeddings", embeddings), floating(function, "weights", weights)
    check_rank(function, "embeddings", embeddings, 1, "[..., D]")
    check_rank(function, "weights", weights, 2, "[C, D] or [C, K, D]", 3)
    if weights.shape[-1] != embeddings.shape[-1] or weights.size == 0:
        expected = ", ".join(["C", "K"][: weights.ndim - 1] + [str(embeddings.shape[-1])])
        raise ValueError(f"{function}: weights must have shape [{expected}] and not be empty, got {describe(weights)}")
    kept, dtype = mask(function, where, embeddings.shape[:-1]), compute_dtype(embeddings, weights)
    shape = (*embeddings.shape[:-1], weights.shape[0])
    targets = class_labels(function, labels, shape, dtype, kept)
    sharpness = hyperparameter(function, "scale", scale, dtype, 0, open_low=True)

    cosine = _cosine(clean(embeddings, kept), weights)
    if targets.are_ids:
        target = pick(cosine, targets.values)
        others = jnp.where(is_class(targets.values, shape[-1]), -jnp.inf, sharpness * cosine)
        return finish(jax.nn.softplus(_log_sum_exp(others) - sharpness * margin(target)), kept, targets.valid)
    losses = jax.nn.softplus(_log_sum_exp_others(sharpness * cosine) - sharpness * margin(cosine))
    return finish(jnp.sum(targets.values * losses, axis=-1), kept)


def _cosine(embeddings: Array, weights: Array) -> Array:
    """Cosines `[..., C]`, the largest over the sub-centres. The product is scaled, so that no input is copied."""
    dtype = compute_dtype(embeddings, weights)
    inner = jnp.tensordot(
        embeddings, weights, axes=(-1, -1), precision=lax.Precision.HIGHEST, preferred_element_type=dtype
    )
    lengths = _inverse_norm(embeddings, dtype).reshape(embeddings.shape[:-1] + (1,) * (weights.ndim - 1))
    cosine = inner * lengths * _inverse_norm(weights, dtype)
    return cosine if weights.ndim == 2 else jnp.max(cosine, axis=-1)


def _inverse_norm(vectors: Array, dtype: jnp.dtype) -> Array:
    """1 / |x| over the last axis, and 0 (with gradient 0) for a vector without direction."""
    squared = jnp.sum(vectors.astype(dtype) ** 2, axis=-1)
    directed = squared > 1e-24
    return jnp.where(directed, lax.rsqrt(jnp.where(directed, squared, 1)), 0)


def _log_sum_exp(values: Array) -> Array:
    """log Σ exp over the last axis; a large negative number, with gradient 0, where every value is -inf."""
    peak = lax.stop_gradient(jnp.max(values, axis=-1, keepdims=True))
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    total = jnp.sum(jnp.exp(values - peak), axis=-1)
    present = total > 0
    floor = jnp.finfo(values.dtype).min / 2
    return jnp.where(present, jnp.log(jnp.where(present, total, 1)) + peak[..., 0], floor)


def _log_sum_exp_others(values: Array) -> Array:
    """For every class, log Σ exp over all the other classes.

    Taking one class out of the total by log1p(-p) is stable while its share p is at most one half, which only the
    largest can exceed; for that one the others are summed afresh.
    """
    largest = is_class(jnp.argmax(values, axis=-1), values.shape[-1])
    total = _log_sum_exp(values)[..., None]
    share = jnp.where(largest, 0, jnp.exp(values - total))
    without_largest = _log_sum_exp(jnp.where(largest, -jnp.inf, values))[..., None]
    return jnp.where(largest, without_largest, total + jnp.log1p(-share))
