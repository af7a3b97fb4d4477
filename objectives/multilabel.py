"""Losses of several labels an example, each of them present or absent: `[..., L]` throughout, labels 0 or 1.

- one entry at a time: `asymmetric_loss` (with `sigmoid_cross_entropy` and `sigmoid_focal_loss` in `classification`);
  `asymmetric_single_label_loss` is its form for one label of several classes
- the labels of an example against each other: `zlpr_loss`
- the examples of a label against each other, over the batch: the macro-AUC surrogates, of one equation,

      loss = mean over labels of Σ_i Σ_j w_ij ℓ(f_i - f_j) over positives i and negatives j,

  pairwise, or with 0 in place of the other's score (univariate, reweighted); ℓ is a decreasing base loss
- both directions: `two_way_loss`
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    is_class,
    mask,
    real,
)
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar
from objectives.classification._shared import power, read_binary

CHUNK = 256
"""How many examples at a time a pairwise loss without a sorted form compares with all others."""

Base = Literal["logistic", "hinge", "exponential"]
AxisName = str | tuple[str, ...] | None


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
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
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


def zlpr_loss(
    logits: Float[ArrayLike, "*batch labels"],
    labels: Real[ArrayLike, "*batch labels"] | Bool[ArrayLike, "*batch labels"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""ZLPR: every present label above 0 and above every absent one, and those below 0: softmax for many labels.

    $$
    \log\Big( 1 + \sum_{c \text{ absent}} e^{f_c} \Big) + \log\Big( 1 + \sum_{c \text{ present}} e^{-f_c} \Big)
    $$

    A label is predicted where its logit is above 0. A label between 0 and 1 is in both sums, with that weight.

    Args:
        logits: Scores f `[..., L]`.
        labels: 0 or 1, boolean, or weights in [0, 1], of the shape of `logits`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{zlpr_loss(jnp.array([[0.0, 0.0, 0.0]]), jnp.array([[1, 0, 0]]))[0]:.4f}")
        1.7918

    Source:
        Su, Zhu, Murtadha, Pan, Wen, Liu, "ZLPR: A Novel Loss for Multi-label Classification", 2022.
    """
    name = "zlpr_loss"
    scores, targets = floating(name, "logits", logits), real(name, "labels", labels)
    check_rank(name, "logits", scores, 1, "[..., L]")
    check_same_shape(name, "labels", targets, "logits", scores)
    kept, dtype = mask(name, where, scores.shape[:-1]), compute_dtype(scores)
    scores, present = clean(scores, kept).astype(dtype), clean(targets, kept).astype(dtype)
    valid = jnp.all((present >= 0) & (present <= 1), axis=-1)

    def above_zero(values: Array, weights: Array) -> Array:  # log(1 + Σ w e^v)
        some = weights > 0
        values = jnp.where(some, values + jnp.log(jnp.where(some, weights, 1)), -jnp.inf)
        return jax.nn.logsumexp(
            jnp.concatenate([values, jnp.zeros_like(values, shape=(*values.shape[:-1], 1))], -1), -1
        )

    return finish(above_zero(scores, 1 - present) + above_zero(-scores, present), kept, valid)


def two_way_loss(
    logits: Float[ArrayLike, "batch labels"],
    labels: Real[ArrayLike, "batch labels"] | Bool[ArrayLike, "batch labels"],
    *,
    positive_temperature: Scalar = 4.0,
    negative_temperature: Scalar = 1.0,
    where: Bool[ArrayLike, "batch labels"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Two-way loss: the hardest present against the hardest absent, among an example's labels and a label's examples.

    $$
    \operatorname{mean}\, \mathrm{softplus}\Big( T_- \log \sum_{\text{absent}} e^{f / T_-} + T_+ \log
    \sum_{\text{present}} e^{-f / T_+} \Big)
    $$

    once over the examples that have a label, with sums over labels, and once over the labels that have an example, with
    sums over the batch; the two means are added.

    Args:
        logits: Scores f `[N, L]`.
        labels: 0 or 1, or boolean, of the shape of `logits`.
        positive_temperature: Temperature T₊ of the soft minimum over present labels, positive.
        negative_temperature: Temperature T₋ of the soft maximum over absent ones, positive.
        where: Boolean mask `[N, L]`; a masked entry is neither present nor absent and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        A scalar, float32 (float64 for float64 logits); 0 where nothing is present, NaN if a label is neither 0 nor 1.

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match or a temperature is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{two_way_loss(jnp.array([[1.0, -1.0]]), jnp.array([[1, 0]]), positive_temperature=1.0):.4f}")
        0.1269

    Source:
        Kobayashi, "Two-Way Multi-Label Loss", 2023.
    """
    name = "two_way_loss"
    batch = _read(name, logits, labels, where, axis_name)
    hot = hyperparameter(name, "positive_temperature", positive_temperature, batch.scores.dtype, 0, open_low=True)
    cold = hyperparameter(name, "negative_temperature", negative_temperature, batch.scores.dtype, 0, open_low=True)

    def contrast(axis: int, across: AxisName) -> tuple[Array, Array]:
        least = hot * _logsumexp(-batch.scores / hot, batch.present, axis, across)
        most = cold * _logsumexp(batch.scores / cold, batch.absent, axis, across)
        some, other = jnp.isfinite(least), jnp.isfinite(most)
        both = some & other
        return jax.nn.softplus(jnp.where(both, least + most, -jnp.inf)), some

    by_example, examples = contrast(1, None)
    by_label, counted = contrast(0, axis_name)
    total, number = _all_sum((jnp.sum(jnp.where(examples, by_example, 0)), jnp.sum(examples)), axis_name)
    losses = _mean(total, number) + _mean(jnp.sum(jnp.where(counted, by_label, 0)), jnp.sum(counted))
    return losses + batch.poison


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
    _check_base(name, base)
    batch = _read(name, scores, labels, where, axis_name, "scores")
    if base == "exponential":
        up = _logsumexp(-batch.scores, batch.present, 0, axis_name)
        down = _logsumexp(batch.scores, batch.absent, 0, axis_name)
        pairs = jnp.where(batch.active, batch.positives * batch.negatives, 1)
        means = jnp.exp(jnp.where(batch.active, up + down - jnp.log(pairs), 0))
        return _mean(jnp.sum(jnp.where(batch.active, means, 0)), jnp.sum(batch.active)) + batch.poison
    others, absent = (batch.scores, batch.absent)
    if axis_name is not None:
        others, absent = lax.all_gather((others, absent), axis_name, tiled=True)
    sums = (_sorted_hinge if base == "hinge" else _chunked_logistic)(batch.scores, batch.present, others, absent)
    return _macro(_all_sum(sums, axis_name), batch.positives * batch.negatives, batch)


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
    _check_base(name, base)
    batch = _read(name, scores, labels, where, axis_name, "scores")
    up, down = _sides(batch, _BASES[base], axis_name)
    return _macro(up + down, batch.positives + batch.negatives, batch)


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
    _check_base(name, base)
    batch = _read(name, scores, labels, where, axis_name, "scores")
    up, down = _sides(batch, _BASES[base], axis_name)
    scale = batch.negatives / jnp.maximum(batch.positives, 1)
    return _macro(up * scale + down, batch.negatives, batch)


class _Batch(NamedTuple):
    """Checked scores `[N, L]`, who is present and absent; for every label its global counts and whether it counts."""

    scores: Array
    present: Array
    absent: Array
    positives: Array
    negatives: Array
    active: Array
    poison: Array


def _read(
    function: str,
    scores: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    axis_name: AxisName,
    name: str = "logits",
) -> _Batch:
    """A batch of examples with labels that are present or absent; a label that is neither poisons the result."""
    values, targets = floating(function, name, scores), real(function, "labels", labels)
    check_rank(function, name, values, 2, "[N, L]", 2)
    check_same_shape(function, "labels", targets, name, values)
    kept, dtype = mask(function, where, values.shape), compute_dtype(values)
    targets = clean(targets, kept)
    valid = jnp.all((targets == 0) | (targets == 1))
    everyone = jnp.ones(values.shape, bool) if kept is None else kept
    present, absent = everyone & (targets == 1), everyone & (targets == 0)
    counts = jnp.sum(present, axis=0).astype(dtype), jnp.sum(absent, axis=0).astype(dtype)
    positives, negatives, invalid = _all_sum((*counts, jnp.where(valid, 0, 1)), axis_name)
    poison = jnp.where(invalid == 0, 0, jnp.nan).astype(dtype)
    active = (positives > 0) & (negatives > 0)
    return _Batch(clean(values, kept).astype(dtype), present, absent, positives, negatives, active, poison)


def _all_sum(values: Any, axis_name: AxisName) -> Any:
    """Sums over the mapped axes, if there are any."""
    return values if axis_name is None else lax.psum(values, axis_name)


def _mean(total: Array, number: Array) -> Array:
    return total / jnp.maximum(number, 1).astype(total.dtype)


def _macro(sums: Array, numbers: Array, batch: _Batch) -> Array:
    """The mean over active labels of the sums over the numbers."""
    means = jnp.where(batch.active, sums, 0) / jnp.where(batch.active, numbers, 1)
    return _mean(jnp.sum(means), jnp.sum(batch.active)) + batch.poison


def _sides(batch: _Batch, base: Callable[[Array], Array], axis_name: AxisName) -> tuple[Array, Array]:
    """Sums over positives and over negatives of the base loss, `[L]`."""
    up = jnp.sum(jnp.where(batch.present, base(jnp.where(batch.present, batch.scores, 0)), 0), axis=0)
    down = jnp.sum(jnp.where(batch.absent, base(jnp.where(batch.absent, -batch.scores, 0)), 0), axis=0)
    return _all_sum((up, down), axis_name)


def _logsumexp(values: Array, used: Array, axis: int, axis_name: AxisName) -> Array:
    """log Σ e^v over the used entries of an axis, split over devices or not; -inf where there is none."""
    peak = jnp.max(lax.stop_gradient(values), axis=axis, keepdims=True, initial=-jnp.inf, where=used)
    peak = peak if axis_name is None else lax.pmax(peak, axis_name)
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    total = jnp.sum(jnp.where(used, jnp.exp(jnp.where(used, values - peak, 0)), 0), axis=axis)
    total = _all_sum(total, axis_name)
    some = total > 0
    return jnp.where(some, jnp.log(jnp.where(some, total, 1)) + jnp.squeeze(peak, axis), -jnp.inf)


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


def _check_base(function: str, base: str) -> None:
    if base not in _BASES:
        raise ValueError(f"{function}: base must be one of {', '.join(map(repr, _BASES))}, got {base!r}")


_BASES: dict[str, Callable[[Array], Array]] = {
    "logistic": lambda margin: jax.nn.softplus(-margin),
    "hinge": lambda margin: jax.nn.relu(1 - margin),
    "exponential": lambda margin: jnp.exp(-margin),
}
