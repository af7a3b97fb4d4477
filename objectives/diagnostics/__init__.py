"""What is measured and not minimised.

- `curvature`: the spectrum of the Hessian by Lanczos' method, of a whole loss and class by class
- `imbalance`: false heads, recall of rare triplets, lengths of class vectors, separation and spread of features
- `multilabel`: macro-AUC
- `numerics`: softmax collapse, and gradients that only scale the weights up
- `ranking`: the area under the ROC curve
- `survival`: concordance index
"""

from objectives.diagnostics.curvature import (
    HessianSpectrum,
    classwise_hessian_spectrum,
    hessian_spectrum,
    spectral_density,
)
from objectives.diagnostics.imbalance import (
    class_weight_norms,
    cone_effect,
    false_head_rate,
    fisher_discriminant_ratio,
    weighted_triplet_recall,
)
from objectives.diagnostics.multilabel import macro_auc
from objectives.diagnostics.numerics import nlm_alignment, softmax_collapse_fraction
from objectives.diagnostics.ranking import roc_auc
from objectives.diagnostics.survival import concordance_index

__all__ = [
    "HessianSpectrum",
    "class_weight_norms",
    "classwise_hessian_spectrum",
    "concordance_index",
    "cone_effect",
    "false_head_rate",
    "fisher_discriminant_ratio",
    "hessian_spectrum",
    "macro_auc",
    "nlm_alignment",
    "roc_auc",
    "softmax_collapse_fraction",
    "spectral_density",
    "weighted_triplet_recall",
]
