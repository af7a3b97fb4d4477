"""Normalised, reverse and symmetric losses, their sums, bootstrapping: penalties of the label's probability.

With a penalty φ of a log probability, the loss of label y is φ(log p_y), and the normalised loss is its share

    φ(log p_y) / Σ_k φ(log p_k),

which sums to one over the labels: such a loss is robust to symmetric noise. A member is its penalty.
"""

from typing import Literal, get_args

import jax.numpy as jnp

from objectives._inputs import Labels, check_callable, check_choice, compute_dtype, finish, hyperparameter
from objectives._numerics import power
from objectives._probabilities import Classes, Penalty, log_softmax
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar

Active = Literal["ce", "focal", "nce", "nfl"]
Passive = Literal["mae", "rce", "nmae", "nrce"]


def normalized_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    penalty: Penalty,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Normalised loss: the label's penalty as a share of all classes' penalties.

    $$
    \sum_y q_y \frac{\phi(\log p_y)}{\sum_k \phi(\log p_k)}, \qquad p = \mathrm{softmax}(\mathrm{logits})
    $$

    This is the family's one function; the normalised cross-entropy is `penalty=lambda log_p: -log_p`. Over the labels
    the shares sum to 1, so that under symmetric noise the risk is an affine function of the clean one. A class with
    a logit of -inf is left out of the sum.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights q of the classes `[..., C]`: one-hot, soft or not summing to one, the loss
            is linear in them.
        penalty: Maps log probabilities to penalties of at least 0, elementwise.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, in [0, 1] for one label, float32 (float64 for float64 logits); NaN where a class id is out of
        range. Where no class has a penalty (a single class) every class has an equal share.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers, `penalty` not a function or `where`
            not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> brier = lambda log_p: jnp.expm1(log_p) ** 2
        >>> print(f"{normalized_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]), penalty=brier)[0]:.4f}")
        0.0276

    Source:
        Ma, Huang, Wang, Romano, Erfani, Bailey, "Normalized Loss Functions for Deep Learning with Noisy Labels", 2020.
    """
    check_callable("normalized_loss", "penalty", penalty, "of log probabilities")
    logits, targets, kept = read("normalized_loss", logits, labels, where)
    return finish(_share(log_softmax(logits), targets, penalty), kept, targets.valid)


def normalized_cross_entropy_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Normalised cross-entropy (NCE): the label's cross-entropy as a share of that of all classes.

    $$
    \sum_y q_y \frac{\log p_y}{\sum_k \log p_k}
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, in which the loss is linear.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, in [0, 1] for one label, float32 (float64 for float64 logits); NaN where a class id is out of
        range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{normalized_cross_entropy_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.0508

    Source:
        Ma, Huang, Wang, Romano, Erfani, Bailey, "Normalized Loss Functions for Deep Learning with Noisy Labels", 2020.
    """
    logits, targets, kept = read("normalized_cross_entropy_loss", logits, labels, where)
    return finish(_share(log_softmax(logits), targets, jnp.negative), kept, targets.valid)


def normalized_focal_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    gamma: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Normalised focal loss (NFL): the label's focal loss as a share of that of all classes.

    $$
    \sum_y q_y \frac{(1 - p_y)^\gamma \log p_y}{\sum_k (1 - p_k)^\gamma \log p_k}
    $$

    The gradient is that of this definition; the authors' code takes the factors $(1 - p)^\gamma$ for constants.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, in which the loss is linear.
        gamma: Focusing exponent, at least 0; 0 gives the normalised cross-entropy.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, in [0, 1] for one label, float32 (float64 for float64 logits); NaN where a class id is out of
        range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{normalized_focal_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.0254

    Source:
        Ma, Huang, Wang, Romano, Erfani, Bailey, "Normalized Loss Functions for Deep Learning with Noisy Labels", 2020.
    """
    logits, targets, kept = read("normalized_focal_loss", logits, labels, where)
    gamma = hyperparameter("normalized_focal_loss", "gamma", gamma, compute_dtype(logits), 0)
    return finish(_share(log_softmax(logits), targets, _focal(gamma)), kept, targets.valid)


def normalized_mae_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Normalised mean absolute error (NMAE) of the probabilities, which is also the normalised reverse cross-entropy.

    $$
    \sum_y q_y \frac{1 - p_y}{C - 1}
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, in which the loss is linear.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{normalized_mae_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.1065

    Source:
        Ma, Huang, Wang, Romano, Erfani, Bailey, "Normalized Loss Functions for Deep Learning with Noisy Labels", 2020.
    """
    logits, targets, kept = read("normalized_mae_loss", logits, labels, where)
    return finish(_normalized_mae(log_softmax(logits), targets), kept, targets.valid)


def reverse_cross_entropy_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    log_zero: Scalar = -4.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Reverse cross-entropy (RCE): labels and predictions change places, and log 0 is a number A.

    $$
    -\sum_k p_k \log q_k = -A\, (1 - p_y), \qquad \log 0 := A
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label.
        log_zero: The number A < 0 for log 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `log_zero` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{reverse_cross_entropy_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.8521

    Source:
        Wang, Ma, Chen, Luo, Yi, Bailey, "Symmetric Cross Entropy for Robust Learning with Noisy Labels", 2019.
    """
    name = "reverse_cross_entropy_loss"
    logits, targets, kept = read(name, logits, labels, where)
    log_zero = hyperparameter(name, "log_zero", log_zero, compute_dtype(logits), high=0)
    return finish(log_softmax(logits).expected(targets, _reverse(log_zero)), kept, targets.valid)


def symmetric_cross_entropy_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    alpha: Scalar = 0.1,
    beta: Scalar = 1.0,
    log_zero: Scalar = -4.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Symmetric cross-entropy (SCE): cross-entropy to learn, reverse cross-entropy to be robust.

    $$
    -\alpha \log p_y - \beta A\, (1 - p_y)
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label.
        alpha: Weight of the cross-entropy, at least 0; 0.1 for ten classes and 6 for a hundred in the paper.
        beta: Weight of the reverse cross-entropy, at least 0; 1 and 0.1.
        log_zero: The number A < 0 for log 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{symmetric_cross_entropy_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.8760

    Source:
        Wang, Ma, Chen, Luo, Yi, Bailey, "Symmetric Cross Entropy for Robust Learning with Noisy Labels", 2019.
    """
    name = "symmetric_cross_entropy_loss"
    logits, targets, kept = read(name, logits, labels, where)
    dtype, classes = compute_dtype(logits), log_softmax(logits)
    alpha, beta = (hyperparameter(name, n, w, dtype, 0) for n, w in (("alpha", alpha), ("beta", beta)))
    log_zero = hyperparameter(name, "log_zero", log_zero, dtype, high=0)
    reverse = classes.expected(targets, _reverse(log_zero))
    return finish(classes.expected(targets, jnp.negative) * alpha + reverse * beta, kept, targets.valid)


def active_passive_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    active: Active = "nce",
    passive: Passive = "rce",
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    gamma: Scalar = 0.5,
    log_zero: Scalar = -4.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Active-passive loss (APL): a loss that raises the label's probability plus one that lowers the others'.

    $$
    \alpha\, \ell_\mathrm{active} + \beta\, \ell_\mathrm{passive}
    $$

    Normalised losses are robust but underfit alone; an active and a passive one together learn. The mean absolute error
    is $\sum_k |p_k - q_k| = 2 (1 - p_y)$, as in the paper; the authors' code takes half of it.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label.
        active: Cross-entropy `"ce"`, `"focal"` loss, or either normalised, `"nce"`, `"nfl"`.
        passive: Mean absolute error `"mae"`, reverse cross-entropy `"rce"`, or either normalised, `"nmae"`, `"nrce"`
            (which are equal).
        alpha: Weight of the active loss, at least 0; 1 for ten classes and 10 for a hundred in the paper.
        beta: Weight of the passive loss, at least 0; 1 and 0.1.
        gamma: Exponent of the focal losses, at least 0.
        log_zero: The number A < 0 for log 0 in the reverse cross-entropy.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match, a hyperparameter is out of range or a word unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{active_passive_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.9028

    Source:
        Ma, Huang, Wang, Romano, Erfani, Bailey, "Normalized Loss Functions for Deep Learning with Noisy Labels", 2020.
    """
    name = "active_passive_loss"
    check_choice(name, "active", active, get_args(Active))
    check_choice(name, "passive", passive, get_args(Passive))
    logits, targets, kept = read(name, logits, labels, where)
    dtype, classes = compute_dtype(logits), log_softmax(logits)
    alpha, beta = (hyperparameter(name, n, w, dtype, 0) for n, w in (("alpha", alpha), ("beta", beta)))
    gamma = hyperparameter(name, "gamma", gamma, dtype, 0)
    log_zero = hyperparameter(name, "log_zero", log_zero, dtype, high=0)

    penalty = jnp.negative if active in ("ce", "nce") else _focal(gamma)
    raised = (_share if active in ("nce", "nfl") else Classes.expected)(classes, targets, penalty)
    if passive in ("nmae", "nrce"):
        lowered = _normalized_mae(classes, targets)
    else:
        lowered = classes.expected(targets, _reverse(log_zero if passive == "rce" else -2.0))
    return finish(raised * alpha + lowered * beta, kept, targets.valid)


def soft_bootstrapping_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    beta: Scalar = 0.95,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Soft bootstrapping: cross-entropy against a mixture of the label and the prediction itself.

    $$
    -\sum_c \left( \beta q_c + (1 - \beta)\, p_c \right) \log p_c
    $$

    The second part is the entropy of the prediction, and its gradient is taken too: entropy minimisation.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`.
        beta: Share of the label, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{soft_bootstrapping_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.2608

    Source:
        Reed, Lee, Anguelov, Szegedy, Erhan, Rabinovich, "Training Deep Neural Networks on Noisy Labels with
        Bootstrapping", 2015.
    """
    logits, targets, kept = read("soft_bootstrapping_loss", logits, labels, where)
    beta = hyperparameter("soft_bootstrapping_loss", "beta", beta, compute_dtype(logits), 0, 1)
    classes = log_softmax(logits)
    entropy = classes.total(lambda log_p: -jnp.exp(log_p) * log_p)
    losses = classes.expected(targets, jnp.negative) * beta + entropy * (1 - beta)
    return finish(losses, kept, targets.valid)


def hard_bootstrapping_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    beta: Scalar = 0.8,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Hard bootstrapping: cross-entropy against a mixture of the label and the predicted class.

    $$
    -\sum_c \left( \beta q_c + (1 - \beta)\, [c = \arg\max p] \right) \log p_c
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`.
        beta: Share of the label, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{hard_bootstrapping_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([1]))[0]:.4f}")
        1.8395

    Source:
        Reed, Lee, Anguelov, Szegedy, Erhan, Rabinovich, "Training Deep Neural Networks on Noisy Labels with
        Bootstrapping", 2015.
    """
    logits, targets, kept = read("hard_bootstrapping_loss", logits, labels, where)
    beta = hyperparameter("hard_bootstrapping_loss", "beta", beta, compute_dtype(logits), 0, 1)
    classes = log_softmax(logits)
    predicted = Labels(jnp.argmax(classes.scores, axis=-1), jnp.ones((), bool))
    ours, theirs = (classes.expected(each, jnp.negative) for each in (predicted, targets))
    return finish(theirs * beta + ours * (1 - beta), kept, targets.valid)


def _share(classes: Classes, labels: Labels, penalty: Penalty) -> Array:
    """The one equation of the normalised losses."""
    total = classes.total(penalty)
    some = total > 0
    share = classes.expected(labels, penalty) / jnp.where(some, total, 1)
    equal = classes.expected(labels, jnp.ones_like) / jnp.maximum(jnp.sum(classes.possible, axis=-1), 1)
    return jnp.where(some, share, equal)


def _normalized_mae(classes: Classes, labels: Labels) -> Array:
    """The share of 1 - p, whose sum over the classes is their number less one."""
    others = jnp.sum(classes.possible, axis=-1) - 1
    return classes.expected(labels, lambda log_p: -jnp.expm1(log_p)) / jnp.maximum(others, 1)


def _focal(gamma: Scalar) -> Penalty:
    return lambda log_p: -power(-jnp.expm1(log_p), gamma) * log_p


def _reverse(log_zero: Scalar) -> Penalty:
    """-A (1 - p): the mean absolute error is the reverse cross-entropy with A = -2."""
    return lambda log_p: jnp.expm1(log_p) * log_zero
