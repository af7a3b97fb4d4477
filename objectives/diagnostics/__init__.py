"""What is measured and not minimised, by topic.

- `curvature`: the spectrum of the Hessian by Lanczos' method, of a whole loss and class by class
- `imbalance`: false heads, recall of rare triplets, lengths of class vectors, separation and spread of features
- `multilabel`: macro-AUC
- `numerics`: softmax collapse, and gradients that only scale the weights up
- `ranking`: the area under the ROC curve
- `survival`: concordance index
- `calibration`: reliability diagrams and calibration errors, Brier decomposition, temperature scaling
- `groups`: calibration within groups of examples (multicalibration, multiaccuracy), and omniprediction
- `hardness`: angular visual hardness
- `detection`: mean average precision of boxes (COCO, PASCAL VOC)
- `classification`: accuracy, the confusion matrix and the scores made of it, average precision
- `generation`: perplexity, BLEU, Fréchet distance, inception score
- `images`: peak signal-to-noise ratio (structural similarity can be minimised, and is in `objectives.images`)

Diagnostics take the arguments of objectives, under `jit` too. Those that only a whole data set has take `axis_name` for
a batch split over devices; confusion matrices of several batches add up.
"""

from objectives.diagnostics.calibration import (
    BrierDecomposition,
    CalibrationBins,
    brier_decomposition,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    reliability_diagram,
)
from objectives.diagnostics.classification import (
    accuracy,
    average_precision,
    confusion_matrix,
    f_beta_score,
    matthews_correlation,
    mean_iou,
    precision,
    recall,
    top_k_accuracy,
)
from objectives.diagnostics.curvature import (
    HessianSpectrum,
    classwise_hessian_spectrum,
    hessian_spectrum,
    spectral_density,
)
from objectives.diagnostics.detection import mean_average_precision
from objectives.diagnostics.generation import bleu_score, frechet_distance, inception_score, perplexity
from objectives.diagnostics.groups import multiaccuracy_error, multicalibration_error, omniprediction
from objectives.diagnostics.hardness import angular_visual_hardness
from objectives.diagnostics.images import peak_signal_noise_ratio
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
    "accuracy",
    "angular_visual_hardness",
    "average_precision",
    "bleu_score",
    "brier_decomposition",
    "class_weight_norms",
    "classwise_calibration_error",
    "classwise_hessian_spectrum",
    "concordance_index",
    "cone_effect",
    "confusion_matrix",
    "expected_calibration_error",
    "f_beta_score",
    "false_head_rate",
    "fisher_discriminant_ratio",
    "fit_temperature",
    "frechet_distance",
    "hessian_spectrum",
    "inception_score",
    "macro_auc",
    "matthews_correlation",
    "mean_average_precision",
    "mean_iou",
    "multiaccuracy_error",
    "multicalibration_error",
    "nlm_alignment",
    "omniprediction",
    "peak_signal_noise_ratio",
    "perplexity",
    "precision",
    "recall",
    "reliability_diagram",
    "roc_auc",
    "softmax_collapse_fraction",
    "spectral_density",
    "top_k_accuracy",
    "weighted_triplet_recall",
]
