"""Losses of several labels an example, each of them present or absent: `[..., L]` throughout, labels 0 or 1.

- `asymmetric`: one entry at a time (with `sigmoid_cross_entropy` and `sigmoid_focal_loss` in `classification`), and the
  form for one label of several classes
- `contrast`: the labels of an example against each other (ZLPR), and of the batch too (the two-way loss)
- `auc`: the examples of a label against each other, the macro-AUC surrogates
"""

from objectives.multilabel.asymmetric import asymmetric_loss, asymmetric_single_label_loss
from objectives.multilabel.auc import macro_auc_pairwise_loss, macro_auc_reweighted_loss, macro_auc_univariate_loss
from objectives.multilabel.contrast import two_way_loss, zlpr_loss

__all__ = [
    "asymmetric_loss",
    "asymmetric_single_label_loss",
    "macro_auc_pairwise_loss",
    "macro_auc_reweighted_loss",
    "macro_auc_univariate_loss",
    "two_way_loss",
    "zlpr_loss",
]
