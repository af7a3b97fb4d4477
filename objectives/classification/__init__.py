"""Losses of class scores (logits) against integer labels or probabilities.

One equation: with the class probabilities p = softmax(logits) and the label distribution q, a loss is the expected
penalty of the label's probability,

    loss = Σ_c q_c φ(log p_c).

Files, one family each, and each family one choice of one scalar function:

- `cross_entropy`: φ = -log p, with softmax or sigmoid, weighted and smoothed; squentropy; the confidence penalty
- `polynomial`: powers of (1 - p) added (PolyLoss), multiplied (focal) or alone (Taylor)
- `comp_sum`: Φ_τ of the exponentiated margins: generalized cross-entropy and mean absolute error are members
- `divergence`: f-divergences of labels and prediction: KL, Jensen-Shannon, chi-squared, Hellinger, alpha
- `fenchel_young`: the loss of a regulariser, under its own link: sparsemax and α-entmax, with their maps
- `links`: other links (StableMax, sparse softmax, ReLU) and the spherical Z-loss
- `margins`: functions of y f for two classes (hinge and its relatives), hinges over several
- `checkered`, `ensemble`: two classes told apart by several hyperplanes, or under a new random loss at every step
- `canonical_link`: log loss under a learnt canonical link (LegendreTron)
- `frechet`: labels in a metric space (Loki)
- `mixing`, `online_labels`: labels that are made: mixup, CutMix, online label smoothing

A new member of the equation above is its φ:

    def my_loss(logits, labels, *, where=None):
        logits, targets, kept = read("my_loss", logits, labels, where)
        return finish(expected_penalty(logits, targets, lambda log_p: -log_p * (1 - log_p)), kept, targets.valid)
"""

from objectives.classification.canonical_link import (
    ConvexPotential,
    canonical_link,
    convex_potential,
    init_convex_potential,
    legendretron_loss,
    log_softmax_plus,
)
from objectives.classification.checkered import (
    checkered_regression_loss,
    checkered_sigmoid,
    sum_log_concave_loss,
)
from objectives.classification.comp_sum import (
    comp_sum_loss,
    generalized_cross_entropy_loss,
    smooth_adversarial_comp_sum_loss,
    softmax_mae_loss,
)
from objectives.classification.cross_entropy import (
    confidence_penalty,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    squentropy_loss,
)
from objectives.classification.divergence import (
    alpha_divergence_loss,
    chi_squared_loss,
    f_divergence_loss,
    hellinger_loss,
    jensen_shannon_loss,
    kl_divergence_loss,
)
from objectives.classification.ensemble import (
    ensloss,
    sample_calibrated_derivatives,
)
from objectives.classification.fenchel_young import (
    entmax,
    entmax15,
    entmax15_loss,
    entmax_loss,
    fenchel_young_loss,
    sparsemax,
    sparsemax_loss,
)
from objectives.classification.frechet import (
    frechet_costs,
    frechet_loss,
    frechet_mean,
)
from objectives.classification.links import (
    log_stablemax,
    relu_classifier_loss,
    sparse_softmax,
    sparse_softmax_cross_entropy,
    spherical_z_loss,
    stablemax_cross_entropy,
)
from objectives.classification.margins import (
    binary_margin_loss,
    crammer_singer_loss,
    hinge_loss,
    modified_huber_loss,
    savage_loss,
    squared_hinge_loss,
    tangent_loss,
    weston_watkins_loss,
)
from objectives.classification.mixing import (
    cutmix,
    mixup,
)
from objectives.classification.online_labels import (
    OnlineLabels,
    collect_online_labels,
    online_label_smoothing_loss,
    online_labels,
    renew_online_labels,
)
from objectives.classification.polynomial import (
    focal_loss,
    poly_focal_loss,
    poly_loss,
    poly_n_loss,
    sigmoid_focal_loss,
    taylor_cross_entropy_loss,
)

__all__ = [
    "ConvexPotential",
    "OnlineLabels",
    "alpha_divergence_loss",
    "binary_margin_loss",
    "canonical_link",
    "checkered_regression_loss",
    "checkered_sigmoid",
    "chi_squared_loss",
    "collect_online_labels",
    "comp_sum_loss",
    "confidence_penalty",
    "convex_potential",
    "crammer_singer_loss",
    "cutmix",
    "ensloss",
    "entmax",
    "entmax15",
    "entmax15_loss",
    "entmax_loss",
    "f_divergence_loss",
    "fenchel_young_loss",
    "focal_loss",
    "frechet_costs",
    "frechet_loss",
    "frechet_mean",
    "generalized_cross_entropy_loss",
    "hellinger_loss",
    "hinge_loss",
    "init_convex_potential",
    "jensen_shannon_loss",
    "kl_divergence_loss",
    "legendretron_loss",
    "log_softmax_plus",
    "log_stablemax",
    "mixup",
    "modified_huber_loss",
    "online_label_smoothing_loss",
    "online_labels",
    "poly_focal_loss",
    "poly_loss",
    "poly_n_loss",
    "relu_classifier_loss",
    "renew_online_labels",
    "sample_calibrated_derivatives",
    "savage_loss",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_adversarial_comp_sum_loss",
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
    "sum_log_concave_loss",
    "tangent_loss",
    "taylor_cross_entropy_loss",
    "weston_watkins_loss",
]
