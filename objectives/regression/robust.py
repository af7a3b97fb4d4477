"""Losses that give up on outliers, one value per entry: M-estimators that grow less than linearly, or not at all.

All are a function ρ of the residual over a scale c, with ρ about e²/2 near zero, so that they can be exchanged without
a new learning rate; `general_robust_loss` alone is free of units. A member is its ρ:

    square = jnp.minimum((entries.error / scale) ** 2, 1)
    return finish(square * (3 - 3 * square + square**2) * (scale**2 / 6), entries.kept)
"""

import jax.numpy as jnp

from objectives._inputs import finish, hyperparameter
from objectives._numerics import expm1_ratio
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._residuals import pair


def cauchy_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    scale: Scalar = 2.3849,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cauchy (Lorentzian) loss: half the squared error near zero, growing like a logarithm.

    $$
    \frac{c^2}{2} \log\left( 1 + (e/c)^2 \right), \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        scale: Error c beyond which the loss grows like a logarithm, positive, in the units of the predictions; the
            default keeps 95 % efficiency on normal errors of variance 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{cauchy_loss(jnp.array([2.0]), jnp.array([0.0]), scale=1.0)[0]:.4f}")
        0.8047

    Source:
        Black, Anandan, "The Robust Estimation of Multiple Motions", 1996; Holland, Welsch, "Robust Regression Using
        Iteratively Reweighted Least-Squares", 1977.
    """
    entries = pair("cauchy_loss", predictions, targets, where)
    scale = hyperparameter("cauchy_loss", "scale", scale, entries.dtype, 0, open_low=True)
    return finish(jnp.log1p((entries.error / scale) ** 2) * (0.5 * scale**2), entries.kept)


def geman_mcclure_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    scale: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Geman-McClure loss: half the squared error near zero, bounded by half the squared scale.

    $$
    \frac{c^2}{2} \frac{e^2}{c^2 + e^2}, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        scale: Error c beyond which the loss saturates, positive, in the units of the predictions.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{geman_mcclure_loss(jnp.array([2.0]), jnp.array([0.0]), scale=1.0)[0]:.4f}")
        0.4000

    Source:
        Geman, McClure, "Statistical Methods for Tomographic Image Reconstruction", 1987.
    """
    entries = pair("geman_mcclure_loss", predictions, targets, where)
    scale = hyperparameter("geman_mcclure_loss", "scale", scale, entries.dtype, 0, open_low=True)
    ratio = entries.error / scale
    return finish(0.5 * (entries.error / (1 + ratio**2)) * entries.error, entries.kept)


def welsch_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    scale: Scalar = 2.9846,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Welsch (Leclerc) loss: half the squared error near zero, bounded by half the squared scale.

    $$
    \frac{c^2}{2} \left( 1 - \exp\left( -(e/c)^2 \right) \right), \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        scale: Error c beyond which the loss saturates, positive, in the units of the predictions; the default keeps 95
            % efficiency on normal errors of variance 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{welsch_loss(jnp.array([2.0]), jnp.array([0.0]), scale=1.0)[0]:.4f}")
        0.4908

    Source:
        Dennis, Welsch, "Techniques for Nonlinear Least Squares and Robust Regression", 1978.
    """
    entries = pair("welsch_loss", predictions, targets, where)
    scale = hyperparameter("welsch_loss", "scale", scale, entries.dtype, 0, open_low=True)
    return finish(jnp.expm1(-((entries.error / scale) ** 2)) * (-0.5 * scale**2), entries.kept)


def tukey_biweight_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    scale: Scalar = 4.6851,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Tukey's biweight (bisquare): half the squared error near zero, constant beyond the scale.

    $$
    \frac{c^2}{6} \left( 1 - \left( 1 - (e/c)^2 \right)^3 \right) \ \text{if}\ |e| \le c, \qquad
    \frac{c^2}{6}\ \text{else}, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        scale: Error c beyond which the loss is constant and the gradient 0, positive, in the units of the predictions;
            the default keeps 95 % efficiency on normal errors of variance 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{tukey_biweight_loss(jnp.array([2.0]), jnp.array([0.0]), scale=1.0)[0]:.4f}")
        0.1667

    Source:
        Beaton, Tukey, "The Fitting of Power Series, Meaning Polynomials, Illustrated on Band-Spectroscopic Data", 1974.
    """
    entries = pair("tukey_biweight_loss", predictions, targets, where)
    scale = hyperparameter("tukey_biweight_loss", "scale", scale, entries.dtype, 0, open_low=True)
    square = jnp.minimum((entries.error / scale) ** 2, 1)
    return finish(square * (3 - 3 * square + square**2) * (scale**2 / 6), entries.kept)


def general_robust_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    alpha: Scalar = 1.0,
    scale: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""General robust loss: one shape parameter from the squared error to Welsch's loss.

    $$
    \frac{|\alpha - 2|}{\alpha} \left( \left( \frac{(e/c)^2}{|\alpha - 2|} + 1 \right)^{\alpha/2} - 1 \right),
    \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    With z = (e/c)², α = 2 is z/2 (the squared error), α = 1 √(z + 1) - 1 (Charbonnier, pseudo-Huber), α = 0
    log(z/2 + 1) (Cauchy), α = -2 2z/(z + 4) (Geman-McClure) and α = -∞ 1 - exp(-z/2) (Welsch), limits taken where the
    formula has none. All are about z/2 near zero: unlike its relatives here, the loss has no units. To learn the shape
    and the scale, `barron_nll_loss` has the normaliser that keeps them from making every error an outlier.

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        alpha: Shape α, at most 2; the smaller, the less outliers count; `-inf` is legal.
        scale: Error c at which the quadratic part ends, positive, in the units of the predictions.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `alpha` or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{general_robust_loss(jnp.array([2.0]), jnp.array([0.0]), alpha=-2.0)[0]:.4f}")
        1.0000

    Source:
        Barron, "A General and Adaptive Robust Loss Function", 2019.
    """
    name = "general_robust_loss"
    entries = pair(name, predictions, targets, where)
    alpha = jnp.asarray(hyperparameter(name, "alpha", alpha, entries.dtype, high=2), entries.dtype)
    scale = hyperparameter(name, "scale", scale, entries.dtype, 0, open_low=True)
    square = (entries.error / scale) ** 2
    quadratic, welsch = alpha == 2, jnp.isneginf(alpha)
    shape = jnp.where(quadratic | welsch, 1, alpha)
    bend = 2 - shape  # (b/α) expm1(α/2 log(1 + z/b)), written so that α = 0 is not special
    growth = 0.5 * jnp.log1p(square / bend)
    half = 0.5 * square
    power = jnp.where(welsch, -half, shape * growth)
    value = jnp.where(welsch, half, bend * growth) * expm1_ratio(power)
    return finish(jnp.where(quadratic, half, value), entries.kept)
