"""Preconditioned SGD: P = QᵀQ fitted on a Lie group, so that P g is the whitened gradient or Newton's step.

One method (`_psgd.py`: average, fit, apply, clip) and one group (`_psgd_groups.py`) for each transformation. Gradients
are whitened (P approaches the inverse root of their second moments) in mode `"whitening"`; in mode `"newton"` P
approaches the inverse of the Hessian's absolute value, from products with random vectors.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import check_descent, descend, wide_scalar
from optimizers.second_order._psgd import Settings, scale_by_group
from optimizers.second_order._psgd_groups import kron_group
from optimizers.second_order._psgd_math import Geometry

Mode = Literal["whitening", "newton"]


def preconditioner_probability_schedule(
    max_prob: jax.typing.ArrayLike = 1.0,
    min_prob: jax.typing.ArrayLike = 0.03,
    decay: jax.typing.ArrayLike = 0.001,
    flat_start: int = 500,
) -> Callable[[jax.typing.ArrayLike], jax.Array]:
    r"""How often to fit a preconditioner: always at first, then ever more seldom.

    $$p_t = \operatorname{clip}\!\left(p_{\max}\, e^{-d \max(t - t_0, 0)},\; p_{\min},\; p_{\max}\right)$$

    Args:
        max_prob: Probability at the start, in [0, 1].
        min_prob: Probability at the end, in [0, 1].
        decay: Rate d of the decay per step, at least 0.
        flat_start: Number of steps t_0 before the decay, at least 1.

    Returns:
        The schedule, from the number of steps taken to a probability, for `preconditioner_update_probability`.

    Raises:
        ValueError: A concrete argument is out of range.
        TypeError: An argument is no number.

    Examples:
        >>> schedule = preconditioner_probability_schedule()
        >>> print(schedule(0), round(float(schedule(1500)), 3), schedule(10_000))
        1.0 0.368 0.03

    Source:
        X.-L. Li, "Stochastic Hessian Fittings with Lie Groups", 2024, whose fits are needed less often once they have
        converged; the schedule is that of the JAX and PyTorch ports of the author's Kronecker preconditioner.
    """
    function = "preconditioner_probability_schedule"
    check_range(function, "max_prob", max_prob, 0.0, 1.0)
    check_range(function, "min_prob", min_prob, 0.0, 1.0)
    check_range(function, "decay", decay, 0.0)
    flat_start = check_positive_integer(function, "flat_start", flat_start)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        late = jnp.maximum(jnp.asarray(count, float) - flat_start, 0.0)
        return jnp.clip(max_prob * jnp.exp(-wide_scalar(decay) * late), min_prob, max_prob)

    return schedule


def _kron(
    function: str, max_size_triangular: Any, max_skew_triangular: Any, geometry: Geometry, settings: Settings
) -> optax.GradientTransformationExtraArgs:
    check_range(function, "max_size_triangular", max_size_triangular, 0.0)
    check_range(function, "max_skew_triangular", max_skew_triangular, 0.0)
    if geometry not in get_args(Geometry):
        raise ValueError(f"{function}: geometry must be one of {get_args(Geometry)}, got {geometry!r}")
    return scale_by_group(function, kron_group(max_size_triangular, max_skew_triangular, geometry), settings)


def scale_by_psgd_kron(
    b1: jax.typing.ArrayLike | None = 0.9,
    *,
    mode: Mode = "whitening",
    preconditioner_lr: jax.typing.ArrayLike = 0.1,
    preconditioner_update_probability: optax.ScalarOrSchedule = 1.0,
    preconditioner_init_scale: jax.typing.ArrayLike | None = None,
    max_size_triangular: float = 8192,
    max_skew_triangular: float = 1.0,
    geometry: Geometry = "EQ",
    lipschitz_decay: jax.typing.ArrayLike = 0.9,
    damping: jax.typing.ArrayLike = 1e-9,
    max_rms: jax.typing.ArrayLike = 2.0,
    max_amplitude: jax.typing.ArrayLike = 10.0,
    whiten_momentum: bool = False,
    mu_dtype: Any = None,
    key: jax.Array | int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Precondition every parameter by a fitted Kronecker product, P = ⊗ QᵢᵀQᵢ with one factor an axis.

    With V normal, H the gradient (or the Hessian times V), A = Q H and B = Q⁻ᵀ V, contracted over all axes but i,

    $$Q_i \leftarrow Q_i - \frac{\mu}{L_i}\, \operatorname{triu}\!\left(A A^\top - B B^\top\right)_{(i)} Q_i, \qquad
    u = Q^\top Q\, m$$

    and L a running bound on the norm of A Aᵀ + B Bᵀ. Parameters of equal shape are one batched operation. With
    `geometry="Q0.5EQ1.5"` the factors are near symmetric ones instead of triangular, and fitted without triangular
    solves: `Q_i -= μ/L (PH·HᵀP - V Vᵀ) Q_i`, with the expectation of V Vᵀ when whitening, and then a rotation towards
    the symmetric.

    Args:
        b1: Decay of the average of the gradients that is preconditioned, in [0, 1); None keeps no average. It is the
            plain mean of the first 1 / (1 - b1) gradients.
        mode: `"whitening"` fits P to the gradients; `"newton"` to products of the Hessian with random vectors, for
            which `update` needs the extra argument `grad_fn`, as the train step gives it, and `params`.
        preconditioner_lr: Step μ of the fit, in [0, 1].
        preconditioner_update_probability: Probability of a fit at a step after the first: a number, or a schedule
            such as `preconditioner_probability_schedule()`.
        preconditioner_init_scale: Q at the start is this times the identity; None takes the scale from the first
            gradients (or products).
        max_size_triangular: Longer axes have diagonal factors.
        max_skew_triangular: So have axes whose square exceeds this times the size of the parameter: with 1, the longer
            axis of a matrix, and vectors.
        geometry: `"EQ"`, the group of triangular matrices, or `"Q0.5EQ1.5"`.
        lipschitz_decay: Decay of the running bounds, in [0, 1); nearer to 1 for sparse gradients.
        damping: Noise added to the gradients of the fit, at least 0; it bounds P by 1 / damping.
        max_rms: Largest root mean square of a parameter's direction; `inf` leaves it.
        max_amplitude: Largest entry of the direction; `inf` leaves it.
        whiten_momentum: Fit P to the average of the gradients in place of the gradients.
        mu_dtype: dtype of the average; None means float32, or the parameters' dtype where that is wider.
        key: Seed or key of the random vectors.

    Returns:
        An Optax transformation for real parameters; the state holds, for every parameter, factors and their bounds.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a dtype, a parameter is complex, or `grad_fn` is missing.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> tx, scales = scale_by_psgd_kron(b1=None), jnp.array([[8.0, 4.0], [2.0, 1.0]])
        >>> def step(state, key):
        ...     direction, state = tx.update(scales * jax.random.normal(key, (2, 2)), state)
        ...     return state, direction
        >>> _, directions = jax.lax.scan(step, tx.init(scales), jax.random.split(jax.random.key(0), 1000))
        >>> print(jnp.std(directions[500:], axis=0).round(0))
        [[1. 1.]
         [1. 1.]]

    Source:
        X.-L. Li, "Preconditioned Stochastic Gradient Descent", 2018; X.-L. Li, "Stochastic Hessian Fittings with Lie
        Groups", 2024. The bounds, the clipping and the second geometry are those of the author's psgd_torch of 2025.
    """
    settings = Settings(
        b1, mode, preconditioner_lr, preconditioner_update_probability, preconditioner_init_scale, lipschitz_decay,
        damping, max_rms, max_amplitude, whiten_momentum, mu_dtype, key,
    )  # fmt: skip
    return _kron("scale_by_psgd_kron", max_size_triangular, max_skew_triangular, geometry, settings)


def psgd_kron(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike | None = 0.9,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    mode: Mode = "whitening",
    preconditioner_lr: jax.typing.ArrayLike = 0.1,
    preconditioner_update_probability: optax.ScalarOrSchedule = 1.0,
    preconditioner_init_scale: jax.typing.ArrayLike | None = None,
    max_size_triangular: float = 8192,
    max_skew_triangular: float = 1.0,
    geometry: Geometry = "EQ",
    lipschitz_decay: jax.typing.ArrayLike = 0.9,
    damping: jax.typing.ArrayLike = 1e-9,
    max_rms: jax.typing.ArrayLike = 2.0,
    max_amplitude: jax.typing.ArrayLike = 10.0,
    whiten_momentum: bool = False,
    mu_dtype: Any = None,
    key: jax.Array | int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""PSGD with Kronecker preconditioners: every parameter moves along its whitened gradient.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \operatorname{clip}(P_t m_t) + \lambda\, \theta_{t-1} \right)$$

    with P and m of `scale_by_psgd_kron`. Whitened entries have magnitude about 1, as Adam's have: learning rates
    are Adam's, or somewhat lower.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the average of the gradients, in [0, 1), or None, see `scale_by_psgd_kron`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        mode: `"whitening"` or `"newton"`, which needs the extra argument `grad_fn`.
        preconditioner_lr: Step of the fit, in [0, 1].
        preconditioner_update_probability: Probability of a fit at a step, or a schedule of it.
        preconditioner_init_scale: Q at the start; None takes the scale from the first gradients.
        max_size_triangular: Longer axes have diagonal factors.
        max_skew_triangular: So have axes whose square exceeds this times the size of the parameter.
        geometry: `"EQ"` or `"Q0.5EQ1.5"`, see `scale_by_psgd_kron`.
        lipschitz_decay: Decay of the running bounds, in [0, 1).
        damping: Noise added to the gradients of the fit, at least 0.
        max_rms: Largest root mean square of a parameter's direction; `inf` leaves it.
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
        >>> loss = lambda w: jnp.sum(jnp.array([[1.0, 100.0], [0.01, 1.0]]) * w**2)
        >>> w, tx = jnp.ones((2, 2)), psgd_kron(optax.cosine_decay_schedule(0.1, 200))
        >>> def step(carry, _):
        ...     updates, state = tx.update(jax.grad(loss)(carry[0]), carry[1], carry[0])
        ...     return (optax.apply_updates(carry[0], updates), state), None
        >>> (w, _), _ = jax.lax.scan(step, (w, tx.init(w)), length=200)
        >>> print(f"{loss(w):.1f}")
        0.0

    Source:
        X.-L. Li, "Preconditioned Stochastic Gradient Descent", 2018; X.-L. Li, "Stochastic Hessian Fittings with Lie
        Groups", 2024.
    """
    check_descent("psgd_kron", learning_rate, weight_decay)
    settings = Settings(
        b1, mode, preconditioner_lr, preconditioner_update_probability, preconditioner_init_scale, lipschitz_decay,
        damping, max_rms, max_amplitude, whiten_momentum, mu_dtype, key,
    )  # fmt: skip
    directions = _kron("psgd_kron", max_size_triangular, max_skew_triangular, geometry, settings)
    return descend(directions, learning_rate, weight_decay, mask)
