"""Scores of quantiles and prediction intervals."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from objectives._entries import entries, settle
from objectives._inputs import (
    check_classes,
    check_same_shape,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def crps_quantiles(
    quantiles: Float[ArrayLike, "*batch levels"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    levels: Real[ArrayLike, " levels"] | Sequence[Scalar],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Twice the mean pinball loss over several quantiles: the continuous ranked probability score, discretised.

    $$
    \frac2Q \sum_q \max\big( \tau_q (y - x_q),\ (\tau_q - 1) (y - x_q) \big)
    $$

    With levels (q - ½)/Q it becomes, as Q grows, the score of the distribution. Half of it is the multi-quantile loss
    of quantile regression.

    Args:
        quantiles: Predicted quantiles `[..., Q]`; they may cross, unless they come from `monotone_quantiles`.
        targets: Targets `[...]`, any finite numbers.
        levels: Their levels τ `[Q]`, each strictly between 0 and 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes do not match or a level is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = crps_quantiles(jnp.array([[0.0, 1.0, 3.0]]), jnp.array([2.0]), levels=[0.25, 0.5, 0.75])
        >>> print(f"{score[0]:.4f}")
        0.8333

    Source:
        Laio, Tamea, "Verification Tools for Probabilistic Forecasts of Continuous Hydrological Variables", 2007;
        Koenker, Bassett, "Regression Quantiles", 1978.
    """
    name, sizes = "crps_quantiles", {"quantiles": 1}
    (predicted, y), kept = entries(name, {"quantiles": quantiles}, {"targets": targets}, where, sizes)
    check_classes(name, "quantiles", predicted, "[..., Q]")
    tau = _levels(name, "levels", levels, predicted.shape[-1], predicted.dtype)
    valid = jnp.isfinite(y)
    error = jnp.where(valid, y, 0)[..., None] - predicted
    return settle(2 * jnp.mean(jnp.maximum(tau * error, (tau - 1) * error), axis=-1), valid, kept)


def monotone_quantiles(outputs: Float[ArrayLike, "*batch levels"]) -> Float[Array, "*batch levels"]:
    r"""Quantiles that cannot cross, from any outputs of a network: the lowest, and positive steps up from it.

    $$
    x_1 = o_1, \qquad x_q = x_{q-1} + \log(1 + e^{o_q})
    $$

    The loss is any of quantiles, at rising levels:

        def loss_fn(params, batch, key):
            quantiles = monotone_quantiles(model.apply(params, batch["x"]))
            return crps_quantiles(quantiles, batch["y"], levels=[0.1, 0.5, 0.9]).mean(), {}

    Args:
        outputs: Any numbers o `[..., Q]`.

    Returns:
        Rising quantiles `[..., Q]` in the units of the targets, float32 (float64 for float64 outputs).

    Raises:
        TypeError: If the outputs are not floating point.
        ValueError: If there is no level.

    Examples:
        >>> import jax.numpy as jnp
        >>> low, middle, high = monotone_quantiles(jnp.array([1.0, 0.0, -3.0]))
        >>> print(f"{low:.4f} {middle:.4f} {high:.4f}")
        1.0000 1.6931 1.7417

    Source:
        Park, Maddix, Aubet, Kan, Gasthaus, Wang, "Learning Quantile Functions without Quantile Crossing for
        Distribution-free Time Series Forecasting", 2022.
    """
    array = floating("monotone_quantiles", "outputs", outputs)
    check_classes("monotone_quantiles", "outputs", array, "[..., Q]")
    array = array.astype(compute_dtype(array))
    steps = jnp.concatenate([array[..., :1], jax.nn.softplus(array[..., 1:])], axis=-1)
    return jnp.cumsum(steps, axis=-1)


def interval_score(
    lower: Float[ArrayLike, "*batch"],
    upper: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    alpha: Scalar = 0.1,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Interval score of a central prediction interval: its width, and a penalty on targets outside.

    $$
    u - l + \frac2\alpha \max(l - y, 0) + \frac2\alpha \max(y - u, 0)
    $$

    Least, in expectation, for the quantiles at α/2 and 1 - α/2.

    Args:
        lower: Lower ends `[...]`.
        upper: Upper ends `[...]`.
        targets: Targets `[...]`, any finite numbers.
        alpha: Probability α of lying outside, in (0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `alpha` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = interval_score(jnp.array([0.0]), jnp.array([2.0]), jnp.array([2.5]), alpha=0.5)
        >>> print(f"{score[0]:.4f}")
        4.0000

    Source:
        Gneiting, Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007.
    """
    name = "interval_score"
    (low, high, y), kept = entries(name, {"lower": lower, "upper": upper}, {"targets": targets}, where)
    share = hyperparameter(name, "alpha", alpha, y.dtype, 0, 1, open_low=True)
    valid = jnp.isfinite(y)
    return settle(_interval(low, high, jnp.where(valid, y, 0), share), valid, kept)


def weighted_interval_score(
    median: Float[ArrayLike, "*batch"],
    lower: Float[ArrayLike, "*batch intervals"],
    upper: Float[ArrayLike, "*batch intervals"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    alphas: Real[ArrayLike, " intervals"] | Sequence[Scalar],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Weighted interval score of a median and several central intervals.

    $$
    \frac{1}{K + 1/2} \left[ \tfrac12 |y - m| + \sum_k \frac{\alpha_k}{2} \mathrm{IS}_{\alpha_k}(l_k, u_k; y) \right]
    $$

    It is `crps_quantiles` of the 2K + 1 quantiles.

    Args:
        median: Predicted medians `[...]`.
        lower: Lower ends `[..., K]`.
        upper: Upper ends `[..., K]`.
        targets: Targets `[...]`, any finite numbers.
        alphas: Probability of lying outside each interval `[K]`, strictly between 0 and 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes do not match or an alpha is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> lower, upper = jnp.array([[0.0, 0.5]]), jnp.array([[3.0, 2.0]])
        >>> score = weighted_interval_score(jnp.array([1.0]), lower, upper, jnp.array([2.5]), alphas=[0.1, 0.5])
        >>> print(f"{score[0]:.4f}")
        0.7100

    Source:
        Bracher, Ray, Gneiting, Reich, "Evaluating Epidemic Forecasts in an Interval Format", 2021.
    """
    name, sizes = "weighted_interval_score", {"lower": 1, "upper": 1}
    parameters = {"median": median, "lower": lower, "upper": upper}
    (middle, low, high, y), kept = entries(name, parameters, {"targets": targets}, where, sizes)
    check_same_shape(name, "upper", high, "lower", low)
    shares = _levels(name, "alphas", alphas, low.shape[-1], y.dtype)
    valid = jnp.isfinite(y)
    y = jnp.where(valid, y, 0)
    intervals = jnp.sum(0.5 * shares * _interval(low, high, y[..., None], shares), axis=-1)
    return settle((0.5 * jnp.abs(y - middle) + intervals) / (low.shape[-1] + 0.5), valid, kept)


def _interval(low: Array, high: Array, y: Array, alpha: Scalar | Array) -> Array:
    return high - low + 2 / alpha * (jnp.maximum(low - y, 0) + jnp.maximum(y - high, 0))


def _levels(function: str, name: str, values: ArrayLike | Sequence[Scalar], size: int, dtype: np.dtype) -> Array:
    """Probabilities `[size]`, strictly between 0 and 1 where they are concrete."""
    array = real(function, name, values)
    if array.shape != (size,):
        raise ValueError(f"{function}: {name} must have one entry for each prediction, [{size}], got {describe(array)}")
    if not any(isinstance(value, jax.core.Tracer) for value in jax.tree.leaves(values)):
        numbers = np.asarray(values, np.float64)
        if not ((numbers > 0) & (numbers < 1)).all():
            raise ValueError(f"{function}: {name} must lie in (0, 1), got {numbers.tolist()}")
    return array.astype(dtype)
