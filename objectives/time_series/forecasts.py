"""Errors of forecasts: weighted by how far ahead they look, or scaled by how far the series moves by itself."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from objectives._inputs import check_rank, clean, compute_dtype, describe, hyperparameter, mask, real
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._ratios import entries, ratio
from objectives.regression._residuals import magnitude, per_example
from objectives.regression.errors import absolute_error


def horizon_decay_weights(steps: int, *, power: Scalar = 0.5) -> Float[Array, " steps"]:
    r"""Weights that fall with the horizon: forecasts are the less certain the farther they look.

    $$
    w_t = t^{-p}, \qquad t = 1, \ldots, T
    $$

    Args:
        steps: Number T of steps forecast, at least 1; the first is t = 1.
        power: Exponent p, at least 0: 1/2 where the variance of what comes grows linearly, as a random walk's; 0 gives
            equal weights.

    Returns:
        Weights `[T]`, float32 (float64 for a float64 `power`); the first is 1.

    Raises:
        TypeError: If `steps` is not an integer.
        ValueError: If `steps` or `power` is out of range.

    Examples:
        >>> print([f"{w:.4f}" for w in horizon_decay_weights(4)])
        ['1.0000', '0.7071', '0.5774', '0.5000']

    Source:
        Wang, Zhou, Wen, Gao, Ding, Jin, "CARD: Channel Aligned Robust Blend Transformer for Time Series Forecasting",
        2024.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
        raise TypeError(f"horizon_decay_weights: steps must be an integer, got {type(steps).__name__}")
    if steps < 1:
        raise ValueError(f"horizon_decay_weights: steps must be at least 1, got {steps}")
    dtype = np.dtype(np.float64 if getattr(power, "dtype", None) == np.float64 else np.float32)
    exponent = hyperparameter("horizon_decay_weights", "power", power, dtype, 0)
    return jnp.arange(1, int(steps) + 1, dtype=dtype) ** (-exponent)


def signal_decay_loss(
    predictions: Float[ArrayLike, "*batch steps"],
    targets: Real[ArrayLike, "*batch steps"],
    *,
    power: Scalar = 0.5,
    loss: Callable[[Array, Array], Array] = absolute_error,
    where: Bool[ArrayLike, "*batch steps"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Signal decay-based loss: the mean error of a forecast, both series scaled down with the horizon.

    $$
    \frac1T \sum_t \ell\left( t^{-p}\, \hat y_t,\ t^{-p}\, y_t \right)
    $$

    With the absolute error, Σ t⁻ᵖ |ŷ - y| / T: the weights are not normalised. Scaled like this, errors that grow with
    the horizon as those of a random walk count alike.

    Args:
        predictions: Forecasts ŷ `[..., T]`, time last; the first step is t = 1.
        targets: What came, y, of the shape of `predictions`.
        power: Exponent p, at least 0; 0 is the mean of the plain loss.
        loss: Loss of one entry ℓ(predictions, targets): any of this package that returns one value per entry.
        where: Boolean mask of entries `[..., T]`; a masked one is not in the mean and may hold anything.

    Returns:
        Losses of the series `[...]`, float32 (float64 for float64 inputs); 0 where nothing is kept.

    Raises:
        TypeError: If the forecasts are not floating point, the targets not real, `where` not boolean or `loss` not
            callable.
        ValueError: If shapes differ or have no axis, or `power` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{signal_decay_loss(jnp.array([1.0, 1.0]), jnp.array([0.0, 0.0])):.4f}")
        0.8536

    Source:
        Wang, Zhou, Wen, Gao, Ding, Jin, "CARD: Channel Aligned Robust Blend Transformer for Time Series Forecasting",
        2024.
    """
    name = "signal_decay_loss"
    rows = entries(name, predictions, targets, where)
    exponent = hyperparameter(name, "power", power, rows.targets.dtype, 0)
    steps = rows.targets.shape[-1]
    weights = jnp.arange(1, steps + 1, dtype=rows.targets.dtype) ** (-exponent)
    return rows.mean(per_example(name, loss, weights * rows.predictions, weights * rows.targets))


def mean_absolute_scaled_error(
    predictions: Float[ArrayLike, "*batch steps"],
    targets: Real[ArrayLike, "*batch steps"],
    history: Real[ArrayLike, "*batch past"],
    *,
    seasonality: int = 1,
    history_where: Bool[ArrayLike, "*batch past"] | None = None,
    where: Bool[ArrayLike, "*batch steps"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Mean absolute scaled error (MASE): errors in units of those that repeating the past would have made.

    $$
    \frac{\tfrac1T \sum_t |\hat y_t - y_t|}{\tfrac{1}{H - s} \sum_{t > s} |h_t - h_{t - s}|}
    $$

    Below 1 a forecast is better than the (seasonal) naive one was in the past. Comparable between series of any units.

    Args:
        predictions: Forecasts ŷ `[..., T]`, time last.
        targets: What came, y, of the shape of `predictions`.
        history: The series before, h `[..., H]`, longer than `seasonality`.
        seasonality: Period s of the naive forecast in steps, at least 1.
        history_where: Boolean mask of the history `[..., H]`; differences with a masked step count nowhere.
        where: Boolean mask of entries `[..., T]`; a masked one counts nowhere and may hold anything.

    Returns:
        Losses of the series `[...]`, float32 (float64 for float64 inputs); where the past does not move, 0 for no
        errors and 1 for any, without a gradient.

    Raises:
        TypeError: If the forecasts are not floating point, targets or history not real, masks not boolean or
            `seasonality` not an integer.
        ValueError: If shapes do not match or `seasonality` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> past = jnp.array([1.0, 3.0, 2.0, 5.0])
        >>> print(f"{mean_absolute_scaled_error(jnp.array([4.0, 4.0]), jnp.array([5.0, 7.0]), past):.4f}")
        1.0000

    Source:
        Hyndman, Koehler, "Another Look at Measures of Forecast Accuracy", 2006.
    """
    name = "mean_absolute_scaled_error"
    rows, past = entries(name, predictions, targets, where), real(name, "history", history)
    check_rank(name, "history", past, 1, "[..., H]")
    if past.shape[:-1] != rows.targets.shape[:-1]:
        expected = ", ".join(map(str, (*rows.targets.shape[:-1], "H")))
        raise ValueError(f"{name}: history must have shape [{expected}], got {describe(past)}")
    if isinstance(seasonality, bool) or not isinstance(seasonality, int | np.integer):
        raise TypeError(f"{name}: seasonality must be an integer, got {type(seasonality).__name__}")
    if not 1 <= seasonality < past.shape[-1]:
        raise ValueError(f"{name}: seasonality must lie in [1, {past.shape[-1] - 1}], got {seasonality}")
    kept = mask(name, history_where, past.shape)
    past = clean(past, kept).astype(compute_dtype(rows.targets, past))
    both = None if kept is None else kept[..., seasonality:] & kept[..., :-seasonality]
    moves = clean(magnitude(past[..., seasonality:] - past[..., :-seasonality]), both)
    count = moves.shape[-1] if both is None else jnp.maximum(jnp.sum(both, axis=-1, dtype=moves.dtype), 1)
    return ratio(rows.mean(magnitude(rows.error)), jnp.sum(moves, axis=-1) / count)
