"""Likelihoods: what a distribution with predicted parameters says about a target.

Files, by where targets lie:

- `line`: Gaussian (with β-NLL), Laplace, Student's t, Barron's distribution, and von Mises for angles
- `positive`: gamma, log-normal, inverse Gaussian, Tweedie's deviance; beta for shares
- `counts`: Poisson and negative binomial, plain, zero-inflated and with a hurdle
- `joint`: Dirichlet and multivariate Gaussian; mixtures of any likelihoods, and of Gaussians
- `hierarchical`: censored values (Tobit), evidential regression

One convention for all. A parameter may be any real number, so that a network's output is one as it is: a positive
parameter is given by its logarithm (`log_scale`, `log_rate`), a probability by its logit, a location as it is. What is
returned is the negative log likelihood per entry, in nats, with the full normaliser: losses of different distributions
compare, and their mean is the (minus) log score, a strictly proper scoring rule. Tweedie's distribution has no closed
normaliser, and there it is the deviance. A target outside the support gives NaN.

Adding a member is writing its density; checks, masks, dtypes and the support are the frame's (`objectives._entries`):

    def exponential_nll_loss(log_mean, targets, *, where=None):
        def nll(y, log_mean):
            return scaled(y, log_mean) + log_mean

        return likelihood("exponential_nll_loss", {"log_mean": log_mean}, targets, where, NON_NEGATIVE, nll)
"""

from objectives.likelihoods.counts import (
    hurdle_negative_binomial_nll_loss,
    hurdle_poisson_nll_loss,
    negative_binomial_nll_loss,
    poisson_nll_loss,
    zero_inflated_negative_binomial_nll_loss,
    zero_inflated_poisson_nll_loss,
)
from objectives.likelihoods.hierarchical import evidential_regression_loss, tobit_nll_loss
from objectives.likelihoods.joint import (
    dirichlet_nll_loss,
    gaussian_mixture_nll_loss,
    mixture_nll_loss,
    multivariate_gaussian_nll_loss,
)
from objectives.likelihoods.line import (
    barron_nll_loss,
    gaussian_nll_loss,
    laplace_nll_loss,
    student_t_nll_loss,
    von_mises_nll_loss,
)
from objectives.likelihoods.positive import (
    beta_nll_loss,
    gamma_nll_loss,
    inverse_gaussian_nll_loss,
    log_normal_nll_loss,
    tweedie_deviance_loss,
)

__all__ = [
    "barron_nll_loss",
    "beta_nll_loss",
    "dirichlet_nll_loss",
    "evidential_regression_loss",
    "gamma_nll_loss",
    "gaussian_mixture_nll_loss",
    "gaussian_nll_loss",
    "hurdle_negative_binomial_nll_loss",
    "hurdle_poisson_nll_loss",
    "inverse_gaussian_nll_loss",
    "laplace_nll_loss",
    "log_normal_nll_loss",
    "mixture_nll_loss",
    "multivariate_gaussian_nll_loss",
    "negative_binomial_nll_loss",
    "poisson_nll_loss",
    "student_t_nll_loss",
    "tobit_nll_loss",
    "tweedie_deviance_loss",
    "von_mises_nll_loss",
    "zero_inflated_negative_binomial_nll_loss",
    "zero_inflated_poisson_nll_loss",
]
