"""Second-order methods: curvature of the loss, or second moments of the gradients, as a preconditioner.

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
| `psgd.py` | preconditioned SGD with Kronecker factors: `psgd_kron`, `scale_by_psgd_kron`, |
| | `preconditioner_probability_schedule` |
| `psgd_global.py` | with one preconditioner for all parameters: `psgd_lra`, `psgd_xmat`, `psgd_dense` |
| `mfac.py` | the inverse empirical Fisher of the last gradients: `mfac`, `scale_by_mfac`, `empirical_fisher_ihvp`, |
| | `empirical_fisher_inverse_diag` |
| `input_gain.py` | a step for each input of a layer: `optimal_input_gains`, `scale_by_optimal_input_gain`, |
| | `hidden_weight_optimization_direction` |
| `psgd_fitting.py` | the fits alone: `hessian_fitting_loss`, `update_kron_q`, `precond_grad_kron` and others |

The products and estimates themselves are in `optimizers/curvature.py`.
"""

from optimizers.second_order.adahessian import adahessian, scale_by_adahessian
from optimizers.second_order.estimators import gauss_newton_bartlett_estimator, hutchinson_estimator_diag_hessian
from optimizers.second_order.gradient_normalized import (
    gradient_normalized_newton,
    gradient_regularized_newton_direction,
)
from optimizers.second_order.input_gain import (
    hidden_weight_optimization_direction,
    optimal_input_gains,
    scale_by_optimal_input_gain,
)
from optimizers.second_order.mfac import empirical_fisher_ihvp, empirical_fisher_inverse_diag, mfac, scale_by_mfac
from optimizers.second_order.natural_gradient import natural_gradient, ou_relax, thermodynamic_natural_gradient
from optimizers.second_order.oasis import oasis
from optimizers.second_order.psgd import preconditioner_probability_schedule, psgd_kron, scale_by_psgd_kron
from optimizers.second_order.psgd_fitting import (
    hessian_fitting_loss,
    precond_grad_dense,
    precond_grad_diag,
    precond_grad_kron,
    precond_grad_lra,
    precond_grad_xmat,
    update_dense_q,
    update_diag_q,
    update_kron_q,
    update_lra_q,
    update_xmat_q,
)
from optimizers.second_order.psgd_global import psgd_dense, psgd_lra, psgd_xmat
from optimizers.second_order.saddle_free import saddle_free_direction, saddle_free_newton
from optimizers.second_order.sania import sania
from optimizers.second_order.sophia import scale_by_sophia, sophia, sophia_g

__all__ = [
    "adahessian",
    "empirical_fisher_ihvp",
    "empirical_fisher_inverse_diag",
    "gauss_newton_bartlett_estimator",
    "gradient_normalized_newton",
    "gradient_regularized_newton_direction",
    "hessian_fitting_loss",
    "hidden_weight_optimization_direction",
    "hutchinson_estimator_diag_hessian",
    "mfac",
    "natural_gradient",
    "oasis",
    "optimal_input_gains",
    "ou_relax",
    "precond_grad_dense",
    "precond_grad_diag",
    "precond_grad_kron",
    "precond_grad_lra",
    "precond_grad_xmat",
    "preconditioner_probability_schedule",
    "psgd_dense",
    "psgd_kron",
    "psgd_lra",
    "psgd_xmat",
    "saddle_free_direction",
    "saddle_free_newton",
    "sania",
    "scale_by_adahessian",
    "scale_by_mfac",
    "scale_by_optimal_input_gain",
    "scale_by_psgd_kron",
    "scale_by_sophia",
    "sophia",
    "sophia_g",
    "thermodynamic_natural_gradient",
    "update_dense_q",
    "update_diag_q",
    "update_kron_q",
    "update_lra_q",
    "update_xmat_q",
]
