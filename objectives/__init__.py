"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: softmax cross-entropy, PolyLoss, focal losses, squentropy
- `distillation`: predictions held to a teacher's, and the record of a model's own past ones
- `harmonic`: softmax over the distances to class centres
- `margin`: softmax with a margin on the angle (ArcFace, sub-centre ArcFace, and the function that takes any margin)
- `segmentation`: Dice, Jaccard metric and Dice semimetric losses from one soft confusion count
- `self_supervised`: Barlow Twins and the cross-correlation matrix it is made of
- `regression`: Huber and pseudo-Huber
- `likelihoods`: negative log likelihoods of predicted distributions: numbers, amounts, counts, vectors, censored values
- `scoring_rules`: proper scores of distributions, ensembles, quantiles, intervals and classes
- `survival`: times until an event: Cox, accelerated failure times, discrete hazards, DeepHit
- `ordinal`: classes that have an order: CORAL, CORN, cumulative links
- `scalarization`: the losses of several tasks to one: Chebyshev, PBI, COSMOS, learnt and random weights
- `expectations`: evidence bounds, and estimators whose gradient is that of an expected value
- `flows`: divergences of normalizing flows with path gradients
- `recurrent`: penalties on how gradients travel through a recurrent network
- `robust_estimation`: hypotheses of RANSAC, scored (MSAC) and averaged
- `matrix_sensing`: low-rank matrices from linear measurements
- `diagnostics`: what is measured and not minimised
- `reductions`: means and sums with masks and weights, safe on nothing

Every loss has the same signature, `f(predictions, targets, *, hyperparameters, where=None)`. A separable loss returns
one value per example, nothing reduced; a batch-coupled one says what it returns and takes `axis_name` for use under
`shard_map`. `where` masks what is returned: a masked entry has value 0 and gradient 0 and may hold NaN. Labels are
integer class ids or probabilities, decided from dtype and rank alone. Half-precision inputs are computed and returned
in float32. Every float hyperparameter may be traced, so that a sweep is one `vmap`.
"""

from objectives.classification import (
    focal_loss,
    poly_focal_loss,
    poly_loss,
    poly_n_loss,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    squentropy_loss,
)
from objectives.diagnostics import concordance_index
from objectives.distillation import LogitsMemory, distillation_loss, logits_memory, recall_logits, record_logits
from objectives.expectations import (
    elbo,
    enumerated_expectation,
    iwelbo,
    normal_expectation,
    score_function_surrogate,
)
from objectives.flows import path_gradient_forward_kl, path_gradient_reverse_kl
from objectives.harmonic import harmonic_logits, harmonic_loss
from objectives.likelihoods import (
    beta_nll_loss,
    dirichlet_nll_loss,
    evidential_regression_loss,
    gamma_nll_loss,
    gaussian_mixture_nll_loss,
    gaussian_nll_loss,
    hurdle_negative_binomial_nll_loss,
    hurdle_poisson_nll_loss,
    inverse_gaussian_nll_loss,
    laplace_nll_loss,
    log_normal_nll_loss,
    mixture_nll_loss,
    multivariate_gaussian_nll_loss,
    negative_binomial_nll_loss,
    poisson_nll_loss,
    student_t_nll_loss,
    tobit_nll_loss,
    tweedie_deviance_loss,
    von_mises_nll_loss,
    zero_inflated_negative_binomial_nll_loss,
    zero_inflated_poisson_nll_loss,
)
from objectives.margin import arcface_loss, margin_softmax_loss, subcenter_arcface_loss
from objectives.matrix_sensing import matrix_sensing_loss
from objectives.ordinal import (
    coral_loss,
    coral_probabilities,
    corn_loss,
    corn_probabilities,
    cumulative_link_loss,
    cumulative_link_probabilities,
    earth_movers_distance_loss,
    ordered_thresholds,
    soft_ordinal_labels,
)
from objectives.recurrent import recurrent_flow_penalty, vanishing_gradient_regularizer
from objectives.reductions import reduce_mean, reduce_sum
from objectives.regression import huber_loss, pseudo_huber_loss
from objectives.robust_estimation import expected_hypothesis_loss, msac_score
from objectives.scalarization import (
    chebyshev_scalarization,
    cosmos_scalarization,
    geometric_mean_loss,
    imtl_l_loss,
    lower_confidence_bound,
    pbi_scalarization,
    random_scalarization,
    smooth_chebyshev_scalarization,
    uncertainty_weighted_loss,
)
from objectives.scoring_rules import (
    brier_loss,
    crps_ensemble,
    crps_gaussian,
    crps_gaussian_mixture,
    crps_laplace,
    crps_logistic,
    crps_quantiles,
    crps_student_t,
    dawid_sebastiani_score,
    energy_score,
    interval_score,
    ranked_probability_score,
    variogram_score,
    weighted_interval_score,
)
from objectives.segmentation import dice_loss, dice_semimetric_loss, jaccard_metric_loss
from objectives.self_supervised import barlow_twins_loss, cross_correlation_matrix
from objectives.survival import (
    aft_loss,
    cox_partial_likelihood_loss,
    deephit_ranking_loss,
    logistic_hazard_loss,
    pmf_survival_loss,
)

__all__ = [
    "LogitsMemory",
    "aft_loss",
    "arcface_loss",
    "barlow_twins_loss",
    "beta_nll_loss",
    "brier_loss",
    "chebyshev_scalarization",
    "concordance_index",
    "coral_loss",
    "coral_probabilities",
    "corn_loss",
    "corn_probabilities",
    "cosmos_scalarization",
    "cox_partial_likelihood_loss",
    "cross_correlation_matrix",
    "crps_ensemble",
    "crps_gaussian",
    "crps_gaussian_mixture",
    "crps_laplace",
    "crps_logistic",
    "crps_quantiles",
    "crps_student_t",
    "cumulative_link_loss",
    "cumulative_link_probabilities",
    "dawid_sebastiani_score",
    "deephit_ranking_loss",
    "dice_loss",
    "dice_semimetric_loss",
    "dirichlet_nll_loss",
    "distillation_loss",
    "earth_movers_distance_loss",
    "elbo",
    "energy_score",
    "enumerated_expectation",
    "evidential_regression_loss",
    "expected_hypothesis_loss",
    "focal_loss",
    "gamma_nll_loss",
    "gaussian_mixture_nll_loss",
    "gaussian_nll_loss",
    "geometric_mean_loss",
    "harmonic_logits",
    "harmonic_loss",
    "huber_loss",
    "hurdle_negative_binomial_nll_loss",
    "hurdle_poisson_nll_loss",
    "imtl_l_loss",
    "interval_score",
    "inverse_gaussian_nll_loss",
    "iwelbo",
    "jaccard_metric_loss",
    "laplace_nll_loss",
    "log_normal_nll_loss",
    "logistic_hazard_loss",
    "logits_memory",
    "lower_confidence_bound",
    "margin_softmax_loss",
    "matrix_sensing_loss",
    "mixture_nll_loss",
    "msac_score",
    "multivariate_gaussian_nll_loss",
    "negative_binomial_nll_loss",
    "normal_expectation",
    "ordered_thresholds",
    "path_gradient_forward_kl",
    "path_gradient_reverse_kl",
    "pbi_scalarization",
    "pmf_survival_loss",
    "poisson_nll_loss",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "pseudo_huber_loss",
    "random_scalarization",
    "ranked_probability_score",
    "recall_logits",
    "record_logits",
    "recurrent_flow_penalty",
    "reduce_mean",
    "reduce_sum",
    "score_function_surrogate",
    "sigmoid_focal_loss",
    "smooth_chebyshev_scalarization",
    "soft_ordinal_labels",
    "softmax_cross_entropy",
    "squentropy_loss",
    "student_t_nll_loss",
    "subcenter_arcface_loss",
    "tobit_nll_loss",
    "tweedie_deviance_loss",
    "uncertainty_weighted_loss",
    "vanishing_gradient_regularizer",
    "variogram_score",
    "von_mises_nll_loss",
    "weighted_interval_score",
    "zero_inflated_negative_binomial_nll_loss",
    "zero_inflated_poisson_nll_loss",
]
