"""Preconditioned SGD with one preconditioner for all parameters together: of low rank, crossed, or dense.

The method and its arguments are those of `psgd_kron`; the groups are `Q = (I + U Vᵀ) diag(d)`, `diag(a) + adiag(b)`,
and matrices.
"""

from typing import Any, Literal

import jax
import optax

from optimizers._moments import check_descent, descend
from optimizers.second_order._psgd import Settings, scale_by_group
from optimizers.second_order._psgd_groups import cross_group, dense_group, lra_group

Mode = Literal["whitening", "newton"]


def psgd_lra(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike | None = 0.9,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mode: Mode = "whitening",
    rank: int = 10,
    preconditioner_lr: jax.typing.ArrayLike = 0.1,
    preconditioner_update_probability: optax.ScalarOrSchedule = 1.0,
    preconditioner_init_scale: jax.typing.ArrayLike | None = None,
    lipschitz_decay: jax.typing.ArrayLike = 0.9,
    damping: jax.typing.ArrayLike = 1e-9,
    max_rms: jax.typing.ArrayLike = 2.0,
    max_amplitude: jax.typing.ArrayLike = 10.0,
    whiten_momentum: bool = False,
    mu_dtype: Any = None,
    key: jax.Array | int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""PSGD with a diagonal preconditioner and a low-rank correction, over all parameters together.

    $$Q = (I + U V^\top)\, \operatorname{diag}(d), \qquad
    \theta_t = \theta_{t-1} - \eta_t \left( \operatorname{clip}(Q^\top Q\, m_t) + \lambda\, \theta_{t-1} \right)$$

    with Q fitted by `update_lra_q` and the rest as in `psgd_kron`. Memory: 2 rank + 1 words a parameter.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the average of the gradients, in [0, 1), or None, see `scale_by_psgd_kron`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        mode: `"newton"`, which needs the extra argument `grad_fn`, or `"whitening"`.
        rank: Columns of U and V, at least 0; 0 leaves the diagonal.
        preconditioner_lr: Step of the fit, in [0, 1].
        preconditioner_update_probability: Probability of a fit at a step, or a schedule of it.
        preconditioner_init_scale: Q at the start; None takes the scale from the first pair.
        lipschitz_decay: Decay of the running bounds, in [0, 1).
        damping: Noise added to h, at least 0.
        max_rms: Largest root mean square of the direction, over all parameters; `inf` leaves it.
        max_amplitude: Largest entry of the direction; `inf` leaves it.
        whiten_momentum: Fit P to the average of the gradients in place of the gradients.
        mu_dtype: dtype of the average.
        key: Seed or key of the random vectors.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a dtype, a parameter is complex, or `grad_fn` is missing.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> gradient = jax.grad(lambda w: 50 * w[0] ** 2 + w[0] * w[1] + 0.5 * w[1] ** 2)
        >>> w, tx = jnp.ones(2), psgd_lra(0.5, mode="newton")
        >>> def step(carry, _):
        ...     updates, state = tx.update(gradient(carry[0]), carry[1], carry[0], grad_fn=gradient)
        ...     return (optax.apply_updates(carry[0], updates), state), None
        >>> (w, _), _ = jax.lax.scan(step, (w, tx.init(w)), length=300)
        >>> print(jnp.abs(w).round(3))
        [0. 0.]

    Source:
        O. Pooladzandi, X.-L. Li, "Curvature-Informed SGD via General Purpose Lie-Group Preconditioners", 2024.
    """
    check_descent("psgd_lra", learning_rate, weight_decay)
    if isinstance(rank, bool) or not isinstance(rank, int):
        raise TypeError(f"psgd_lra: rank must be an integer, got {type(rank).__name__}")
    if rank < 0:
        raise ValueError(f"psgd_lra: rank must be at least 0, got {rank}")
    settings = Settings(
        b1, mode, preconditioner_lr, preconditioner_update_probability, preconditioner_init_scale, lipschitz_decay,
        damping, max_rms, max_amplitude, whiten_momentum, mu_dtype, key,
    )  # fmt: skip
    return descend(scale_by_group("psgd_lra", lra_group(int(rank)), settings), learning_rate, weight_decay, mask)


def psgd_xmat(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike | None = 0.9,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mode: Mode = "newton",
    preconditioner_lr: jax.typing.ArrayLike = 0.1,
    preconditioner_update_probability: optax.ScalarOrSchedule = 1.0,
    preconditioner_init_scale: jax.typing.ArrayLike | None = None,
    lipschitz_decay: jax.typing.ArrayLike = 0.9,
    damping: jax.typing.ArrayLike = 1e-9,
    max_rms: jax.typing.ArrayLike = 2.0,
    max_amplitude: jax.typing.ArrayLike = 10.0,
    whiten_momentum: bool = False,
    mu_dtype: Any = None,
    key: jax.Array | int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""PSGD with a preconditioner that is a cross: a diagonal and an antidiagonal.

    $$Q = \operatorname{diag}(a) + \operatorname{adiag}(b), \qquad
    \theta_t = \theta_{t-1} - \eta_t \left( \operatorname{clip}(Q^\top Q\, m_t) + \lambda\, \theta_{t-1} \right)$$

    with Q fitted by `update_xmat_q` and the rest as in `psgd_kron`. Every entry is paired with its mirror image in the
    vector of all parameters, leaves of equal shape next to one another.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the average of the gradients, in [0, 1), or None, see `scale_by_psgd_kron`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        mode: `"newton"`, which needs the extra argument `grad_fn`, or `"whitening"`.
        preconditioner_lr: Step of the fit, in [0, 1].
        preconditioner_update_probability: Probability of a fit at a step, or a schedule of it.
        preconditioner_init_scale: Q at the start; None takes the scale from the first pair.
        lipschitz_decay: Decay of the running bounds, in [0, 1).
        damping: Noise added to h, at least 0.
        max_rms: Largest root mean square of the direction, over all parameters; `inf` leaves it.
        max_amplitude: Largest entry of the direction; `inf` leaves it.
        whiten_momentum: Fit P to the average of the gradients in place of the gradients.
        mu_dtype: dtype of the average.
        key: Seed or key of the random vectors.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a dtype, a parameter is complex, or `grad_fn` is missing.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> gradient = jax.grad(lambda w: 50 * w[0] ** 2 + w[0] * w[1] + 0.5 * w[1] ** 2)
        >>> w, tx = jnp.ones(2), psgd_xmat(0.5, mode="newton")
        >>> def step(carry, _):
        ...     updates, state = tx.update(gradient(carry[0]), carry[1], carry[0], grad_fn=gradient)
        ...     return (optax.apply_updates(carry[0], updates), state), None
        >>> (w, _), _ = jax.lax.scan(step, (w, tx.init(w)), length=300)
        >>> print(jnp.abs(w).round(3))
        [0. 0.]

    Source:
        O. Pooladzandi, X.-L. Li, "Curvature-Informed SGD via General Purpose Lie-Group Preconditioners", 2024.
    """
    check_descent("psgd_xmat", learning_rate, weight_decay)
    settings = Settings(
        b1, mode, preconditioner_lr, preconditioner_update_probability, preconditioner_init_scale, lipschitz_decay,
        damping, max_rms, max_amplitude, whiten_momentum, mu_dtype, key,
    )  # fmt: skip
    return descend(scale_by_group("psgd_xmat", cross_group(), settings), learning_rate, weight_decay, mask)


def psgd_dense(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike | None = 0.9,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mode: Mode = "newton",
    group: Literal["triangular", "general"] = "triangular",
    preconditioner_lr: jax.typing.ArrayLike = 0.1,
    preconditioner_update_probability: optax.ScalarOrSchedule = 1.0,
    preconditioner_init_scale: jax.typing.ArrayLike | None = None,
    lipschitz_decay: jax.typing.ArrayLike = 0.9,
    damping: jax.typing.ArrayLike = 1e-9,
    max_rms: jax.typing.ArrayLike = 2.0,
    max_amplitude: jax.typing.ArrayLike = 10.0,
    whiten_momentum: bool = False,
    mu_dtype: Any = None,
    key: jax.Array | int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""PSGD with a matrix for preconditioner, over all parameters together: up to some thousand of them.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \operatorname{clip}(Q^\top Q\, m_t) + \lambda\, \theta_{t-1} \right)$$

    with Q fitted by `update_dense_q` and the rest as in `psgd_kron`: a stochastic quasi-Newton method without line
    search. Its steps follow any linear change of coordinates if Q does.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the average of the gradients, in [0, 1), or None, see `scale_by_psgd_kron`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        mode: `"newton"`, which needs the extra argument `grad_fn`, or `"whitening"`.
        group: `"triangular"`, or `"general"` for all invertible matrices, which costs a solve of n³.
        preconditioner_lr: Step of the fit, in [0, 1].
        preconditioner_update_probability: Probability of a fit at a step, or a schedule of it.
        preconditioner_init_scale: Q at the start; None takes the scale from the first pair.
        lipschitz_decay: Decay of the running bounds, in [0, 1).
        damping: Noise added to h, at least 0.
        max_rms: Largest root mean square of the direction, over all parameters; `inf` leaves it.
        max_amplitude: Largest entry of the direction; `inf` leaves it.
        whiten_momentum: Fit P to the average of the gradients in place of the gradients.
        mu_dtype: dtype of the average.
        key: Seed or key of the random vectors.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a dtype, a parameter is complex, or `grad_fn` is missing.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> gradient = jax.grad(lambda w: 50 * w[0] ** 2 + w[0] * w[1] + 0.5 * w[1] ** 2)
        >>> w, tx = jnp.ones(2), psgd_dense(0.5, mode="newton")
        >>> def step(carry, _):
        ...     updates, state = tx.update(gradient(carry[0]), carry[1], carry[0], grad_fn=gradient)
        ...     return (optax.apply_updates(carry[0], updates), state), None
        >>> (w, _), _ = jax.lax.scan(step, (w, tx.init(w)), length=300)
        >>> print(jnp.abs(w).round(3))
        [0. 0.]

    Source:
        X.-L. Li, "Preconditioned Stochastic Gradient Descent", 2018; X.-L. Li, "Stochastic Hessian Fittings with Lie
        Groups", 2024.
    """
    check_descent("psgd_dense", learning_rate, weight_decay)
    if group not in ("triangular", "general"):
        raise ValueError(f"psgd_dense: group must be 'triangular' or 'general', got {group!r}")
    settings = Settings(
        b1, mode, preconditioner_lr, preconditioner_update_probability, preconditioner_init_scale, lipschitz_decay,
        damping, max_rms, max_amplitude, whiten_momentum, mu_dtype, key,
    )  # fmt: skip
    return descend(
        scale_by_group("psgd_dense", dense_group(group == "triangular"), settings), learning_rate, weight_decay, mask
    )
