r"""Fenchel–Young losses: one regulariser Ω of distributions gives a map from scores to them, and its own loss.

    p(z) = argmax_p ⟨p, z⟩ - Ω(p) = ∇Ω*(z),      loss(z, q) = Ω*(z) + Ω(q) - ⟨q, z⟩,      ∇_z loss = p(z) - q.

The loss is at least 0, 0 exactly at p(z) = q, convex in z, and proper under its own map. With Tsallis's entropies

    Ω_α(p) = (Σ_c p_c^α - 1) / (α (α - 1))

the map is α-entmax: softmax at α = 1, sparsemax at 2. It is computed as p_c = [1 + (α - 1)(z_c - τ)]_+^{1/(α-1)}, by
sorting for α = 3/2 and 2 and by bisection of τ otherwise. A member is its Ω* and Ω; the logistic loss, for one, is

    def logistic_loss(logits, labels, *, where=None):
        negative_entropy = lambda q: -jnp.sum(jax.scipy.special.entr(q), axis=-1)
        conjugate = functools.partial(jax.nn.logsumexp, axis=-1)
        return fenchel_young_loss(logits, labels, conjugate=conjugate, regularizer=negative_entropy, where=where)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_callable,
    check_classes,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    is_class,
    pick,
)
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar
from objectives.classification._shared import expm1_ratio


def sparsemax(logits: Float[ArrayLike, "*batch classes"]) -> Float[Array, "*batch classes"]:
    r"""Sparsemax: the point of the probability simplex nearest to the logits, exactly 0 for classes far behind.

    $$
    \operatorname{argmin}_{p \in \Delta} \lVert p - z \rVert^2 = [z - \tau]_+
    $$

    Args:
        logits: Scores z `[..., C]`; a class may be switched off with -inf.

    Returns:
        Probabilities `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no class.

    Examples:
        >>> import jax.numpy as jnp
        >>> p = sparsemax(jnp.array([0.5, 0.0, -2.0]))
        >>> print(f"{p[0]:.4f} {p[1]:.4f} {p[2]:.4f}")
        0.7500 0.2500 0.0000

    Source:
        Martins, Astudillo, "From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label
        Classification", 2016.
    """
    return _tsallis_map(_scores("sparsemax", logits), 2.0)


def entmax15(logits: Float[ArrayLike, "*batch classes"]) -> Float[Array, "*batch classes"]:
    r"""1.5-entmax, half-way between softmax and sparsemax, exactly, by sorting.

    $$
    \operatorname{argmax}_{p \in \Delta} \langle p, z \rangle - \tfrac43 \Big( \sum_c p_c^{3/2} - 1 \Big)
    = [z / 2 - \tau]_+^2
    $$

    Args:
        logits: Scores z `[..., C]`; a class may be switched off with -inf.

    Returns:
        Probabilities `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no class.

    Examples:
        >>> import jax.numpy as jnp
        >>> p = entmax15(jnp.array([1.0, 0.0, -3.0]))
        >>> print(f"{p[0]:.4f} {p[1]:.4f} {p[2]:.4f}")
        0.8307 0.1693 0.0000

    Source:
        Peters, Niculae, Martins, "Sparse Sequence-to-Sequence Models", 2019.
    """
    return _tsallis_map(_scores("entmax15", logits), 1.5)


def entmax(logits: Float[ArrayLike, "*batch classes"], *, alpha: Scalar = 1.5) -> Float[Array, "*batch classes"]:
    r"""α-entmax: from softmax (alpha = 1) to ever sparser distributions, by bisection; sparsemax at alpha = 2.

    $$
    \operatorname{argmax}_{p \in \Delta} \langle p, z \rangle - \frac{\sum_c p_c^\alpha - 1}{\alpha (\alpha - 1)}
    = \left[ 1 + (\alpha - 1)(z - \tau) \right]_+^{1 / (\alpha - 1)}
    $$

    It has derivatives by `alpha` too, so that a model may learn how sparse to be.

    Args:
        logits: Scores z `[..., C]`; a class may be switched off with -inf.
        alpha: Order, at least 1.

    Returns:
        Probabilities `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no class or `alpha` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> p = entmax(jnp.array([1.0, 0.0, -3.0]), alpha=1.2)
        >>> print(f"{p[0]:.4f} {p[1]:.4f} {p[2]:.4f}")
        0.7657 0.2342 0.0001

    Source:
        Peters, Niculae, Martins, "Sparse Sequence-to-Sequence Models", 2019; Correia, Niculae, Martins, "Adaptively
        Sparse Transformers" (derivative by alpha), 2019.
    """
    scores = _scores("entmax", logits)
    return _entmax(scores, jnp.asarray(hyperparameter("entmax", "alpha", alpha, scores.dtype, 1), scores.dtype))


def sparsemax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Sparsemax loss: the Fenchel–Young loss of the squared norm, 0 once the label leads by a margin of 1.

    $$
    -\langle q, z \rangle + \tfrac12 \sum_{c:\, p_c > 0} (z_c^2 - \tau^2) + \tfrac12 \lVert q \rVert^2, \quad
    p = [z - \tau]_+
    $$

    A distribution over several labels, for instance an equal share of each, makes it the multi-label loss of the
    paper.

    Args:
        logits: Scores z `[..., C]`; a class may be switched off with -inf.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sparsemax_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.2500

    Source:
        Martins, Astudillo, "From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label
        Classification", 2016.
    """
    return _tsallis_loss("sparsemax_loss", logits, labels, 2.0, where, 2.0)


def entmax15_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""1.5-entmax loss: the Fenchel–Young loss of `entmax15`, 0 once the label leads by a margin of 2.

    $$
    \langle p - q, z \rangle + \Omega(q) - \Omega(p), \quad \Omega(p) = \tfrac43 \Big( \sum_c p_c^{3/2} - 1 \Big),
    \quad p = [z / 2 - \tau]_+^2
    $$

    Args:
        logits: Scores z `[..., C]`; a class may be switched off with -inf.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{entmax15_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.3905

    Source:
        Peters, Niculae, Martins, "Sparse Sequence-to-Sequence Models", 2019.
    """
    return _tsallis_loss("entmax15_loss", logits, labels, 1.5, where, 1.5)


def entmax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    alpha: Scalar = 1.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""α-entmax loss: from cross-entropy (alpha = 1) to the sparsemax loss (alpha = 2) and beyond.

    $$
    \langle p - q, z \rangle + \Omega_\alpha(q) - \Omega_\alpha(p), \quad
    \Omega_\alpha(p) = \frac{\sum_c p_c^\alpha - 1}{\alpha (\alpha - 1)}, \quad p = \alpha\text{-}\mathrm{entmax}(z)
    $$

    It is 0 once the label leads by a margin of 1 / (alpha - 1). For labels that are probabilities alpha = 1 is the
    Kullback–Leibler divergence.

    Args:
        logits: Scores z `[..., C]`; a class may be switched off with -inf.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which sum to 1.
        alpha: Order, at least 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `alpha` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{entmax_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), alpha=2.0)[0]:.4f}")
        0.2500

    Source:
        Blondel, Martins, Niculae, "Learning with Fenchel-Young Losses", 2020; Peters, Niculae, Martins, "Sparse
        Sequence-to-Sequence Models", 2019.
    """
    return _tsallis_loss("entmax_loss", logits, labels, alpha, where)


def fenchel_young_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    conjugate: Callable[[Array], Array],
    regularizer: Callable[[Array], Array],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Fenchel–Young loss of any regulariser, from its conjugate; the gradient of the conjugate is the prediction.

    $$
    \Omega^*(z) + \Omega(q) - \langle q, z \rangle, \quad \Omega^*(z) = \max_p \langle p, z \rangle - \Omega(p)
    $$

    Args:
        logits: Scores z `[..., C]`, finite.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`.
        conjugate: Ω* from scores `[..., C]` to `[...]`, convex and differentiable.
        regularizer: Ω from probabilities `[..., C]` to `[...]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers, `conjugate` or `regularizer` not a
            function or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> conjugate, regularizer = lambda z: jnp.sum(z**2, -1) / 2, lambda q: jnp.sum(q**2, -1) / 2
        >>> z, q = jnp.array([[1.0, 0.0]]), jnp.array([0])
        >>> print(f"{fenchel_young_loss(z, 1 - q, conjugate=conjugate, regularizer=regularizer)[0]:.4f}")
        1.0000

    Source:
        Blondel, Martins, Niculae, "Learning with Fenchel-Young Losses", 2020.
    """
    name = "fenchel_young_loss"
    check_callable(name, "conjugate", conjugate, "of scores [..., C]")
    check_callable(name, "regularizer", regularizer, "of probabilities [..., C]")
    logits, targets, kept = read(name, logits, labels, where)
    scores = logits.astype(compute_dtype(logits))
    q = is_class(targets.values, scores.shape[-1]).astype(scores.dtype) if targets.are_ids else targets.values
    return finish(conjugate(scores) + regularizer(q) - jnp.sum(q * scores, axis=-1), kept, targets.valid)


def _tsallis_loss(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    alpha: Scalar,
    where: ArrayLike | None,
    exact: float | None = None,
) -> Array:
    """The Fenchel–Young loss of Tsallis's entropy, of scores that are shifted so that none is above 0."""
    logits, targets, kept = read(function, logits, labels, where)
    scores = logits.astype(compute_dtype(logits))
    alpha = hyperparameter(function, "alpha", alpha, scores.dtype, 1)
    scores = scores - lax.stop_gradient(_peak(scores))
    losses = _conjugate(scores, jnp.asarray(alpha, scores.dtype), exact)
    if targets.are_ids:
        return finish(losses - pick(scores, targets.values), kept, targets.valid)
    impossible = (targets.values == 0) & jnp.isneginf(scores)
    inner = jnp.sum(targets.values * jnp.where(impossible, 0, scores), axis=-1)
    return finish(losses + _tsallis(targets.values, alpha) - inner, kept, targets.valid)


def _scores(function: str, logits: ArrayLike) -> Array:
    """Checked logits in the compute dtype."""
    scores = floating(function, "logits", logits)
    check_classes(function, "logits", scores)
    return scores.astype(compute_dtype(scores))


def _peak(scores: Array) -> Array:
    """The largest score `[..., 1]`, or 0 where all are -inf."""
    peak = jnp.max(scores, axis=-1, keepdims=True)
    return jnp.where(jnp.isfinite(peak), peak, 0)


def _tsallis(p: Array, alpha: Scalar) -> Array:
    """Ω_α(p) = Σ p (p^{α-1} - 1) / (α (α - 1)) of distributions, which is Σ p log p at α = 1."""
    positive = p > 0
    logs = jnp.log(jnp.where(positive, p, 1))
    return jnp.sum(jnp.where(positive, p * expm1_ratio(alpha - 1, logs), 0), axis=-1) / alpha


def _threshold(scores: Array, alpha: Scalar) -> Array:
    """p of scores that are at most 0, for α = 3/2 or 2: of all k the largest whose k-th score is above its own τ."""
    z = (alpha - 1) * jnp.maximum(scores, -2 / (alpha - 1))  # what is 1 / (α - 1) behind has probability 0
    ordered = -jnp.sort(-z, axis=-1)
    count = jnp.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    mean = jnp.cumsum(ordered, axis=-1) / count
    if alpha == 2:
        taus = mean - 1 / count
    else:
        variance = jnp.cumsum(ordered**2, axis=-1) / count - mean**2
        taus = mean - jnp.sqrt(jnp.maximum(1 / count - variance, 0))
    support = jnp.sum(taus < ordered, axis=-1, keepdims=True)
    tau = jnp.take_along_axis(taus, jnp.maximum(support - 1, 0), axis=-1)
    return jnp.maximum(z - tau, 0) ** (1 if alpha == 2 else 2)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _tsallis_map(scores: Array, alpha: float) -> Array:
    """Entmax of a fixed α with an exact algorithm."""
    return _threshold(scores - _peak(scores), alpha)


@_tsallis_map.defjvp
def _tsallis_map_jvp(alpha: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    p = _tsallis_map(*primals, alpha)
    return p, _along(p, alpha, tangents[0])


def _along(p: Array, alpha: Scalar, direction: Array) -> Array:
    """The Jacobian of entmax times a direction: s ∘ v - s ⟨s, v⟩ / Σ s with s = p^{2-α} on the support."""
    positive = p > 0
    weights = jnp.where(positive, jnp.where(positive, p, 1) ** (2 - alpha), 0)
    share = weights / jnp.sum(weights, axis=-1, keepdims=True)
    centre = jnp.sum(jnp.where(positive, share * direction, 0), axis=-1, keepdims=True)
    return jnp.where(positive, weights * (direction - centre), 0)


@jax.custom_jvp
def _entmax(scores: Array, alpha: Array) -> Array:
    """Entmax of any α by bisection of τ, from where one class would have all to where all would share evenly."""
    z = scores - _peak(scores)
    beta = alpha - 1

    def p_of(tau: Array) -> Array:  # e^{log(1 + β x) / β}, which tends to e^x
        x = z - tau
        inside = beta * x > -1
        safe = jnp.where(inside, beta * x, 0)
        small = jnp.abs(safe) < 1e-4
        series = jnp.where(inside, x, 0) * (1 - safe / 2 * (1 - safe * 2 / 3 * (1 - safe * 3 / 4)))
        logs = jnp.where(small, series, jnp.log1p(safe) / jnp.where(beta == 0, 1, beta))
        return jnp.where(inside, jnp.exp(logs), 0)

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) / 2
        heavy = jnp.sum(p_of(middle), axis=-1, keepdims=True) >= 1
        return jnp.where(heavy, middle, low), jnp.where(heavy, high, middle)

    low = jnp.zeros_like(z[..., :1])
    high = low + expm1_ratio(-beta, jnp.log(jnp.asarray(z.shape[-1], z.dtype)))
    low, _ = lax.fori_loop(0, jnp.finfo(z.dtype).nmant + 3, halve, (low, high))
    p = p_of(low)
    return p / jnp.sum(p, axis=-1, keepdims=True)


@_entmax.defjvp
def _entmax_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (scores, alpha), (direction, slope) = primals, tangents
    p = _entmax(scores, alpha)
    # On the support z - τ = (p^β - 1) / β with β = α - 1: a change of α acts like a change of the scores.
    logs = jnp.log(jnp.where(p > 0, p, 1))
    drift = jax.jvp(lambda beta: expm1_ratio(beta, logs), (alpha - 1,), (slope,))[1]
    return p, _along(p, alpha, direction - drift)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _conjugate(scores: Array, alpha: Array, exact: float | None) -> Array:
    """Ω* of Tsallis's entropy; `exact` is the α of an exact algorithm, or None."""
    p = _predict(scores, alpha, exact)
    return jnp.sum(jnp.where(p > 0, p * scores, 0), axis=-1) - _tsallis(p, alpha)


@_conjugate.defjvp
def _conjugate_jvp(
    exact: float | None, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (scores, alpha), (direction, slope) = primals, tangents
    p = _predict(scores, alpha, exact)  # at the maximum, only what is explicit in Ω changes
    drift = jax.jvp(lambda order: _tsallis(p, order), (alpha,), (slope,))[1]
    return _conjugate(scores, alpha, exact), jnp.sum(jnp.where(p > 0, p * direction, 0), axis=-1) - drift


def _predict(scores: Array, alpha: Array, exact: float | None) -> Array:
    return _entmax(scores, alpha) if exact is None else _tsallis_map(scores, exact)
