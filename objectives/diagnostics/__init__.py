"""What one measures and does not minimise.

Rooms:

- `ranking`: the area under the ROC curve
"""

from objectives.diagnostics.ranking import roc_auc

__all__ = ["roc_auc"]
