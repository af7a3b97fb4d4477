r"""f-divergences between the label distribution and softmax probabilities: one function of the log ratio.

    loss = Σ_c q_c g(log p_c - log q_c),   D_f(q || p) = Σ_c p_c f(q_c / p_c),   g(d) = e^d f(e^{-d}),

with f(1) = 0 and, of the generators that give the same divergence, the one with f(0) = 0, so that a class without
probability contributes nothing. KL is g(d) = -d, that is cross-entropy minus the labels' entropy. Divergences are at
least 0, and 0 exactly at p = q: as losses of soft labels they are minimal there. For a class id only g(log p) is left.
A member is its function g; the total variation distance, for one, is

    def total_variation_loss(logits, labels, *, where=None):
        return f_divergence_loss(logits, labels, generator=lambda d: jax.nn.relu(-jnp.expm1(d)), where=where)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from objectives._inputs import check_callable, compute_dtype, finish, floating, hyperparameter
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar
from objectives.classification._shared import expm1_ratio


def f_divergence_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    generator: Callable[[Array], Array],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""f-divergence of softmax probabilities from the labels, from its function of the log ratio.

    $$
    D_f(q \,\Vert\, p) = \sum_c p_c\, f\Big( \frac{q_c}{p_c} \Big) = \sum_{c:\, q_c > 0} q_c\, g(\log p_c - \log q_c),
    \quad g(d) = e^d f(e^{-d}), \quad p = \mathrm{softmax}(\mathrm{logits})
    $$

    Take f with f(0) = 0: adding a multiple of t - 1 to f changes no divergence.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        generator: Maps log ratios d to g(d), elementwise.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers, `generator` not a function or `where`
            not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> labels, logits = jnp.array([[0.9, 0.1]]), jnp.array([[0.0, 0.0]])
        >>> loss = f_divergence_loss(logits, labels, generator=lambda d: jax.nn.relu(-jnp.expm1(d)))
        >>> print(f"{loss[0]:.4f}")
        0.4000

    Source:
        Csiszár, "Information-Type Measures of Difference of Probability Distributions", 1967; Novello, Tonello,
        "f-Divergence Based Classification: Beyond the Use of Cross-Entropy", 2024.
    """
    check_callable("f_divergence_loss", "generator", generator, "of log ratios")
    return _divergence("f_divergence_loss", logits, labels, generator, where)


def kl_divergence_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Kullback–Leibler divergence from the labels: cross-entropy less what cannot be avoided.

    $$
    \sum_c q_c \log \frac{q_c}{p_c}, \quad p = \mathrm{softmax}(\mathrm{logits})
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{kl_divergence_loss(jnp.array([[0.0, 0.0]]), jnp.array([[0.75, 0.25]]))[0]:.4f}")
        0.1308

    Source:
        Kullback, Leibler, "On Information and Sufficiency", 1951.
    """
    return _divergence("kl_divergence_loss", logits, labels, jnp.negative, where)


def jensen_shannon_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Jensen–Shannon divergence: the mean KL divergence of labels and prediction from their mixture, at most log 2.

    $$
    \tfrac12 D(q \,\Vert\, m) + \tfrac12 D(p \,\Vert\, m), \quad m = \tfrac12 (p + q), \quad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, in [0, log 2], float32 (float64 for float64 logits); NaN where a class id is out of
        range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{jensen_shannon_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.2158

    Source:
        Lin, "Divergence Measures Based on the Shannon Entropy", 1991.
    """

    def generator(d: Array) -> Array:  # log 2 - (r log(1 + 1/r) + log(1 + r)) / 2 with r = e^d
        bounded = jnp.clip(d, -80, 40)  # outside, the first term is 0 or 1 to the last digit
        return float(np.log(2)) - 0.5 * (jnp.exp(bounded) * jax.nn.softplus(-bounded) + jax.nn.softplus(d))

    return _divergence("jensen_shannon_loss", logits, labels, generator, where)


def chi_squared_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Pearson's chi-squared divergence of the labels from the prediction; for a class id it is 1/p - 1.

    $$
    \sum_c \frac{(q_c - p_c)^2}{p_c}, \quad p = \mathrm{softmax}(\mathrm{logits})
    $$

    It grows like 1/p and leaves the range of float32 where log p < -88.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{chi_squared_loss(jnp.array([[0.0, 0.0]]), jnp.array([[0.75, 0.25]]))[0]:.4f}")
        0.2500

    Source:
        Pearson, "On the Criterion that a Given System of Deviations [...] Can Be Reasonably Supposed to Have Arisen
        from Random Sampling", 1900; Csiszár, "Information-Type Measures of Difference of Probability
        Distributions", 1967.
    """
    return _divergence("chi_squared_loss", logits, labels, lambda d: jnp.expm1(-d), where)


def hellinger_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared Hellinger distance between labels and prediction, at most 1.

    $$
    \tfrac12 \sum_c \left( \sqrt{p_c} - \sqrt{q_c} \right)^2 = 1 - \sum_c \sqrt{p_c q_c}, \quad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 1], float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{hellinger_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.2929

    Source:
        Hellinger, "Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen", 1909.
    """
    return _divergence("hellinger_loss", logits, labels, lambda d: -jnp.expm1(d / 2), where)


def alpha_divergence_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    alpha: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Alpha divergence (Cressie–Read): KL at alpha = 1, four times Hellinger's at 1/2, half of chi-squared at 2.

    $$
    \frac{1}{\alpha (\alpha - 1)} \Big( \sum_c q_c^{\alpha} p_c^{1 - \alpha} - 1 \Big), \quad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    For a class id it is the comp-sum loss of tau = 2 - alpha, over alpha: below alpha = 1 a generalized cross-entropy.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        alpha: Order, positive. The larger, the more a small p under a large q costs.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `alpha` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{alpha_divergence_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), alpha=0.5)[0]:.4f}")
        1.1716

    Source:
        Cressie, Read, "Multinomial Goodness-of-Fit Tests", 1984; Amari, "Differential-Geometrical Methods in
        Statistics", 1985.
    """
    name = "alpha_divergence_loss"
    alpha = hyperparameter(name, "alpha", alpha, compute_dtype(floating(name, "logits", logits)), 0, open_low=True)
    return _divergence(name, logits, labels, lambda d: -expm1_ratio(1 - alpha, d) / alpha, where)


def _divergence(
    function: str, logits: ArrayLike, labels: ArrayLike, generator: Callable[[Array], Array], where: ArrayLike | None
) -> Array:
    """The one equation of this file: the expected penalty of log p - log q."""
    logits, targets, kept = read(function, logits, labels, where)
    if targets.are_ids:
        return finish(expected_penalty(logits, targets, generator), kept, targets.valid)
    possible = targets.values > 0
    log_q = jnp.where(possible, jnp.log(jnp.where(possible, targets.values, 1)), 0)
    # A class without probability must not raise 0 times infinity: its ratio is not looked at.
    losses = expected_penalty(
        logits, targets, lambda log_p: jnp.where(possible, generator(jnp.where(possible, log_p - log_q, 0)), 0)
    )
    return finish(losses, kept, targets.valid)
