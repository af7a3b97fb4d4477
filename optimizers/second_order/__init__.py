"""Transformations that use the curvature of the loss.

| where | what |
|---|---|
| `estimators.py` | its diagonal: `hutchinson_estimator_diag_hessian`, `gauss_newton_bartlett_estimator` |
| `adahessian.py` | Adam with that diagonal: `adahessian`, `scale_by_adahessian` |
| `sophia.py` | clipped steps: `sophia`, `sophia_g`, `scale_by_sophia` |
| `oasis.py` | a step size that finds itself: `oasis` |
| `sania.py` | Polyak's step in a preconditioned norm: `sania` |
| `saddle_free.py` | absolute eigenvalues: `saddle_free_newton`, `saddle_free_direction` |
| `gradient_normalized.py` | regularised Newton: `gradient_normalized_newton`, `gradient_regularized_newton_direction` |
| `natural_gradient.py` | Gauss-Newton systems: `natural_gradient`, `thermodynamic_natural_gradient`, `ou_relax` |

The products and estimates themselves are in `optimizers/curvature.py`.
"""

from optimizers.second_order.adahessian import adahessian, scale_by_adahessian
from optimizers.second_order.estimators import gauss_newton_bartlett_estimator, hutchinson_estimator_diag_hessian
from optimizers.second_order.gradient_normalized import (
    gradient_normalized_newton,
    gradient_regularized_newton_direction,
)
from optimizers.second_order.natural_gradient import natural_gradient, ou_relax, thermodynamic_natural_gradient
from optimizers.second_order.oasis import oasis
from optimizers.second_order.saddle_free import saddle_free_direction, saddle_free_newton
from optimizers.second_order.sania import sania
from optimizers.second_order.sophia import scale_by_sophia, sophia, sophia_g

__all__ = [
    "adahessian",
    "gauss_newton_bartlett_estimator",
    "gradient_normalized_newton",
    "gradient_regularized_newton_direction",
    "hutchinson_estimator_diag_hessian",
    "natural_gradient",
    "oasis",
    "ou_relax",
    "saddle_free_direction",
    "saddle_free_newton",
    "sania",
    "scale_by_adahessian",
    "scale_by_sophia",
    "sophia",
    "sophia_g",
    "thermodynamic_natural_gradient",
]
