"""Softmax losses that are told how often every class was seen.

One equation: cross-entropy of logits with a scale s_c, a shift b_c and, on the target alone, a margin m_y,

    loss = w_y log( 1 + Σ_{j≠y} e^{z_j - (z_y - m_y)} ),   z_c = s_c f_c + b_c,

and a member is what it makes of the counts n_c:

    balanced softmax, logit adjustment   b_c = τ log n_c / N
    class-dependent temperatures         s_c = (n_c / max n)^γ
    vector scaling (VS)                  both
    LDAM                                 s_c = s, m_c = s M (min n / n_c)^{1/4}

A member more is a function of the counts that calls the equation:

    def my_loss(logits, labels, *, class_counts, where=None):
        name = "my_loss"
        logits, targets, kept, counts = _read(name, logits, labels, class_counts, where)
        return _adjusted(name, logits, targets, kept, shift=-1 / counts)
"""

import jax
import jax.numpy as jnp
import numpy as np

from objectives._inputs import (
    Labels,
    check_classes,
    class_vector,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    is_class,
)
from objectives._log_domain import log_sum_exp_others
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Real, Scalar
from objectives.imbalance._shared import log_share, scaled_log


def adjusted_softmax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    scale: Real[ArrayLike, " classes"] | None = None,
    shift: Real[ArrayLike, " classes"] | None = None,
    margin: Real[ArrayLike, " classes"] | None = None,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy with a scale, a shift and a margin for every class: the family's one function.

    $$
    w_y \log\Big( 1 + \sum_{j \ne y} e^{z_j - (z_y - m_y)} \Big), \qquad z_c = s_c f_c + b_c, \quad f = \mathrm{logits}
    $$

    Labels given as probabilities q mean the expected loss, the sum over classes y of q_y times the loss of label y, so
    a row of labels that sums to two counts twice.

    Args:
        logits: Unnormalised log probabilities `[..., C]`; -inf switches a class off.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        scale: Factor s of every class's logit `[C]`; 1 by default.
        shift: What is added to every class's logit `[C]`; 0 by default.
        margin: What is taken from the logit of the label's class `[C]`, after scale and shift; 0 by default.
        class_weights: Weight w of every class's loss `[C]`; 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = adjusted_softmax_loss(jnp.array([[2.0, 0.0]]), jnp.array([0]), margin=jnp.array([1.0, 0.0]))
        >>> print(f"{loss[0]:.4f}")
        0.3133

    Source:
        Kini, Paraskevas, Oymak, Thrampoulidis, "Label-Imbalanced and Group-Sensitive Classification under
        Overparameterization", 2021.
    """
    name = "adjusted_softmax_loss"
    logits, targets, kept = read(name, logits, labels, where)
    classes, dtype = logits.shape[-1], compute_dtype(logits)
    vectors = {
        key: None if value is None else class_vector(name, key, value, classes, dtype)
        for key, value in (("scale", scale), ("shift", shift), ("margin", margin))
    }
    return _adjusted(name, logits, targets, kept, class_weights=class_weights, **vectors)


def balanced_softmax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    class_counts: Real[ArrayLike, " classes"],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Balanced softmax: cross-entropy in which every class's exponential counts as often as the class was seen.

    $$
    -\log \frac{n_y e^{f_y}}{\sum_c n_c e^{f_c}}
    $$

    It is `logit_adjusted_loss` at tau = 1. A class with count 0 is switched off; a label of it costs infinitely much.

    Args:
        logits: Unnormalised log probabilities `[..., C]`, of the balanced classifier that is wanted.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        class_counts: Number n of training examples of every class `[C]`, in any unit.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = balanced_softmax_loss(jnp.zeros((1, 2)), jnp.array([1]), class_counts=jnp.array([9, 1]))
        >>> print(f"{loss[0]:.4f}")
        2.3026

    Source:
        Ren, Yu, Sheng, Ma, Zhao, Yi, Li, "Balanced Meta-Softmax for Long-Tailed Visual Recognition", 2020.
    """
    name = "balanced_softmax_loss"
    logits, targets, kept, counts = _read(name, logits, labels, class_counts, where)
    return _adjusted(name, logits, targets, kept, shift=log_share(counts))


def logit_adjusted_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    class_counts: Real[ArrayLike, " classes"],
    tau: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Logit-adjusted cross-entropy: trained with the log prior added, predicted without it.

    $$
    -\log \frac{e^{f_y + \tau \log \pi_y}}{\sum_c e^{f_c + \tau \log \pi_c}}, \qquad \pi_c = n_c / N
    $$

    At tau = 1 the best logits are those of the balanced error. `post_hoc_logits` does the same to a model that was
    trained without. A class with count 0 is switched off; a label of it costs infinitely much.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        class_counts: Number n of training examples of every class `[C]`, in any unit.
        tau: Strength of the adjustment; 0 gives cross-entropy.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `tau` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = logit_adjusted_loss(jnp.zeros((1, 2)), jnp.array([1]), class_counts=jnp.array([9, 1]), tau=0.5)
        >>> print(f"{loss[0]:.4f}")
        1.3863

    Source:
        Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-tail learning via logit adjustment", 2021.
    """
    name = "logit_adjusted_loss"
    logits, targets, kept, counts = _read(name, logits, labels, class_counts, where)
    tau = hyperparameter(name, "tau", tau, compute_dtype(logits), 0)
    return _adjusted(name, logits, targets, kept, shift=scaled_log(tau, log_share(counts)))


def cdt_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    class_counts: Real[ArrayLike, " classes"],
    gamma: Scalar = 0.3,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy with class-dependent temperatures: the logits of rare classes are shrunk while training.

    $$
    -\log \frac{e^{f_y / a_y}}{\sum_c e^{f_c / a_c}}, \qquad a_c = (\max_j n_j / n_c)^\gamma
    $$

    So a rare class must reach a larger logit, which it keeps at prediction, where nothing is divided.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        class_counts: Number n of training examples of every class `[C]`, positive, in any unit.
        gamma: Exponent of the temperatures, at least 0; 0 gives cross-entropy.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `gamma` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = cdt_loss(jnp.array([[0.0, 2.0]]), jnp.array([1]), class_counts=jnp.array([4, 1]), gamma=0.5)
        >>> print(f"{loss[0]:.4f}")
        0.3133

    Source:
        Ye, Chen, Zhan, Chao, "Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning", 2020.
    """
    name = "cdt_loss"
    logits, targets, kept, counts = _read(name, logits, labels, class_counts, where)
    gamma = hyperparameter(name, "gamma", gamma, compute_dtype(logits), 0)
    return _adjusted(name, logits, targets, kept, scale=_temperature(counts, gamma))


def vs_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    class_counts: Real[ArrayLike, " classes"],
    gamma: Scalar = 0.3,
    tau: Scalar = 1.0,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Vector-scaling (VS) loss: multiplicative and additive adjustment of the logits together.

    $$
    -w_y \log \frac{e^{\Delta_y f_y + \iota_y}}{\sum_c e^{\Delta_c f_c + \iota_c}}, \qquad
    \Delta_c = (n_c / \max_j n_j)^\gamma, \quad \iota_c = \tau \log (n_c / N)
    $$

    The scales act late in training, when the margins of a network that fits its data grow; the shifts act early. Under
    gradient descent rare classes settle at saddle points: `optimizers.sam` with a `rho` larger than usual (0.1 to 0.8)
    gets away from them, and `classwise_hessian_spectrum` shows it.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        class_counts: Number n of training examples of every class `[C]`, in any unit.
        gamma: Exponent of the scales, at least 0; 0 gives logit adjustment.
        tau: Strength of the shifts, at least 0; 0 gives class-dependent temperatures.
        class_weights: Weight w of every class's loss `[C]`, as `deferred_class_weights` makes them; 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = vs_loss(jnp.array([[0.0, 2.0]]), jnp.array([1]), class_counts=jnp.array([4, 1]), gamma=0.5)
        >>> print(f"{loss[0]:.4f}")
        0.9048

    Source:
        Kini, Paraskevas, Oymak, Thrampoulidis, "Label-Imbalanced and Group-Sensitive Classification under
        Overparameterization", 2021. Rangwani, Aithal, Mishra, Babu, "Escaping Saddle Points for Effective
        Generalization on Class-Imbalanced Data", 2022.
    """
    name = "vs_loss"
    logits, targets, kept, counts = _read(name, logits, labels, class_counts, where)
    dtype = compute_dtype(logits)
    gamma, tau = hyperparameter(name, "gamma", gamma, dtype, 0), hyperparameter(name, "tau", tau, dtype, 0)
    scale, shift = _temperature(counts, gamma), scaled_log(tau, log_share(counts))
    return _adjusted(name, logits, targets, kept, scale=scale, shift=shift, class_weights=class_weights)


def ldam_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    class_counts: Real[ArrayLike, " classes"],
    max_margin: Scalar = 0.5,
    scale: Scalar = 30.0,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Label-distribution-aware margin (LDAM) loss: the rarer the class, the larger its margin.

    $$
    -w_y \log \frac{e^{s (f_y - m_y)}}{e^{s (f_y - m_y)} + \sum_{j \ne y} e^{s f_j}}, \qquad
    m_c = M\, (\min_j n_j / n_c)^{1/4}
    $$

    The logits are cosines in the paper, of features and weights of length 1. Deferred re-weighting (DRW) is this loss
    with `class_weights=deferred_class_weights(class_balanced_weights(counts), epoch, start=160)`.

    Args:
        logits: Cosines, or other bounded logits f `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        class_counts: Number n of training examples of every class `[C]`, in any unit; a class with count 0 gets the
            largest margin.
        max_margin: Margin M of the rarest class, at least 0.
        scale: Inverse temperature s, positive.
        class_weights: Weight w of every class's loss `[C]`; 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> cosines, counts = jnp.array([[0.2, 0.8]]), jnp.array([16, 1])
        >>> print(f"{ldam_loss(cosines, jnp.array([1]), class_counts=counts, scale=2.0)[0]:.4f}")
        0.5981

    Source:
        Cao, Wei, Gaidon, Arechiga, Ma, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", 2019.
    """
    name = "ldam_loss"
    logits, targets, kept, counts = _read(name, logits, labels, class_counts, where)
    dtype = compute_dtype(logits)
    largest = hyperparameter(name, "max_margin", max_margin, dtype, 0)
    sharpness = hyperparameter(name, "scale", scale, dtype, 0, open_low=True)
    rarest = jnp.min(jnp.where(counts == 0, jnp.inf, counts))
    margin = largest * jnp.where(counts == 0, 1, (rarest / jnp.where(counts == 0, 1, counts)) ** 0.25)
    scales = jnp.full_like(counts, sharpness)
    return _adjusted(name, logits, targets, kept, scale=scales, margin=scales * margin, class_weights=class_weights)


def post_hoc_logits(
    logits: Float[ArrayLike, "*batch classes"],
    *,
    class_counts: Real[ArrayLike, " classes"],
    tau: Scalar = 1.0,
    gamma: Scalar = 0.0,
) -> Float[Array, "*batch classes"]:
    r"""Logits of a classifier that was trained on imbalanced data, for balanced predictions.

    $$
    f_c\, (\max_j n_j / n_c)^\gamma - \tau \log (n_c / N)
    $$

    The shift is Menon's post-hoc logit adjustment; the factor, with tau = 0, is the multiplicative adjustment that
    one-stage weight balancing ends with.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        class_counts: Number n of training examples of every class `[C]`, in any unit; a class with count 0 is
            switched off (-inf).
        tau: Strength of the shifts, at least 0.
        gamma: Exponent of the factors, at least 0.

    Returns:
        Logits `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(post_hoc_logits(jnp.array([1.0, 0.0]), class_counts=jnp.array([9, 1])).argmax())
        1

    Source:
        Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-tail learning via logit adjustment", 2021. Hasegawa, Sato,
        "Exploring Weight Balancing on Long-Tailed Recognition Problem", 2024.
    """
    name = "post_hoc_logits"
    logits = floating(name, "logits", logits)
    check_classes(name, "logits", logits)
    dtype = compute_dtype(logits)
    counts = class_vector(name, "class_counts", class_counts, logits.shape[-1], dtype)
    tau, gamma = hyperparameter(name, "tau", tau, dtype, 0), hyperparameter(name, "gamma", gamma, dtype, 0)
    seen = counts > 0
    counts = jnp.where(seen, counts, 0)
    factor, shift = _temperature(jnp.where(seen, counts, jnp.max(counts)), gamma), scaled_log(tau, log_share(counts))
    return jnp.where(seen, logits.astype(dtype) / factor - jnp.where(seen, shift, 0), -jnp.inf)


def _read(
    function: str, logits: ArrayLike, labels: ArrayLike, class_counts: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Labels, Array | None, Array]:
    """Checked logits, labels, mask and counts of the classes."""
    array, targets, kept = read(function, logits, labels, where)
    counts = class_vector(function, "class_counts", class_counts, array.shape[-1], compute_dtype(array))
    return array, targets, kept, counts


def _temperature(counts: Array, gamma: Scalar) -> Array:
    """(n_c / max n)^γ."""
    return jnp.exp(scaled_log(gamma, jnp.log(counts / jnp.max(counts))))


def _adjusted(
    function: str,
    logits: Array,
    targets: Labels,
    kept: Array | None,
    *,
    scale: Array | None = None,
    shift: Array | None = None,
    margin: Array | None = None,
    class_weights: ArrayLike | None = None,
) -> Array:
    """The one equation of this file."""
    classes, dtype = logits.shape[-1], np.dtype(compute_dtype(logits))
    weights = None if class_weights is None else class_vector(function, "class_weights", class_weights, classes, dtype)
    scores = logits.astype(dtype)
    scores = scores if scale is None else scores * scale
    scores = scores if shift is None else scores + shift
    if margin is None or targets.are_ids:
        if margin is not None:
            scores = scores - jnp.where(is_class(targets.values, classes), margin, 0)
        return finish(expected_penalty(scores, targets, jnp.negative, weights), kept, targets.valid)
    possible = (targets.values != 0) | ~jnp.isneginf(scores)  # 0 times inf is 0 here
    losses = jax.nn.softplus(margin + jnp.where(possible, log_sum_exp_others(scores) - scores, 0))
    mass = targets.values if weights is None else targets.values * weights
    return finish(jnp.sum(mass * losses, axis=-1), kept)
