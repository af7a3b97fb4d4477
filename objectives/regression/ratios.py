"""Errors of a whole row of entries: aggregates over the last axis, and their ratios to an aggregate of the targets.

One equation: an aggregate of the errors over a normaliser, both over the last axis, which may be a batch of examples
(then `axis_name` sums over devices) or the steps of a series. Members differ in the two. To add one:

    rows = entries("weighted_absolute_percentage_error", predictions, targets, where, axis_name)
    return ratio(rows.total(jnp.abs(rows.error)), rows.total(jnp.abs(rows.targets)))
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp

from objectives._inputs import check_choice
from objectives._numerics import root
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real
from objectives.regression._ratios import Entries, entries, ratio
from objectives.regression._residuals import magnitude


def mean_bias_error(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Mean bias error (MBE): by how much predictions are too high on average.

    $$
    \frac1N \sum_i (\hat y_i - y_i)
    $$

    Errors of both signs cancel: something to watch beside a loss, or to penalise the square of. (The survey subtracts
    the other way around; here, as in forecasting, a positive bias is a prediction too high.)

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]` in the units of the predictions, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{mean_bias_error(predictions, targets):.4f}")
        -0.3333

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    rows = entries("mean_bias_error", predictions, targets, where, axis_name)
    return rows.mean(rows.error)


def root_mean_squared_error(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Root mean squared error (RMSE).

    $$
    \sqrt{ \tfrac1N \sum_i (\hat y_i - y_i)^2 }
    $$

    The gradient is 0 where there is no error.

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]` in the units of the predictions, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{root_mean_squared_error(predictions, targets):.4f}")
        0.5774

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    rows = entries("root_mean_squared_error", predictions, targets, where, axis_name)
    return root(rows.mean(rows.error**2))


def root_mean_squared_log_error(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Root mean squared logarithmic error (RMSLE).

    $$
    \sqrt{ \tfrac1N \sum_i \left( \log(1 + \hat y_i) - \log(1 + y_i) \right)^2 }
    $$

    The gradient is 0 where there is no error.

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]`, float32 (float64 for float64 inputs); NaN where
        a prediction or target is below -1.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{root_mean_squared_log_error(predictions, targets):.4f}")
        0.1661

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    rows = entries("root_mean_squared_log_error", predictions, targets, where, axis_name)
    return root(rows.mean((jnp.log1p(rows.predictions) - jnp.log1p(rows.targets)) ** 2))


def relative_absolute_error(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Relative absolute error (RAE): absolute errors over those of predicting the mean of the targets.

    $$
    \frac{\sum_i |\hat y_i - y_i|}{\sum_i |y_i - \bar y|}
    $$

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]`, float32 (float64 for float64 inputs); where
        the normaliser is 0, 0 for no errors and 1 for any, without a gradient.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{relative_absolute_error(predictions, targets):.4f}")
        0.2500

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    rows = entries("relative_absolute_error", predictions, targets, where, axis_name)
    return ratio(rows.total(magnitude(rows.error)), rows.total(magnitude(rows.centred_targets())))


def relative_squared_error(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Relative squared error (RSE): squared errors over those of predicting the mean of the targets.

    $$
    \frac{\sum_i (\hat y_i - y_i)^2}{\sum_i (y_i - \bar y)^2}
    $$

    One minus it is R².

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]`, float32 (float64 for float64 inputs); where
        the normaliser is 0, 0 for no errors and 1 for any, without a gradient.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{relative_squared_error(predictions, targets):.4f}")
        0.1250

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    rows = entries("relative_squared_error", predictions, targets, where, axis_name)
    return _relative_squares(rows)


def r2_score(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Coefficient of determination R²: the share of the targets' variance that the predictions explain.

    $$
    1 - \frac{\sum_i (\hat y_i - y_i)^2}{\sum_i (y_i - \bar y)^2}
    $$

    Higher is better, 1 is perfect and 0 as good as the mean. As in scikit-learn, equal targets score 1 if predicted
    exactly and 0 otherwise.

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{r2_score(predictions, targets):.4f}")
        0.8750

    Source:
        Wright, "Correlation and Causation", 1921.
    """
    rows = entries("r2_score", predictions, targets, where, axis_name)
    return 1 - _relative_squares(rows)


def normalized_root_mean_squared_error(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    normaliser: Literal["range", "mean", "std"] = "range",
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Normalised root mean squared error (NRMSE): comparable between series of different units.

    $$
    \frac{1}{s} \sqrt{ \tfrac1N \sum_i (\hat y_i - y_i)^2 }
    $$

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        normaliser: What the scale s of the targets is: their `"range"` (largest minus least), the size of their
            `"mean"` or their standard deviation `"std"` (the root of the relative squared error).
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]`, float32 (float64 for float64 inputs); where
        the normaliser is 0, 0 for no errors and 1 for any, without a gradient.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis or `normaliser` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{normalized_root_mean_squared_error(predictions, targets):.4f}")
        0.1443

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    rows = entries("normalized_root_mean_squared_error", predictions, targets, where, axis_name)
    check_choice("normalized_root_mean_squared_error", "normaliser", normaliser, _SCALES)
    return ratio(root(rows.mean(rows.error**2)), _SCALES[normaliser](rows))


def relative_root_mean_squared_error(
    predictions: Float[ArrayLike, "*batch entries"],
    targets: Real[ArrayLike, "*batch entries"] | Bool[ArrayLike, "*batch entries"],
    *,
    relative_to: Literal["predictions", "targets"] = "predictions",
    where: Bool[ArrayLike, "*batch entries"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Relative root mean squared error (RRMSE): error over the root mean square of what is predicted.

    $$
    \sqrt{ \frac{\sum_i (\hat y_i - y_i)^2}{\sum_i r_i^2} }, \qquad r = \hat y \text{ or } y
    $$

    Args:
        predictions: Predictions `[..., N]`.
        targets: Targets, of the shape of `predictions`.
        relative_to: What r is. The survey divides by the `"predictions"`, which then make an error cheaper by being
            large; `"targets"` does not.
        where: Boolean mask of entries `[..., N]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the last axis is split, under `shard_map`; value and gradient are
            then those of all entries.

    Returns:
        One value for each row, `[...]`, float32 (float64 for float64 inputs); where
        the normaliser is 0, 0 for no errors and 1 for any, without a gradient.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or have no axis or `relative_to` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> predictions, targets = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, 3.0, 5.0])
        >>> print(f"{relative_root_mean_squared_error(predictions, targets):.4f}")
        0.1826

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    rows = entries("relative_root_mean_squared_error", predictions, targets, where, axis_name)
    reference = {"predictions": rows.predictions, "targets": rows.targets}
    check_choice("relative_root_mean_squared_error", "relative_to", relative_to, reference)
    return root(ratio(rows.total(rows.error**2), rows.total(reference[relative_to] ** 2)))


def _relative_squares(rows: Entries) -> Array:
    return ratio(rows.total(rows.error**2), rows.total(rows.centred_targets() ** 2))


_SCALES: dict[str, Callable[[Entries], Array]] = {
    "range": lambda rows: rows.largest(rows.targets) + rows.largest(-rows.targets),
    "mean": lambda rows: jnp.abs(rows.mean(rows.targets)),
    "std": lambda rows: root(rows.mean(rows.centred_targets() ** 2)),
}
