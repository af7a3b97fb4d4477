"""Likelihoods of counts: Poisson and negative binomial, with zeros added or set apart."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from objectives._distributions import generalized_kl, log1mexp_of_log, log_softplus, stirling
from objectives._entries import NON_NEGATIVE, likelihood
from objectives._typing import Array, ArrayLike, Bool, Float, Real

ENORMOUS = 50.0
"""A log beyond which a shape is as good as infinite, and a rate as good as certain to give no zero."""


def poisson_nll_loss(
    log_rate: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of Poisson counts, by the log of their rate.

    $$
    \lambda - y \log \lambda + \log y!
    $$

    PyTorch's `poisson_nll_loss` leaves out log y! (or takes Stirling's formula for it); here it is exact, and nothing
    is lost at large counts. An exposure is an offset of its logarithm: `log_rate + log_exposure`.

    Args:
        log_rate: Log of the expected count λ `[...]`.
        targets: Counts `[...]`, at least 0. They need not be whole: the loss is then a quasi-likelihood.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> log_mean = jnp.log(jnp.array([2.0, 2.0]))
        >>> loss = poisson_nll_loss(log_mean, jnp.array([0, 3]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        2.0000 1.7123

    Source:
        Nelder, Wedderburn, "Generalized Linear Models", 1972.
    """
    return likelihood("poisson_nll_loss", {"log_rate": log_rate}, targets, where, NON_NEGATIVE, _poisson)


def negative_binomial_nll_loss(
    log_mean: Float[ArrayLike, "*batch"],
    log_concentration: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of negative binomial counts (NB2), by their mean and shape.

    $$
    -\log \frac{\Gamma(y + r)}{\Gamma(r)\, y!} - r \log \frac{r}{r + \mu} - y \log \frac{\mu}{r + \mu}
    $$

    Poisson counts whose rate is gamma distributed: the variance exceeds the mean. As the shape grows it becomes the
    Poisson distribution, without loss of digits on the way.

    Args:
        log_mean: Log of the mean μ `[...]`.
        log_concentration: Log of the shape r `[...]`; the variance is μ + μ²/r.
        targets: Counts `[...]`, at least 0. They need not be whole: the loss is then a quasi-likelihood.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> log_mean = jnp.log(jnp.array([2.0, 2.0]))
        >>> loss = negative_binomial_nll_loss(log_mean, jnp.array([0.0, 0.0]), jnp.array([0, 3]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        1.0986 2.3150

    Source:
        Lawless, "Negative Binomial and Mixed Poisson Regression", 1987.
    """
    parameters = {"log_mean": log_mean, "log_concentration": log_concentration}
    return likelihood("negative_binomial_nll_loss", parameters, targets, where, NON_NEGATIVE, _negative_binomial)


def zero_inflated_poisson_nll_loss(
    inflation_logits: Float[ArrayLike, "*batch"],
    log_rate: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of Poisson counts with additional zeros.

    $$
    -\log\left( \pi\, [y = 0] + (1 - \pi) f(y) \right)
    $$

    A zero has two explanations; f is the density of `poisson_nll_loss`.

    Args:
        inflation_logits: Logit of the probability π `[...]` of a zero that no count makes.
        log_rate: Log of the rate λ `[...]` of the counts before zeros are added.
        targets: Counts `[...]`, at least 0. They need not be whole: the loss is then a quasi-likelihood.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> log_mean = jnp.log(jnp.array([2.0, 2.0]))
        >>> loss = zero_inflated_poisson_nll_loss(jnp.array([0.0, 0.0]), log_mean, jnp.array([0, 3]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        0.5662 2.4055

    Source:
        Lambert, "Zero-Inflated Poisson Regression, with an Application to Defects in Manufacturing", 1992.
    """
    parameters = {"inflation_logits": inflation_logits, "log_rate": log_rate}
    return likelihood(
        "zero_inflated_poisson_nll_loss", parameters, targets, where, NON_NEGATIVE, _zero_inflated(_poisson)
    )


def zero_inflated_negative_binomial_nll_loss(
    inflation_logits: Float[ArrayLike, "*batch"],
    log_mean: Float[ArrayLike, "*batch"],
    log_concentration: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of negative binomial counts with additional zeros.

    $$
    -\log\left( \pi\, [y = 0] + (1 - \pi) f(y) \right)
    $$

    A zero has two explanations; f is the density of `negative_binomial_nll_loss`.

    Args:
        inflation_logits: Logit of the probability π `[...]` of a zero that no count makes.
        log_mean: Log of the mean μ `[...]` of the counts before zeros are added.
        log_concentration: Log of the shape r `[...]`; the variance is μ + μ²/r.
        targets: Counts `[...]`, at least 0. They need not be whole: the loss is then a quasi-likelihood.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> zero = jnp.zeros(2)
        >>> log_mean = jnp.log(jnp.array([2.0, 2.0]))
        >>> loss = zero_inflated_negative_binomial_nll_loss(zero, log_mean, zero, jnp.array([0, 3]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        0.4055 3.0082

    Source:
        Greene, "Accounting for Excess Zeros and Sample Selection in Poisson and Negative Binomial Regression Models",
        1994.
    """
    parameters = {"inflation_logits": inflation_logits, "log_mean": log_mean, "log_concentration": log_concentration}
    return likelihood(
        "zero_inflated_negative_binomial_nll_loss",
        parameters,
        targets,
        where,
        NON_NEGATIVE,
        _zero_inflated(_negative_binomial),
    )


def hurdle_poisson_nll_loss(
    zero_logits: Float[ArrayLike, "*batch"],
    log_rate: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of counts that are 0, or else Poisson counts that are not.

    $$
    -\log \pi \ \text{if}\ y = 0, \qquad -\log (1 - \pi) - \log \frac{f(y)}{1 - f(0)} \ \text{else}
    $$

    A zero has one explanation, and zeros may be rarer than under f, the density of `poisson_nll_loss`.

    Args:
        zero_logits: Logit of the probability π `[...]` of a zero.
        log_rate: Log of the rate λ `[...]` of the counts before zeros are taken away.
        targets: Counts `[...]`, at least 0. They need not be whole: the loss is then a quasi-likelihood.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> log_mean = jnp.log(jnp.array([2.0, 2.0]))
        >>> loss = hurdle_poisson_nll_loss(jnp.array([0.0, 0.0]), log_mean, jnp.array([0, 3]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        0.6931 2.2601

    Source:
        Mullahy, "Specification and Testing of Some Modified Count Data Models", 1986.
    """
    parameters = {"zero_logits": zero_logits, "log_rate": log_rate}
    return likelihood(
        "hurdle_poisson_nll_loss", parameters, targets, where, NON_NEGATIVE, _hurdle(_poisson, _log_zero_poisson)
    )


def hurdle_negative_binomial_nll_loss(
    zero_logits: Float[ArrayLike, "*batch"],
    log_mean: Float[ArrayLike, "*batch"],
    log_concentration: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of counts that are 0, or else negative binomial counts that are not.

    $$
    -\log \pi \ \text{if}\ y = 0, \qquad -\log (1 - \pi) - \log \frac{f(y)}{1 - f(0)} \ \text{else}
    $$

    A zero has one explanation, and zeros may be rarer than under f, the density of `negative_binomial_nll_loss`.

    Args:
        zero_logits: Logit of the probability π `[...]` of a zero.
        log_mean: Log of the mean μ `[...]` of the counts before zeros are taken away.
        log_concentration: Log of the shape r `[...]`; the variance is μ + μ²/r.
        targets: Counts `[...]`, at least 0. They need not be whole: the loss is then a quasi-likelihood.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> zero = jnp.zeros(2)
        >>> log_mean = jnp.log(jnp.array([2.0, 2.0]))
        >>> loss = hurdle_negative_binomial_nll_loss(zero, log_mean, zero, jnp.array([0, 3]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        0.6931 2.6027

    Source:
        Mullahy, "Specification and Testing of Some Modified Count Data Models", 1986.
    """
    parameters = {"zero_logits": zero_logits, "log_mean": log_mean, "log_concentration": log_concentration}
    return likelihood(
        "hurdle_negative_binomial_nll_loss",
        parameters,
        targets,
        where,
        NON_NEGATIVE,
        _hurdle(_negative_binomial, _log_zero_negative_binomial),
    )


def _poisson(y: Array, log_rate: Array) -> Array:
    some = y > 0
    log_y = jnp.log(jnp.where(some, y, 1))
    misfit = generalized_kl(log_y, jnp.where(some, log_rate, 0) - log_y)
    return jnp.where(some, misfit + stirling(log_y, y), jnp.exp(jnp.where(some, 0, log_rate)))


def _log_zero_poisson(log_rate: Array) -> Array:
    """Log of -log f(0)."""
    return log_rate


def _negative_binomial(y: Array, log_mean: Array, log_shape: Array) -> Array:
    log_shape = jnp.minimum(log_shape, ENORMOUS)
    shape, some = jnp.exp(log_shape), y > 0
    log_y = jnp.log(jnp.where(some, y, 1))
    total = y + shape
    log_total = jnp.where(some, jnp.log(jnp.where(some, total, 1)), log_shape)
    gap = log_mean - log_y
    capped = jnp.exp(jnp.minimum(log_mean, ENORMOUS))
    ratio = jnp.where(some, y * jnp.expm1(jnp.minimum(gap, ENORMOUS)), capped) / jnp.where(total > 0, total, 1)
    close = (jnp.abs(ratio) < 0.5) & (total > 0)  # r + μ and r + y: from the gap, whose rounding then cancels
    excess = jnp.where(close, jnp.log1p(jnp.where(close, ratio, 0)), jnp.logaddexp(log_shape, log_mean) - log_total)
    misfit = total * excess - y * gap
    remainder = stirling(log_shape) + stirling(log_y, y) - stirling(log_total, total)
    return misfit + remainder + log_total - log_shape


def _log_zero_negative_binomial(log_mean: Array, log_shape: Array) -> Array:
    """Log of -log f(0)."""
    log_shape = jnp.minimum(log_shape, ENORMOUS)
    return log_shape + log_softplus(log_mean - log_shape)


def _zero_inflated(base: Callable[..., Array]) -> Callable[..., Array]:
    """The density with zeros added."""

    def nll(y: Array, logits: Array, log_mean: Array, *shape: Array) -> Array:
        zero = y == 0
        loss = base(y, jnp.where(zero, jnp.minimum(log_mean, ENORMOUS), log_mean), *shape)
        inflated = jnp.logaddexp(-jax.nn.softplus(-logits), -jax.nn.softplus(logits) - jnp.where(zero, loss, 0))
        return jnp.where(zero, -inflated, loss + jax.nn.softplus(logits))

    return nll


def _hurdle(base: Callable[..., Array], log_zero: Callable[..., Array]) -> Callable[..., Array]:
    """The density with zeros set apart."""

    def nll(y: Array, logits: Array, *parameters: Array) -> Array:
        zero = y == 0
        positive = base(jnp.where(zero, 1, y), *parameters) + log1mexp_of_log(log_zero(*parameters))
        return jnp.where(zero, jax.nn.softplus(-logits), positive + jax.nn.softplus(logits))

    return nll
