"""Metrics of the binary confusion matrix as losses, from one soft count.

One equation: decisions ŷ = A(p) that are nearly 0 or 1 and yet have a gradient are counted,

    tp = Σ y ŷ,   fn = Σ y (1 - ŷ),   fp = Σ (1 - y) ŷ,   tn = Σ (1 - y)(1 - ŷ),

and a member is a metric M of the four counts: loss = 1 - M(tp, fp, fn, tn). A metric more is a function:

    anyloss(logits, labels, metric=lambda counts: counts.tp / (counts.tp + counts.fp + counts.fn))
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from objectives._batch import all_sum
from objectives._inputs import hyperparameter
from objectives._numerics import root
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real, Scalar
from objectives.classification._shared import read_binary
from objectives.imbalance._shared import present


class SoftConfusion(NamedTuple):
    """Soft counts of a binary confusion matrix, scalars.

    Attributes:
        tp: True positives.
        fp: False positives.
        fn: False negatives.
        tn: True negatives.
    """

    tp: Array
    fp: Array
    fn: Array
    tn: Array


def soft_confusion_matrix(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    scale: Scalar = 73.0,
    apply_sigmoid: bool = True,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> SoftConfusion:
    r"""Soft counts of the binary confusion matrix: of amplified probabilities.

    $$
    tp = \sum_i y_i \hat y_i, \quad fp = \sum_i (1 - y_i) \hat y_i, \quad fn = \sum_i y_i (1 - \hat y_i), \quad
    tn = \sum_i (1 - y_i)(1 - \hat y_i), \qquad \hat y = \sigma\big(L (p - \tfrac12)\big)
    $$

    The larger L, the nearer the counts are to those of the decisions at a threshold of 1/2.

    Args:
        logits: Log odds of the positive class `[...]`, or probabilities with `apply_sigmoid=False`.
        labels: 0 or 1, boolean, or probability y of the positive class, of the shape of `logits`.
        scale: Amplification L, positive; 73 is the paper's.
        apply_sigmoid: Whether the predictions are logits.
        where: Boolean mask `[...]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the counts are then those of
            the global batch.

    Returns:
        The four counts, scalars, float32 (float64 for float64 logits); NaN where a label is not in [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> counts = soft_confusion_matrix(jnp.array([9.0, -9.0, 9.0, 9.0]), jnp.array([1, 1, 0, 1]))
        >>> print(f"{counts.tp:.4f} {counts.fp:.4f} {counts.fn:.4f} {counts.tn:.4f}")
        2.0000 1.0000 1.0000 0.0000

    Source:
        Han, Moniz, Chawla, "AnyLoss: Transforming Classification Metrics into Loss Functions", 2024.
    """
    return _count("soft_confusion_matrix", logits, labels, scale, apply_sigmoid, where, axis_name)


def anyloss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    metric: Literal["accuracy", "f_beta", "g_mean", "balanced_accuracy", "mcc"]
    | Callable[[SoftConfusion], Array] = "f_beta",
    scale: Scalar = 73.0,
    beta: Scalar = 1.0,
    apply_sigmoid: bool = True,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""AnyLoss: one minus a metric of the soft confusion matrix of `soft_confusion_matrix`.

    $$
    1 - M, \qquad
    F_\beta = \frac{(1 + \beta^2)\, tp}{(1 + \beta^2)\, tp + \beta^2 fn + fp}, \quad
    \text{G-mean} = \sqrt{r_+ r_-}, \quad \text{balanced accuracy} = \frac{r_+ + r_-}{2}, \qquad
    r_+ = \frac{tp}{tp + fn}, \quad r_- = \frac{tn}{tn + fp}
    $$

    The loss is coupled over the batch, which should hold positives: only the batch has a value. The rate of a class
    that does not occur is 1 here, nothing of it being wrong (scikit-learn leaves it out of the balanced accuracy); an
    F score or a Matthews correlation without anything to count is 0.

    Args:
        logits: Log odds of the positive class `[...]`, or probabilities with `apply_sigmoid=False`.
        labels: 0 or 1, boolean, or probability of the positive class, of the shape of `logits`.
        metric: `"accuracy"`, `"f_beta"`, `"g_mean"`, `"balanced_accuracy"`, `"mcc"` (the Matthews correlation), or a
            function from the counts (`tp`, `fp`, `fn`, `tn`) to a scalar that is to be large.
        scale: Amplification L of the probabilities, positive; 73 is the paper's.
        beta: Weight of recall against precision in the F score, positive; 1 gives F1.
        apply_sigmoid: Whether the predictions are logits.
        where: Boolean mask `[...]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        The loss, a scalar, float32 (float64 for float64 logits); 0 where nothing is kept, NaN where a label is not in
        [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ, a hyperparameter is out of range or `metric` unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits, labels = jnp.array([9.0, -9.0, 9.0, 9.0]), jnp.array([1, 1, 0, 1])
        >>> print(f"{anyloss(logits, labels):.4f} {anyloss(logits, labels, metric='balanced_accuracy'):.4f}")
        0.3333 0.6667

    Source:
        Han, Moniz, Chawla, "AnyLoss: Transforming Classification Metrics into Loss Functions", 2024.
    """
    name = "anyloss"
    counts = _count(name, logits, labels, scale, apply_sigmoid, where, axis_name)
    squared = hyperparameter(name, "beta", beta, counts.tp.dtype, 0, open_low=True) ** 2
    if callable(metric):
        value = metric(counts)
    elif metric == "f_beta":
        value = _ratio(
            (1 + squared) * counts.tp, (1 + squared) * counts.tp + squared * counts.fn + counts.fp, nothing=0
        )
    elif metric in _METRICS:
        value = _METRICS[metric](counts)
    else:
        words = ", ".join(map(repr, ("f_beta", *_METRICS)))
        raise ValueError(f"{name}: metric must be one of {words} or a function of the counts, got {metric!r}")
    return jnp.where(sum(counts) == 0, 0, 1 - value)


def _ratio(part: Array, whole: Array, nothing: float) -> Array:
    """part / whole, and `nothing` (with gradient 0) where the whole is 0."""
    return jnp.where(whole == 0, nothing, part / jnp.where(whole == 0, 1, whole))


def _rates(counts: SoftConfusion) -> tuple[Array, Array]:
    """True positive and true negative rate."""
    return _ratio(counts.tp, counts.tp + counts.fn, 1), _ratio(counts.tn, counts.tn + counts.fp, 1)


def _accuracy(counts: SoftConfusion) -> Array:
    return _ratio(counts.tp + counts.tn, sum(counts[1:], counts[0]), 1)


def _g_mean(counts: SoftConfusion) -> Array:
    positive, negative = _rates(counts)
    return root(positive * negative)


def _balanced_accuracy(counts: SoftConfusion) -> Array:
    positive, negative = _rates(counts)
    return (positive + negative) / 2


def _mcc(counts: SoftConfusion) -> Array:
    """Roots first: the product of four counts is too large for float32 soon."""
    tp, fp, fn, tn = counts
    spread = [root(x) for x in (tp + fp, tp + fn, tn + fp, tn + fn)]
    return _ratio(tp * tn - fp * fn, spread[0] * spread[1] * spread[2] * spread[3], 0)


_METRICS: dict[str, Callable[[SoftConfusion], Array]] = {
    "accuracy": _accuracy,
    "g_mean": _g_mean,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
}


def _count(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    scale: Scalar,
    apply_sigmoid: bool,
    where: ArrayLike | None,
    axis_name: AxisName,
) -> SoftConfusion:
    """The one count of this file. The decision against is a sigmoid of its own, for its small values."""
    scores, positive, kept = read_binary(function, logits, labels, where)
    scale = hyperparameter(function, "scale", scale, scores.dtype, 0, open_low=True)
    amplified = scale * ((jax.nn.sigmoid(scores) if apply_sigmoid else scores) - 0.5)
    counted = present(kept, scores.shape, scores.dtype)
    yes, no = jax.nn.sigmoid(amplified) * counted, jax.nn.sigmoid(-amplified) * counted
    totals = (positive * yes, (1 - positive) * yes, positive * no, (1 - positive) * no)
    return SoftConfusion(*(all_sum(jnp.sum(total), axis_name) for total in totals))
