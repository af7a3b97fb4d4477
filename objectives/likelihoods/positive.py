"""Likelihoods of positive amounts, and of shares between 0 and 1."""

import jax.numpy as jnp

from objectives._distributions import LOG_2_PI, generalized_kl, phi_2, scaled, stirling
from objectives._entries import POSITIVE, UNIT_INTERVAL, entries, likelihood, settle
from objectives._inputs import hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.likelihoods.joint import dirichlet_nll


def gamma_nll_loss(
    log_mean: Float[ArrayLike, "*batch"],
    log_concentration: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a gamma distribution, by its mean and shape.

    $$
    \log \Gamma(\alpha) - \alpha \log \frac{\alpha y}{\mu} + \frac{\alpha y}{\mu} + \log y
    $$

    A fixed shape of 1 is the exponential distribution. The distribution of torch and SciPy has the rate α/μ.

    Args:
        log_mean: Log of the mean μ `[...]`.
        log_concentration: Log of the shape α `[...]`; the variance is μ²/α.
        targets: Targets `[...]`, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = gamma_nll_loss(jnp.array([0.0]), jnp.array([0.0]), jnp.array([3.0]))
        >>> print(f"{loss[0]:.4f}")
        3.0000

    Source:
        Nelder, Wedderburn, "Generalized Linear Models", 1972.
    """

    def nll(y: Array, log_mean: Array, log_concentration: Array) -> Array:
        log_y = jnp.log(y)
        misfit = generalized_kl(log_concentration, log_y - log_mean)
        remainder = stirling(log_concentration) - log_concentration
        return misfit + remainder + log_y

    parameters = {"log_mean": log_mean, "log_concentration": log_concentration}
    return likelihood("gamma_nll_loss", parameters, targets, where, POSITIVE, nll)


def log_normal_nll_loss(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a log-normal distribution.

    $$
    \frac{(\log y - \mu)^2}{2 \sigma^2} + \log \sigma y + \tfrac12 \log 2\pi
    $$

    Args:
        location: Mean of the logarithm `[...]`.
        log_scale: Log of the standard deviation of the logarithm `[...]`.
        targets: Targets `[...]`, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = log_normal_nll_loss(jnp.array([0.0]), jnp.array([0.0]), jnp.array([3.0]))
        >>> print(f"{loss[0]:.4f}")
        2.6210

    Source:
        Aitchison, Brown, "The Lognormal Distribution", 1957.
    """

    def nll(y: Array, location: Array, log_scale: Array) -> Array:
        log_y = jnp.log(y)
        error = scaled(log_y - location, log_scale)
        return 0.5 * (error * error + LOG_2_PI) + log_scale + log_y

    parameters = {"location": location, "log_scale": log_scale}
    return likelihood("log_normal_nll_loss", parameters, targets, where, POSITIVE, nll)


def inverse_gaussian_nll_loss(
    log_mean: Float[ArrayLike, "*batch"],
    log_concentration: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of an inverse Gaussian distribution, by its mean and shape.

    $$
    \frac{\lambda (y - \mu)^2}{2 \mu^2 y} + \tfrac12 \log \frac{2\pi y^3}{\lambda}
    $$

    Args:
        log_mean: Log of the mean μ `[...]`.
        log_concentration: Log of the shape λ `[...]`, in the units of the targets; the variance is μ³/λ.
        targets: Targets `[...]`, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = inverse_gaussian_nll_loss(jnp.array([0.0]), jnp.array([0.0]), jnp.array([3.0]))
        >>> print(f"{loss[0]:.4f}")
        3.2335

    Source:
        Tweedie, "Statistical Properties of Inverse Gaussian Distributions", 1957.
    """

    def nll(y: Array, log_mean: Array, log_concentration: Array) -> Array:
        log_y = jnp.log(y)
        error = scaled(jnp.expm1(log_y - log_mean), 0.5 * (log_y - log_concentration))
        return 0.5 * (error * error + LOG_2_PI - log_concentration + 3 * log_y)

    parameters = {"log_mean": log_mean, "log_concentration": log_concentration}
    return likelihood("inverse_gaussian_nll_loss", parameters, targets, where, POSITIVE, nll)


def beta_nll_loss(
    log_alpha: Float[ArrayLike, "*batch"],
    log_beta: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a beta distribution of shares.

    $$
    \log \mathrm{B}(\alpha, \beta) - (\alpha - 1) \log y - (\beta - 1) \log(1 - y)
    $$

    Args:
        log_alpha: Log of the first shape α `[...]`; the mean is α/(α + β).
        log_beta: Log of the second shape β `[...]`.
        targets: Targets `[...]`, strictly between 0 and 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = beta_nll_loss(jnp.log(jnp.array([2.0])), jnp.log(jnp.array([3.0])), jnp.array([0.25]))
        >>> print(f"{loss[0]:.4f}")
        -0.5232

    Source:
        Ferrari, Cribari-Neto, "Beta Regression for Modelling Rates and Proportions", 2004.
    """

    def nll(y: Array, log_alpha: Array, log_beta: Array) -> Array:
        log_shapes = jnp.stack([log_alpha, log_beta], axis=-1)
        return dirichlet_nll(jnp.stack([jnp.log(y), jnp.log1p(-y)], axis=-1), log_shapes)

    parameters = {"log_alpha": log_alpha, "log_beta": log_beta}
    return likelihood("beta_nll_loss", parameters, targets, where, UNIT_INTERVAL, nll)


def tweedie_deviance_loss(
    log_mean: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    power: Scalar = 1.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Tweedie deviance, of amounts that are often exactly 0 (rain, claims) and else positive.

    $$
    2 \left[ \frac{y^{2 - p}}{(1 - p)(2 - p)} - \frac{y \mu^{1 - p}}{1 - p} + \frac{\mu^{2 - p}}{2 - p} \right]
    = 2 y^{2 - p} \int_0^{\log \mu / y} \left( e^{(2 - p) t} - e^{(1 - p) t} \right) dt
    $$

    Twice the log likelihood that a perfect prediction would gain, in units of the dispersion. The limits are exact: at
    p = 1 it is the Poisson deviance, at p = 2 the gamma deviance, and near them no digits are lost. In between the
    variance is the dispersion times μ^p, and the distribution a sum of a Poisson number of gamma amounts, whose
    normaliser has no closed form and does not depend on the mean.

    Args:
        log_mean: Log of the mean μ `[...]`.
        targets: Targets `[...]`, positive or, for a power below 2, 0.
        power: Power p of the mean that the variance grows with, in [1, 2].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Deviances `[...]`, at least 0 and 0 where prediction and target are equal, float32 (float64 for float64 inputs);
        NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `power` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = tweedie_deviance_loss(jnp.array([0.0, 0.0]), jnp.array([0.0, 4.0]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        4.0000 4.0000

    Source:
        Tweedie, "An Index which Distinguishes between Some Important Exponential Families", 1984; Jørgensen,
        "Exponential Dispersion Models", 1987.
    """
    name = "tweedie_deviance_loss"
    (log_means, y), kept = entries(name, {"log_mean": log_mean}, {"targets": targets}, where)
    rest = 2 - jnp.asarray(hyperparameter(name, "power", power, y.dtype, 1, 2), y.dtype)
    some = (y > 0) & jnp.isfinite(y)
    log_y = jnp.log(jnp.where(some, y, 1))
    gap = jnp.where(some, log_means - log_y, 0)
    amount = gap * gap * (rest * phi_2(rest * gap) - (rest - 1) * phi_2((rest - 1) * gap))
    none = jnp.exp(rest * jnp.where(some, 0, log_means)) / jnp.where(rest == 0, 1, rest)
    losses = 2 * jnp.where(some, amount * jnp.exp(rest * log_y), none)
    return settle(losses, some | ((y == 0) & (rest > 0)), kept)
