"""Losses for data in which some classes, values or examples are rare.

- `logit_adjustment`: softmax with a scale, a shift and a margin for every class (VS, CDT, logit adjustment, LDAM)
- `rivals`: softmax losses that weigh the terms of the wrong classes (seesaw)
- `equalization`: losses that spare rare classes as negatives (equalisation, its softmax form, version 2)
- `class_weights`: weights of classes from their counts, when to use them, and the limit on their weight vectors
- `grouped`: means within groups before the mean over them (class-mean log loss, density-normalised edges)
- `examples`: weights of single examples (influence, likelihood of appearance, cost of the kind of error)
- `clusters`: k-means, of which examples are likely or rare members
- `confusion`: metrics of the confusion matrix as losses (AnyLoss), from one soft count
- `decisions`: losses and decisions under a utility (Bayesian decision theory), and what keeps an ensemble apart
- `likelihoods`: classes as mixtures of their own examples (Gaussian mixture likelihood)
- `values`: rare values of a regression: importance, correlation, stratified batches
- `traces`: the trace of ordered labels through the space of features, for imbalanced regression
- `detection`: the refined generalised focal loss of detection and segmentation together
"""

from objectives.imbalance.class_weights import (
    class_balanced_weights,
    deferred_class_weights,
    inverse_frequency_weights,
    max_norm_projection,
)
from objectives.imbalance.clusters import KMeans, k_means
from objectives.imbalance.confusion import SoftConfusion, anyloss, soft_confusion_matrix
from objectives.imbalance.decisions import bayes_decision, decision_theoretic_loss, particle_repulsion
from objectives.imbalance.detection import laplacian_smoothness, refined_generalized_focal_loss
from objectives.imbalance.equalization import (
    EqualizationState,
    equalization_loss,
    equalization_state,
    equalization_v2_loss,
    record_equalization,
    softmax_equalization_loss,
)
from objectives.imbalance.examples import (
    cluster_likelihood,
    cost_sensitive_binary_loss,
    influence_balanced_loss,
    likelihood_weighted_loss,
)
from objectives.imbalance.grouped import class_mean_log_loss, density_normalized_edge_loss
from objectives.imbalance.likelihoods import gaussian_mixture_likelihood_loss
from objectives.imbalance.logit_adjustment import (
    adjusted_softmax_loss,
    balanced_softmax_loss,
    cdt_loss,
    ldam_loss,
    logit_adjusted_loss,
    post_hoc_logits,
    vs_loss,
)
from objectives.imbalance.rivals import accumulate_class_counts, seesaw_loss
from objectives.imbalance.traces import (
    enveloping_loss,
    homogeneity_loss,
    label_centroids,
    surrogate_contrastive_loss,
    update_surrogates,
)
from objectives.imbalance.values import cisir_loss, correlation_loss, mdi_importance, stratified_batch_indices

__all__ = [
    "EqualizationState",
    "KMeans",
    "SoftConfusion",
    "accumulate_class_counts",
    "adjusted_softmax_loss",
    "anyloss",
    "balanced_softmax_loss",
    "bayes_decision",
    "cdt_loss",
    "cisir_loss",
    "class_balanced_weights",
    "class_mean_log_loss",
    "cluster_likelihood",
    "correlation_loss",
    "cost_sensitive_binary_loss",
    "decision_theoretic_loss",
    "deferred_class_weights",
    "density_normalized_edge_loss",
    "enveloping_loss",
    "equalization_loss",
    "equalization_state",
    "equalization_v2_loss",
    "gaussian_mixture_likelihood_loss",
    "homogeneity_loss",
    "influence_balanced_loss",
    "inverse_frequency_weights",
    "k_means",
    "label_centroids",
    "laplacian_smoothness",
    "ldam_loss",
    "likelihood_weighted_loss",
    "logit_adjusted_loss",
    "max_norm_projection",
    "mdi_importance",
    "particle_repulsion",
    "post_hoc_logits",
    "record_equalization",
    "refined_generalized_focal_loss",
    "seesaw_loss",
    "soft_confusion_matrix",
    "softmax_equalization_loss",
    "stratified_batch_indices",
    "surrogate_contrastive_loss",
    "update_surrogates",
    "vs_loss",
]
