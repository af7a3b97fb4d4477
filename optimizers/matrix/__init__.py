"""Matrix transformations: a leaf is a linear map, and a step is measured as one.

| where | what |
|---|---|
| `newton_schulz.py` | `newton_schulz_orthogonalize`: the polar factor by matrix products |
| `muon.py` | `muon`, `scale_by_muon`; `adaptive_muon.py`: `adamuon`, `normuon` |
| `steepest_descent.py` | `steepest_descent` under norms of the layers, `dual_norm`, `prodigy_sign` |
| `scaled_gd.py` | `scaled_gd`, `scale_by_scaled_gd`: factors of low-rank matrices |
| `shampoo.py`, `soap.py` | `shampoo`, `soap`: second moments of rows and columns; Adam in their eigenbasis |
| `dimensions.py` | `muon_dimension_numbers`: which leaves are matrices of hidden layers |
"""

from optimizers.matrix.adaptive_muon import adamuon, normuon, scale_by_adamuon, scale_by_normuon
from optimizers.matrix.dimensions import muon_dimension_numbers
from optimizers.matrix.muon import muon, scale_by_muon
from optimizers.matrix.newton_schulz import newton_schulz_orthogonalize
from optimizers.matrix.scaled_gd import scale_by_scaled_gd, scaled_gd
from optimizers.matrix.shampoo import scale_by_shampoo, shampoo
from optimizers.matrix.soap import scale_by_soap, soap
from optimizers.matrix.steepest_descent import dual_norm, prodigy_sign, scale_by_steepest_descent, steepest_descent

__all__ = [
    "adamuon",
    "dual_norm",
    "muon",
    "muon_dimension_numbers",
    "newton_schulz_orthogonalize",
    "normuon",
    "prodigy_sign",
    "scale_by_adamuon",
    "scale_by_muon",
    "scale_by_normuon",
    "scale_by_scaled_gd",
    "scale_by_shampoo",
    "scale_by_soap",
    "scale_by_steepest_descent",
    "scaled_gd",
    "shampoo",
    "soap",
    "steepest_descent",
]
