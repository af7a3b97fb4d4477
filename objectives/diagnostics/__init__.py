"""What is measured and not minimised.
Diagnostics: what you measure and do not minimise.

- `curvature`: the spectrum of the Hessian by Lanczos' method, of a whole loss and class by class
- `imbalance`: false heads, recall of rare triplets, lengths of class vectors, separation and spread of features
- `multilabel`: macro-AUC
- `numerics`: softmax collapse, and gradients that only scale the weights up
- `ranking`: the area under the ROC curve
- `survival`: concordance index
- `calibration`: reliability diagrams and calibration errors, Brier decomposition, temperature scaling, angular visual
  hardness, multicalibration and omniprediction
"""

from objectives.diagnostics.calibration import (
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
    "BrierDecomposition",
    "CalibrationBins",
    "HessianSpectrum",
    "angular_visual_hardness",
    "brier_decomposition",
    "class_weight_norms",
    "classwise_calibration_error",
    "classwise_hessian_spectrum",
    "concordance_index",
    "cone_effect",
    "expected_calibration_error",
    "false_head_rate",
    "fisher_discriminant_ratio",
    "fit_temperature",
    "hessian_spectrum",
    "macro_auc",
    "multiaccuracy_error",
    "multicalibration_error",
    "nlm_alignment",
    "omniprediction",
    "reliability_diagram",
    "roc_auc",
    "softmax_collapse_fraction",
    "spectral_density",
    "weighted_triplet_recall",
]
