"""Objectives: what to minimise, as pure functions from arrays to arrays.

Rooms, one topic a file:

- `classification`: softmax cross-entropy, PolyLoss, focal losses, squentropy
- `harmonic`: softmax over the distances to class centres
- `margin`: softmax with a margin on the angle (ArcFace, sub-centre ArcFace, and the function that takes any margin)
- `segmentation`: Dice, Jaccard metric and Dice semimetric losses from one soft confusion count
- `self_supervised`: Barlow Twins and the cross-correlation matrix it is made of
- `regression`: Huber and pseudo-Huber
- `robust_estimation`: hypotheses of RANSAC, scored (MSAC) and averaged
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
from objectives.harmonic import harmonic_logits, harmonic_loss
from objectives.margin import arcface_loss, margin_softmax_loss, subcenter_arcface_loss
from objectives.reductions import reduce_mean, reduce_sum
from objectives.regression import huber_loss, pseudo_huber_loss
from objectives.robust_estimation import expected_hypothesis_loss, msac_score
from objectives.segmentation import dice_loss, dice_semimetric_loss, jaccard_metric_loss
from objectives.self_supervised import barlow_twins_loss, cross_correlation_matrix

__all__ = [
    "arcface_loss",
    "barlow_twins_loss",
    "cross_correlation_matrix",
    "dice_loss",
    "dice_semimetric_loss",
    "expected_hypothesis_loss",
    "focal_loss",
    "harmonic_logits",
    "harmonic_loss",
    "huber_loss",
    "jaccard_metric_loss",
    "margin_softmax_loss",
    "msac_score",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "pseudo_huber_loss",
    "reduce_mean",
    "reduce_sum",
    "sigmoid_focal_loss",
    "softmax_cross_entropy",
    "squentropy_loss",
    "subcenter_arcface_loss",
]
