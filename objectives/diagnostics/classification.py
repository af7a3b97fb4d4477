"""Measures of classifiers: hits, and scores of one confusion matrix.

One equation: with a class's true positives, false positives and false negatives, a score is

    tp / (tp + a fp + b fn),

where precision is a = 1, b = 0; recall a = 0, b = 1; F-beta a = 1 / (1 + β²), b = β² / (1 + β²); and intersection over
union a = b = 1. A member is its two numbers.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import all_sum, gather
from objectives._inputs import (
    Labels,
    check_classes,
    check_rank,
    check_same_shape,
    class_labels,
    clean,
    compute_dtype,
    finish,
    hyperparameter,
    mask,
    pick,
    real,
)
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Real, Scalar


def accuracy(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Whether the largest score is that of the label: 1 or 0 for every example.

    $$
    [\operatorname{argmax}_c s_c = y]
    $$

    Take the mean with `reduce_mean`.

    Args:
        predictions: Scores of the classes `[..., C]`, of which the largest counts (the first of equal ones).
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        where: Boolean mask `[...]`; a masked entry has value 0 and may hold anything.

    Returns:
        Hits `[...]`, float32 (float64 for float64 inputs): for probabilities, that of the predicted class. NaN where a
        class id is out of range or a score NaN.

    Raises:
        TypeError: If the predictions are not real, class ids not integers or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(accuracy(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])))
        [1. 0.]

    Source:
        Terven, Cordova-Esparza, Romero-González, Ramírez-Pedraza, Chávez-Urbiola, "A Comprehensive Survey of Loss
        Functions and Metrics in Deep Learning", 2025.
    """
    return _hits("accuracy", predictions, labels, 1, where)


def top_k_accuracy(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    k: int = 5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Whether the label is among the k largest scores: 1 or 0 for every example.

    $$
    \Big[ |\{c: s_c > s_y\}| < k \Big]
    $$

    Take the mean with `reduce_mean`.

    Args:
        predictions: Scores of the classes `[..., C]`; of equal ones the first is the larger.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        k: How many of the largest scores count, at least 1; C or more is always a hit.
        where: Boolean mask `[...]`; a masked entry has value 0 and may hold anything.

    Returns:
        Hits `[...]`, float32 (float64 for float64 inputs): for probabilities, that of the k classes. NaN where a class
        id is out of range or a score NaN.

    Raises:
        TypeError: If the predictions are not real, class ids or `k` not integers or `where` not boolean.
        ValueError: If the shapes do not match or `k` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(top_k_accuracy(jnp.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), jnp.array([2, 1]), k=2))
        [1. 0.]

    Source:
        Russakovsky, Deng, Su, et al., "ImageNet Large Scale Visual Recognition Challenge", 2015.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"top_k_accuracy: k must be an integer, got {type(k).__name__}")
    if k < 1:
        raise ValueError(f"top_k_accuracy: k must be at least 1, got {k}")
    return _hits("top_k_accuracy", predictions, labels, int(k), where)


def confusion_matrix(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "classes classes"]:
    r"""How many examples of every class were predicted as every class.

    $$
    M_{jk} = |\{i: y_i = j,\ \operatorname{argmax}_c s_{ic} = k\}|
    $$

    Matrices of several batches add up. Class ids are counted in integers, in O(N + C²) memory.

    Args:
        predictions: Scores of the classes `[..., C]`, of which the largest counts (the first of equal ones).
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        where: Boolean mask of examples `[...]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        Counts `[C, C]`, labels by predictions, float32 (float64 for float64 inputs); NaN throughout where a label is
        out of range or a prediction NaN.

    Raises:
        TypeError: If the predictions are not real, class ids not integers or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.eye(3)[jnp.array([0, 0, 1, 1, 2])], jnp.array([0, 1, 1, 1, 0])
        >>> print(confusion_matrix(predictions, labels))
        [[1. 0. 1.]
         [1. 2. 0.]
         [0. 0. 0.]]

    Source:
        Kohavi, Provost, "Glossary of Terms", Machine Learning 30, 1998.
    """
    return _matrix("confusion_matrix", predictions, labels, where, axis_name)


def precision(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    average: Literal["macro", "weighted", "micro", "none"] = "macro",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Precision: the share of a class's predictions that are right.

    $$
    \frac{tp}{tp + fp}
    $$

    of the counts in `confusion_matrix`; 0 / 0 is 0.

    Args:
        predictions: Scores of the classes `[..., C]`, of which the largest counts (the first of equal ones).
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        average: `"macro"` for the mean over the classes that labels or predictions have, `"weighted"` for the mean over
            classes by their number of labels, `"micro"` for all classes counted together, `"none"` for each class.
        where: Boolean mask of examples `[...]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar, or scores `[C]` for `average="none"`, in [0, 1], float32 (float64 for float64 inputs); NaN where a
        label is out of range or a prediction NaN.

    Raises:
        TypeError: If the predictions are not real, class ids not integers or `where` not boolean.
        ValueError: If the shapes do not match or `average` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.eye(3)[jnp.array([0, 0, 1, 1, 2])], jnp.array([0, 1, 1, 1, 0])
        >>> print(f"{precision(predictions, labels):.4f}")
        0.5000

    Source:
        van Rijsbergen, "Information Retrieval", 1979.
    """
    matrix = _matrix("precision", predictions, labels, where, axis_name)
    return _average("precision", matrix, 1.0, 0.0, average)


def recall(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    average: Literal["macro", "weighted", "micro", "none"] = "macro",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Recall: the share of a class's labels that are found.

    $$
    \frac{tp}{tp + fn}
    $$

    of the counts in `confusion_matrix`; 0 / 0 is 0.

    Args:
        predictions: Scores of the classes `[..., C]`, of which the largest counts (the first of equal ones).
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        average: `"macro"` for the mean over the classes that labels or predictions have, `"weighted"` for the mean over
            classes by their number of labels, `"micro"` for all classes counted together, `"none"` for each class.
        where: Boolean mask of examples `[...]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar, or scores `[C]` for `average="none"`, in [0, 1], float32 (float64 for float64 inputs); NaN where a
        label is out of range or a prediction NaN.

    Raises:
        TypeError: If the predictions are not real, class ids not integers or `where` not boolean.
        ValueError: If the shapes do not match or `average` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.eye(3)[jnp.array([0, 0, 1, 1, 2])], jnp.array([0, 1, 1, 1, 0])
        >>> print(f"{recall(predictions, labels):.4f}")
        0.3889

    Source:
        van Rijsbergen, "Information Retrieval", 1979.
    """
    matrix = _matrix("recall", predictions, labels, where, axis_name)
    return _average("recall", matrix, 0.0, 1.0, average)


def f_beta_score(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    beta: Scalar = 1.0,
    average: Literal["macro", "weighted", "micro", "none"] = "macro",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""F-beta score: the harmonic mean of precision and recall, in which recall counts beta times as much.

    $$
    \frac{(1 + \beta^2)\, tp}{(1 + \beta^2)\, tp + fp + \beta^2 fn}
    $$

    of the counts in `confusion_matrix`; 0 / 0 is 0.

    Args:
        predictions: Scores of the classes `[..., C]`, of which the largest counts (the first of equal ones).
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        beta: Importance β of recall, at least 0; 1 gives the F1 score.
        average: `"macro"` for the mean over the classes that labels or predictions have, `"weighted"` for the mean over
            classes by their number of labels, `"micro"` for all classes counted together, `"none"` for each class.
        where: Boolean mask of examples `[...]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar, or scores `[C]` for `average="none"`, in [0, 1], float32 (float64 for float64 inputs); NaN where a
        label is out of range or a prediction NaN.

    Raises:
        TypeError: If the predictions are not real, class ids not integers or `where` not boolean.
        ValueError: If the shapes do not match, `beta` is out of range or `average` unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.eye(3)[jnp.array([0, 0, 1, 1, 2])], jnp.array([0, 1, 1, 1, 0])
        >>> print(f"{f_beta_score(predictions, labels):.4f}")
        0.4333

    Source:
        van Rijsbergen, "Information Retrieval", 1979.
    """
    matrix = _matrix("f_beta_score", predictions, labels, where, axis_name)
    squared = hyperparameter("f_beta_score", "beta", beta, matrix.dtype, 0) ** 2
    return _average("f_beta_score", matrix, 1 / (1 + squared), squared / (1 + squared), average)


def mean_iou(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Mean intersection over union of the classes that labels or predictions have.

    $$
    \operatorname{mean}_c \frac{tp_c}{tp_c + fp_c + fn_c}
    $$

    of the counts in `confusion_matrix`, of pixels all together.

    Args:
        predictions: Scores of the classes `[..., C]`, of which the largest counts (the first of equal ones).
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        where: Boolean mask of examples `[...]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar in [0, 1], float32 (float64 for float64 inputs); 0 where nothing is counted, NaN where a label is out
        of range or a prediction NaN.

    Raises:
        TypeError: If the predictions are not real, class ids not integers or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.eye(3)[jnp.array([0, 0, 1, 1, 2])], jnp.array([0, 1, 1, 1, 0])
        >>> print(f"{mean_iou(predictions, labels):.4f}")
        0.3333

    Source:
        Everingham, Van Gool, Williams, Winn, Zisserman, "The Pascal Visual Object Classes (VOC) Challenge", 2010.
    """
    return _average("mean_iou", _matrix("mean_iou", predictions, labels, where, axis_name), 1.0, 1.0, "macro")


def matthews_correlation(
    predictions: Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Matthews correlation coefficient of labels and predictions, of any number of classes.

    $$
    \frac{\sum_k M_{kk} / N - \sum_k p_k t_k}{\sqrt{(1 - \sum_k p_k^2)(1 - \sum_k t_k^2)}}
    $$

    with the shares p of the classes among the predictions and t among the labels.

    Args:
        predictions: Scores of the classes `[..., C]`, of which the largest counts (the first of equal ones).
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which count in part.
        where: Boolean mask of examples `[...]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar in [-1, 1], float32 (float64 for float64 inputs); 0 where labels or predictions have only one class,
        NaN where a label is out of range or a prediction NaN.

    Raises:
        TypeError: If the predictions are not real, class ids not integers or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, labels = jnp.eye(3)[jnp.array([0, 0, 1, 1, 2])], jnp.array([0, 1, 1, 1, 0])
        >>> print(f"{matthews_correlation(predictions, labels):.4f}")
        0.3608

    Source:
        Gorodkin, "Comparing Two K-category Assignments by a K-category Correlation Coefficient", 2004.
    """
    matrix = _matrix("matthews_correlation", predictions, labels, where, axis_name)
    size = jnp.sum(matrix)
    shares = matrix / jnp.where(size == 0, 1, size)
    predicted, actual = jnp.sum(shares, axis=0), jnp.sum(shares, axis=1)
    # 1 - Σ p² as Σ p (1 - p), exactly 0 for a single class
    spread = jnp.sum(predicted * (1 - predicted)) * jnp.sum(actual * (1 - actual))
    covariance = jnp.trace(shares) - jnp.sum(predicted * actual)
    return jnp.where(spread == 0, 0, covariance / jnp.sqrt(jnp.where(spread == 0, 1, spread)))


def average_precision(
    scores: Real[ArrayLike, " batch"],
    labels: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    *,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Average precision of a ranking: the mean, over the positives, of the precision at their scores.

    $$
    \frac{1}{|P|} \sum_{i \in P} \frac{|\{j \in P: s_j \ge s_i\}|}{|\{j: s_j \ge s_i\}|}
    $$

    Equal scores are one threshold, as in scikit-learn, so that the order of examples does not count. O(N log N).

    Args:
        scores: Scores s `[N]`, higher for what is thought positive.
        labels: Whether each example is positive `[N]`: boolean, or 0 or 1.
        where: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar in [0, 1], float32 (float64 for float64 inputs); 0 without positives, NaN where a label is not 0 or 1
        or a score NaN.

    Raises:
        TypeError: If scores or labels are not real or `where` is not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{average_precision(jnp.array([0.9, 0.8, 0.7]), jnp.array([1, 0, 1])):.4f}")
        0.8333

    Source:
        Buckley, Voorhees, "Evaluating Evaluation Measure Stability", 2000.
    """
    name = "average_precision"
    ranks, hits = real(name, "scores", scores), real(name, "labels", labels)
    check_rank(name, "scores", ranks, 1, "[N]", 1)
    check_same_shape(name, "labels", hits, "scores", ranks)
    kept, dtype = mask(name, where, ranks.shape), compute_dtype(ranks)
    present = jnp.ones(ranks.shape, bool) if kept is None else kept
    ranks, hits = lax.stop_gradient(clean(ranks, kept)), clean(hits, kept)
    fault = jnp.any((hits != 0) & (hits != 1)) | jnp.any(jnp.isnan(ranks))
    positive = present & (hits == 1)

    everyone = gather(ranks, axis_name), gather(positive, axis_name), gather(present, axis_name)
    ordered, positives, counted = lax.sort(
        (everyone[0], everyone[1].astype(jnp.int32), everyone[2].astype(jnp.int32)), num_keys=1
    )
    from_here = [jnp.pad(jnp.cumsum(x[::-1])[::-1], (0, 1)) for x in (positives, counted)]
    at = jnp.searchsorted(ordered, ranks)
    precisions = from_here[0][at].astype(dtype) / jnp.maximum(from_here[1][at], 1).astype(dtype)
    gained = all_sum(jnp.sum(jnp.where(positive, precisions, 0)), axis_name)
    mean = gained / jnp.maximum(all_sum(jnp.sum(positive), axis_name), 1).astype(dtype)
    return jnp.where(all_sum(fault.astype(jnp.int32), axis_name) > 0, jnp.nan, mean)


def _read(
    function: str, predictions: ArrayLike, labels: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Labels, Array, Array | None]:
    """Cleaned scores in their own dtype, labels, which examples are in order, and the mask."""
    scores = lax.stop_gradient(real(function, "predictions", predictions))
    check_classes(function, "predictions", scores)
    kept = mask(function, where, scores.shape[:-1])
    scores = clean(scores, kept)
    targets = class_labels(function, labels, scores.shape, compute_dtype(scores), kept)
    valid = ~jnp.any(jnp.isnan(scores), axis=-1)
    return scores, targets, valid if targets.valid is None else valid & targets.valid, kept


def _hits(function: str, predictions: ArrayLike, labels: ArrayLike, k: int, where: ArrayLike | None) -> Array:
    """The label's share among the k largest scores."""
    scores, targets, valid, kept = _read(function, predictions, labels, where)
    dtype, classes = compute_dtype(scores), scores.shape[-1]
    if targets.are_ids:
        ids = targets.values[..., None]
        own = pick(scores, targets.values)[..., None]
        above = (scores > own) | ((scores == own) & (jnp.arange(classes) < ids))
        hits = (jnp.sum(above, axis=-1) < k).astype(dtype)
    else:
        top = lax.top_k(scores, min(k, classes))[1]
        hits = jnp.sum(jnp.take_along_axis(targets.values, top, axis=-1), axis=-1)
    return finish(jnp.where(valid, hits, jnp.nan), kept)


def _matrix(
    function: str,
    predictions: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    axis_name: AxisName,
) -> Array:
    """The confusion matrix, labels by predictions."""
    scores, targets, valid, kept = _read(function, predictions, labels, where)
    dtype, classes = compute_dtype(scores), scores.shape[-1]
    predicted = jnp.argmax(scores, axis=-1).reshape(-1)
    present = (jnp.ones(valid.shape, bool) if kept is None else kept).reshape(-1)
    if targets.are_ids:
        cells = targets.values.reshape(-1) * classes + predicted
        counts = jnp.zeros(classes * classes, jnp.int32).at[cells].add(present.astype(jnp.int32))
        counts = counts.reshape(classes, classes)
    else:
        shares = jnp.where(present[:, None], targets.values.reshape(-1, classes), 0)
        counts = jnp.zeros((classes, classes), dtype).at[predicted].add(shares).T
    faults = all_sum(jnp.sum(~valid & present.reshape(valid.shape)), axis_name)
    return jnp.where(faults > 0, jnp.nan, all_sum(counts, axis_name).astype(dtype))


def _average(function: str, matrix: Array, a: Scalar, b: Scalar, average: str) -> Array:
    """The one equation of this file, over the classes of a confusion matrix."""
    if average not in ("macro", "weighted", "micro", "none"):
        raise ValueError(f"{function}: average must be 'macro', 'weighted', 'micro' or 'none', got {average!r}")
    tp, actual, predicted = jnp.diagonal(matrix), jnp.sum(matrix, axis=1), jnp.sum(matrix, axis=0)
    if average == "micro":
        tp, actual, predicted = jnp.sum(tp), jnp.sum(actual), jnp.sum(predicted)
    score = _ratio(tp, tp + a * (predicted - tp) + b * (actual - tp))
    if average == "macro":
        there = actual + predicted != 0
        return _ratio(jnp.sum(jnp.where(there, score, 0)), jnp.sum(there).astype(matrix.dtype))
    if average == "weighted":
        return _ratio(jnp.sum(actual * score), jnp.sum(actual))
    return score


def _ratio(numerator: Array, denominator: Array) -> Array:
    """A ratio that is 0 where the denominator is 0."""
    return jnp.where(denominator == 0, 0, numerator / jnp.where(denominator == 0, 1, denominator))
