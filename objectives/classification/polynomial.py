"""Penalties that are polynomials in the wrong probability 1 - p, or cross-entropy times a power of it.

With -log p = Σ_j (1 - p)^j / j, PolyLoss raises the first coefficients, the Taylor cross-entropy keeps the first terms
only, and the focal losses multiply the whole by (1 - p)^γ. The sigmoid members apply the same penalties to the two
classes of every entry.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from objectives._inputs import (
    check_rank,
    check_same_shape,
    class_vector,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
    static_integer,
)
from objectives._numerics import power
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Real, Scalar


def poly_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    epsilon: Scalar = 2.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Poly-1 loss: cross-entropy with the first coefficient of its expansion in (1 - p) raised by epsilon.

    $$
    \sum_c q_c \left[ -\log p_c + \epsilon\, (1 - p_c) \right]
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        epsilon: What is added to the first coefficient, at least -1. The paper takes 2 for ImageNet-1k and -1 for
            detection and instance segmentation.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{poly_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), epsilon=1.0)[0]:.4f}")
        1.1931

    Source:
        Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov, "PolyLoss: A Polynomial Expansion Perspective of Classification
        Loss Functions", 2022.
    """
    logits, targets, kept = read("poly_loss", logits, labels, where)
    epsilon = hyperparameter("poly_loss", "epsilon", epsilon, compute_dtype(logits), -1)
    losses = expected_penalty(logits, targets, lambda log_p: -log_p - epsilon * jnp.expm1(log_p))
    return finish(losses, kept, targets.valid)


def poly_n_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    epsilons: Real[ArrayLike, " order"] | Sequence[Scalar],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Poly-N loss: cross-entropy with the first N coefficients of its expansion in (1 - p) changed.

    $$
    \sum_c q_c \Big[ -\log p_c + \sum_{j=1}^N \epsilon_j\, (1 - p_c)^j \Big]
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        epsilons: What is added to the first N coefficients `[N]`; the j-th is at least -1/j, which takes the j-th
            power away.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or an epsilon is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{poly_n_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), epsilons=[1.0, -0.5])[0]:.4f}")
        1.0681

    Source:
        Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov, "PolyLoss: A Polynomial Expansion Perspective of Classification
        Loss Functions", 2022.
    """
    name = "poly_n_loss"
    logits, targets, kept = read(name, logits, labels, where)
    if isinstance(epsilons, jax.Array | np.ndarray):
        check_rank(name, "epsilons", jnp.asarray(epsilons), 1, "[N]", 1)
    coefficients = [
        hyperparameter(name, f"epsilons[{j}]", epsilon, compute_dtype(logits), -1 / (j + 1))
        for j, epsilon in enumerate(epsilons)
    ]

    def penalty(log_p: Array) -> Array:
        wrong, polynomial = -jnp.expm1(log_p), jnp.zeros_like(log_p)
        for coefficient in reversed(coefficients):
            polynomial = wrong * (coefficient + polynomial)
        return polynomial - log_p

    return finish(expected_penalty(logits, targets, penalty), kept, targets.valid)


def focal_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    gamma: Scalar = 2.0,
    alpha: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Focal loss over mutually exclusive classes (softmax): cross-entropy with easy examples weighted down.

    $$
    -\sum_c q_c\, \alpha_c\, (1 - p_c)^\gamma \log p_c
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        gamma: Focusing exponent, at least 0; 0 gives the (class-weighted) cross-entropy.
        alpha: Weight of every class `[C]`; 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{focal_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]), gamma=1.0)[0]:.4f}")
        0.0510

    Source:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017.
    """
    logits, targets, kept = read("focal_loss", logits, labels, where)
    dtype = compute_dtype(logits)
    gamma = hyperparameter("focal_loss", "gamma", gamma, dtype, 0)
    weights = None if alpha is None else class_vector("focal_loss", "alpha", alpha, logits.shape[-1], dtype)
    losses = expected_penalty(logits, targets, lambda log_p: _focal(-log_p, -jnp.expm1(log_p), gamma), weights)
    return finish(losses, kept, targets.valid)


def sigmoid_focal_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    gamma: Scalar = 2.0,
    alpha: Scalar | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Focal loss of independent binary decisions (sigmoid), one for every entry: dense detection, multi-label.

    $$
    \alpha_t (1 - p_t)^\gamma\, \mathrm{BCE}, \quad p_t = y p + (1 - y)(1 - p), \quad
    \alpha_t = y \alpha + (1 - y)(1 - \alpha), \quad p = \sigma(\mathrm{logits})
    $$

    Args:
        logits: Log odds of the positive class `[...]`.
        labels: 0 or 1, boolean, or probability of the positive class, of the shape of `logits`.
        gamma: Focusing exponent, at least 0; 0 gives the binary cross-entropy.
        alpha: Weight of the positive class, in [0, 1]; negatives get 1 - alpha. None weighs both by 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast) or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sigmoid_focal_loss(jnp.array([0.0]), jnp.array([1]), alpha=0.25)[0]:.4f}")
        0.0433

    Source:
        Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017.
    """
    return _sigmoid_focal("sigmoid_focal_loss", logits, labels, 0.0, gamma, alpha, where)


def poly_focal_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    epsilon: Scalar = 1.0,
    gamma: Scalar = 2.0,
    alpha: Scalar | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Poly-1 focal loss of independent binary decisions: the focal loss with its leading coefficient raised.

    $$
    \alpha_t \left[ (1 - p_t)^\gamma\, \mathrm{BCE} + \epsilon\, (1 - p_t)^{\gamma + 1} \right]
    $$

    with p_t and alpha_t as in `sigmoid_focal_loss`.

    Args:
        logits: Log odds of the positive class `[...]`.
        labels: 0 or 1, boolean, or probability of the positive class, of the shape of `logits`.
        epsilon: What is added to the leading coefficient, at least -1.
        gamma: Focusing exponent, at least 0.
        alpha: Weight of the positive class, in [0, 1]; negatives get 1 - alpha. None weighs both by 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast) or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{poly_focal_loss(jnp.array([0.0]), jnp.array([1]), epsilon=-1.0)[0]:.4f}")
        0.0483

    Source:
        Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov, "PolyLoss: A Polynomial Expansion Perspective of Classification
        Loss Functions", 2022.
    """
    return _sigmoid_focal("poly_focal_loss", logits, labels, epsilon, gamma, alpha, where)


def taylor_cross_entropy_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    order: int = 2,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Taylor cross-entropy: the first terms of cross-entropy's expansion in 1 - p, for noisy labels.

    $$
    \sum_c q_c \sum_{j=1}^{t} \frac{(1 - p_c)^j}{j}
    $$

    Order 1 is the mean absolute error 1 - p, which is robust to noise; the limit of large orders is cross-entropy.
    PolyLoss calls it Poly-drop.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        order: Number t of terms, at least 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids or `order` not integers or `where` not boolean.
        ValueError: If shapes do not match or `order` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{taylor_cross_entropy_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), order=2)[0]:.4f}")
        0.6250

    Source:
        Feng, Shu, Lin, Lv, Li, An, "Can Cross Entropy Loss Be Robust to Label Noise?", 2020.
    """
    logits, targets, kept = read("taylor_cross_entropy_loss", logits, labels, where)
    terms = static_integer("taylor_cross_entropy_loss", "order", order)

    def penalty(log_p: Array) -> Array:
        wrong, series = -jnp.expm1(log_p), jnp.zeros_like(log_p)
        for j in range(terms, 0, -1):
            series = wrong * (1 / j + series)
        return series

    return finish(expected_penalty(logits, targets, penalty), kept, targets.valid)


def _focal(cross_entropy: Array, wrong: Array, gamma: Scalar) -> Array:
    """(1 - p)^gamma times the cross-entropy; 0 at p = 1, where both vanish."""
    return power(wrong, gamma) * cross_entropy


def _sigmoid_focal(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    epsilon: Scalar,
    gamma: Scalar,
    alpha: Scalar | None,
    where: ArrayLike | None,
) -> Array:
    """The Poly-1 focal loss; the focal loss is epsilon = 0."""
    logits, targets = floating(function, "logits", logits), real(function, "labels", labels)
    check_same_shape(function, "labels", targets, "logits", logits)
    kept, dtype = mask(function, where, logits.shape), compute_dtype(logits)
    scores, positive = clean(logits, kept).astype(dtype), clean(targets, kept).astype(dtype)
    gamma = hyperparameter(function, "gamma", gamma, dtype, 0)
    epsilon = hyperparameter(function, "epsilon", epsilon, dtype, -1)

    cross_entropy = -positive * jax.nn.log_sigmoid(scores) - (1 - positive) * jax.nn.log_sigmoid(-scores)
    wrong = positive * jax.nn.sigmoid(-scores) + (1 - positive) * jax.nn.sigmoid(scores)
    losses = power(wrong, gamma) * (cross_entropy + epsilon * wrong)
    if alpha is not None:
        alpha = hyperparameter(function, "alpha", alpha, dtype, 0, 1)
        losses = losses * (positive * alpha + (1 - positive) * (1 - alpha))
    return finish(losses, kept)
