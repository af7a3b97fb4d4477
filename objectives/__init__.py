"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: softmax cross-entropy, PolyLoss, focal losses, squentropy
- `noisy_labels`: losses for labels that may be wrong: normalised, corrected, robust, self-paced, several annotators
- `calibration`: losses for calibrated confidence
- `distillation`: predictions held to a teacher's, and the record of a model's own past ones
- `harmonic`: softmax over the distances to class centres
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
- `diagnostics`: what you measure and do not minimise: calibration errors
- `reductions`: means and sums with masks and weights, safe on nothing

Every loss has the same signature, `f(predictions, targets, *, hyperparameters, where=None)`. A separable loss returns
one value per example, nothing reduced; a batch-coupled one says what it returns and takes `axis_name` for use under
`shard_map`. `where` masks what is returned: a masked entry has value 0 and gradient 0 and may hold NaN. Labels are
integer class ids or probabilities, decided from dtype and rank alone. Half-precision inputs are computed and returned
in float32. Every float hyperparameter may be traced, so that a sweep is one `vmap`.
"""

from objectives.calibration import (
    acls_loss,
    correctness_aware_loss,
    dual_focal_loss,
    mbls_loss,
    mmce_loss,
    sample_dependent_focal_loss,
    soft_binned_calibration_error,
)
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
    BrierDecomposition,
    CalibrationBins,
    angular_visual_hardness,
    brier_decomposition,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    multiaccuracy_error,
    multicalibration_error,
    omniprediction,
    reliability_diagram,
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
from objectives.margin import arcface_loss, margin_softmax_loss, subcenter_arcface_loss
from objectives.matrix_sensing import matrix_sensing_loss
from objectives.noisy_labels import (
    ExampleMemory,
    active_passive_loss,
    aldr_kl_loss,
    aldr_temperatures,
    anchor_transition_matrix,
    annotator_bandwidth_prior,
    annotator_cross_entropy_loss,
    annotator_similarity_weights,
    backward_correction_loss,
    bi_tempered_logistic_loss,
    diagonal_confusion_logits,
    early_learning_regularizer,
    early_learning_targets,
    example_memory,
    forward_correction_loss,
    hard_bootstrapping_loss,
    ldr_kl_loss,
    normalized_cross_entropy_loss,
    normalized_focal_loss,
    normalized_loss,
    normalized_mae_loss,
    peer_loss,
    prior_confusion_logits,
    recall_examples,
    record_examples,
    reverse_cross_entropy_loss,
    self_paced_loss,
    self_paced_weights,
    small_loss_weights,
    soft_bootstrapping_loss,
    symmetric_cross_entropy_loss,
    tempered_softmax,
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
    "BrierDecomposition",
    "CalibrationBins",
    "ExampleMemory",
    "LogitsMemory",
    "acls_loss",
    "active_passive_loss",
    "aldr_kl_loss",
    "aldr_temperatures",
    "anchor_transition_matrix",
    "angular_visual_hardness",
    "annotator_bandwidth_prior",
    "annotator_cross_entropy_loss",
    "annotator_similarity_weights",
    "arcface_loss",
    "backward_correction_loss",
    "barlow_twins_loss",
    "bi_tempered_logistic_loss",
    "brier_decomposition",
    "chebyshev_scalarization",
    "classwise_calibration_error",
    "correctness_aware_loss",
    "cosmos_scalarization",
    "cross_correlation_matrix",
    "diagonal_confusion_logits",
    "dice_loss",
    "dice_semimetric_loss",
    "distillation_loss",
    "dual_focal_loss",
    "early_learning_regularizer",
    "early_learning_targets",
    "elbo",
    "enumerated_expectation",
    "example_memory",
    "expected_calibration_error",
    "expected_hypothesis_loss",
    "fit_temperature",
    "focal_loss",
    "forward_correction_loss",
    "geometric_mean_loss",
    "hard_bootstrapping_loss",
    "harmonic_logits",
    "harmonic_loss",
    "huber_loss",
    "imtl_l_loss",
    "iwelbo",
    "jaccard_metric_loss",
    "ldr_kl_loss",
    "logits_memory",
    "lower_confidence_bound",
    "margin_softmax_loss",
    "matrix_sensing_loss",
    "mbls_loss",
    "mmce_loss",
    "msac_score",
    "multiaccuracy_error",
    "multicalibration_error",
    "normal_expectation",
    "normalized_cross_entropy_loss",
    "normalized_focal_loss",
    "normalized_loss",
    "normalized_mae_loss",
    "omniprediction",
    "path_gradient_forward_kl",
    "path_gradient_reverse_kl",
    "pbi_scalarization",
    "peer_loss",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "prior_confusion_logits",
    "pseudo_huber_loss",
    "random_scalarization",
    "recall_examples",
    "recall_logits",
    "record_examples",
    "record_logits",
    "recurrent_flow_penalty",
    "reduce_mean",
    "reduce_sum",
    "reliability_diagram",
    "reverse_cross_entropy_loss",
    "sample_dependent_focal_loss",
    "score_function_surrogate",
    "self_paced_loss",
    "self_paced_weights",
    "sigmoid_focal_loss",
    "small_loss_weights",
    "smooth_chebyshev_scalarization",
    "soft_binned_calibration_error",
    "soft_bootstrapping_loss",
    "softmax_cross_entropy",
    "squentropy_loss",
    "subcenter_arcface_loss",
    "symmetric_cross_entropy_loss",
    "tempered_softmax",
    "uncertainty_weighted_loss",
    "vanishing_gradient_regularizer",
]
