"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: softmax cross-entropy, PolyLoss, focal losses, squentropy
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
- `vocabulary`: the softmax and margin losses from features and weights, for many classes
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
from objectives.vocabulary import (
    linear_arcface_loss,
    linear_cosface_loss,
    linear_cross_entropy,
    linear_focal_loss,
    linear_margin_softmax_loss,
    linear_poly_loss,
    linear_softmax_loss,
)

__all__ = [
    "LogitsMemory",
    "arcface_loss",
    "barlow_twins_loss",
    "chebyshev_scalarization",
    "cosmos_scalarization",
    "cross_correlation_matrix",
    "dice_loss",
    "dice_semimetric_loss",
    "distillation_loss",
    "elbo",
    "enumerated_expectation",
    "expected_hypothesis_loss",
    "focal_loss",
    "geometric_mean_loss",
    "harmonic_logits",
    "harmonic_loss",
    "huber_loss",
    "imtl_l_loss",
    "iwelbo",
    "jaccard_metric_loss",
    "linear_arcface_loss",
    "linear_cosface_loss",
    "linear_cross_entropy",
    "linear_focal_loss",
    "linear_margin_softmax_loss",
    "linear_poly_loss",
    "linear_softmax_loss",
    "logits_memory",
    "lower_confidence_bound",
    "margin_softmax_loss",
    "matrix_sensing_loss",
    "msac_score",
    "normal_expectation",
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
    "score_function_surrogate",
    "sigmoid_focal_loss",
    "smooth_chebyshev_scalarization",
    "softmax_cross_entropy",
    "squentropy_loss",
    "subcenter_arcface_loss",
    "uncertainty_weighted_loss",
    "vanishing_gradient_regularizer",
]
