"""Asymmetric losses: focal losses that treat present and absent labels differently."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import compute_dtype, finish, hyperparameter, is_class
from objectives._numerics import power
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Real, Scalar
from objectives.classification._shared import read_binary


def asymmetric_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    gamma_neg: Scalar = 4.0,
    gamma_pos: Scalar = 1.0,
    margin: Scalar = 0.05,
    stop_focusing_gradient: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Asymmetric loss: a focal loss that weighs easy negatives down harder, and leaves the easiest out.

    $$
    -y\, (1 - p)^{\gamma_+} \log p - (1 - y)\, p_m^{\gamma_-} \log (1 - p_m), \quad p = \sigma(\mathrm{logits}), \quad
    p_m = \max(p - m, 0)
    $$

    Sum it over the labels, as the authors do. For labels between 0 and 1 this is the paper's formula as it stands; the
    authors' code mixes the exponents instead. Its clamp of probabilities at 1e-8 is not needed here.

    Args:
        logits: Log odds of the labels `[...]`, usually `[..., L]`.
        labels: 0 or 1, boolean, or probabilities y, of the shape of `logits`.
        gamma_neg: Focusing exponent of negatives, at least 0.
        gamma_pos: Focusing exponent of positives, at least 0; the paper takes 0, its code 1.
        margin: Probability m up to which a negative costs nothing, in [0, 1].
        stop_focusing_gradient: Whether the focusing weights are constants to the gradient, as in the authors' training.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ (nothing is broadcast) or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{asymmetric_loss(jnp.array([0.0]), jnp.array([1]), gamma_pos=1.0)[0]:.4f}")
        0.3466

    Source:
        Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor, "Asymmetric Loss For Multi-Label
        Classification", 2021.
    """
    name = "asymmetric_loss"
    scores, positive, kept = read_binary(name, logits, labels, where)
    gamma_neg = hyperparameter(name, "gamma_neg", gamma_neg, scores.dtype, 0)
    gamma_pos = hyperparameter(name, "gamma_pos", gamma_pos, scores.dtype, 0)
    margin = hyperparameter(name, "margin", margin, scores.dtype, 0, 1)

    shifted = jax.nn.relu(jax.nn.sigmoid(scores) - margin)
    # log(1 - p + m): where 1 - p is too small for its digits, its logarithm is not.
    some = margin > 0
    log_margin = jnp.where(some, jnp.log(jnp.where(some, margin, 1)), -jnp.inf)
    log_absent = jnp.minimum(jnp.logaddexp(jax.nn.log_sigmoid(-scores), log_margin), 0)
    log_absent = jnp.where(shifted > 0, log_absent, 0)
    on_positive, on_negative = power(jax.nn.sigmoid(-scores), gamma_pos), power(shifted, gamma_neg)
    if stop_focusing_gradient:
        on_positive, on_negative = lax.stop_gradient((on_positive, on_negative))
    losses = -positive * on_positive * jax.nn.log_sigmoid(scores) - (1 - positive) * on_negative * log_absent
    return finish(losses, kept)


def asymmetric_single_label_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    gamma_pos: Scalar = 0.0,
    gamma_neg: Scalar = 4.0,
    label_smoothing: Scalar = 0.1,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Asymmetric loss of one label among several classes: smoothed cross-entropy with focused terms.

    $$
    -\Big( 1 - s + \frac sC \Big) (1 - p_y)^{\gamma_+} \log p_y - \frac sC \sum_{c \ne y} p_c^{\gamma_-} \log p_c, \quad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`, finite where `label_smoothing` is not 0.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        gamma_pos: Focusing exponent of the label's term, at least 0.
        gamma_neg: Focusing exponent of the other terms, at least 0.
        label_smoothing: Share s of the label mass that is spread evenly over all classes, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{asymmetric_single_label_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.6607

    Source:
        Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor, "Asymmetric Loss For Multi-Label
        Classification", 2021.
    """
    name = "asymmetric_single_label_loss"
    logits, targets, kept = read(name, logits, labels, where)
    scores, classes = logits.astype(compute_dtype(logits)), logits.shape[-1]
    gamma_pos = hyperparameter(name, "gamma_pos", gamma_pos, scores.dtype, 0)
    gamma_neg = hyperparameter(name, "gamma_neg", gamma_neg, scores.dtype, 0)
    smoothing = hyperparameter(name, "label_smoothing", label_smoothing, scores.dtype, 0, 1)

    log_p = jax.nn.log_softmax(scores, axis=-1)
    q = is_class(targets.values, classes).astype(scores.dtype) if targets.are_ids else targets.values
    present = q * (1 - smoothing + smoothing / classes) * power(-jnp.expm1(log_p), gamma_pos)
    absent = (1 - q) * smoothing / classes * power(jnp.exp(log_p), gamma_neg)
    weights = present + absent
    used = weights != 0  # 0 times inf is 0 here
    return finish(-jnp.sum(jnp.where(used, weights * jnp.where(used, log_p, 0), 0), axis=-1), kept, targets.valid)
