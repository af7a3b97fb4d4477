"""AdaHessian: Adam with the diagonal of the Hessian where Adam has the gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import (
    MU_DTYPES,
    TINY,
    Moments,
    Scalars,
    average,
    bias_correction,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    elementwise,
    first_moment,
    second_moment,
    wide_scalar,
)
from optimizers._trees import PyTree
from optimizers.second_order.estimators import Averages, hutchinson_estimator_diag_hessian, refresh


class ScaleByAdaHessianState(NamedTuple):
    """State of `scale_by_adahessian`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        mu: moving average of the gradients.
        nu: moving average of the squares of the estimated diagonals.
        hessian_fn_state: state of the estimator.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    nu: PyTree
    hessian_fn_state: PyTree


def _spatially_averaged(diagonal: jax.Array) -> jax.Array:
    """The mean absolute value over the window of a convolution's kernel [*window, in, out]; others as they are."""
    magnitude = jnp.abs(diagonal)
    if diagonal.ndim < 4:
        return magnitude
    mean = jnp.mean(magnitude, axis=tuple(range(diagonal.ndim - 2)), keepdims=True)
    return jnp.broadcast_to(mean, diagonal.shape)


def _adahessian(
    function: str,
    b1: Any,
    b2: Any,
    eps: Any,
    mu_dtype: Any,
    hessian_power: Any,
    update_interval: Any,
    spatial_averaging: bool,
    hessian_diagonal_fn: optax.GradientTransformation | None,
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, b1=b1, b2=b2)
    check_range(function, "hessian_power", hessian_power, 0.0, 1.0)
    interval = check_positive_integer(function, "update_interval", update_interval)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    b1, b2, eps, hessian_power = (wide_scalar(x) for x in (b1, b2, eps, hessian_power))
    estimator = optax.with_extra_args_support(
        hutchinson_estimator_diag_hessian() if hessian_diagonal_fn is None else hessian_diagonal_fn
    )

    full_power = isinstance(hessian_power, float) and hessian_power == 1.0

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        refreshes = (step + (interval - 1)) // interval
        root = bias_correction(b2, refreshes) ** (hessian_power / 2)
        return b1, 1 - b1, root / bias_correction(b1, step), eps * root + TINY, hessian_power / 2

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return average(s[0], s[1], old[0], g), old[1]

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        curvature = jnp.sqrt(new[1]) if full_power else new[1] ** s[4]
        return s[2] * new[0] / (curvature + s[3])

    moments = {"mu": first_moment(mu_dtype), "nu": second_moment(None)}
    apply = elementwise(Averages, moments, scalars, advance, direction)

    def advance_squares(average_of_squares: jax.Array, estimate: jax.Array) -> jax.Array:
        magnitude = _spatially_averaged(estimate) if spatial_averaging else estimate
        return average(b2, 1 - b2, average_of_squares, magnitude * magnitude)

    def init(params: PyTree) -> ScaleByAdaHessianState:
        start = apply.init(params)
        return ScaleByAdaHessianState(start.count, start.mu, start.nu, estimator.init(params))

    def update(
        updates: PyTree, state: ScaleByAdaHessianState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, ScaleByAdaHessianState]:
        nu, estimator_state = refresh(
            estimator,
            interval,
            advance_squares,
            state.count,
            state.nu,
            state.hessian_fn_state,
            updates,
            params,
            extra_args,
        )
        directions, moved = apply.update(updates, Averages(state.count, state.mu, nu))
        return directions, ScaleByAdaHessianState(moved.count, moved.mu, moved.nu, estimator_state)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_adahessian(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-4,
    mu_dtype: Any = None,
    *,
    hessian_power: jax.typing.ArrayLike = 1.0,
    update_interval: int = 1,
    spatial_averaging: bool = True,
    hessian_diagonal_fn: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the averaged gradient by the root mean square of estimates of the Hessian's diagonal.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) D_t^2, \quad
    u_t = \frac{m_t / (1 - \beta_1^t)}{\bigl(\sqrt{\nu_t / (1 - \beta_2^t)}\bigr)^k + \varepsilon}$$

    with $D_t = z \odot \nabla^2 L(\theta_t) z$ for random signs z, and for the kernels of convolutions the mean of its
    absolute values over the window. Where the diagonal is renewed only every few steps, its bias is corrected for the
    number of renewals; pytorch-optimizer corrects for the number of steps, by which the first estimates count too
    little.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the denominator, at least 0.
        mu_dtype: dtype of the first moment; None means float32, or the parameters' dtype where that is wider. bfloat16
            and float16 are rounded stochastically, hence without bias.
        hessian_power: The exponent k in [0, 1]: 1 is full curvature, 0 is momentum.
        update_interval: Steps from one estimate of the diagonal to the next; an estimate costs about two gradients.
        spatial_averaging: Average over the window of kernels [*window, in, out], leaves of four or more axes.
        hessian_diagonal_fn: Transformation that turns gradients into an estimate of the diagonal;
            `hutchinson_estimator_diag_hessian()` by default.

    Returns:
        An Optax transformation; `update` needs `params` and the extra argument `grad_fn`, which `make_train_step`
        passes. Updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `update_interval` no integer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> params, grad_fn = jnp.array([1.0, 1.0]), jax.grad(lambda x: 0.5 * x[0] ** 2 + 50.0 * x[1] ** 2)
        >>> tx = scale_by_adahessian(eps=0.0)
        >>> update, _ = tx.update(grad_fn(params), tx.init(params), params, grad_fn=grad_fn)
        >>> print(update.round(3))  # Newton's step
        [1. 1.]

    Source:
        Z. Yao, A. Gholami, S. Shen, M. Mustafa, K. Keutzer, M. W. Mahoney, "ADAHESSIAN: An Adaptive Second Order
        Optimizer for Machine Learning", 2021.
    """
    return _adahessian(
        "scale_by_adahessian",
        b1,
        b2,
        eps,
        mu_dtype,
        hessian_power,
        update_interval,
        spatial_averaging,
        hessian_diagonal_fn,
    )


def adahessian(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-4,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    hessian_power: jax.typing.ArrayLike = 1.0,
    update_interval: int = 1,
    spatial_averaging: bool = True,
    hessian_diagonal_fn: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaHessian: momentum divided by a moving average of the Hessian's diagonal, with decoupled weight decay.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \frac{m_t / (1 - \beta_1^t)}
    {\bigl(\sqrt{\nu_t / (1 - \beta_2^t)}\bigr)^k + \varepsilon} + \lambda\,\theta_{t-1} \right)$$

    with the moments of `scale_by_adahessian`. Learning rates are those of SGD (the authors': 0.15 for images), not
    Adam's.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the denominator, at least 0.
        mu_dtype: dtype of the first moment, see `scale_by_adahessian`.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        hessian_power: The exponent k in [0, 1].
        update_interval: Steps from one estimate of the diagonal to the next.
        spatial_averaging: Average over the window of kernels [*window, in, out], leaves of four or more axes.
        hessian_diagonal_fn: Transformation that estimates the diagonal, see `scale_by_adahessian`.

    Returns:
        An Optax transformation; `update` needs `params` and the extra argument `grad_fn`, which `make_train_step`
        passes.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `update_interval` no integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> grad_fn = jax.grad(lambda x: 0.5 * x[0] ** 2 + 50.0 * x[1] ** 2)
        >>> params, tx = jnp.array([1.0, 1.0]), adahessian(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(grad_fn(params), state, params, grad_fn=grad_fn)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{params[0]:.2f} {params[1]:.2f}")  # the same progress along both axes
        0.23 0.23

    Source:
        Z. Yao, A. Gholami, S. Shen, M. Mustafa, K. Keutzer, M. W. Mahoney, "ADAHESSIAN: An Adaptive Second Order
        Optimizer for Machine Learning", 2021.
    """
    check_descent("adahessian", learning_rate, weight_decay)
    directions = _adahessian(
        "adahessian", b1, b2, eps, mu_dtype, hessian_power, update_interval, spatial_averaging, hessian_diagonal_fn
    )
    return descend(directions, learning_rate, weight_decay, mask)
