"""Softmax losses with a margin on the angle between features and their class, without the table of cosines."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from objectives._inputs import check_callable, compute_dtype, floating, hyperparameter
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.margin._equation import add_angle
from objectives.vocabulary._head import elementwise, linear_loss


def linear_margin_softmax_loss(
    features: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "rows columns"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    margin: Callable[[Array], Array],
    scale: Scalar = 64.0,
    reduction: Literal["none", "sum", "mean"] = "none",
    example_weights: Real[ArrayLike, "*batch"] | None = None,
    class_axis: int = 0,
    row_chunk: int | None = None,
    class_chunk: int = 2048,
    vocabulary_axis: AxisName = None,
    axis_name: AxisName = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*losses"]:
    r"""Scaled softmax cross-entropy of cosines with any margin: the function of the family.

    $$
    \log\Big( 1 + \sum_{j \neq y} e^{s\, (c_j - m(c_y))} \Big), \qquad
    c_j = \Big\langle \frac{x}{\lVert x \rVert}, \frac{w_j}{\lVert w_j \rVert} \Big\rangle
    $$

    It equals `margin_softmax_loss`, and holds no more cosines than a chunk. Vectors shorter than 1e-12 have no
    direction: their cosines are 0, with gradient 0.

    Args:
        features: What the head gets x `[..., D]`, of any length.
        weights: Weights w of the classes, `[C, D]`; see `class_axis`. Of any length.
        labels: Class ids `[...]`.
        margin: m, from target cosines to the smaller cosines that are trained, elementwise. Numbers that it closes over
            may be traced, though not inside a `shard_map`.
        scale: Inverse temperature s of the softmax, positive.
        reduction: "none" for losses per example, "sum", or "mean" over the weights of the examples that `where` keeps.
            A reduced loss and its gradients take three products with the weights, losses per example four.
        example_weights: What every loss is multiplied by `[...]`, non-negative.
        class_axis: The axis of `weights` that counts classes: 1 for `[D, C]`, as the kernel of a dense layer is.
        row_chunk: Examples whose logits are held at a time; by default as many as take the memory of the weights, at
            least 128 and at most 1024.
        class_chunk: Classes that are multiplied at a time.
        vocabulary_axis: Mapped axis or axes over which the classes of `weights` are split, under `shard_map`; ids stay
            those of the whole. Only statistics of examples are exchanged.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for a reduction; value and
            gradient are then those of the whole batch.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, or their sum or mean, float32 (float64 for float64 inputs); NaN where a class id is out
        of range.

    Raises:
        TypeError: If features or weights are not floating, class ids or chunks not integers or `where` not boolean.
        ValueError: If shapes do not match, an option is unknown or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, weights = jnp.array([[2.0, 0.0]]), jnp.eye(2)
        >>> loss = linear_margin_softmax_loss(features, weights, jnp.array([0]), margin=lambda c: c - 0.5, scale=2.0)
        >>> print(f"{loss[0]:.4f}")
        0.3133

    Source:
        Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018;
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
        2019.
    """
    name = "linear_margin_softmax_loss"
    dtype = compute_dtype(floating(name, "features", features), floating(name, "weights", weights))
    check_callable(name, "margin", margin, "of cosines")
    apply, constants = elementwise(margin, dtype)
    sharpness = hyperparameter(name, "scale", scale, dtype, 0, open_low=True)
    return linear_loss(
        name,
        features,
        weights,
        labels,
        _with_margin(apply),
        [sharpness, *constants],
        scale=sharpness,
        reduction=reduction,
        example_weights=example_weights,
        class_axis=class_axis,
        row_chunk=row_chunk,
        class_chunk=class_chunk,
        vocabulary_axis=vocabulary_axis,
        axis_name=axis_name,
        where=where,
    )


def linear_arcface_loss(
    features: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "rows columns"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.5,
    reduction: Literal["none", "sum", "mean"] = "none",
    example_weights: Real[ArrayLike, "*batch"] | None = None,
    class_axis: int = 0,
    row_chunk: int | None = None,
    class_chunk: int = 2048,
    vocabulary_axis: AxisName = None,
    axis_name: AxisName = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*losses"]:
    r"""ArcFace of a linear head: softmax of cosines with an additive margin on the angle to the target class.

    $$
    -\log \frac{e^{s \cos(\theta_y + m)}}{e^{s \cos(\theta_y + m)} + \sum_{j \ne y} e^{s \cos\theta_j}}
    $$

    It equals `arcface_loss`, and holds no more cosines than a chunk. Where the angle plus the margin would pass π, the
    target logit is s (cos θ_y − m sin m), which keeps it decreasing.

    Args:
        features: What the head gets x `[..., D]`, of any length.
        weights: Weights w of the classes, `[C, D]`; see `class_axis`. Of any length.
        labels: Class ids `[...]`.
        scale: Inverse temperature s of the softmax, positive.
        margin: Margin m in radians, in [0, π].
        reduction: "none" for losses per example, "sum", or "mean" over the weights of the examples that `where` keeps.
            A reduced loss and its gradients take three products with the weights, losses per example four.
        example_weights: What every loss is multiplied by `[...]`, non-negative.
        class_axis: The axis of `weights` that counts classes: 1 for `[D, C]`, as the kernel of a dense layer is.
        row_chunk: Examples whose logits are held at a time; by default as many as take the memory of the weights, at
            least 128 and at most 1024.
        class_chunk: Classes that are multiplied at a time.
        vocabulary_axis: Mapped axis or axes over which the classes of `weights` are split, under `shard_map`; ids stay
            those of the whole. Only statistics of examples are exchanged.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for a reduction; value and
            gradient are then those of the whole batch.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, or their sum or mean, float32 (float64 for float64 inputs); NaN where a class id is out
        of range.

    Raises:
        TypeError: If features or weights are not floating, class ids or chunks not integers or `where` not boolean.
        ValueError: If shapes do not match, an option is unknown or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, weights = jnp.array([[2.0, 0.0]]), jnp.eye(2)
        >>> print(f"{linear_arcface_loss(features, weights, jnp.array([0]), scale=4.0)[0]:.4f}")
        0.0294

    Source:
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
        2019.
    """
    name = "linear_arcface_loss"
    dtype = compute_dtype(floating(name, "features", features), floating(name, "weights", weights))
    angle = hyperparameter(name, "margin", margin, dtype, 0, jnp.pi)
    sharpness = hyperparameter(name, "scale", scale, dtype, 0, open_low=True)
    return linear_loss(
        name,
        features,
        weights,
        labels,
        _with_margin(add_angle),
        [sharpness, angle],
        scale=sharpness,
        reduction=reduction,
        example_weights=example_weights,
        class_axis=class_axis,
        row_chunk=row_chunk,
        class_chunk=class_chunk,
        vocabulary_axis=vocabulary_axis,
        axis_name=axis_name,
        where=where,
    )


def linear_cosface_loss(
    features: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "rows columns"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.35,
    reduction: Literal["none", "sum", "mean"] = "none",
    example_weights: Real[ArrayLike, "*batch"] | None = None,
    class_axis: int = 0,
    row_chunk: int | None = None,
    class_chunk: int = 2048,
    vocabulary_axis: AxisName = None,
    axis_name: AxisName = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*losses"]:
    r"""CosFace of a linear head: softmax of cosines with a margin taken from the target's cosine.

    $$
    -\log \frac{e^{s (\cos\theta_y - m)}}{e^{s (\cos\theta_y - m)} + \sum_{j \ne y} e^{s \cos\theta_j}}
    $$

    It holds no more cosines than a chunk.

    Args:
        features: What the head gets x `[..., D]`, of any length.
        weights: Weights w of the classes, `[C, D]`; see `class_axis`. Of any length.
        labels: Class ids `[...]`.
        scale: Inverse temperature s of the softmax, positive.
        margin: Margin m, at least 0.
        reduction: "none" for losses per example, "sum", or "mean" over the weights of the examples that `where` keeps.
            A reduced loss and its gradients take three products with the weights, losses per example four.
        example_weights: What every loss is multiplied by `[...]`, non-negative.
        class_axis: The axis of `weights` that counts classes: 1 for `[D, C]`, as the kernel of a dense layer is.
        row_chunk: Examples whose logits are held at a time; by default as many as take the memory of the weights, at
            least 128 and at most 1024.
        class_chunk: Classes that are multiplied at a time.
        vocabulary_axis: Mapped axis or axes over which the classes of `weights` are split, under `shard_map`; ids stay
            those of the whole. Only statistics of examples are exchanged.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for a reduction; value and
            gradient are then those of the whole batch.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, or their sum or mean, float32 (float64 for float64 inputs); NaN where a class id is out
        of range.

    Raises:
        TypeError: If features or weights are not floating, class ids or chunks not integers or `where` not boolean.
        ValueError: If shapes do not match, an option is unknown or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, weights = jnp.array([[2.0, 0.0]]), jnp.eye(2)
        >>> print(f"{linear_cosface_loss(features, weights, jnp.array([0]), scale=2.0, margin=0.5)[0]:.4f}")
        0.3133

    Source:
        Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018.
    """
    name = "linear_cosface_loss"
    dtype = compute_dtype(floating(name, "features", features), floating(name, "weights", weights))
    shift = hyperparameter(name, "margin", margin, dtype, 0)
    sharpness = hyperparameter(name, "scale", scale, dtype, 0, open_low=True)
    return linear_loss(
        name,
        features,
        weights,
        labels,
        _with_margin(lambda cosine, shift: cosine - shift),
        [sharpness, shift],
        scale=sharpness,
        reduction=reduction,
        example_weights=example_weights,
        class_axis=class_axis,
        row_chunk=row_chunk,
        class_chunk=class_chunk,
        vocabulary_axis=vocabulary_axis,
        axis_name=axis_name,
        where=where,
    )


def _with_margin(margin: Callable[..., Array]) -> Callable[..., Array]:
    """φ = softplus(log Σ_{j≠y} e^{s c_j} - s m(c_y)), from the scale s and the arguments of the margin."""

    def penalty(log_p: Array, logit: Array, log_rest: Array, scale: Array, *arguments: Array) -> Array:
        return jax.nn.softplus(log_rest - scale * margin(logit / scale, *arguments))

    return penalty
