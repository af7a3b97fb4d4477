"""Matrix transformations: a leaf is a linear map, and a step is measured as one.

| where | what |
|---|---|
| `newton_schulz.py` | `newton_schulz_orthogonalize`: the polar factor by matrix products |
| `muon.py` | `muon`, `scale_by_muon`; `adaptive_muon.py`: `adamuon`, `normuon` |
| `dimensions.py` | `muon_dimension_numbers`: which leaves are matrices of hidden layers |
"""

from optimizers.matrix.adaptive_muon import adamuon, normuon, scale_by_adamuon, scale_by_normuon
from optimizers.matrix.dimensions import muon_dimension_numbers
from optimizers.matrix.muon import muon, scale_by_muon
from optimizers.matrix.newton_schulz import newton_schulz_orthogonalize

__all__ = [
    "adamuon",
    "muon",
    "muon_dimension_numbers",
    "newton_schulz_orthogonalize",
    "normuon",
    "scale_by_adamuon",
    "scale_by_muon",
    "scale_by_normuon",
]
