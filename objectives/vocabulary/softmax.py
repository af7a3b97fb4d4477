"""Losses of softmax probabilities from features and the weights of a linear head, without the table of logits."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp

from objectives._inputs import check_callable, compute_dtype, floating, hyperparameter
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Real, Scalar
from objectives.vocabulary._head import elementwise, linear_loss


def linear_softmax_loss(
    features: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "rows columns"],
    labels: ClassLabels,
    *,
    penalty: Callable[[Array], Array],
    bias: Float[ArrayLike, " classes"] | None = None,
    soft_cap: Scalar | None = None,
    z_penalty: Scalar = 0.0,
    reduction: Literal["none", "sum", "mean"] = "none",
    example_weights: Real[ArrayLike, "*batch"] | None = None,
    class_axis: int = 0,
    row_chunk: int | None = None,
    class_chunk: int = 2048,
    vocabulary_axis: AxisName = None,
    axis_name: AxisName = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*losses"]:
    r"""Expected penalty of the label's log probability, for any penalty: the function of the family.

    $$
    \sum_c q_c\, \varphi(\log p_c) + \zeta \log^2 Z, \quad p = \mathrm{softmax}(\mathrm{logits}), \quad
    \mathrm{logits}_v = k \tanh\big( (\langle x, w_v \rangle + b_v) / k \big)
    $$

    It equals the same loss of the logits `features @ weights.T`, of which there are never more than a chunk.

    Args:
        features: What the head gets x `[..., D]`.
        weights: Weights w of the classes, `[C, D]`; see `class_axis`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        penalty: φ, from log probabilities to losses, elementwise. Numbers that it closes over may be traced, though not
            inside a `shard_map`.
        bias: Added to the logits `[C]`; a class with -inf is switched off.
        soft_cap: Bound k of the logits, k tanh(logits / k), positive; None for no bound. Gemma 2 takes 30.
        z_penalty: Coefficient of (log Z)², which keeps the normaliser Z near 1; PaLM takes 1e-4.
        reduction: "none" for losses per example, "sum", or "mean" over the weights of the examples that `where` keeps.
            A reduced loss and its gradients take three products with the weights, losses per example four.
        example_weights: What every loss is multiplied by `[...]`, non-negative.
        class_axis: The axis of `weights` that counts classes: 1 for `[D, C]`, as the kernel of a dense layer is.
        row_chunk: Examples whose logits are held at a time; by default as many as take the memory of the weights, at
            least 128 and at most 1024.
        class_chunk: Classes that are multiplied at a time.
        vocabulary_axis: Mapped axis or axes over which the classes of `weights`, `bias` and probabilities are split,
            under `shard_map`; ids stay those of the whole. Only statistics of examples are exchanged.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for a reduction; value and
            gradient are then those of the whole batch.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, or their sum or mean, float32 (float64 for float64 inputs); NaN where a class id is out
        of range.

    Raises:
        TypeError: If features or weights are not floating, class ids or chunks not integers or `where` not boolean.
        ValueError: If shapes do not match, an option is unknown or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, weights = jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> loss = linear_softmax_loss(features, weights, jnp.array([0]), penalty=lambda log_p: -jnp.expm1(log_p))
        >>> print(f"{loss[0]:.4f}")
        0.2130

    Source:
        Wijmans, Huval, Hertzberg, Koltun, Krähenbühl, "Cut Your Losses in Large-Vocabulary Language Models", 2025; Hsu,
        Dai, Kothapalli, Song, Tang, Zhu, Shimizu, Sahni, Ning, Chen, "Liger Kernel: Efficient Triton Kernels for LLM
        Training", 2024.
    """
    name = "linear_softmax_loss"
    check_callable(name, "penalty", penalty, "from log probabilities to losses")
    dtype = compute_dtype(floating(name, "features", features), floating(name, "weights", weights))
    apply, constants = elementwise(penalty, dtype)
    return linear_loss(
        name,
        features,
        weights,
        labels,
        lambda log_p, logit, log_rest, *constants: apply(log_p, *constants),
        constants,
        bias=bias,
        soft_cap=soft_cap,
        z_penalty=z_penalty,
        reduction=reduction,
        example_weights=example_weights,
        class_axis=class_axis,
        row_chunk=row_chunk,
        class_chunk=class_chunk,
        vocabulary_axis=vocabulary_axis,
        axis_name=axis_name,
        where=where,
    )


def linear_cross_entropy(
    features: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "rows columns"],
    labels: ClassLabels,
    *,
    label_smoothing: Scalar = 0.0,
    bias: Float[ArrayLike, " classes"] | None = None,
    soft_cap: Scalar | None = None,
    z_penalty: Scalar = 0.0,
    reduction: Literal["none", "sum", "mean"] = "none",
    example_weights: Real[ArrayLike, "*batch"] | None = None,
    class_axis: int = 0,
    row_chunk: int | None = None,
    class_chunk: int = 2048,
    vocabulary_axis: AxisName = None,
    axis_name: AxisName = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*losses"]:
    r"""Softmax cross-entropy of a linear head, with label smoothing, z-penalty and capped logits.

    $$
    -\sum_c q'_c \log p_c + \zeta \log^2 Z, \quad p = \mathrm{softmax}(\mathrm{logits}), \quad
    q' = (1 - s)\, q + s / C, \quad \mathrm{logits}_v = k \tanh\big( (\langle x, w_v \rangle + b_v) / k \big)
    $$

    It equals `softmax_cross_entropy` of the logits `features @ weights.T`, of which there are never more than a chunk.

    Args:
        features: What the head gets x `[..., D]`.
        weights: Weights w of the classes, `[C, D]`; see `class_axis`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        label_smoothing: Share s of the label mass that is spread evenly over all classes, in [0, 1].
        bias: Added to the logits `[C]`; a class with -inf is switched off.
        soft_cap: Bound k of the logits, k tanh(logits / k), positive; None for no bound. Gemma 2 takes 30.
        z_penalty: Coefficient of (log Z)², which keeps the normaliser Z near 1; PaLM takes 1e-4.
        reduction: "none" for losses per example, "sum", or "mean" over the weights of the examples that `where` keeps.
            A reduced loss and its gradients take three products with the weights, losses per example four.
        example_weights: What every loss is multiplied by `[...]`, non-negative.
        class_axis: The axis of `weights` that counts classes: 1 for `[D, C]`, as the kernel of a dense layer is.
        row_chunk: Examples whose logits are held at a time; by default as many as take the memory of the weights, at
            least 128 and at most 1024.
        class_chunk: Classes that are multiplied at a time.
        vocabulary_axis: Mapped axis or axes over which the classes of `weights`, `bias` and probabilities are split,
            under `shard_map`; ids stay those of the whole. Only statistics of examples are exchanged.
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
        >>> features, weights = jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> print(f"{linear_cross_entropy(features, weights, jnp.array([0]))[0]:.4f}")
        0.2395

    Source:
        Wijmans, Huval, Hertzberg, Koltun, Krähenbühl, "Cut Your Losses in Large-Vocabulary Language Models", 2025;
        Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways" (z-penalty), 2022; Gemma Team, "Gemma 2:
        Improving Open Language Models at a Practical Size" (capped logits), 2024.
    """
    name = "linear_cross_entropy"
    return linear_loss(
        name,
        features,
        weights,
        labels,
        lambda log_p, logit, log_rest: -log_p,
        (),
        bias=bias,
        soft_cap=soft_cap,
        z_penalty=z_penalty,
        label_smoothing=label_smoothing,
        reduction=reduction,
        example_weights=example_weights,
        class_axis=class_axis,
        row_chunk=row_chunk,
        class_chunk=class_chunk,
        vocabulary_axis=vocabulary_axis,
        axis_name=axis_name,
        where=where,
    )


def linear_poly_loss(
    features: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "rows columns"],
    labels: ClassLabels,
    *,
    epsilon: Scalar = 2.0,
    bias: Float[ArrayLike, " classes"] | None = None,
    soft_cap: Scalar | None = None,
    z_penalty: Scalar = 0.0,
    reduction: Literal["none", "sum", "mean"] = "none",
    example_weights: Real[ArrayLike, "*batch"] | None = None,
    class_axis: int = 0,
    row_chunk: int | None = None,
    class_chunk: int = 2048,
    vocabulary_axis: AxisName = None,
    axis_name: AxisName = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*losses"]:
    r"""Poly-1 loss of a linear head.

    $$
    \sum_c q_c \left[ -\log p_c + \epsilon\, (1 - p_c) \right] + \zeta \log^2 Z
    $$

    It equals `poly_loss` of the logits `features @ weights.T`, of which there are never more than a chunk.

    Args:
        features: What the head gets x `[..., D]`.
        weights: Weights w of the classes, `[C, D]`; see `class_axis`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        epsilon: What is added to the first coefficient, at least -1.
        bias: Added to the logits `[C]`; a class with -inf is switched off.
        soft_cap: Bound k of the logits, k tanh(logits / k), positive; None for no bound. Gemma 2 takes 30.
        z_penalty: Coefficient of (log Z)², which keeps the normaliser Z near 1; PaLM takes 1e-4.
        reduction: "none" for losses per example, "sum", or "mean" over the weights of the examples that `where` keeps.
            A reduced loss and its gradients take three products with the weights, losses per example four.
        example_weights: What every loss is multiplied by `[...]`, non-negative.
        class_axis: The axis of `weights` that counts classes: 1 for `[D, C]`, as the kernel of a dense layer is.
        row_chunk: Examples whose logits are held at a time; by default as many as take the memory of the weights, at
            least 128 and at most 1024.
        class_chunk: Classes that are multiplied at a time.
        vocabulary_axis: Mapped axis or axes over which the classes of `weights`, `bias` and probabilities are split,
            under `shard_map`; ids stay those of the whole. Only statistics of examples are exchanged.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for a reduction; value and
            gradient are then those of the whole batch.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, or their sum or mean, float32 (float64 for float64 inputs); NaN where a class id is out
        of range.

    Raises:
        TypeError: If features or weights are not floating, class ids or chunks not integers or `where` not boolean.
        ValueError: If shapes do not match, an option is unknown or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, weights = jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> print(f"{linear_poly_loss(features, weights, jnp.array([0]), epsilon=1.0)[0]:.4f}")
        0.4526

    Source:
        Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov, "PolyLoss: A Polynomial Expansion Perspective of Classification
        Loss Functions", 2022.
    """
    name = "linear_poly_loss"
    dtype = compute_dtype(floating(name, "features", features), floating(name, "weights", weights))
    coefficient = hyperparameter(name, "epsilon", epsilon, dtype, -1)
    return linear_loss(
        name,
        features,
        weights,
        labels,
        lambda log_p, logit, log_rest, epsilon: -log_p - epsilon * jnp.expm1(log_p),
        [coefficient],
        bias=bias,
        soft_cap=soft_cap,
        z_penalty=z_penalty,
        reduction=reduction,
        example_weights=example_weights,
        class_axis=class_axis,
        row_chunk=row_chunk,
        class_chunk=class_chunk,
        vocabulary_axis=vocabulary_axis,
        axis_name=axis_name,
        where=where,
    )


def linear_focal_loss(
    features: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "rows columns"],
    labels: ClassLabels,
    *,
    gamma: Scalar = 2.0,
    bias: Float[ArrayLike, " classes"] | None = None,
    soft_cap: Scalar | None = None,
    z_penalty: Scalar = 0.0,
    reduction: Literal["none", "sum", "mean"] = "none",
    example_weights: Real[ArrayLike, "*batch"] | None = None,
    class_axis: int = 0,
    row_chunk: int | None = None,
    class_chunk: int = 2048,
    vocabulary_axis: AxisName = None,
    axis_name: AxisName = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*losses"]:
    r"""Focal loss of a linear head: cross-entropy with easy examples weighted down.

    $$
    -\sum_c q_c\, (1 - p_c)^\gamma \log p_c + \zeta \log^2 Z
    $$

    It equals `focal_loss` of the logits `features @ weights.T`, of which there are never more than a chunk. Weights of
    classes belong into `example_weights`, as `alpha[labels]`.

    Args:
        features: What the head gets x `[..., D]`.
        weights: Weights w of the classes, `[C, D]`; see `class_axis`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        gamma: Focusing exponent, at least 0; 0 gives the cross-entropy.
        bias: Added to the logits `[C]`; a class with -inf is switched off.
        soft_cap: Bound k of the logits, k tanh(logits / k), positive; None for no bound. Gemma 2 takes 30.
        z_penalty: Coefficient of (log Z)², which keeps the normaliser Z near 1; PaLM takes 1e-4.
        reduction: "none" for losses per example, "sum", or "mean" over the weights of the examples that `where` keeps.
            A reduced loss and its gradients take three products with the weights, losses per example four.
        example_weights: What every loss is multiplied by `[...]`, non-negative.
        class_axis: The axis of `weights` that counts classes: 1 for `[D, C]`, as the kernel of a dense layer is.
        row_chunk: Examples whose logits are held at a time; by default as many as take the memory of the weights, at
            least 128 and at most 1024.
        class_chunk: Classes that are multiplied at a time.
        vocabulary_axis: Mapped axis or axes over which the classes of `weights`, `bias` and probabilities are split,
            under `shard_map`; ids stay those of the whole. Only statistics of examples are exchanged.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for a reduction; value and
            gradient are then those of the whole batch.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, or their sum or mean, float32 (float64 for float64 inputs); NaN where a class id is out
        of range.

    Raises:
        TypeError: If features or weights are not floating, class ids or chunks not integers or `where` not boolean.
        ValueError: If shapes do not match, an option is unknown or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, weights = jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> print(f"{linear_focal_loss(features, weights, jnp.array([0]), gamma=1.0)[0]:.4f}")
        0.0510

    Source:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017.
    """
    name = "linear_focal_loss"
    dtype = compute_dtype(floating(name, "features", features), floating(name, "weights", weights))
    exponent = hyperparameter(name, "gamma", gamma, dtype, 0)
    return linear_loss(
        name,
        features,
        weights,
        labels,
        _focal,
        [exponent],
        bias=bias,
        soft_cap=soft_cap,
        z_penalty=z_penalty,
        reduction=reduction,
        example_weights=example_weights,
        class_axis=class_axis,
        row_chunk=row_chunk,
        class_chunk=class_chunk,
        vocabulary_axis=vocabulary_axis,
        axis_name=axis_name,
        where=where,
    )


def _focal(log_p: Array, logit: Array, log_rest: Array, gamma: Array) -> Array:
    """(1 - p)^gamma times the cross-entropy; 0 at p = 1, where both vanish."""
    wrong = -jnp.expm1(log_p)
    positive = wrong > 0
    return jnp.where(positive, jnp.where(positive, wrong, 1) ** gamma, 0) * -log_p
