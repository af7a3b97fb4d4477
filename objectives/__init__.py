"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: softmax cross-entropy, PolyLoss, focal losses, squentropy
- `distillation`: predictions held to a teacher's, and the record of a model's own past ones
- `harmonic`: softmax over the distances to class centres
- `margin`: softmax with a margin on the angle (ArcFace, sub-centre ArcFace, and the function that takes any margin)
- `segmentation`: Dice, Jaccard metric and Dice semimetric losses from one soft confusion count
- `self_supervised`: Barlow Twins and the cross-correlation matrix it is made of
- `regression`: losses of a residual (squared, Huber, quantile, robust), ratios of errors, regression as classification
- `time_series`: soft dynamic time warping, DILATE, errors of forecasts, losses of returns
- `scalarization`: the losses of several tasks to one: Chebyshev, PBI, COSMOS, learnt and random weights
- `expectations`: evidence bounds, and estimators whose gradient is that of an expected value
- `flows`: divergences of normalizing flows with path gradients
- `recurrent`: penalties on how gradients travel through a recurrent network
- `robust_estimation`: hypotheses of RANSAC, scored (MSAC) and averaged
- `matrix_sensing`: low-rank matrices from linear measurements
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
from objectives.recurrent import recurrent_flow_penalty, vanishing_gradient_regularizer
from objectives.reductions import reduce_mean, reduce_sum
from objectives.regression import (
    absolute_error,
    absolute_percentage_error,
    bag_level_loss,
    balanced_l1_loss,
    binary_encoding_loss,
    binary_target_decoding,
    binary_target_encoding,
    cauchy_loss,
    discretize_targets,
    expectile_loss,
    geman_mcclure_loss,
    general_robust_loss,
    grownet_corrective_loss,
    grownet_stage_loss,
    histogram_mean,
    hl_gauss_loss,
    hl_gauss_targets,
    huber_loss,
    log_cosh_loss,
    mean_bias_error,
    neural_field_classifier_loss,
    normalized_root_mean_squared_error,
    pseudo_huber_loss,
    quantile_loss,
    r2_score,
    regression_with_classification_loss,
    relative_absolute_error,
    relative_root_mean_squared_error,
    relative_squared_error,
    root_mean_squared_error,
    root_mean_squared_log_error,
    smooth_l1_loss,
    squared_error,
    squared_log_error,
    symmetric_absolute_percentage_error,
    tukey_biweight_loss,
    u2_regression_loss,
    welsch_loss,
)
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
from objectives.time_series import (
    dilate_loss,
    gmadl,
    horizon_decay_weights,
    madl,
    mean_absolute_scaled_error,
    sdsc_hybrid_loss,
    sdsc_loss,
    signal_decay_loss,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_divergence,
    temporal_distortion_loss,
)

__all__ = [
    "LogitsMemory",
    "absolute_error",
    "absolute_percentage_error",
    "arcface_loss",
    "bag_level_loss",
    "balanced_l1_loss",
    "barlow_twins_loss",
    "binary_encoding_loss",
    "binary_target_decoding",
    "binary_target_encoding",
    "cauchy_loss",
    "chebyshev_scalarization",
    "cosmos_scalarization",
    "cross_correlation_matrix",
    "dice_loss",
    "dice_semimetric_loss",
    "dilate_loss",
    "discretize_targets",
    "distillation_loss",
    "elbo",
    "enumerated_expectation",
    "expected_hypothesis_loss",
    "expectile_loss",
    "focal_loss",
    "geman_mcclure_loss",
    "general_robust_loss",
    "geometric_mean_loss",
    "gmadl",
    "grownet_corrective_loss",
    "grownet_stage_loss",
    "harmonic_logits",
    "harmonic_loss",
    "histogram_mean",
    "hl_gauss_loss",
    "hl_gauss_targets",
    "horizon_decay_weights",
    "huber_loss",
    "imtl_l_loss",
    "iwelbo",
    "jaccard_metric_loss",
    "log_cosh_loss",
    "logits_memory",
    "lower_confidence_bound",
    "madl",
    "margin_softmax_loss",
    "matrix_sensing_loss",
    "mean_absolute_scaled_error",
    "mean_bias_error",
    "msac_score",
    "neural_field_classifier_loss",
    "normal_expectation",
    "normalized_root_mean_squared_error",
    "path_gradient_forward_kl",
    "path_gradient_reverse_kl",
    "pbi_scalarization",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "pseudo_huber_loss",
    "quantile_loss",
    "r2_score",
    "random_scalarization",
    "recall_logits",
    "record_logits",
    "recurrent_flow_penalty",
    "reduce_mean",
    "reduce_sum",
    "regression_with_classification_loss",
    "relative_absolute_error",
    "relative_root_mean_squared_error",
    "relative_squared_error",
    "root_mean_squared_error",
    "root_mean_squared_log_error",
    "score_function_surrogate",
    "sdsc_hybrid_loss",
    "sdsc_loss",
    "sigmoid_focal_loss",
    "signal_decay_loss",
    "smooth_chebyshev_scalarization",
    "smooth_l1_loss",
    "soft_dtw",
    "soft_dtw_alignment",
    "soft_dtw_divergence",
    "softmax_cross_entropy",
    "squared_error",
    "squared_log_error",
    "squentropy_loss",
    "subcenter_arcface_loss",
    "symmetric_absolute_percentage_error",
    "temporal_distortion_loss",
    "tukey_biweight_loss",
    "u2_regression_loss",
    "uncertainty_weighted_loss",
    "vanishing_gradient_regularizer",
    "welsch_loss",
]
