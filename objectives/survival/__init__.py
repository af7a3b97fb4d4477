"""Survival: times until an event that was not always seen.

- `continuous`: Cox's partial likelihood, accelerated failure times
- `discrete`: time cut into intervals: logistic hazards, probabilities (DeepHit's likelihood), DeepHit's ranking

The concordance index, to measure, is in `objectives.diagnostics`.
"""

from objectives.survival.continuous import aft_loss, cox_partial_likelihood_loss
from objectives.survival.discrete import deephit_ranking_loss, logistic_hazard_loss, pmf_survival_loss

__all__ = [
    "aft_loss",
    "cox_partial_likelihood_loss",
    "deephit_ranking_loss",
    "logistic_hazard_loss",
    "pmf_survival_loss",
]
