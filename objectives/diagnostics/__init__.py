"""What is measured and not minimised.

- `multilabel`: macro-AUC
- `numerics`: softmax collapse, and gradients that only scale the weights up
"""

from objectives.diagnostics.multilabel import macro_auc
from objectives.diagnostics.numerics import nlm_alignment, softmax_collapse_fraction

__all__ = ["macro_auc", "nlm_alignment", "softmax_collapse_fraction"]
