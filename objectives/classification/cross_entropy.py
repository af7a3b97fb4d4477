"""Cross-entropy of softmax and sigmoid probabilities, and the penalties that are added to it."""

import jax
import jax.numpy as jnp

from objectives._inputs import (
    Labels,
    check_classes,
    class_vector,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    is_class,
    mask,
)
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Real, Scalar
from objectives.classification._shared import read_binary


def softmax_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    label_smoothing: Scalar = 0.0,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy of softmax probabilities against integer labels or probabilities, weighted by class or not.

    $$
    -\sum_c w_c\, q'_c \log p_c, \quad p = \mathrm{softmax}(\mathrm{logits}), \quad q' = (1 - s)\, q + s / C
    $$

    A class may be switched off with a logit of -inf: while its label probability is 0 it contributes nothing.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        label_smoothing: Share s of the label mass that is spread evenly over all classes, in [0, 1].
        class_weights: Weight w of every class `[C]`; 1 by default. As in PyTorch it weighs the terms, smoothed ones
            included; the mean that divides by the weights of the labels is
            `reduce_sum(losses) / reduce_sum(class_weights[labels])`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `label_smoothing` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{softmax_cross_entropy(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.2395

    Source:
        Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision"
        (label smoothing), 2016.
    """
    name = "softmax_cross_entropy"
    logits, targets, kept = read(name, logits, labels, where)
    smoothing = hyperparameter(name, "label_smoothing", label_smoothing, compute_dtype(logits), 0, 1)
    weights = None
    if class_weights is not None:
        weights = class_vector(name, "class_weights", class_weights, logits.shape[-1], compute_dtype(logits))
    losses = expected_penalty(logits, targets, jnp.negative, weights)
    if not (isinstance(smoothing, float) and smoothing == 0):
        classes = logits.shape[-1]
        uniform = Labels(jnp.where(smoothing == 0, 0, jnp.full(classes, 1 / classes, losses.dtype)), None)
        losses = (1 - smoothing) * losses + smoothing * expected_penalty(logits, uniform, jnp.negative, weights)
    return finish(losses, kept, targets.valid)


def sigmoid_cross_entropy(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    label_smoothing: Scalar = 0.0,
    positive_weight: Scalar | Real[ArrayLike, " classes"] = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Binary cross-entropy of independent decisions, one for every entry.

    $$
    -w\, y' \log p - (1 - y') \log (1 - p), \quad p = \sigma(\mathrm{logits}), \quad y' = (1 - s)\, y + s / 2
    $$

    Args:
        logits: Log odds of the positive class `[...]`.
        labels: 0 or 1, boolean, or probability of the positive class, of the shape of `logits`.
        label_smoothing: Share s of the label mass that is spread evenly over both classes, in [0, 1].
        positive_weight: Weight w of the positive class, at least 0: a number, or one for every entry of the last axis,
            `[C]`; the ratio of negatives to positives balances them.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast) or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sigmoid_cross_entropy(jnp.array([0.0]), jnp.array([1]), positive_weight=3.0)[0]:.4f}")
        2.0794

    Source:
        Terven, Cordova-Esparza, Romero-González, Ramírez-Pedraza, Chávez-Urbiola, "A Comprehensive Survey of Loss
        Functions and Metrics in Deep Learning", 2025.
    """
    name = "sigmoid_cross_entropy"
    scores, positive, kept = read_binary(name, logits, labels, where)
    smoothing = hyperparameter(name, "label_smoothing", label_smoothing, scores.dtype, 0, 1)
    if jnp.ndim(positive_weight) and scores.ndim:
        weight = class_vector(name, "positive_weight", positive_weight, scores.shape[-1], scores.dtype)
    else:
        weight = hyperparameter(name, "positive_weight", positive_weight, scores.dtype, 0)
    positive = (1 - smoothing) * positive + smoothing / 2
    losses = -weight * positive * jax.nn.log_sigmoid(scores) - (1 - positive) * jax.nn.log_sigmoid(-scores)
    return finish(losses, kept)


def squentropy_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squentropy: cross-entropy plus the mean square of the wrong classes' logits. It has no hyperparameter.

    $$
    -\sum_c q_c \log p_c + \frac{1}{C - 1} \sum_c (1 - q_c)\, f_c^2, \quad f = \mathrm{logits}
    $$

    Unlike cross-entropy it is not invariant to a shift of the logits; it is convex in them.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range. With a single
        class the loss is 0.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{squentropy_loss(jnp.array([[2.0, 1.0, -1.0]]), jnp.array([0]))[0]:.4f}")
        1.3490

    Source:
        Hui, Belkin, Wright, "Cut your Losses with Squentropy", 2023.
    """
    logits, targets, kept = read("squentropy_loss", logits, labels, where)
    scores, classes = logits.astype(compute_dtype(logits)), logits.shape[-1]
    if targets.are_ids:
        squares = jnp.where(is_class(targets.values, classes), 0, scores**2)
    else:
        squares = (1 - targets.values) * scores**2
    losses = expected_penalty(logits, targets, jnp.negative) + jnp.sum(squares, axis=-1) / max(classes - 1, 1)
    return finish(losses, kept, targets.valid)


def confidence_penalty(
    logits: Float[ArrayLike, "*batch classes"], *, where: Bool[ArrayLike, "*batch"] | None = None
) -> Float[Array, "*batch"]:
    r"""Confidence penalty: the negative entropy of the predicted distribution, added to a loss with a weight near 0.1.

    $$
    \sum_c p_c \log p_c, \quad p = \mathrm{softmax}(\mathrm{logits})
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`; a class may be switched off with -inf.
        where: Boolean mask `[...]`; a masked entry has value 0 and gradient 0 and may hold anything.

    Returns:
        Negative entropies `[...]` in nats, from -log C (uniform) to 0 (certain), float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{confidence_penalty(jnp.array([[1.0, 1.0]]))[0]:.4f}")
        -0.6931

    Source:
        Pereyra, Tucker, Chorowski, Kaiser, Hinton, "Regularizing Neural Networks by Penalizing Confident Output
        Distributions", 2017.
    """
    name = "confidence_penalty"
    scores = floating(name, "logits", logits)
    check_classes(name, "logits", scores)
    kept = mask(name, where, scores.shape[:-1])
    scores = clean(scores, kept)
    probabilities = jax.nn.softmax(scores.astype(compute_dtype(scores)), axis=-1)
    return finish(-expected_penalty(scores, Labels(probabilities, None), jnp.negative), kept)
