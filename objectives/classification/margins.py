"""Losses of a margin: one decreasing function φ of y f, for two classes, and hinges over several.

    loss = q φ(f) + (1 - q) φ(-f),

for a score f and the probability q of the positive class, 0 or 1 as a rule: labels are never -1. A member is φ; the
perceptron's criterion, for one, is

    def perceptron_loss(logits, labels, *, where=None):
        return binary_margin_loss(logits, labels, penalty=lambda margin: jax.nn.relu(-margin), where=where)

φ(t) = log(1 + e^{-t}) is `sigmoid_cross_entropy`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import check_callable, compute_dtype, finish, floating, hyperparameter, is_class, pick
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Real, Scalar
from objectives.classification._shared import expected_loss, of_classes, read_binary


def binary_margin_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    penalty: Callable[[Array], Array],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Margin loss of independent binary decisions, from its function of the margin.

    $$
    q\, \varphi(f) + (1 - q)\, \varphi(-f), \quad f = \mathrm{logits}
    $$

    Args:
        logits: Scores f `[...]`, positive for the positive class.
        labels: 0 or 1, boolean, or probability q of the positive class, of the shape of `logits`.
        penalty: φ, a function of margins, elementwise.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real, `penalty` not a function or `where` not
            boolean.
        ValueError: If shapes differ (nothing is broadcast).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss = binary_margin_loss(jnp.array([-2.0]), jnp.array([1]), penalty=lambda margin: jax.nn.relu(-margin))
        >>> print(f"{loss[0]:.4f}")
        2.0000

    Source:
        Bartlett, Jordan, McAuliffe, "Convexity, Classification, and Risk Bounds", 2006.
    """
    check_callable("binary_margin_loss", "penalty", penalty, "of margins")
    return _binary("binary_margin_loss", logits, labels, penalty, where)


def hinge_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    margin: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Hinge loss of support vector machines.

    $$
    \max(0, m - y f), \quad y = \pm 1, \quad f = \mathrm{logits}
    $$

    Args:
        logits: Scores f `[...]`, positive for the positive class.
        labels: 0 or 1, boolean, or probability of the positive class (the expected loss), of the shape of `logits`.
        margin: Margin m that is asked for, at least 0; 0 is the perceptron's criterion.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast) or `margin` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{hinge_loss(jnp.array([0.25]), jnp.array([1]))[0]:.4f}")
        0.7500

    Source:
        Cortes, Vapnik, "Support-Vector Networks", 1995.
    """
    return _hinge("hinge_loss", logits, labels, margin, jax.nn.relu, where)


def squared_hinge_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    margin: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared hinge loss: smooth where the margin is reached, and it estimates probabilities.

    $$
    \max(0, m - y f)^2, \quad y = \pm 1, \quad f = \mathrm{logits}
    $$

    Args:
        logits: Scores f `[...]`, positive for the positive class.
        labels: 0 or 1, boolean, or probability of the positive class (the expected loss), of the shape of `logits`.
        margin: Margin m that is asked for, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast) or `margin` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{squared_hinge_loss(jnp.array([0.5]), jnp.array([1]))[0]:.4f}")
        0.2500

    Source:
        Lee, Mangasarian, "SSVM: A Smooth Support Vector Machine for Classification", 2001.
    """
    return _hinge("squared_hinge_loss", logits, labels, margin, lambda gap: jax.nn.relu(gap) ** 2, where)


def modified_huber_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Modified Huber loss: the squared hinge, linear below a margin of -1; smooth, and mild to outliers.

    $$
    \varphi(t) = \begin{cases} \max(0, 1 - t)^2 & t \ge -1 \\ -4 t & t < -1 \end{cases}, \quad t = y f
    $$

    Args:
        logits: Scores f `[...]`, positive for the positive class.
        labels: 0 or 1, boolean, or probability of the positive class (the expected loss), of the shape of `logits`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast).

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{modified_huber_loss(jnp.array([-2.0]), jnp.array([1]))[0]:.4f}")
        8.0000

    Source:
        Zhang, "Solving Large Scale Linear Prediction Problems Using Stochastic Gradient Descent Algorithms", 2004.
    """

    def penalty(t: Array) -> Array:
        return jnp.where(t >= -1, jax.nn.relu(1 - jnp.maximum(t, -1)) ** 2, -4 * t)

    return _binary("modified_huber_loss", logits, labels, penalty, where)


def savage_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Savage loss: bounded, so that outliers have no pull; proper under a sigmoid of twice the score.

    $$
    \varphi(t) = \frac{1}{(1 + e^{2 t})^2} = \sigma(-2 t)^2, \quad t = y f
    $$

    Args:
        logits: Scores f `[...]`, positive for the positive class; half of the log odds.
        labels: 0 or 1, boolean, or probability of the positive class (the expected loss), of the shape of `logits`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 1], float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast).

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{savage_loss(jnp.array([0.0]), jnp.array([1]))[0]:.4f}")
        0.2500

    Source:
        Masnadi-Shirazi, Vasconcelos, "On the Design of Loss Functions for Classification: Theory, Robustness to
        Outliers, and SavageBoost", 2008.
    """
    return _binary("savage_loss", logits, labels, lambda t: jax.nn.sigmoid(-2 * t) ** 2, where)


def tangent_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Tangent loss: bounded, and it also penalises points that are too correct.

    $$
    \varphi(t) = \left( 2 \arctan(t) - 1 \right)^2, \quad t = y f
    $$

    Its minimum is at the score tan(q - 1/2) for the probability q.

    Args:
        logits: Scores f `[...]`, positive for the positive class.
        labels: 0 or 1, boolean, or probability of the positive class (the expected loss), of the shape of `logits`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast).

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{tangent_loss(jnp.array([0.0]), jnp.array([1]))[0]:.4f}")
        1.0000

    Source:
        Masnadi-Shirazi, Mahadevan, Vasconcelos, "On the Design of Robust Classifiers for Computer Vision", 2010.
    """
    return _binary("tangent_loss", logits, labels, lambda t: (2 * jnp.arctan(t) - 1) ** 2, where)


def crammer_singer_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    margin: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Hinge loss of several classes by Crammer and Singer: the best wrong class within a margin of the label.

    $$
    \max\left( 0,\ m + \max_{j \ne y} f_j - f_y \right)
    $$

    Args:
        logits: Scores f `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        margin: Margin m that is asked for, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range. With a single
        class the loss is 0.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `margin` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{crammer_singer_loss(jnp.array([[1.0, 0.5, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.5000

    Source:
        Crammer, Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines", 2001.
    """
    name = "crammer_singer_loss"
    logits, targets, kept = read(name, logits, labels, where)
    scores = logits.astype(compute_dtype(logits))
    margin = hyperparameter(name, "margin", margin, scores.dtype, 0)
    classes = scores.shape[-1]
    if classes == 1:
        return finish(jnp.sum(0 * scores, axis=-1), kept, targets.valid)
    best, ids = lax.top_k(scores, 2)

    def losses(label: Array | None) -> Array:
        if label is None:
            rival = jnp.where(is_class(ids[..., 0], classes), best[..., 1:], best[..., :1])
        else:
            rival = jnp.where(ids[..., 0] == label, best[..., 1], best[..., 0])
        return jax.nn.relu(margin + rival - of_classes(scores, label))

    return finish(expected_loss(targets, losses), kept, targets.valid)


def weston_watkins_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    margin: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Hinge loss of several classes by Weston and Watkins: the sum over all wrong classes within the margin.

    $$
    \sum_{j \ne y} \max(0,\ m + f_j - f_y)
    $$

    PyTorch's multi-margin loss is this over the number of classes.

    Args:
        logits: Scores f `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss and cost
            C² operations.
        margin: Margin m that is asked for, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range. With a single
        class the loss is 0.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `margin` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{weston_watkins_loss(jnp.array([[1.0, 0.5, 0.25]]), jnp.array([0]))[0]:.4f}")
        0.7500

    Source:
        Weston, Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", 1999.
    """
    name = "weston_watkins_loss"
    logits, targets, kept = read(name, logits, labels, where)
    scores = logits.astype(compute_dtype(logits))
    margin = hyperparameter(name, "margin", margin, scores.dtype, 0)
    classes = scores.shape[-1]

    def losses(label: Array | None) -> Array:
        if label is None:
            gaps = jax.nn.relu(margin + scores[..., None, :] - scores[..., :, None])
            return jnp.sum(jnp.where(jnp.eye(classes, dtype=bool), 0, gaps), axis=-1)
        gaps = jax.nn.relu(margin + scores - pick(scores, label)[..., None])
        return jnp.sum(jnp.where(is_class(label, classes), 0, gaps), axis=-1)

    return finish(expected_loss(targets, losses), kept, targets.valid)


def _hinge(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    margin: Scalar,
    penalty: Callable[[Array], Array],
    where: ArrayLike | None,
) -> Array:
    """A penalty of how much is missing to the margin."""
    dtype = compute_dtype(floating(function, "logits", logits))
    wanted = hyperparameter(function, "margin", margin, dtype, 0)
    return _binary(function, logits, labels, lambda t: penalty(wanted - t), where)


def _binary(
    function: str, logits: ArrayLike, labels: ArrayLike, penalty: Callable[[Array], Array], where: ArrayLike | None
) -> Array:
    """The one equation of the binary members."""
    scores, positive, kept = read_binary(function, logits, labels, where)
    return finish(positive * penalty(scores) + (1 - positive) * penalty(-scores), kept)
