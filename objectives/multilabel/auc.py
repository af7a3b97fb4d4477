"""Surrogates of macro-AUC: the examples of a label against each other, over the batch.

One equation,

    loss = mean over labels of Σ_i Σ_j w_ij ℓ(f_i - f_j) over positives i and negatives j,

pairwise, or with 0 in place of the other's score (univariate, reweighted); ℓ is a decreasing base loss.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather
from objectives._inputs import check_choice
from objectives._log_domain import log_sum_exp
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real
from objectives.multilabel._batch import LabelBatch, macro_mean, read_batch, safe_mean

CHUNK = 256
"""How many examples at a time a pairwise loss without a sorted form compares with all others."""

Base = Literal["logistic", "hinge", "exponential"]


def macro_auc_pairwise_loss(
    scores: Float[ArrayLike, "batch labels"],
    labels: Real[ArrayLike, "batch labels"] | Bool[ArrayLike, "batch labels"],
    *,
    base: Base = "logistic",
    where: Bool[ArrayLike, "batch labels"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Pairwise surrogate of macro-AUC: every positive of a label against every negative.

    $$
    \operatorname{mean}_k \frac{1}{|S_k^+| |S_k^-|} \sum_{i \in S_k^+} \sum_{j \in S_k^-} \ell(f_{ik} - f_{jk})
    $$

    Labels without positives or without negatives are left out of the mean. The hinge loss is summed by sorting, in
    N log N, the exponential one factorises, and the logistic one compares in chunks, so that N² numbers are never held.

    Args:
        scores: Scores f `[N, L]`.
        labels: 0 or 1, or boolean, of the shape of `scores`.
        base: ℓ: `"logistic"`, log(1 + e^{-t}); `"hinge"`, max(0, 1 - t); or `"exponential"`, e^{-t}.
        where: Boolean mask `[N, L]`; a masked entry is neither positive nor negative and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        A scalar, float32 (float64 for float64 scores); 0 where no label has both, NaN if a label is neither 0 nor 1.

    Raises:
        TypeError: If the scores are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match or `base` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([[1.0], [0.5], [0.0]]), jnp.array([[1], [0], [0]])
        >>> print(f"{macro_auc_pairwise_loss(scores, labels, base='hinge'):.4f}")
        0.2500

    Source:
        Wu, Li, Yin, "Towards Understanding Generalization of Macro-AUC in Multi-label Learning", 2023.
    """
    name = "macro_auc_pairwise_loss"
    check_choice(name, "base", base, _BASES)
    batch = read_batch(name, scores, labels, where, axis_name, "scores")
    if base == "exponential":
        up = log_sum_exp(-batch.scores, 0, where=batch.present, axis_name=axis_name)
        down = log_sum_exp(batch.scores, 0, where=batch.absent, axis_name=axis_name)
        pairs = jnp.where(batch.active, batch.positives * batch.negatives, 1)
        means = jnp.exp(jnp.where(batch.active, up + down - jnp.log(pairs), 0))
        return safe_mean(jnp.sum(jnp.where(batch.active, means, 0)), jnp.sum(batch.active)) + batch.poison
    others, absent = gather(batch.scores, axis_name), gather(batch.absent, axis_name)
    sums = (_sorted_hinge if base == "hinge" else _chunked_logistic)(batch.scores, batch.present, others, absent)
    return macro_mean(all_sum(sums, axis_name), batch.positives * batch.negatives, batch)


def macro_auc_univariate_loss(
    scores: Float[ArrayLike, "batch labels"],
    labels: Real[ArrayLike, "batch labels"] | Bool[ArrayLike, "batch labels"],
    *,
    base: Base = "logistic",
    where: Bool[ArrayLike, "batch labels"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Univariate surrogate of macro-AUC: the mean base loss of every label, the one that imbalance harms.

    $$
    \operatorname{mean}_k \frac1N \sum_i \ell(y_{ik} f_{ik}), \quad y = \pm 1
    $$

    Labels without positives or without negatives are left out of the mean, as in the others of the family.

    Args:
        scores: Scores f `[N, L]`.
        labels: 0 or 1, or boolean, of the shape of `scores`.
        base: ℓ: `"logistic"`, log(1 + e^{-t}); `"hinge"`, max(0, 1 - t); or `"exponential"`, e^{-t}.
        where: Boolean mask `[N, L]`; a masked entry is neither positive nor negative and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        A scalar, float32 (float64 for float64 scores); 0 where no label has both, NaN if a label is neither 0 nor 1.

    Raises:
        TypeError: If the scores are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match or `base` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{macro_auc_univariate_loss(jnp.zeros((3, 1)), jnp.array([[1], [0], [0]])):.4f}")
        0.6931

    Source:
        Wu, Li, Yin, "Towards Understanding Generalization of Macro-AUC in Multi-label Learning", 2023.
    """
    name = "macro_auc_univariate_loss"
    check_choice(name, "base", base, _BASES)
    batch = read_batch(name, scores, labels, where, axis_name, "scores")
    up, down = _sides(batch, _BASES[base], axis_name)
    return macro_mean(up + down, batch.positives + batch.negatives, batch)


def macro_auc_reweighted_loss(
    scores: Float[ArrayLike, "batch labels"],
    labels: Real[ArrayLike, "batch labels"] | Bool[ArrayLike, "batch labels"],
    *,
    base: Base = "logistic",
    where: Bool[ArrayLike, "batch labels"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Reweighted univariate surrogate of macro-AUC: positives and negatives of a label count alike.

    $$
    \operatorname{mean}_k \Big( \frac{1}{|S_k^+|} \sum_{i \in S_k^+} \ell(f_{ik}) + \frac{1}{|S_k^-|}
    \sum_{i \in S_k^-} \ell(-f_{ik}) \Big)
    $$

    Its generalisation does not suffer from imbalance, as that of the pairwise loss does not, and it costs N operations.

    Args:
        scores: Scores f `[N, L]`.
        labels: 0 or 1, or boolean, of the shape of `scores`.
        base: ℓ: `"logistic"`, log(1 + e^{-t}); `"hinge"`, max(0, 1 - t); or `"exponential"`, e^{-t}.
        where: Boolean mask `[N, L]`; a masked entry is neither positive nor negative and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        A scalar, float32 (float64 for float64 scores); 0 where no label has both, NaN if a label is neither 0 nor 1.

    Raises:
        TypeError: If the scores are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match or `base` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{macro_auc_reweighted_loss(jnp.zeros((3, 1)), jnp.array([[1], [0], [0]])):.4f}")
        1.3863

    Source:
        Wu, Li, Yin, "Towards Understanding Generalization of Macro-AUC in Multi-label Learning", 2023.
    """
    name = "macro_auc_reweighted_loss"
    check_choice(name, "base", base, _BASES)
    batch = read_batch(name, scores, labels, where, axis_name, "scores")
    up, down = _sides(batch, _BASES[base], axis_name)
    scale = batch.negatives / jnp.maximum(batch.positives, 1)
    return macro_mean(up * scale + down, batch.negatives, batch)


def _sides(batch: LabelBatch, base: Callable[[Array], Array], axis_name: AxisName) -> tuple[Array, Array]:
    """Sums over positives and over negatives of the base loss, `[L]`."""
    up = jnp.sum(jnp.where(batch.present, base(jnp.where(batch.present, batch.scores, 0)), 0), axis=0)
    down = jnp.sum(jnp.where(batch.absent, base(jnp.where(batch.absent, -batch.scores, 0)), 0), axis=0)
    return all_sum((up, down), axis_name)


def _chunked_logistic(scores: Array, present: Array, others: Array, absent: Array) -> Array:
    """Σ over positives and negatives of log(1 + e^{f_j - f_i}), `[L]`, a chunk of the others at a time."""

    @jax.checkpoint
    def compare(others: Array, absent: Array) -> Array:
        gaps = jax.nn.softplus(others - scores[:, None])
        return jnp.sum(jnp.where(present[:, None] & absent, gaps, 0), axis=(0, 1))

    if len(others) <= CHUNK:
        return compare(others, absent)
    padding = ((0, -len(others) % CHUNK), (0, 0))
    chunks = [jnp.pad(x, padding).reshape(-1, CHUNK, x.shape[-1]) for x in (others, absent)]
    first = compare(chunks[0][0], chunks[1][0])  # not zeros: under `shard_map` the sums differ between devices
    return lax.scan(lambda total, chunk: (total + compare(*chunk), None), first, [c[1:] for c in chunks])[0]


def _sorted_hinge(scores: Array, present: Array, others: Array, absent: Array) -> Array:
    """Σ over positives and negatives of max(0, 1 - f_i + f_j), `[L]`: for each i a suffix sum of the sorted f_j."""

    def of_label(f: Array, used: Array, g: Array, against: Array) -> Array:
        ordered = jnp.sort(jnp.where(against, g, -jnp.inf))
        finite = jnp.where(jnp.isneginf(ordered), 0, ordered)
        suffix = jnp.append(jnp.cumsum(finite[::-1])[::-1], 0)
        first = jnp.searchsorted(ordered, lax.stop_gradient(f) - 1, side="right")
        number = (len(ordered) - first).astype(f.dtype)
        return jnp.sum(jnp.where(used, number * (1 - f) + suffix[first], 0))

    return jax.vmap(of_label, in_axes=1)(scores, present, others, absent)


_BASES: dict[str, Callable[[Array], Array]] = {
    "logistic": lambda margin: jax.nn.softplus(-margin),
    "hinge": lambda margin: jax.nn.relu(1 - margin),
    "exponential": lambda margin: jnp.exp(-margin),
}
