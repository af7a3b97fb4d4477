"""How well confidence is calibrated, measured in bins; temperature scaling; groups; angular visual hardness.

One equation: examples fall into bins by their confidence, and with the share w of the examples, the mean confidence
and the frequency of hits in every bin, a calibration error is a norm of w and |frequency - confidence|
(`reliability_diagram` returns the three). Members differ in the norm and in what is binned: the confidence of the
predicted class, the probability of every class, or a probability within groups.

Nothing here has a gradient.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import AxisName, all_sum
from objectives._inputs import (
    check_rank,
    check_same_shape,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    is_class,
    mask,
    pick,
    real,
    static_integer,
)
from objectives._numerics import root
from objectives._probabilities import ClassLabels, gather, log_softmax
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, Float, Real

Binning = Literal["uniform", "equal_mass"]
Norm = Literal["l1", "l2", "max"]


class CalibrationBins(NamedTuple):
    """A reliability diagram.

    Attributes:
        confidence: Mean confidence of the examples in every bin `[num_bins]`, 0 in an empty one.
        frequency: Frequency of the outcome in every bin `[num_bins]`, 0 in an empty one.
        weight: Share of the examples in every bin `[num_bins]`.
    """

    confidence: Array
    frequency: Array
    weight: Array


class BrierDecomposition(NamedTuple):
    """The parts of a Brier score: reliability - resolution + uncertainty + within_variance - within_covariance.

    Attributes:
        reliability: Squared gap between probability and frequency in bins; 0 is calibrated.
        resolution: Variance of the frequency over the bins; the more, the sharper.
        uncertainty: Variance of the outcome itself.
        within_variance: Variance of the probabilities inside the bins.
        within_covariance: Twice the covariance of probability and outcome inside the bins.
    """

    reliability: Array
    resolution: Array
    uncertainty: Array
    within_variance: Array
    within_covariance: Array


def reliability_diagram(
    probabilities: Float[ArrayLike, "*batch"],
    outcomes: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    num_bins: int = 15,
    binning: Binning = "uniform",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> CalibrationBins:
    """Confidence, frequency and share of the examples in bins of confidence.

    For several classes give the confidence of the predicted class and whether it was right.

    Args:
        probabilities: Predicted probabilities `[...]` of the outcome, in [0, 1].
        outcomes: What happened `[...]`: 0 or 1, boolean, or a frequency.
        num_bins: Number of bins, at least 1.
        binning: Bins of equal width, closed on the right (`"uniform"`), or of equally many examples (`"equal_mass"`),
            where equal probabilities stay together.
        where: Boolean mask `[...]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The `CalibrationBins`, float32 (float64 for float64 inputs); NaN where a probability is not in [0, 1].

    Raises:
        TypeError: If the probabilities are not floating point, `num_bins` no integer or `where` not boolean.
        ValueError: If shapes do not match, there is no bin or the word is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> bins = reliability_diagram(jnp.array([0.2, 0.4, 0.9]), jnp.array([0, 1, 1]), num_bins=2)
        >>> print([f"{value:.2f}" for value in (*bins.confidence, *bins.frequency)])
        ['0.30', '0.90', '0.50', '1.00']

    Source:
        DeGroot, Fienberg, "The Comparison and Evaluation of Forecasters", 1983. Guo, Pleiss, Sun, Weinberger, "On
        Calibration of Modern Neural Networks", 2017.
    """
    name = "reliability_diagram"
    forecast, outcome, kept = _forecast(name, probabilities, outcomes, where)
    mass, forecast_sum, outcome_sum = _bins(name, forecast, outcome, kept, num_bins, binning, axis_name)
    count = jnp.maximum(jnp.sum(mass), 1)
    size = jnp.maximum(mass, 1)
    return CalibrationBins(forecast_sum / size, outcome_sum / size, mass / count)


def expected_calibration_error(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    num_bins: int = 15,
    binning: Binning = "uniform",
    norm: Norm = "l1",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Expected calibration error (ECE) of the predicted class: the mean gap between confidence and accuracy in bins.

    $$
    \sum_b w_b\, |\mathrm{acc}_b - \mathrm{conf}_b|
    $$

    With `binning="equal_mass"` it is the adaptive calibration error. The norm `"l2"` is the root of the mean square,
    `"max"` the maximum calibration error (MCE), over the bins with examples. All overestimate the error of a small
    sample.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, with which the prediction is right
            to a degree.
        num_bins: Number of bins, at least 1.
        binning: Bins of equal width (`"uniform"`) or of equally many examples (`"equal_mass"`).
        norm: `"l1"`, `"l2"` or `"max"`.
        where: Boolean mask `[...]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The error in [0, 1], a scalar, float32 (float64 for float64 logits); 0 where nothing is counted, NaN where a
        class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids or `num_bins` not integers or `where` not boolean.
        ValueError: If shapes do not match, there is no bin or a word is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.8, 0.2], [0.6, 0.4]]))
        >>> print(f"{expected_calibration_error(logits, jnp.array([0, 1])):.4f}")
        0.4000

    Source:
        Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015. Guo, Pleiss,
        Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017. Nguyen, O'Connor, "Posterior Calibration and
        Exploratory Analysis for Natural Language Processing Models" (equal mass), 2015.
    """
    name = "expected_calibration_error"
    logits, targets, kept = read(name, logits, labels, where)
    _check_word(name, "norm", norm, get_args(Norm))
    classes = log_softmax(lax.stop_gradient(logits))
    predicted = jnp.argmax(classes.scores, axis=-1)
    confidence = jnp.exp(pick(classes.log_p, predicted))
    if targets.valid is not None:
        hit = (predicted == targets.values).astype(confidence.dtype)
        right = clean(jnp.where(targets.valid, hit, jnp.nan), kept)
    else:
        right = clean(pick(targets.values, predicted), kept)
    mass, confident, hits = _bins(name, confidence, right, kept, num_bins, binning, axis_name)
    return _norm(mass, jnp.abs(hits - confident), norm)


def classwise_calibration_error(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    num_bins: int = 15,
    binning: Binning = "uniform",
    norm: Norm = "l1",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " classes"]:
    r"""Calibration error of the probability of every class; their mean is the class-wise (static) calibration error.

    $$
    \sum_b w_{cb}\, |\mathrm{freq}_{cb} - \mathrm{conf}_{cb}|
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        num_bins: Number of bins, at least 1.
        binning: Bins of equal width (`"uniform"`) or of equally many examples (`"equal_mass"`).
        norm: `"l1"`, `"l2"` or `"max"`, as in `expected_calibration_error`.
        where: Boolean mask `[...]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        Errors `[C]` in [0, 1], float32 (float64 for float64 logits); 0 where nothing is counted, NaN where a class id
        is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids or `num_bins` not integers or `where` not boolean.
        ValueError: If shapes do not match, there is no bin or a word is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.8, 0.2], [0.6, 0.4]]))
        >>> print([f"{error:.2f}" for error in classwise_calibration_error(logits, jnp.array([0, 1]))])
        ['0.40', '0.40']

    Source:
        Nixon, Dusenberry, Jerfel, Nguyen, Liu, Zhang, Tran, "Measuring Calibration in Deep Learning", 2019. Kull,
        Perello-Nieto, Kängsepp, Silva Filho, Song, Flach, "Beyond Temperature Scaling", 2019.
    """
    name = "classwise_calibration_error"
    logits, targets, kept = read(name, logits, labels, where)
    _check_word(name, "norm", norm, get_args(Norm))
    probabilities = log_softmax(lax.stop_gradient(logits)).probabilities()
    if targets.valid is not None:
        invalid = jnp.where(targets.valid, 0, jnp.nan).astype(probabilities.dtype)
        labelled = is_class(targets.values, logits.shape[-1]) + clean(invalid, kept)[..., None]
    else:
        labelled = targets.values

    def one_class(probability: Array, labelled: Array) -> Array:
        mass, confident, hits = _bins(name, probability, labelled, kept, num_bins, binning, axis_name)
        return _norm(mass, jnp.abs(hits - confident), norm)

    return lax.map(lambda pair: one_class(*pair), (jnp.moveaxis(probabilities, -1, 0), jnp.moveaxis(labelled, -1, 0)))


def brier_decomposition(
    probabilities: Float[ArrayLike, "*batch"],
    outcomes: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    num_bins: int = 10,
    binning: Binning = "uniform",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> BrierDecomposition:
    r"""The Brier score of probabilities of an outcome, taken apart: reliability, resolution and uncertainty.

    $$
    \overline{(p - y)^2} = \sum_b w_b (\bar p_b - \bar y_b)^2 - \sum_b w_b (\bar y_b - \bar y)^2
    + \overline{(y - \bar y)^2} + \mathrm{WBV} - \mathrm{WBC}
    $$

    The last two, variance and covariance inside the bins, make the sum exact where the probabilities of a bin differ.
    Outcomes are 0 or 1, or frequencies.

    Args:
        probabilities: Predicted probabilities p `[...]` of the outcome, in [0, 1].
        outcomes: What happened, y `[...]`.
        num_bins: Number of bins, at least 1.
        binning: Bins of equal width (`"uniform"`) or of equally many examples (`"equal_mass"`).
        where: Boolean mask `[...]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The `BrierDecomposition`, scalars, float32 (float64 for float64 inputs); NaN where a probability is not in
        [0, 1].

    Raises:
        TypeError: If the probabilities are not floating point, `num_bins` no integer or `where` not boolean.
        ValueError: If shapes do not match, there is no bin or the word is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> parts = brier_decomposition(jnp.array([0.2, 0.2, 0.8, 0.8]), jnp.array([0, 1, 1, 1]))
        >>> print([f"{abs(part):.4f}" for part in parts])
        ['0.0650', '0.0625', '0.1875', '0.0000', '0.0000']

    Source:
        Murphy, "A New Vector Partition of the Probability Score", 1973. Stephenson, Coelho, Jolliffe, "Two Extra
        Components in the Brier Score Decomposition", 2008.
    """
    name = "brier_decomposition"
    forecast, outcome, kept = _forecast(name, probabilities, outcomes, where)
    mass, forecasts, outcomes = _bins(name, forecast, outcome, kept, num_bins, binning, axis_name)
    count, size = jnp.maximum(jnp.sum(mass), 1), jnp.maximum(mass, 1)
    p, y, overall = forecasts / size, outcomes / size, jnp.sum(outcomes) / count
    index = _bin_index(forecast, kept, num_bins, binning, axis_name)
    from_p, from_y = clean(forecast - p[index], kept), clean(outcome - y[index], kept)

    def mean(values: Array) -> Array:
        return all_sum(jnp.sum(values), axis_name) / count

    return BrierDecomposition(
        jnp.sum(mass * (p - y) ** 2) / count,
        jnp.sum(mass * (y - overall) ** 2) / count,
        mean(clean((outcome - overall) ** 2, kept)),
        mean(from_p**2),
        2 * mean(from_p * from_y),
    )


def fit_temperature(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    bounds: tuple[float, float] = (0.01, 100.0),
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Temperature scaling: the temperature at which held-out labels are most likely.

    $$
    \arg\min_T\ -\sum_i \log \mathrm{softmax}(z_i / T)_{y_i}
    $$

    The negative log likelihood is convex in 1 / T; its slope is bisected on a logarithmic scale until the dtype's
    resolution is reached. Divide logits by the result: predictions stay, confidences change.

    Args:
        logits: Unnormalised log probabilities `[..., C]` on data that was not trained on.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        bounds: Lowest and highest temperature; where all predictions are right the lowest is the result.
        where: Boolean mask `[...]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The temperature, a scalar, float32 (float64 for float64 logits), without gradient; NaN where a class id is out
        of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or the bounds are not positive and increasing.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> temperature = fit_temperature(logits, jnp.array([0, 0, 0, 1]))
        >>> print(f"{temperature:.3f}")  # three in four are right: 4 / log 3
        3.641

    Source:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017.
    """
    name = "fit_temperature"
    logits, targets, kept = read(name, logits, labels, where)
    low, high = bounds
    if not 0 < low < high:
        raise ValueError(f"{name}: bounds must be positive and increasing, got {bounds}")
    classes = log_softmax(lax.stop_gradient(logits))
    dtype, possible = classes.scores.dtype, classes.possible
    gaps = jnp.where(possible, classes.log_p, 0)  # the logits, shifted: that changes nothing
    if targets.are_ids:
        labelled = finish(pick(gaps, targets.values), kept, targets.valid)
        weight = jnp.ones(gaps.shape[:-1], dtype)
    else:
        labelled = clean(jnp.sum(targets.values * gaps, axis=-1), kept)
        weight = jnp.sum(targets.values, axis=-1)

    def slope(inverse: Array) -> Array:
        """Of the negative log likelihood, by 1 / T: it rises."""
        p = jax.nn.softmax(jnp.where(possible, gaps * inverse, -jnp.inf), axis=-1)
        p = jnp.where(possible, p, 0)
        return all_sum(jnp.sum(clean(weight * jnp.sum(p * gaps, axis=-1) - labelled, kept)), axis_name)

    def halve(_: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        bottom, top = interval  # of log T
        middle = (bottom + top) / 2
        colder = slope(jnp.exp(-middle)) < 0  # the likelihood still rises with 1 / T
        return jnp.where(colder, bottom, middle), jnp.where(colder, middle, top)

    start = jnp.log(jnp.asarray(low, dtype)), jnp.log(jnp.asarray(high, dtype))
    steps = 34 if dtype == jnp.float32 else 62
    bottom, top = lax.fori_loop(0, steps, halve, start)
    poison = 0 * slope(jnp.ones((), dtype))  # NaN where a label is invalid
    return jnp.exp((bottom + top) / 2) + poison


def angular_visual_hardness(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Angular visual hardness (AVH): the angle to the label's weights as a share of the angles to all classes'.

    $$
    \frac{\angle(x, w_y)}{\sum_c \angle(x, w_c)}
    $$

    Low is easy. It follows human perception of hardness more closely than confidence does, and levels off early in
    training while the loss still falls, because the lengths of the vectors do not enter.

    Args:
        embeddings: Last hidden features x `[..., D]`, of any length.
        weights: Weights of the last layer w `[C, D]`, of any length.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected hardness of a label.
        where: Boolean mask `[...]`; a masked entry has hardness 0 and may hold anything.

    Returns:
        Hardness `[...]` in [0, 1], float32 (float64 for float64 inputs); NaN where a class id is out of range. A vector
        of zeros is at right angles to everything.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([[2.0, 0.0], [-1.0, 0.0]])
        >>> hardness = angular_visual_hardness(jnp.array([[1.0, 1.0]]), weights, jnp.array([0]))
        >>> print(f"{hardness[0]:.4f}")
        0.2500

    Source:
        Chen, Liu, Yu, Kautz, Shrivastava, Garg, Anandkumar, "Angular Visual Hardness", 2020.
    """
    name = "angular_visual_hardness"
    x, w = floating(name, "embeddings", embeddings), floating(name, "weights", weights)
    check_rank(name, "embeddings", x, 1, "[..., D]")
    if w.ndim != 2 or w.shape[0] == 0 or w.shape[1] != x.shape[-1]:
        raise ValueError(f"{name}: weights must have shape [C, {x.shape[-1]}], got {describe(w)}")
    kept, dtype = mask(name, where, x.shape[:-1]), compute_dtype(x, w)
    targets = class_labels(name, labels, (*x.shape[:-1], w.shape[0]), dtype, kept)
    x, w = _unit(lax.stop_gradient(clean(x, kept)).astype(dtype)), _unit(lax.stop_gradient(w).astype(dtype))
    angles = jnp.arccos(jnp.clip(x @ w.T, -1, 1))
    own = pick(angles, targets.values) if targets.are_ids else jnp.sum(targets.values * angles, axis=-1)
    total = jnp.sum(angles, axis=-1)
    return finish(jnp.where(total > 0, own / jnp.where(total > 0, total, 1), 0), kept, targets.valid)


def multicalibration_error(
    probabilities: Float[ArrayLike, " batch"],
    outcomes: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    groups: Real[ArrayLike, "batch groups"] | Bool[ArrayLike, "batch groups"],
    *,
    num_bins: int = 10,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "groups num_bins"]:
    r"""Multicalibration: the bias of probabilities in every bin, within every group of examples.

    $$
    \left| \tfrac{1}{n} \sum_i g(x_i)\, (y_i - p_i)\, [p_i \in \mathrm{bin}_b] \right|
    $$

    The error is `.max()` over groups and bins; a predictor for which it is small serves every loss function
    (`omniprediction`), at least as well as any predictor that is linear in the groups. Divide by the mass of a group in
    a bin for the conditional bias. With one group of everybody, `.sum()` is the expected calibration error.

    Args:
        probabilities: Predicted probabilities p of the outcome `[N]`, in [0, 1].
        outcomes: What happened, y `[N]`: 0 or 1, or a frequency.
        groups: Membership g of the groups `[N, G]`, boolean or in [0, 1], or any test functions.
        num_bins: Number of bins of equal width, at least 1.
        where: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`.

    Returns:
        Errors `[G, num_bins]`, float32 (float64 for float64 inputs); NaN where a probability is not in [0, 1].

    Raises:
        TypeError: If the probabilities are not floating point, `num_bins` no integer or `where` not boolean.
        ValueError: If shapes do not match or there is no bin.

    Examples:
        >>> import jax.numpy as jnp
        >>> groups = jnp.array([[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> errors = multicalibration_error(jnp.full(4, 0.5), jnp.array([1, 1, 0, 1]), groups, num_bins=1)
        >>> print(f"{errors[0, 0]:.4f} {errors[1, 0]:.4f}")
        0.2500 0.0000

    Source:
        Hébert-Johnson, Kim, Reingold, Rothblum, "Multicalibration: Calibration for the (Computationally-Identifiable)
        Masses", 2018. Hu, Livni Navon, Reingold, Yang, "Omnipredictors for Constrained Optimization", 2023.
    """
    name = "multicalibration_error"
    bias, members, kept = _group_bias(name, probabilities, outcomes, groups, where)
    static_integer(name, "num_bins", num_bins)
    forecast = clean(jnp.asarray(probabilities), kept).astype(bias.dtype)
    index = _bin_index(forecast, kept, num_bins, "uniform", axis_name)
    sums = jnp.zeros((num_bins, members.shape[-1]), bias.dtype).at[index].add(bias[:, None] * members)
    return jnp.abs(all_sum(sums, axis_name).T) / _examples(kept, bias, axis_name)


def multiaccuracy_error(
    probabilities: Float[ArrayLike, " batch"],
    outcomes: Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    groups: Real[ArrayLike, "batch groups"] | Bool[ArrayLike, "batch groups"],
    *,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " groups"]:
    r"""Multiaccuracy: the bias of probabilities within every group of examples.

    $$
    \left| \tfrac{1}{n} \sum_i g(x_i)\, (y_i - p_i) \right|
    $$

    Args:
        probabilities: Predicted probabilities p of the outcome `[N]`, in [0, 1].
        outcomes: What happened, y `[N]`: 0 or 1, or a frequency.
        groups: Membership g of the groups `[N, G]`, boolean or in [0, 1], or any test functions.
        where: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`.

    Returns:
        Errors `[G]`, float32 (float64 for float64 inputs); NaN where a probability is not in [0, 1].

    Raises:
        TypeError: If the probabilities are not floating point or `where` is not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> groups = jnp.array([[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> errors = multiaccuracy_error(jnp.full(4, 0.5), jnp.array([1, 1, 0, 1]), groups)
        >>> print(f"{errors[0]:.4f} {errors[1]:.4f}")
        0.2500 0.0000

    Source:
        Kim, Ghorbani, Zou, "Multiaccuracy: Black-Box Post-Processing for Fairness in Classification", 2019. Hu, Livni
        Navon, Reingold, Yang, "Omnipredictors for Constrained Optimization", 2023.
    """
    bias, members, kept = _group_bias("multiaccuracy_error", probabilities, outcomes, groups, where)
    sums = all_sum(jnp.sum(bias[:, None] * members, axis=0), axis_name)
    return jnp.abs(sums) / _examples(kept, bias, axis_name)


def omniprediction(
    probabilities: Float[ArrayLike, "*batch"],
    actions: Float[ArrayLike, " actions"],
    losses: Float[ArrayLike, "actions 2"],
    *,
    costs: Float[ArrayLike, "*batch actions"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Omniprediction: the best action for a loss, from probabilities that were learnt without knowing the loss.

    $$
    \arg\min_a\ p\, \ell(a, 1) + (1 - p)\, \ell(a, 0) + \mathrm{cost}(a)
    $$

    From a multicalibrated predictor these actions are as good as the best hypothesis of the class it is multicalibrated
    for, for every loss. Constraints on groups enter as a cost for every example: `groups @ multipliers`, times what the
    constraint counts for each action, with Lagrange multipliers that are fitted on outcomes simulated from the
    probabilities.

    Args:
        probabilities: Predicted probabilities p of the outcome `[...]`, in [0, 1].
        actions: The actions to choose from, as numbers `[A]`.
        losses: What an action costs where the outcome is 0 and where it is 1, `[A, 2]`.
        costs: What an action costs an example beyond that `[..., A]`.
        where: Boolean mask `[...]`; a masked entry has action 0 and may hold anything.

    Returns:
        The chosen actions `[...]`, the first of equally good ones, float32 (float64 for float64 inputs); NaN where a
        probability is not in [0, 1].

    Raises:
        TypeError: If an input is not floating point or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> miss_is_worse = jnp.array([[0.0, 4.0], [1.0, 0.0]])
        >>> print(omniprediction(jnp.array([0.1, 0.3]), jnp.array([0.0, 1.0]), miss_is_worse))
        [0. 1.]

    Source:
        Gopalan, Kalai, Reingold, Sharan, Wieder, "Omnipredictors", 2022. Hu, Livni Navon, Reingold, Yang,
        "Omnipredictors for Constrained Optimization", 2023.
    """
    name = "omniprediction"
    p, choices = floating(name, "probabilities", probabilities), floating(name, "actions", actions)
    table = floating(name, "losses", losses)
    check_rank(name, "actions", choices, 1, "[A]", 1)
    if table.shape != (*choices.shape, 2) or choices.size == 0:
        shape = [*choices.shape, 2]
        raise ValueError(f"{name}: losses must have shape {shape} and at least one action, got {describe(table)}")
    kept, dtype = mask(name, where, p.shape), compute_dtype(p, choices, table)
    p = lax.stop_gradient(clean(p, kept)).astype(dtype)
    sound = (p >= 0) & (p <= 1)
    table = table.astype(dtype)
    expected = p[..., None] * table[:, 1] + (1 - p[..., None]) * table[:, 0]
    if costs is not None:
        more = floating(name, "costs", costs)
        if more.shape != expected.shape:
            raise ValueError(f"{name}: costs must have shape {list(expected.shape)}, got {describe(more)}")
        expected = expected + clean(more, kept).astype(dtype)
    return finish(choices.astype(dtype)[jnp.argmin(expected, axis=-1)], kept, sound)


def _check_word(function: str, name: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        raise ValueError(f"{function}: {name} must be one of {', '.join(words)}, got {value!r}")


def _forecast(
    function: str, probabilities: ArrayLike, outcomes: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Probabilities, NaN where they are none, outcomes and the mask, cleaned."""
    p, y = floating(function, "probabilities", probabilities), real(function, "outcomes", outcomes)
    check_same_shape(function, "outcomes", y, "probabilities", p)
    kept, dtype = mask(function, where, p.shape), compute_dtype(p, y)
    p, y = (lax.stop_gradient(clean(x, kept)).astype(dtype) for x in (p, y))
    return finish(p, kept, (p >= 0) & (p <= 1)), y, kept


def _group_bias(
    function: str, probabilities: ArrayLike, outcomes: ArrayLike, groups: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    p, y, kept = _forecast(function, probabilities, outcomes, where)
    check_rank(function, "probabilities", p, 1, "[N]", 1)
    members = real(function, "groups", groups)
    if members.ndim != 2 or members.shape[0] != p.shape[0]:
        raise ValueError(f"{function}: groups must have shape [{p.shape[0]}, G], got {describe(members)}")
    return clean(y - p, kept), lax.stop_gradient(clean(members, kept)).astype(p.dtype), kept


def _examples(kept: Array | None, values: Array, axis_name: AxisName) -> Array:
    """The number of examples on all devices, at least 1."""
    present = jnp.ones(values.shape, bool) if kept is None else kept
    return jnp.maximum(all_sum(jnp.sum(present, dtype=values.dtype), axis_name), 1)


def _bin_index(forecast: Array, kept: Array | None, num_bins: int, binning: str, axis_name: AxisName) -> Array:
    """The bin of every example."""
    if binning == "uniform":
        index = jnp.ceil(jnp.nan_to_num(forecast) * num_bins).astype(jnp.int32) - 1
        return jnp.clip(index, 0, num_bins - 1)
    present = jnp.ones(forecast.shape, bool) if kept is None else kept
    everything = jnp.sort(gather(jnp.where(present, forecast, jnp.inf).reshape(-1), axis_name))
    ranks = jnp.searchsorted(everything, forecast)  # that of the first of equal ones
    count = all_sum(jnp.sum(present, dtype=jnp.int32), axis_name)
    return jnp.clip(ranks * num_bins // jnp.maximum(count, 1), 0, num_bins - 1)


def _bins(
    function: str,
    forecast: Array,
    outcome: Array,
    kept: Array | None,
    num_bins: int,
    binning: str,
    axis_name: AxisName,
) -> tuple[Array, Array, Array]:
    """The number of examples in every bin, and the sums of their forecasts and outcomes: the one equation."""
    static_integer(function, "num_bins", num_bins)
    _check_word(function, "binning", binning, get_args(Binning))
    index = _bin_index(forecast, kept, num_bins, binning, axis_name).reshape(-1)
    present = jnp.ones(forecast.shape, bool) if kept is None else kept
    rows = jnp.stack([present.astype(forecast.dtype), clean(forecast, kept), clean(outcome, kept)], axis=-1)
    sums = jnp.zeros((num_bins, 3), forecast.dtype).at[index].add(rows.reshape(-1, 3))
    mass, forecasts, outcomes = all_sum(sums, axis_name).T
    return mass, forecasts, outcomes


def _norm(mass: Array, gaps: Array, norm: str) -> Array:
    """The norm of the gaps of bins, which come times their masses."""
    total, size = jnp.maximum(jnp.sum(mass), 1), jnp.maximum(mass, 1)
    if norm == "l1":
        return jnp.sum(gaps) / total
    if norm == "max":
        return jnp.max(gaps / size)
    return root(jnp.sum(gaps**2 / size) / total) + 0 * jnp.sum(gaps)


def _unit(vectors: Array) -> Array:
    """Vectors of length one; one of zeros stays."""
    largest = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True, initial=0)
    scaled = vectors / jnp.where(largest > 0, largest, 1)
    length = jnp.sqrt(jnp.sum(scaled**2, axis=-1, keepdims=True))
    return scaled / jnp.where(length > 0, length, 1)
