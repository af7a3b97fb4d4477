"""Proper scoring rules: forecasts as distributions, ensembles, quantiles, intervals and class probabilities.

A rule is proper if its expected value is least at the distribution that the targets come from. The log score is in
`objectives.likelihoods`, and for classes `softmax_cross_entropy`; here are the rules that are in the units of the
targets, or that need no density.

Files, by what the forecast is:

- `distributions`: CRPS in closed form of the Gaussian, logistic, Laplace and Student's t and of Gaussian mixtures;
  Dawid-Sebastiani
- `samples`: ensembles: CRPS, energy score, variogram score
- `intervals`: quantiles and intervals: the CRPS of quantiles, interval score, weighted interval score;
  quantiles that cannot cross
- `classes`: Brier score, ranked probability score
"""

from objectives.scoring_rules.classes import brier_loss, ranked_probability_score
from objectives.scoring_rules.distributions import (
    crps_gaussian,
    crps_gaussian_mixture,
    crps_laplace,
    crps_logistic,
    crps_student_t,
    dawid_sebastiani_score,
)
from objectives.scoring_rules.intervals import (
    crps_quantiles,
    interval_score,
    monotone_quantiles,
    weighted_interval_score,
)
from objectives.scoring_rules.samples import crps_ensemble, energy_score, variogram_score

__all__ = [
    "brier_loss",
    "crps_ensemble",
    "crps_gaussian",
    "crps_gaussian_mixture",
    "crps_laplace",
    "crps_logistic",
    "crps_quantiles",
    "crps_student_t",
    "dawid_sebastiani_score",
    "energy_score",
    "interval_score",
    "monotone_quantiles",
    "ranked_probability_score",
    "variogram_score",
    "weighted_interval_score",
]
