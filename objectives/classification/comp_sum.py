"""Comp-sum losses: one increasing function Φ of the sum of the exponentiated margins.

    loss = Φ(Σ_{j≠y} exp(f_j - f_y)) = Φ(1 / p_y - 1),   Φ_τ(u) = ((1 + u)^{1-τ} - 1) / (1 - τ),

where τ = 0 is the sum-exponential loss, τ = 1 cross-entropy, 1 < τ < 2 the generalized cross-entropy and τ = 2 the
mean absolute error. As a function of log p they are (e^{(τ-1) log p} - 1) / (1 - τ), which is how they are computed.
A member is one value of τ; another Φ is one line more:

    def power_loss(logits, labels, *, where=None):                      # Φ(u) = u / (1 + u) = 1 - p
        logits, targets, kept = read("power_loss", logits, labels, where)
        return finish(expected_penalty(logits, targets, lambda log_p: -jnp.expm1(log_p)), kept, targets.valid)
"""

import jax.numpy as jnp

from objectives._inputs import check_same_shape, clean, compute_dtype, finish, floating, hyperparameter
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar
from objectives.classification._shared import expected_loss, expm1_ratio, of_classes


def comp_sum_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    tau: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Comp-sum loss: from the sum-exponential loss over cross-entropy to the mean absolute error, by one number.

    $$
    \sum_y q_y\, \Phi_\tau\Big( \sum_{j \ne y} e^{f_j - f_y} \Big) = \sum_y q_y\, \frac{p_y^{\tau - 1} - 1}{1 - \tau},
    \quad \Phi_\tau(u) = \frac{(1 + u)^{1 - \tau} - 1}{1 - \tau}, \quad f = \mathrm{logits}
    $$

    It is -log p at tau = 1 and varies smoothly through it. With tau < 1 it grows like a power of 1/p and leaves the
    range of float32 where log p < -88 / (1 - tau). It is a proper loss only at tau = 1.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which mean the expected loss.
        tau: Exponent, at least 0; 0 is the sum-exponential loss, 1 cross-entropy, 2 the mean absolute error.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `tau` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{comp_sum_loss(jnp.array([[0.0, 0.0, 0.0]]), jnp.array([0]), tau=0.0)[0]:.4f}")
        2.0000

    Source:
        Mao, Mohri, Zhong, "Cross-Entropy Loss Functions: Theoretical Analysis and Applications", 2023.
    """
    logits, targets, kept = read("comp_sum_loss", logits, labels, where)
    tau = hyperparameter("comp_sum_loss", "tau", tau, compute_dtype(logits), 0)
    losses = expected_penalty(logits, targets, lambda log_p: -expm1_ratio(tau - 1, log_p))
    return finish(losses, kept, targets.valid)


def generalized_cross_entropy_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    q: Scalar = 0.7,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Generalized cross-entropy, between cross-entropy (q = 0) and the mean absolute error (q = 1): for noisy labels.

    $$
    \sum_y t_y\, \frac{1 - p_y^q}{q}
    $$

    It is the comp-sum loss of tau = 1 + q.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities t (one-hot included) `[..., C]`, which mean the expected loss.
        q: Exponent in [0, 1]; larger values trust labels less.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `q` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{generalized_cross_entropy_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), q=0.5)[0]:.4f}")
        0.5858

    Source:
        Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", 2018.
    """
    name = "generalized_cross_entropy_loss"
    logits, targets, kept = read(name, logits, labels, where)
    q = hyperparameter(name, "q", q, compute_dtype(logits), 0, 1)
    losses = expected_penalty(logits, targets, lambda log_p: -expm1_ratio(q, log_p))
    return finish(losses, kept, targets.valid)


def softmax_mae_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Mean absolute error of the class probabilities: robust to symmetric label noise, slow to train.

    $$
    \sum_y q_y\, (1 - p_y)
    $$

    For a class id it is half of the sum of |p - one-hot|, the total variation distance. It is the comp-sum loss of
    tau = 2.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which mean the expected loss.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 1], float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{softmax_mae_loss(jnp.array([[0.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.6667

    Source:
        Ghosh, Kumar, Sastry, "Robust Loss Functions under Label Noise for Deep Neural Networks", 2017.
    """
    logits, targets, kept = read("softmax_mae_loss", logits, labels, where)
    return finish(expected_penalty(logits, targets, lambda log_p: -jnp.expm1(log_p)), kept, targets.valid)


def smooth_adversarial_comp_sum_loss(
    logits: Float[ArrayLike, "*batch classes"],
    adversarial_logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    tau: Scalar = 1.0,
    rho: Scalar = 1.0,
    nu: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Smooth adversarial comp-sum loss: a comp-sum loss at the clean input, plus how far the margins move.

    $$
    \Phi_\tau\Big( \sum_{j \ne y} e^{-\Delta_j(x) / \rho} \Big) + \nu\, \lVert \Delta(x') - \Delta(x) \rVert_2,
    \quad \Delta_j(x) = f_y(x) - f_j(x)
    $$

    The adversarial input x' is the caller's: the one within the allowed perturbation that moves the margins most, as
    projected gradient ascent on this function's second term finds it. Where no margin moves, the second term has
    gradient 0.

    Args:
        logits: Unnormalised log probabilities f(x) of the clean inputs `[..., C]`, finite.
        adversarial_logits: Those f(x') of the perturbed inputs, of the same shape.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        tau: Exponent of Φ, at least 0, as in `comp_sum_loss`.
        rho: Scale of the margins, positive.
        nu: Weight of the second term, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> clean, perturbed = jnp.array([[0.0, 0.0]]), jnp.array([[-1.0, 1.0]])
        >>> print(f"{smooth_adversarial_comp_sum_loss(clean, perturbed, jnp.array([0]))[0]:.4f}")
        2.6931

    Source:
        Mao, Mohri, Zhong, "Cross-Entropy Loss Functions: Theoretical Analysis and Applications", 2023.
    """
    name = "smooth_adversarial_comp_sum_loss"
    logits, targets, kept = read(name, logits, labels, where)
    moved = floating(name, "adversarial_logits", adversarial_logits)
    check_same_shape(name, "adversarial_logits", moved, "logits", logits)
    dtype = compute_dtype(logits, moved)
    tau = hyperparameter(name, "tau", tau, dtype, 0)
    rho = hyperparameter(name, "rho", rho, dtype, 0, open_low=True)
    nu = hyperparameter(name, "nu", nu, dtype, 0)

    scores = logits.astype(dtype)
    losses = expected_penalty(scores / rho, targets, lambda log_p: -expm1_ratio(tau - 1, log_p))
    change = clean(moved, kept).astype(dtype) - scores
    change = change - jnp.mean(change, axis=-1, keepdims=True)
    spread, classes = jnp.sum(change**2, axis=-1, keepdims=True), change.shape[-1]

    def distances(ids: Array | None) -> Array:  # Σ_j (δ_y - δ_j)² with δ centred
        squared = classes * of_classes(change, ids) ** 2 + (spread if ids is None else spread[..., 0])
        return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)

    return finish(losses + nu * expected_loss(targets, distances), kept, targets.valid)
