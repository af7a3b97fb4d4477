"""One binary decision a step between levels: CORAL and CORN.

The equation: cross-entropies of "is the level above k?", summed over all steps (CORAL) or over those that the level
reaches (CORN). A further choice is a weight of the steps:

    def coral_loss(logits, labels, *, where=None):
        return _steps("coral_loss", logits, labels, where, None, lambda reached, total: total)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_classes,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real


def coral_loss(
    logits: Float[ArrayLike, "*batch cuts"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch levels"] | Bool[ArrayLike, "*batch levels"],
    *,
    importance: Real[ArrayLike, " cuts"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""CORAL: is the level above this one? One binary cross-entropy a step.

    $$
    -\sum_{k=0}^{K-2} w_k \left( [y > k] \log \sigma(l_k) + [y \le k] \log (1 - \sigma(l_k)) \right)
    $$

    The network's last layer gives one number to which every step adds a bias of its own, `score[..., None] + biases`;
    biases learnt under this loss end up in decreasing order. Of soft labels the share above k is the target of step k;
    a label of another mass than 1 weighs so much.

    Args:
        logits: Logits `[..., K - 1]`, one for every step between levels.
        labels: Levels `[...]` from 0 to K - 1, or their probabilities (one-hot included) `[..., K]`.
        importance: Weight of every step `[K - 1]`, at least 0; 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a level is out of range.

    Raises:
        TypeError: If the logits are not floating point, levels not integers or `where` not boolean.
        ValueError: If shapes do not match or there is no step.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = coral_loss(jnp.array([[2.0, 0.0, -1.0]]), jnp.array([1]))
        >>> print(f"{loss[0]:.4f}")
        1.1333

    Source:
        Cao, Mirjalili, Raschka, "Rank Consistent Ordinal Regression for Neural Networks with Application to Age
        Estimation", 2020.
    """
    return _steps("coral_loss", logits, labels, where, importance, lambda reached, total: total)


def corn_loss(
    logits: Float[ArrayLike, "*batch cuts"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch levels"] | Bool[ArrayLike, "*batch levels"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""CORN: is the level above this one, given that it is not below? Binary cross-entropies of conditional steps.

    $$
    -\sum_{k=0}^{K-2} [y \ge k] \left( [y > k] \log \sigma(l_k) + [y = k] \log (1 - \sigma(l_k)) \right)
    $$

    It is the negative log likelihood of the level: the probability to be above k is the product of the conditional
    ones, and cannot increase with k, whatever the network. The authors divide the batch's sum by the number of its
    terms, examples and steps; here the sum of an example's terms is its loss.

    Args:
        logits: Logits `[..., K - 1]`, one for every step between levels.
        labels: Levels `[...]` from 0 to K - 1, or their probabilities (one-hot included) `[..., K]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a level is out of range.

    Raises:
        TypeError: If the logits are not floating point, levels not integers or `where` not boolean.
        ValueError: If shapes do not match or there is no step.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = corn_loss(jnp.array([[2.0, 0.0, -1.0]]), jnp.array([1]))
        >>> print(f"{loss[0]:.4f}")
        0.8201

    Source:
        Shi, Cao, Raschka, "Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
        Probabilities", 2023.
    """
    return _steps("corn_loss", logits, labels, where, None, lambda reached, total: reached)


def coral_probabilities(
    logits: Float[ArrayLike, "*batch cuts"],
) -> Float[Array, "*batch levels"]:
    r"""Probabilities of the levels behind CORAL's logits.

    $$
    p_k = \sigma(l_{k-1}) - \sigma(l_k), \qquad \sigma(l_{-1}) = 1, \quad \sigma(l_{K-1}) = 0
    $$

    One is negative where logits do not decrease. The authors' prediction is the number of steps more likely taken than
    not, `(logits > 0).sum(-1)`, the median of these.

    Args:
        logits: Logits `[..., K - 1]`, one for every step between levels.

    Returns:
        Probabilities `[..., K]`, float32 (float64 for float64 logits); their sum is 1.

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no step.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = coral_probabilities(jnp.array([[2.0, 0.0, -1.0]]))
        >>> print(" ".join(f"{p:.4f}" for p in probabilities[0]))
        0.1192 0.3808 0.2311 0.2689

    Source:
        Cao, Mirjalili, Raschka, "Rank Consistent Ordinal Regression for Neural Networks with Application to Age
        Estimation", 2020.
    """
    above = jax.nn.sigmoid(_cuts("coral_probabilities", logits))
    return _differences(above)


def corn_probabilities(
    logits: Float[ArrayLike, "*batch cuts"],
) -> Float[Array, "*batch levels"]:
    r"""Probabilities of the levels behind CORN's logits.

    $$
    p_k = P_{k-1} - P_k, \qquad P_k = \prod_{j \le k} \sigma(l_j), \quad P_{-1} = 1, \quad P_{K-1} = 0
    $$

    The authors' prediction is the number of steps more likely taken than not, the median of these: `(1 -
    probabilities.cumsum(-1) > 0.5).sum(-1)`.

    Args:
        logits: Logits `[..., K - 1]`, one for every step between levels.

    Returns:
        Probabilities `[..., K]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no step.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = corn_probabilities(jnp.array([[2.0, 0.0, -1.0]]))
        >>> print(" ".join(f"{p:.4f}" for p in probabilities[0]))
        0.1192 0.4404 0.3220 0.1184

    Source:
        Shi, Cao, Raschka, "Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
        Probabilities", 2023.
    """
    scores = _cuts("corn_probabilities", logits)
    taken = jnp.cumsum(jax.nn.log_sigmoid(scores), axis=-1)
    before = jnp.concatenate([jnp.zeros_like(taken[..., :1]), taken], axis=-1)
    stop = jnp.concatenate([jax.nn.log_sigmoid(-scores), jnp.zeros_like(scores[..., :1])], axis=-1)
    return jnp.exp(before + stop)


def _cuts(function: str, logits: ArrayLike) -> Array:
    """Checked logits of the steps, in the compute dtype."""
    array = floating(function, "logits", logits)
    check_classes(function, "logits", array, "[..., K - 1]")
    return array.astype(compute_dtype(array))


def _differences(above: Array) -> Array:
    """Probabilities of levels from those to be above."""
    ends = jnp.ones_like(above[..., :1])
    return jnp.concatenate([ends, above], axis=-1) - jnp.concatenate([above, jnp.zeros_like(ends)], axis=-1)


def _steps(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    importance: ArrayLike | None,
    weight: Callable[[Array, Array], Array],
) -> Array:
    """Σ_k w_k (m_k softplus(l_k) - a_k l_k), a_k the mass above k, m_k a choice of that at k or above and of all."""
    scores = floating(function, "logits", logits)
    check_classes(function, "logits", scores, "[..., K - 1]")
    kept, dtype, steps = mask(function, where, scores.shape[:-1]), compute_dtype(scores), scores.shape[-1]
    scores = clean(scores, kept).astype(dtype)
    targets = class_labels(function, labels, (*scores.shape[:-1], steps + 1), dtype, kept)
    if targets.are_ids:
        above = (targets.values[..., None] > jnp.arange(steps)).astype(dtype)
        reached, total = (targets.values[..., None] >= jnp.arange(steps)).astype(dtype), jnp.ones_like(above)
    else:
        tails = lax.cumsum(targets.values, targets.values.ndim - 1, reverse=True)
        above, reached, total = tails[..., 1:], tails[..., :-1], tails[..., :1]
    mass = weight(reached, total)
    terms = above * jax.nn.softplus(-scores) + (mass - above) * jax.nn.softplus(scores)
    if importance is not None:
        factors = real(function, "importance", importance)
        if factors.shape != (steps,):
            raise ValueError(f"{function}: importance must have one entry per step, [{steps}], got {describe(factors)}")
        terms = terms * factors.astype(dtype)
    return finish(jnp.sum(terms, axis=-1), kept, targets.valid)
