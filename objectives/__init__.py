"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: cross-entropy, PolyLoss, focal, comp-sum, f-divergence, Fenchel-Young and hinge losses, and others
- `distillation`: predictions held to a teacher's, and the record of a model's own past ones
- `harmonic`: softmax over the distances to class centres
- `multilabel`: asymmetric losses, macro-AUC surrogates, ZLPR, the two-way loss
- `margin`: softmax with a margin on the angle (ArcFace, sub-centre ArcFace, and the function that takes any margin)
- `segmentation`: Dice, Jaccard metric and Dice semimetric losses from one soft confusion count
- `self_supervised`: Barlow Twins and the cross-correlation matrix it is made of
- `regression`: Huber and pseudo-Huber
- `scalarization`: the losses of several tasks to one: Chebyshev, PBI, COSMOS, learnt and random weights
- `expectations`: evidence bounds, and estimators whose gradient is that of an expected value
- `flows`: divergences of normalizing flows with path gradients
- `recurrent`: penalties on how gradients travel through a recurrent network
- `robust_estimation`: hypotheses of RANSAC, scored (MSAC) and averaged
- `matrix_sensing`: low-rank matrices from linear measurements
- `diagnostics`: what is measured and not minimised: macro-AUC, softmax collapse
- `reductions`: means and sums with masks and weights, safe on nothing

Every loss has the same signature, `f(predictions, targets, *, hyperparameters, where=None)`. A separable loss returns
one value per example, nothing reduced; a batch-coupled one says what it returns and takes `axis_name` for use under
`shard_map`. `where` masks what is returned: a masked entry has value 0 and gradient 0 and may hold NaN. Labels are
integer class ids or probabilities, decided from dtype and rank alone. Half-precision inputs are computed and returned
in float32. Every float hyperparameter may be traced, so that a sweep is one `vmap`.
"""

from objectives.classification import (
    ConvexPotential,
    OnlineLabels,
    alpha_divergence_loss,
    binary_margin_loss,
    canonical_link,
    checkered_regression_loss,
    checkered_sigmoid,
    chi_squared_loss,
    collect_online_labels,
    comp_sum_loss,
    confidence_penalty,
    convex_potential,
    crammer_singer_loss,
    cutmix,
    ensloss,
    entmax,
    entmax15,
    entmax15_loss,
    entmax_loss,
    f_divergence_loss,
    fenchel_young_loss,
    focal_loss,
    frechet_costs,
    frechet_loss,
    frechet_mean,
    generalized_cross_entropy_loss,
    hellinger_loss,
    hinge_loss,
    init_convex_potential,
    jensen_shannon_loss,
    kl_divergence_loss,
    legendretron_loss,
    log_softmax_plus,
    log_stablemax,
    mixup,
    modified_huber_loss,
    online_label_smoothing_loss,
    online_labels,
    poly_focal_loss,
    poly_loss,
    poly_n_loss,
    relu_classifier_loss,
    renew_online_labels,
    sample_calibrated_derivatives,
    savage_loss,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    smooth_adversarial_comp_sum_loss,
    softmax_cross_entropy,
    softmax_mae_loss,
    sparse_softmax,
    sparse_softmax_cross_entropy,
    sparsemax,
    sparsemax_loss,
    spherical_z_loss,
    squared_hinge_loss,
    squentropy_loss,
    stablemax_cross_entropy,
    sum_log_concave_loss,
    tangent_loss,
    taylor_cross_entropy_loss,
    weston_watkins_loss,
)
from objectives.diagnostics import macro_auc, nlm_alignment, softmax_collapse_fraction
from objectives.distillation import LogitsMemory, distillation_loss, logits_memory, recall_logits, record_logits
from objectives.expectations import elbo, enumerated_expectation, iwelbo, normal_expectation, score_function_surrogate
from objectives.flows import path_gradient_forward_kl, path_gradient_reverse_kl
from objectives.harmonic import harmonic_logits, harmonic_loss
from objectives.margin import arcface_loss, margin_softmax_loss, subcenter_arcface_loss
from objectives.matrix_sensing import matrix_sensing_loss
from objectives.multilabel import (
    asymmetric_loss,
    asymmetric_single_label_loss,
    macro_auc_pairwise_loss,
    macro_auc_reweighted_loss,
    macro_auc_univariate_loss,
    two_way_loss,
    zlpr_loss,
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
from objectives.segmentation import dice_loss, dice_semimetric_loss, jaccard_metric_loss
from objectives.self_supervised import barlow_twins_loss, cross_correlation_matrix

__all__ = [
    "ConvexPotential",
    "LogitsMemory",
    "OnlineLabels",
    "alpha_divergence_loss",
    "arcface_loss",
    "asymmetric_loss",
    "asymmetric_single_label_loss",
    "barlow_twins_loss",
    "binary_margin_loss",
    "canonical_link",
    "chebyshev_scalarization",
    "checkered_regression_loss",
    "checkered_sigmoid",
    "chi_squared_loss",
    "collect_online_labels",
    "comp_sum_loss",
    "confidence_penalty",
    "convex_potential",
    "cosmos_scalarization",
    "crammer_singer_loss",
    "cross_correlation_matrix",
    "cutmix",
    "dice_loss",
    "dice_semimetric_loss",
    "distillation_loss",
    "elbo",
    "ensloss",
    "entmax",
    "entmax15",
    "entmax15_loss",
    "entmax_loss",
    "enumerated_expectation",
    "expected_hypothesis_loss",
    "f_divergence_loss",
    "fenchel_young_loss",
    "focal_loss",
    "frechet_costs",
    "frechet_loss",
    "frechet_mean",
    "generalized_cross_entropy_loss",
    "geometric_mean_loss",
    "harmonic_logits",
    "harmonic_loss",
    "hellinger_loss",
    "hinge_loss",
    "huber_loss",
    "imtl_l_loss",
    "init_convex_potential",
    "iwelbo",
    "jaccard_metric_loss",
    "jensen_shannon_loss",
    "kl_divergence_loss",
    "legendretron_loss",
    "log_softmax_plus",
    "log_stablemax",
    "logits_memory",
    "lower_confidence_bound",
    "macro_auc",
    "macro_auc_pairwise_loss",
    "macro_auc_reweighted_loss",
    "macro_auc_univariate_loss",
    "margin_softmax_loss",
    "matrix_sensing_loss",
    "mixup",
    "modified_huber_loss",
    "msac_score",
    "nlm_alignment",
    "normal_expectation",
    "online_label_smoothing_loss",
    "online_labels",
    "path_gradient_forward_kl",
    "path_gradient_reverse_kl",
    "pbi_scalarization",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "pseudo_huber_loss",
    "random_scalarization",
    "recall_logits",
    "record_logits",
    "recurrent_flow_penalty",
    "reduce_mean",
    "reduce_sum",
    "relu_classifier_loss",
    "renew_online_labels",
    "sample_calibrated_derivatives",
    "savage_loss",
    "score_function_surrogate",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_adversarial_comp_sum_loss",
    "smooth_chebyshev_scalarization",
    "softmax_collapse_fraction",
    "softmax_cross_entropy",
    "softmax_mae_loss",
    "sparse_softmax",
    "sparse_softmax_cross_entropy",
    "sparsemax",
    "sparsemax_loss",
    "spherical_z_loss",
    "squared_hinge_loss",
    "squentropy_loss",
    "stablemax_cross_entropy",
    "subcenter_arcface_loss",
    "sum_log_concave_loss",
    "tangent_loss",
    "taylor_cross_entropy_loss",
    "two_way_loss",
    "uncertainty_weighted_loss",
    "vanishing_gradient_regularizer",
    "weston_watkins_loss",
    "zlpr_loss",
]
