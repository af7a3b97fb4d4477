"""What is measured and not minimised, by topic.

- `classification`: accuracy, the confusion matrix and the scores made of it, average precision
- `generation`: perplexity, BLEU, Fréchet distance, inception score
- `images`: peak signal-to-noise ratio (structural similarity can be minimised, and is in `objectives.images`)

Diagnostics take the arguments of objectives, under `jit` too. Those that only a whole data set has take `axis_name` for
a batch split over devices; confusion matrices of several batches add up.
"""

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
from objectives.diagnostics.generation import bleu_score, frechet_distance, inception_score, perplexity
from objectives.diagnostics.images import peak_signal_noise_ratio

__all__ = [
    "accuracy",
    "average_precision",
    "bleu_score",
    "confusion_matrix",
    "f_beta_score",
    "frechet_distance",
    "inception_score",
    "matthews_correlation",
    "mean_iou",
    "peak_signal_noise_ratio",
    "perplexity",
    "precision",
    "recall",
    "top_k_accuracy",
]
