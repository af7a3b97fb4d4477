"""What is measured and not minimised.

- `multilabel`: macro-AUC
- `numerics`: softmax collapse, and gradients that only scale the weights up
"""

from objectives.diagnostics.multilabel import macro_auc
from objectives.diagnostics.numerics import nlm_alignment, softmax_collapse_fraction

__all__ = ["macro_auc", "nlm_alignment", "softmax_collapse_fraction"]
"""What one measures and does not minimise.

Rooms:

- `ranking`: the area under the ROC curve
"""

from objectives.diagnostics.ranking import roc_auc

__all__ = ["roc_auc"]
