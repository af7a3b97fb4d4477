"""Sophia: momentum divided by the curvature, each coordinate of the quotient clipped."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import SophiaState

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
from optimizers.second_order.estimators import (
    Averages,
    gauss_newton_bartlett_estimator,
    hutchinson_estimator_diag_hessian,
    refresh,
)


def _sophia(
    function: str,
    b1: Any,
    b2: Any,
    eps: Any,
    gamma: Any,
    clip_threshold: Any,
    update_interval: Any,
    hessian_diagonal_fn: optax.GradientTransformation | None,
    mu_dtype: Any,
    debias: bool,
    hessian_first: bool,
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, b1=b1, b2=b2)
    check_range(function, "gamma", gamma, 0.0)
    check_range(function, "clip_threshold", clip_threshold, 0.0)
    interval = check_positive_integer(function, "update_interval", update_interval)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    b1, b2, eps, gamma = (wide_scalar(x) for x in (b1, b2, eps, gamma))
    estimator = optax.with_extra_args_support(
        hutchinson_estimator_diag_hessian() if hessian_diagonal_fn is None else hessian_diagonal_fn
    )

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        correction = 1 / bias_correction(b1, step) if debias else 1.0
        limit = () if clip_threshold is None else (wide_scalar(clip_threshold),)
        return b1, 1 - b1, correction, gamma, eps, *limit

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return average(s[0], s[1], old[0], g), old[1]

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        on_m, gamma, eps, *limit = s[2:]
        ratio = on_m * new[0] / jnp.maximum(jnp.maximum(gamma * new[1], eps), TINY)
        return jnp.clip(ratio, -limit[0], limit[0]) if limit else ratio

    moments = {"mu": first_moment(mu_dtype), "nu": second_moment(None)}
    apply = elementwise(Averages, moments, scalars, advance, direction)

    def advance_diagonal(average_of_diagonals: jax.Array, estimate: jax.Array) -> jax.Array:
        return average(b2, 1 - b2, average_of_diagonals, estimate)

    def init(params: PyTree) -> SophiaState:
        return SophiaState(*apply.init(params), estimator.init(params))

    def update(
        updates: PyTree, state: SophiaState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, SophiaState]:
        nu, estimator_state = refresh(
            estimator,
            interval,
            advance_diagonal,
            state.count,
            state.nu,
            state.hessian_fn_state,
            updates,
            params,
            extra_args,
        )
        used = nu if hessian_first else state.nu
        directions, moved = apply.update(updates, Averages(state.count, state.mu, used))
        return directions, SophiaState(moved.count, moved.mu, nu, estimator_state)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_sophia(
    b1: jax.typing.ArrayLike = 0.965,
    b2: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    gamma: jax.typing.ArrayLike = 0.01,
    clip_threshold: jax.typing.ArrayLike | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: optax.GradientTransformation | None = None,
    mu_dtype: Any = None,
    *,
    debias: bool = True,
    hessian_first: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide the averaged gradient by the averaged diagonal of the curvature, and clip each coordinate.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad h_t = \beta_2 h_{t-1} + (1 - \beta_2) \hat h_t
    \text{ every } k \text{ steps}, \qquad
    u_t = \operatorname{clip}\Bigl(\frac{m_t / (1 - \beta_1^t)}{\max(\gamma h_{t-1}, \varepsilon)},\, \rho\Bigr)$$

    With its defaults equal to `optax.contrib.scale_by_sophia`, which corrects the bias of the momentum and divides by
    the diagonal that the step before left: the first step is a step of signs. The paper (Algorithm 3) does neither, as
    `debias=False, hessian_first=True` have it, without the copy that dividing by the old diagonal costs. Beyond
    Optax's: moments in float32 whatever the parameters' dtype, and the train step's `grad_fn`; nothing is printed.

    Args:
        b1: Decay of the momentum, in [0, 1).
        b2: Decay of the diagonal, in [0, 1).
        eps: The least denominator, at least 0.
        gamma: γ, at least 0: multiplies the diagonal. The larger, the fewer coordinates are clipped.
        clip_threshold: ρ, at least 0; None does not clip.
        update_interval: Steps from one estimate of the diagonal to the next.
        hessian_diagonal_fn: Transformation that turns gradients into an estimate of the diagonal;
            `hutchinson_estimator_diag_hessian()` by default.
        mu_dtype: dtype of the momentum; None means float32, or the parameters' dtype where that is wider. bfloat16 and
            float16 are rounded stochastically, hence without bias.
        debias: Correct the bias of the momentum.
        hessian_first: Divide by the diagonal that holds the estimate of this step.

    Returns:
        An Optax transformation with state `optax.contrib.SophiaState`; `update` needs `params` and what the estimator
        needs: the extra argument `grad_fn`, which `make_train_step` passes.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `update_interval` no integer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> params, grad_fn = jnp.array([0.5, 3.0]), jax.grad(lambda x: jnp.sum(x**2))
        >>> tx = scale_by_sophia(b2=0.0, gamma=1.0, hessian_first=True)
        >>> update, _ = tx.update(grad_fn(params), tx.init(params), params, grad_fn=grad_fn)
        >>> print(update.round(4))  # Newton's step, clipped
        [0.5 1. ]

    Source:
        H. Liu, Z. Li, D. Hall, P. Liang, T. Ma, "Sophia: A Scalable Stochastic Second-order Optimizer for Language
        Model Pre-training", 2023.
    """
    return _sophia(
        "scale_by_sophia",
        b1,
        b2,
        eps,
        gamma,
        clip_threshold,
        update_interval,
        hessian_diagonal_fn,
        mu_dtype,
        debias,
        hessian_first,
    )


def sophia(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.965,
    b2: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 1e-4,
    weight_decay_mask: Any = None,
    gamma: jax.typing.ArrayLike = 0.01,
    clip_threshold: jax.typing.ArrayLike | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: optax.GradientTransformation | None = None,
    mu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Sophia-H: clipped steps of momentum over Hutchinson's estimate of the Hessian's diagonal, and weight decay.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \operatorname{clip}\Bigl(\frac{m_t / (1 - \beta_1^t)}
    {\max(\gamma h_{t-1}, \varepsilon)},\, \rho\Bigr) + \lambda\,\theta_{t-1} \right)$$

    Same trajectory as `optax.contrib.sophia`, see `scale_by_sophia`. A step moves a coordinate by at most the learning
    rate, so learning rates are those of sign methods.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the momentum, in [0, 1).
        b2: Decay of the diagonal, in [0, 1).
        eps: The least denominator, at least 0.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        weight_decay_mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means
            all.
        gamma: γ, at least 0, see `scale_by_sophia`.
        clip_threshold: ρ, at least 0; None does not clip.
        update_interval: Steps from one estimate of the diagonal to the next.
        hessian_diagonal_fn: Transformation that estimates the diagonal; `hutchinson_estimator_diag_hessian()` by
            default.
        mu_dtype: dtype of the momentum, see `scale_by_sophia`.

    Returns:
        An Optax transformation; `update` needs `params` and the extra argument `grad_fn`, which `make_train_step`
        passes (or `obj_fn`).

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `update_interval` no integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> grad_fn = jax.grad(lambda x: jnp.sum(x**2))
        >>> params, tx = jnp.array([1.0, -2.0]), sophia(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(grad_fn(params), state, params, grad_fn=grad_fn)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.00

    Source:
        H. Liu, Z. Li, D. Hall, P. Liang, T. Ma, "Sophia: A Scalable Stochastic Second-order Optimizer for Language
        Model Pre-training", 2023.
    """
    check_descent("sophia", learning_rate, weight_decay)
    directions = _sophia(
        "sophia", b1, b2, eps, gamma, clip_threshold, update_interval, hessian_diagonal_fn, mu_dtype, True, False
    )
    return descend(directions, learning_rate, weight_decay, weight_decay_mask)


def sophia_g(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.96,
    b2: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-12,
    weight_decay: optax.ScalarOrSchedule = 0.2,
    weight_decay_mask: Any = None,
    gamma: jax.typing.ArrayLike = 0.05,
    clip_threshold: jax.typing.ArrayLike | None = 1.0,
    update_interval: int = 10,
    random_seed: jax.Array | int | None = None,
    mu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Sophia-G: clipped steps of momentum over the Gauss-Newton-Bartlett estimate of the curvature, and weight decay.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \operatorname{clip}\Bigl(\frac{m_t}
    {\max(\gamma h_t, \varepsilon)},\, \rho\Bigr) + \lambda\,\theta_{t-1} \right), \qquad
    h_t = \beta_2 h_{t-1} + (1 - \beta_2)\, B\, \hat g_t \odot \hat g_t \text{ every } k \text{ steps}$$

    as in the paper's Algorithm 3, with its defaults for language models; $\hat g_t$ is the gradient at labels drawn
    from the model, see `gauss_newton_bartlett_diagonal`. The authors' code divides by $\gamma h_t + 10^{-15}$ and
    renews h after the step; `sophia` is Optax's form of the other estimator.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the momentum, in [0, 1).
        b2: Decay of the diagonal, in [0, 1).
        eps: The least denominator, at least 0.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        weight_decay_mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means
            all.
        gamma: γ, at least 0, see `scale_by_sophia`.
        clip_threshold: ρ, at least 0; None does not clip.
        update_interval: Steps from one estimate of the diagonal to the next.
        random_seed: Seed or PRNG key of the labels; None is seed 0.
        mu_dtype: dtype of the momentum, see `scale_by_sophia`.

    Returns:
        An Optax transformation; `update` needs `params` and the extra argument `gnb_fn`, which `make_train_step` passes
        with `curvature=GaussNewton(...)`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `update_interval` no integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([1.0, -2.0]), sophia_g(0.1, weight_decay=0.0)
        >>> updates, _ = tx.update(params, tx.init(params), params, gnb_fn=lambda params, key: 100.0 * params**2)
        >>> print(updates.round(4))  # -0.1 * 0.04 g / (0.05 * 0.01 * 100 g^2)
        [-0.08  0.04]

    Source:
        H. Liu, Z. Li, D. Hall, P. Liang, T. Ma, "Sophia: A Scalable Stochastic Second-order Optimizer for Language
        Model Pre-training", 2023.
    """
    check_descent("sophia_g", learning_rate, weight_decay)
    estimator = gauss_newton_bartlett_estimator(random_seed)
    directions = _sophia(
        "sophia_g", b1, b2, eps, gamma, clip_threshold, update_interval, estimator, mu_dtype, False, True
    )
    return descend(directions, learning_rate, weight_decay, weight_decay_mask)
