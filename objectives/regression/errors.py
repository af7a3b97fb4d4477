"""Losses of the size of an error, one value per entry: quadratic near zero, linear beyond it, or one of the two.

All are a function ρ of the residual, predictions minus targets; where a quadratic part meets a linear one, a threshold
in the units of the predictions says where.
"""

import math

import jax.numpy as jnp

from objectives._inputs import finish, hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._residuals import magnitude, pair


def squared_error(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared error; its mean is the mean squared error (MSE).

    $$
    e^2, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    It is least, on average, at the mean of the targets.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(squared_error(jnp.array([0.5, 3.0]), jnp.array([0.0, 1.0])))
        [0.25 4.  ]

    Source:
        Legendre, "Nouvelles méthodes pour la détermination des orbites des comètes", 1805; Jadon, Patil, Jadon, "A
        Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting", 2022.
    """
    entries = pair("squared_error", predictions, targets, where)
    return finish(entries.error**2, entries.kept)


def absolute_error(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Absolute error; its mean is the mean absolute error (MAE).

    $$
    |e|, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    It is least, on average, at the median of the targets. The gradient at no error is 0.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in the units of the predictions, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(absolute_error(jnp.array([0.5, 3.0]), jnp.array([0.0, 5.0])))
        [0.5 2. ]

    Source:
        Laplace, "Mémoire sur la probabilité des causes par les événements", 1774; Jadon, Patil, Jadon, "A Comprehensive
        Survey of Regression Based Loss Functions for Time Series Forecasting", 2022.
    """
    entries = pair("absolute_error", predictions, targets, where)
    return finish(magnitude(entries.error), entries.kept)


def log_cosh_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Logarithm of the hyperbolic cosine of the error: half its square near zero, its size less log 2 beyond.

    $$
    \log \cosh e = |e| + \log\left(1 + e^{-2|e|}\right) - \log 2, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Its gradient is tanh e. The errors are taken in units of their own: scale them first where 1 is no natural bend.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units near zero, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{log_cosh_loss(jnp.array([1.0]), jnp.array([0.0]))[0]:.4f}")
        0.4338

    Source:
        Green, "Bayesian Reconstructions from Emission Tomography Data Using a Modified EM Algorithm", 1990; Jadon,
        Patil, Jadon, "A Comprehensive Survey of Regression Based Loss Functions for Time Series Forecasting", 2022.
    """
    entries = pair("log_cosh_loss", predictions, targets, where)
    size = jnp.abs(entries.error)
    near = size < 1  # there ½ log(1 + sinh²) keeps the digits that the difference from log 2 would lose
    inner = 0.5 * jnp.log1p(jnp.sinh(jnp.where(near, entries.error, 0)) ** 2)
    outer = size + jnp.log1p(jnp.exp(-2 * size)) - math.log(2)
    return finish(jnp.where(near, inner, outer), entries.kept)


def huber_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    delta: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Huber loss: quadratic near zero error, linear beyond delta.

    $$
    \tfrac12 e^2 \ \text{if}\ |e| \le \delta, \qquad \delta \left( |e| - \tfrac12 \delta \right)\ \text{else},
    \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Its gradient is the error clipped to [-delta, delta].

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        delta: Error at which the loss turns linear, positive, in the units of the predictions.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `delta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(huber_loss(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0])))
        [0.125 2.5  ]

    Source:
        Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    entries = pair("huber_loss", predictions, targets, where)
    delta = hyperparameter("huber_loss", "delta", delta, entries.dtype, 0, open_low=True)
    clipped = jnp.clip(entries.error, -delta, delta)
    return finish(clipped * (entries.error - 0.5 * clipped), entries.kept)


def pseudo_huber_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    delta: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Pseudo-Huber loss: a smooth passage from half the squared error to delta times the absolute error.

    $$
    \delta^2 \left( \sqrt{1 + (e / \delta)^2} - 1 \right), \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        delta: Error around which the loss turns linear, positive, in the units of the predictions.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `delta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{pseudo_huber_loss(jnp.array([0.75]), jnp.array([0.0]))[0]:.4f}")
        0.2500

    Source:
        Charbonnier, Blanc-Féraud, Aubert, Barlaud, "Deterministic Edge-Preserving Regularization in Computed Imaging",
        1997.
    """
    entries = pair("pseudo_huber_loss", predictions, targets, where)
    delta = hyperparameter("pseudo_huber_loss", "delta", delta, entries.dtype, 0, open_low=True)
    ratio = entries.error / delta  # sqrt(1 + r²) - 1 = r² / (sqrt(1 + r²) + 1), without the cancellation
    return finish(entries.error * (entries.error / (jnp.sqrt(1 + ratio * ratio) + 1)), entries.kept)


def smooth_l1_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    beta: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Smooth L1 loss: Huber's over its threshold, so that the slope beyond it is 1.

    $$
    \frac{e^2}{2 \beta} \ \text{if}\ |e| \le \beta, \qquad |e| - \tfrac12 \beta\ \text{else},
    \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        beta: Error at which the loss turns linear, positive, in the units of the predictions.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in the units of the predictions, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(smooth_l1_loss(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0]), beta=0.5))
        [0.25 2.75]

    Source:
        Girshick, "Fast R-CNN", 2015.
    """
    entries = pair("smooth_l1_loss", predictions, targets, where)
    beta = hyperparameter("smooth_l1_loss", "beta", beta, entries.dtype, 0, open_low=True)
    clipped = jnp.clip(entries.error, -beta, beta)
    return finish(clipped / beta * (entries.error - 0.5 * clipped), entries.kept)


def balanced_l1_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    alpha: Scalar = 0.5,
    gamma: Scalar = 1.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Balanced L1 loss: small errors pull more than under smooth L1, large ones no more than gamma.

    $$
    \frac{\alpha}{b} (b|e| + 1) \log(b|e| + 1) - \alpha |e| \ \text{if}\ |e| < 1, \qquad
    \gamma |e| + \frac{\gamma}{b} - \alpha\ \text{else}, \qquad b = e^{\gamma / \alpha} - 1
    $$

    Its slope is α log(b|e| + 1) up to an error of 1, γ beyond. Errors are in the units of the regression target (of
    boxes, normalised offsets).

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        alpha: Steepness α near zero, positive; the smaller, the more small errors count.
        gamma: Slope γ of large errors, positive; γ/α below 80, or float32 overflows.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `alpha` or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{balanced_l1_loss(jnp.array([2.0]), jnp.array([0.0]))[0]:.4f}")
        2.5786

    Source:
        Pang, Chen, Shi, Feng, Ouyang, Lin, "Libra R-CNN: Towards Balanced Learning for Object Detection", 2019.
    """
    name = "balanced_l1_loss"
    entries = pair(name, predictions, targets, where)
    alpha = hyperparameter(name, "alpha", alpha, entries.dtype, 0, open_low=True)
    gamma = hyperparameter(name, "gamma", gamma, entries.dtype, 0, open_low=True)
    size, steepness = jnp.abs(entries.error), jnp.expm1(jnp.asarray(gamma / alpha, entries.dtype))
    scaled = steepness * jnp.minimum(size, 1)
    inner = alpha / steepness * ((scaled + 1) * jnp.log1p(scaled) - scaled)
    return finish(jnp.where(size < 1, inner, gamma * size + gamma / steepness - alpha), entries.kept)
