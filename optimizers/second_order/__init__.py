"""Second-order methods: curvature of the loss, or second moments of the gradients, as a preconditioner.

| where | what |
|---|---|
| `psgd.py` | preconditioned SGD with Kronecker factors: `psgd_kron`, `scale_by_psgd_kron`, |
| | `preconditioner_probability_schedule` |
| `psgd_global.py` | with one preconditioner for all parameters: `psgd_lra`, `psgd_xmat`, `psgd_dense` |
| `mfac.py` | the inverse empirical Fisher of the last gradients: `mfac`, `scale_by_mfac`, `empirical_fisher_ihvp`, |
| | `empirical_fisher_inverse_diag` |
| `input_gain.py` | a step for each input of a layer: `optimal_input_gains`, `scale_by_optimal_input_gain`, |
| | `hidden_weight_optimization_direction` |
| `psgd_fitting.py` | the fits alone: `hessian_fitting_loss`, `update_kron_q`, `precond_grad_kron` and others |
"""

from optimizers.second_order.input_gain import (
    hidden_weight_optimization_direction,
    optimal_input_gains,
    scale_by_optimal_input_gain,
)
from optimizers.second_order.mfac import empirical_fisher_ihvp, empirical_fisher_inverse_diag, mfac, scale_by_mfac
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

__all__ = [
    "empirical_fisher_ihvp",
    "empirical_fisher_inverse_diag",
    "hessian_fitting_loss",
    "hidden_weight_optimization_direction",
    "mfac",
    "optimal_input_gains",
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
    "scale_by_mfac",
    "scale_by_optimal_input_gain",
    "scale_by_psgd_kron",
    "update_dense_q",
    "update_diag_q",
    "update_kron_q",
    "update_lra_q",
    "update_xmat_q",
]
