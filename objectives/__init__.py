"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: softmax cross-entropy, PolyLoss, focal losses, squentropy
- `distillation`: predictions held to a teacher's, and the record of a model's own past ones
- `harmonic`: softmax over the distances to class centres
- `margin`: softmax with a margin on the angle (ArcFace, sub-centre ArcFace, and the function that takes any margin)
- `metric_learning`: contrastive, triplet, N-pair, circle, multi-similarity and center losses
- `segmentation`: Dice, Tversky, Jaccard and their relatives from one soft confusion count, Lovász and boundary losses
- `boxes`: IoU, GIoU, DIoU and CIoU losses from one box geometry
- `images`: structural similarity, photometric loss, scale-invariant depth (SILog), smoothness, total variation
- `self_supervised`: Barlow Twins and the cross-correlation matrix it is made of, InfoNCE, SimSiam
- `adversarial`: the games of generative adversarial networks, gradient penalties
- `regression`: Huber and pseudo-Huber
- `scalarization`: the losses of several tasks to one: Chebyshev, PBI, COSMOS, learnt and random weights
- `expectations`: evidence bounds, and estimators whose gradient is that of an expected value
- `flows`: divergences of normalizing flows with path gradients
- `recurrent`: penalties on how gradients travel through a recurrent network
- `robust_estimation`: hypotheses of RANSAC, scored (MSAC) and averaged
- `matrix_sensing`: low-rank matrices from linear measurements
- `diagnostics`: what is measured and not minimised: scores of classifiers, of generated text and images
- `reductions`: means and sums with masks and weights, safe on nothing

Every loss has the same signature, `f(predictions, targets, *, hyperparameters, where=None)`. A separable loss returns
one value per example, nothing reduced; a batch-coupled one says what it returns and takes `axis_name` for use under
`shard_map`. `where` masks what is returned: a masked entry has value 0 and gradient 0 and may hold NaN. Labels are
integer class ids or probabilities, decided from dtype and rank alone. Half-precision inputs are computed and returned
in float32. Every float hyperparameter may be traced, so that a sweep is one `vmap`.
"""

from objectives.adversarial import (
    gradient_penalty,
    hinge_discriminator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    minimax_discriminator_loss,
    minimax_generator_loss,
    non_saturating_generator_loss,
    r1_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from objectives.boxes import box_iou, ciou_loss, diou_loss, giou_loss, iou_loss
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
    accuracy,
    average_precision,
    bleu_score,
    confusion_matrix,
    f_beta_score,
    frechet_distance,
    inception_score,
    matthews_correlation,
    mean_iou,
    peak_signal_noise_ratio,
    perplexity,
    precision,
    recall,
    top_k_accuracy,
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
from objectives.images import (
    disparity_smoothness_loss,
    photometric_loss,
    silog_loss,
    structural_similarity,
    total_variation,
)
from objectives.margin import arcface_loss, margin_softmax_loss, subcenter_arcface_loss
from objectives.matrix_sensing import matrix_sensing_loss
from objectives.metric_learning import (
    center_loss,
    circle_loss,
    contrastive_loss,
    multi_similarity_loss,
    n_pair_loss,
    triplet_loss,
    update_centers,
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
from objectives.segmentation import (
    boundary_loss,
    combo_loss,
    dice_loss,
    dice_semimetric_loss,
    focal_tversky_loss,
    generalized_dice_loss,
    jaccard_metric_loss,
    log_cosh_dice_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    signed_distance_map,
    tversky_loss,
)
from objectives.self_supervised import barlow_twins_loss, cross_correlation_matrix, info_nce_loss, simsiam_loss

__all__ = [
    "LogitsMemory",
    "accuracy",
    "arcface_loss",
    "average_precision",
    "barlow_twins_loss",
    "bleu_score",
    "boundary_loss",
    "box_iou",
    "center_loss",
    "chebyshev_scalarization",
    "ciou_loss",
    "circle_loss",
    "combo_loss",
    "confusion_matrix",
    "contrastive_loss",
    "cosmos_scalarization",
    "cross_correlation_matrix",
    "dice_loss",
    "dice_semimetric_loss",
    "diou_loss",
    "disparity_smoothness_loss",
    "distillation_loss",
    "elbo",
    "enumerated_expectation",
    "expected_hypothesis_loss",
    "f_beta_score",
    "focal_loss",
    "focal_tversky_loss",
    "frechet_distance",
    "generalized_dice_loss",
    "geometric_mean_loss",
    "giou_loss",
    "gradient_penalty",
    "harmonic_logits",
    "harmonic_loss",
    "hinge_discriminator_loss",
    "huber_loss",
    "imtl_l_loss",
    "inception_score",
    "info_nce_loss",
    "iou_loss",
    "iwelbo",
    "jaccard_metric_loss",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
    "log_cosh_dice_loss",
    "logits_memory",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "lower_confidence_bound",
    "margin_softmax_loss",
    "matrix_sensing_loss",
    "matthews_correlation",
    "mean_iou",
    "minimax_discriminator_loss",
    "minimax_generator_loss",
    "msac_score",
    "multi_similarity_loss",
    "n_pair_loss",
    "non_saturating_generator_loss",
    "normal_expectation",
    "path_gradient_forward_kl",
    "path_gradient_reverse_kl",
    "pbi_scalarization",
    "peak_signal_noise_ratio",
    "perplexity",
    "photometric_loss",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "precision",
    "pseudo_huber_loss",
    "r1_penalty",
    "random_scalarization",
    "recall",
    "recall_logits",
    "record_logits",
    "recurrent_flow_penalty",
    "reduce_mean",
    "reduce_sum",
    "score_function_surrogate",
    "sigmoid_focal_loss",
    "signed_distance_map",
    "silog_loss",
    "simsiam_loss",
    "smooth_chebyshev_scalarization",
    "softmax_cross_entropy",
    "squentropy_loss",
    "structural_similarity",
    "subcenter_arcface_loss",
    "top_k_accuracy",
    "total_variation",
    "triplet_loss",
    "tversky_loss",
    "uncertainty_weighted_loss",
    "update_centers",
    "vanishing_gradient_regularizer",
    "wasserstein_critic_loss",
    "wasserstein_generator_loss",
]
