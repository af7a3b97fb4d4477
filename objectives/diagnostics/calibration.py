"""How well confidence is calibrated, measured in bins; temperature scaling.

One equation: examples fall into bins by their confidence, and with the share w of the examples, the mean confidence
and the frequency of hits in every bin, a calibration error is a norm of w and |frequency - confidence|
(`reliability_diagram` returns the three). Members differ in the norm and in what is binned: the confidence of the
predicted class, or the probability of every class.

Nothing here has a gradient.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    check_choice,
    clean,
    finish,
    is_class,
    pick,
    static_integer,
)
from objectives._numerics import root
from objectives._probabilities import log_softmax
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Real
from objectives.diagnostics._bins import bin_index, forecast

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
    p, outcome, kept = forecast(name, probabilities, outcomes, where)
    mass, forecast_sum, outcome_sum = _bins(name, p, outcome, kept, num_bins, binning, axis_name)
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
    check_choice(name, "norm", norm, get_args(Norm))
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
    check_choice(name, "norm", norm, get_args(Norm))
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
    predicted, outcome, kept = forecast(name, probabilities, outcomes, where)
    mass, forecasts, outcomes = _bins(name, predicted, outcome, kept, num_bins, binning, axis_name)
    count, size = jnp.maximum(jnp.sum(mass), 1), jnp.maximum(mass, 1)
    p, y, overall = forecasts / size, outcomes / size, jnp.sum(outcomes) / count
    index = bin_index(predicted, kept, num_bins, binning, axis_name)
    from_p, from_y = clean(predicted - p[index], kept), clean(outcome - y[index], kept)

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


def _bins(
    function: str,
    p: Array,
    outcome: Array,
    kept: Array | None,
    num_bins: int,
    binning: str,
    axis_name: AxisName,
) -> tuple[Array, Array, Array]:
    """The number of examples in every bin, and the sums of their forecasts and outcomes: the one equation."""
    static_integer(function, "num_bins", num_bins)
    check_choice(function, "binning", binning, get_args(Binning))
    index = bin_index(p, kept, num_bins, binning, axis_name).reshape(-1)
    present = jnp.ones(p.shape, bool) if kept is None else kept
    rows = jnp.stack([present.astype(p.dtype), clean(p, kept), clean(outcome, kept)], axis=-1)
    sums = jnp.zeros((num_bins, 3), p.dtype).at[index].add(rows.reshape(-1, 3))
    mass, forecasts, outcomes = all_sum(sums, axis_name).T
    return mass, forecasts, outcomes


def _norm(mass: Array, gaps: Array, norm: str) -> Array:
    """The norm of the gaps of bins, which come times their masses."""
    total, size = jnp.maximum(jnp.sum(mass), 1), jnp.maximum(mass, 1)
    if norm == "l1":
        return jnp.sum(gaps) / total
    if norm == "max":
        return jnp.max(gaps / size)
    return root(jnp.sum(gaps**2 / size) / total)
