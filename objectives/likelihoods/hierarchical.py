"""Likelihoods of what is not seen directly: censored values, and a distribution over means and variances."""

import jax
import jax.numpy as jnp

from objectives._censoring import censored_nll, censored_validity
from objectives._distributions import LOG_2, NORMAL
from objectives._entries import REAL, entries, likelihood, settle
from objectives._inputs import hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.likelihoods.line import student_t_nll


def tobit_nll_loss(
    mean: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    lower: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    upper: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a normal distribution through censoring: exact values, intervals and bounds.

    $$
    -\log \phi_\sigma(y - \mu) \ \text{if}\ l = u = y, \qquad
    -\log \left[ \Phi\Big( \frac{u - \mu}{\sigma} \Big) - \Phi\Big( \frac{l - \mu}{\sigma} \Big) \right] \ \text{else}
    $$

    Data cut at 0, Tobin's case, have `lower = where(y > 0, y, -inf)` and `upper = y`. An exact value contributes a
    density and all else a probability.

    Args:
        mean: Mean of the uncensored quantity `[...]`.
        log_scale: Log of its standard deviation `[...]`.
        lower: Lower ends of what is known `[...]`; -inf where the value was only seen to lie below `upper`.
        upper: Upper ends `[...]`, not below the lower ones; inf where the value was only seen to lie above `lower`, and
            equal to `lower` where it was observed.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where the lower end is above the upper one or
        nothing finite.

    Raises:
        TypeError: If the parameters are not floating point, the ends not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> upper = jnp.array([3.0, jnp.inf])
        >>> loss = tobit_nll_loss(jnp.zeros(2), jnp.zeros(2), jnp.array([3.0, 3.0]), upper)
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        5.4189 6.6077

    Source:
        Tobin, "Estimation of Relationships for Limited Dependent Variables", 1958; Amemiya, "Tobit Models: A Survey",
        1984.
    """
    (centre, log_scales, low, high), kept = entries(
        "tobit_nll_loss", {"mean": mean, "log_scale": log_scale}, {"lower": lower, "upper": upper}, where
    )
    return settle(censored_nll(NORMAL, low, high, centre, log_scales), censored_validity(low, high), kept)


def evidential_regression_loss(
    location: Float[ArrayLike, "*batch"],
    log_nu: Float[ArrayLike, "*batch"],
    log_alpha: Float[ArrayLike, "*batch"],
    log_beta: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    penalty: Scalar = 0.01,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Deep evidential regression: a normal-inverse-gamma prior over mean and variance, fitted by its evidence.

    $$
    -\log \mathrm{St}\!\left( y;\ \gamma,\ \frac{\beta (1 + \nu)}{\nu \alpha},\ 2 \alpha \right)
    + \lambda\, |y - \gamma|\, (2 \nu + \alpha)
    $$

    Student's t with 2α degrees of freedom is what is left when mean and variance are integrated out. The aleatoric
    variance is β/(α - 1), the epistemic one that over ν. The authors' networks give α as a softplus plus 1.

    Args:
        location: Predicted mean γ `[...]`, in the units of the targets.
        log_nu: Log of the number ν of virtual observations of the mean `[...]`.
        log_alpha: Log of α `[...]`; the variance is finite where α > 1.
        log_beta: Log of β `[...]`, in squared units of the targets.
        targets: Targets `[...]`, any finite numbers.
        penalty: Factor λ of the evidence on errors, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `penalty` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> zero = jnp.zeros(1)
        >>> loss = evidential_regression_loss(zero, zero, jnp.log(jnp.array([2.0])), zero, jnp.array([1.0]))
        >>> print(f"{loss[0]:.4f}")
        1.5787

    Source:
        Amini, Schwarting, Soleimany, Rus, "Deep Evidential Regression", 2020.
    """
    name = "evidential_regression_loss"

    def nll(y: Array, location: Array, log_nu: Array, log_alpha: Array, log_beta: Array) -> Array:
        log_scale = 0.5 * (log_beta + jax.nn.softplus(-log_nu) - log_alpha)  # log((1 + ν) / ν) is a softplus
        factor = hyperparameter(name, "penalty", penalty, y.dtype, 0)
        evidence = factor * (2 * jnp.exp(log_nu) + jnp.exp(log_alpha))
        return student_t_nll(y, location, log_scale, log_alpha + LOG_2) + jnp.abs(y - location) * evidence

    parameters = {"location": location, "log_nu": log_nu, "log_alpha": log_alpha, "log_beta": log_beta}
    return likelihood(name, parameters, targets, where, REAL, nll)
