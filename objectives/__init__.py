"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: softmax cross-entropy, PolyLoss, focal losses, squentropy
- `distillation`: predictions held to a teacher's, and the record of a model's own past ones
- `harmonic`: softmax over the distances to class centres
- `margin`: softmax with a margin on the angle (ArcFace, sub-centre ArcFace, and the function that takes any margin)
- `imbalance`: rare classes, values and examples: logit adjustment, rivals, weights, metrics as losses
- `segmentation`: Dice, Jaccard metric and Dice semimetric losses from one soft confusion count
- `self_supervised`: Barlow Twins and the cross-correlation matrix it is made of
- `regression`: Huber and pseudo-Huber
- `scalarization`: the losses of several tasks to one: Chebyshev, PBI, COSMOS, learnt and random weights
- `expectations`: evidence bounds, and estimators whose gradient is that of an expected value
- `flows`: divergences of normalizing flows with path gradients
- `recurrent`: penalties on how gradients travel through a recurrent network
- `robust_estimation`: hypotheses of RANSAC, scored (MSAC) and averaged
- `matrix_sensing`: low-rank matrices from linear measurements
- `reductions`: means and sums with masks and weights, safe on nothing
- `diagnostics`: what you measure and do not minimise

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
from objectives.diagnostics import (
    HessianSpectrum,
    class_weight_norms,
    classwise_hessian_spectrum,
    cone_effect,
    false_head_rate,
    fisher_discriminant_ratio,
    hessian_spectrum,
    spectral_density,
    weighted_triplet_recall,
)
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
from objectives.imbalance import (
    EqualizationState,
    SoftConfusion,
    accumulate_class_counts,
    adjusted_softmax_loss,
    anyloss,
    balanced_softmax_loss,
    bayes_decision,
    cdt_loss,
    cisir_loss,
    class_balanced_weights,
    class_mean_log_loss,
    cluster_likelihood,
    correlation_loss,
    cost_sensitive_binary_loss,
    decision_theoretic_loss,
    deferred_class_weights,
    density_normalized_edge_loss,
    enveloping_loss,
    equalization_loss,
    equalization_state,
    equalization_v2_loss,
    gaussian_mixture_likelihood_loss,
    homogeneity_loss,
    influence_balanced_loss,
    inverse_frequency_weights,
    label_centroids,
    laplacian_smoothness,
    ldam_loss,
    likelihood_weighted_loss,
    logit_adjusted_loss,
    max_norm_projection,
    mdi_importance,
    particle_repulsion,
    post_hoc_logits,
    record_equalization,
    refined_generalized_focal_loss,
    seesaw_loss,
    soft_confusion_matrix,
    softmax_equalization_loss,
    stratified_batch_indices,
    surrogate_contrastive_loss,
    update_surrogates,
    vs_loss,
)
from objectives.margin import arcface_loss, margin_softmax_loss, subcenter_arcface_loss
from objectives.matrix_sensing import matrix_sensing_loss
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
    "EqualizationState",
    "HessianSpectrum",
    "LogitsMemory",
    "SoftConfusion",
    "accumulate_class_counts",
    "adjusted_softmax_loss",
    "anyloss",
    "arcface_loss",
    "balanced_softmax_loss",
    "barlow_twins_loss",
    "bayes_decision",
    "cdt_loss",
    "chebyshev_scalarization",
    "cisir_loss",
    "class_balanced_weights",
    "class_mean_log_loss",
    "class_weight_norms",
    "classwise_hessian_spectrum",
    "cluster_likelihood",
    "cone_effect",
    "correlation_loss",
    "cosmos_scalarization",
    "cost_sensitive_binary_loss",
    "cross_correlation_matrix",
    "decision_theoretic_loss",
    "deferred_class_weights",
    "density_normalized_edge_loss",
    "dice_loss",
    "dice_semimetric_loss",
    "distillation_loss",
    "elbo",
    "enumerated_expectation",
    "enveloping_loss",
    "equalization_loss",
    "equalization_state",
    "equalization_v2_loss",
    "expected_hypothesis_loss",
    "false_head_rate",
    "fisher_discriminant_ratio",
    "focal_loss",
    "gaussian_mixture_likelihood_loss",
    "geometric_mean_loss",
    "harmonic_logits",
    "harmonic_loss",
    "hessian_spectrum",
    "homogeneity_loss",
    "huber_loss",
    "imtl_l_loss",
    "influence_balanced_loss",
    "inverse_frequency_weights",
    "iwelbo",
    "jaccard_metric_loss",
    "label_centroids",
    "laplacian_smoothness",
    "ldam_loss",
    "likelihood_weighted_loss",
    "logit_adjusted_loss",
    "logits_memory",
    "lower_confidence_bound",
    "margin_softmax_loss",
    "matrix_sensing_loss",
    "max_norm_projection",
    "mdi_importance",
    "msac_score",
    "normal_expectation",
    "particle_repulsion",
    "path_gradient_forward_kl",
    "path_gradient_reverse_kl",
    "pbi_scalarization",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "post_hoc_logits",
    "pseudo_huber_loss",
    "random_scalarization",
    "recall_logits",
    "record_equalization",
    "record_logits",
    "recurrent_flow_penalty",
    "reduce_mean",
    "reduce_sum",
    "refined_generalized_focal_loss",
    "score_function_surrogate",
    "seesaw_loss",
    "sigmoid_focal_loss",
    "smooth_chebyshev_scalarization",
    "soft_confusion_matrix",
    "softmax_cross_entropy",
    "softmax_equalization_loss",
    "spectral_density",
    "squentropy_loss",
    "stratified_batch_indices",
    "subcenter_arcface_loss",
    "surrogate_contrastive_loss",
    "uncertainty_weighted_loss",
    "update_surrogates",
    "vanishing_gradient_regularizer",
    "vs_loss",
    "weighted_triplet_recall",
]
