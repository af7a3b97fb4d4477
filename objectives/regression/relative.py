"""Errors relative to the size of what is predicted, one value per entry."""

import jax.numpy as jnp

from objectives._inputs import finish, hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._residuals import magnitude, pair


def squared_log_error(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared difference of log(1 + x); its mean is the mean squared logarithmic error (MSLE).

    $$
    \left( \log(1 + \hat y) - \log(1 + y) \right)^2
    $$

    Relative errors count alike at all sizes; too low a prediction costs more than one as much too high.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN where a
        prediction or target is below -1.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{squared_log_error(jnp.array([3.0]), jnp.array([1.0]))[0]:.4f}")
        0.4805

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    entries = pair("squared_log_error", predictions, targets, where)
    return finish((jnp.log1p(entries.predictions) - jnp.log1p(entries.targets)) ** 2, entries.kept)


def absolute_percentage_error(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    epsilon: Scalar = 1e-8,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Absolute error relative to the target; its mean is the mean absolute percentage error (MAPE).

    $$
    \frac{|e|}{\max(|y|, \epsilon)}, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        epsilon: Least size of a target ε, positive, in the units of the targets; relative to a target of 0 any error is
            large.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` as fractions (not times 100), float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{absolute_percentage_error(jnp.array([3.0]), jnp.array([4.0]))[0]:.4f}")
        0.2500

    Source:
        Jadon, Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting",
        2022.
    """
    name = "absolute_percentage_error"
    entries = pair(name, predictions, targets, where)
    epsilon = hyperparameter(name, "epsilon", epsilon, entries.dtype, 0, open_low=True)
    return finish(magnitude(entries.error) / jnp.maximum(jnp.abs(entries.targets), epsilon), entries.kept)


def symmetric_absolute_percentage_error(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Absolute error relative to the mean size of prediction and target; its mean is the sMAPE.

    $$
    \frac{2 |e|}{|\hat y| + |y|}, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    In [0, 2], and 2 wherever the signs differ: there, and at a target of 0, the gradient is 0.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` as fractions (the M4 competition has them times 100), float32 (float64 for float64 inputs); 0
        where prediction and target are 0.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{symmetric_absolute_percentage_error(jnp.array([3.0]), jnp.array([5.0]))[0]:.4f}")
        0.5000

    Source:
        Makridakis, "Accuracy Measures: Theoretical and Practical Concerns", 1993.
    """
    entries = pair("symmetric_absolute_percentage_error", predictions, targets, where)
    size = magnitude(entries.predictions) + magnitude(entries.targets)
    return finish(2 * magnitude(entries.error) / jnp.where(size > 0, size, 1), entries.kept)
