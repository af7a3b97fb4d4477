"""Newton's method regularised by the norm of the gradient, over a radius that a search adapts."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import wide_scalar
from optimizers._trees import PyTree, global_norm, wide
from optimizers.curvature import GAUSS_NEWTON_SOURCE, hessian_vector_product, linear, needed
from optimizers.second_order._spectral import dense, dimension, laid_out_as


class GradientNormalizedState(NamedTuple):
    """State of `gradient_normalized_newton`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        gamma: the radius that the next search begins with, `[]`.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    gamma: jax.Array


def gradient_regularized_newton_direction(
    hessian: Float[Array, "N N"],
    grad: Float[Array, " N"],
    lam: jax.typing.ArrayLike,
    metric: Float[Array, "N N"] | None = None,
) -> Float[Array, " N"]:
    r"""The direction of a regularised Newton step, by one Cholesky decomposition.

    $$
    (H + \lambda B)^{-1} g
    $$

    Args:
        hessian: the Hessian H, or an approximation of it.
        grad: the gradient g.
        lam: λ, at least 0.
        metric: the positive definite B; the identity by default.

    Returns:
        The direction, in the dtype of the gradient, computed in float32 or wider; a step goes against it. NaN where
        $H + \lambda B$ is not positive definite.

    Raises:
        ValueError: arrays of other shapes, or a negative `lam`.

    Examples:
        >>> import jax.numpy as jnp
        >>> hessian, grad = jnp.diag(jnp.array([1.0, 3.0])), jnp.array([4.0, 10.0])
        >>> print(gradient_regularized_newton_direction(hessian, grad, 1.0).round(4))
        [2.  2.5]

    Source:
        A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for Optimization with Approximate Hessians",
        2025.
    """
    name = "gradient_regularized_newton_direction"
    hessian, grad = jnp.asarray(hessian), jnp.asarray(grad)
    metric = jnp.eye(grad.size, dtype=hessian.dtype) if metric is None else jnp.asarray(metric)
    if grad.ndim != 1 or hessian.shape != 2 * grad.shape or metric.shape != hessian.shape:
        raise ValueError(
            f"{name}: hessian, grad and metric must be of shapes [N, N], [N] and [N, N], "
            f"got hessian {hessian.shape}, grad {grad.shape} and metric {metric.shape}"
        )
    check_range(name, "lam", lam, 0.0)
    factor = jnp.linalg.cholesky(wide(hessian) + jnp.asarray(lam, wide(hessian).dtype) * wide(metric))
    return jax.scipy.linalg.cho_solve((factor, True), wide(grad)).astype(grad.dtype)


def gradient_normalized_newton(
    gamma: jax.typing.ArrayLike = 1.0,
    *,
    adaptive: bool = True,
    max_backtracks: int = 40,
    gamma_min: jax.typing.ArrayLike = 1e-9,
    curvature: Literal["hessian", "gauss_newton"] = "hessian",
) -> optax.GradientTransformationExtraArgs:
    r"""Newton's method regularised in proportion to the norm of the gradient, with nothing to tune.

    $$
    \theta_{k+1} = \theta_k - (H_k + \lambda_k I)^{-1} g_k, \qquad \lambda_k = \lVert g_k \rVert / \gamma_k
    $$

    where γ stands for the radius within which the Hessian predicts the gradient well. A step is taken if
    $L_k - L_{k+1} \ge \lVert g_{k+1} \rVert^2 / (8 \lambda_k)$, and γ doubled for the next; otherwise γ is halved and
    the step tried again, which also makes $H + \lambda I$ positive definite. Every trial evaluates the loss and its
    gradient on the batch. The matrix is formed: for a few thousand parameters at most.

    The authors' code takes the last trial where all fail; here there is then no step, and γ stays, so that a search
    that fails by rounding, at a minimum, does no harm.

    Args:
        gamma: γ of the first step, above 0, in the units of the parameters.
        adaptive: Search; otherwise γ is what it is, and the first step is taken.
        max_backtracks: The most trials of a step.
        gamma_min: The least γ after a step that was taken, above 0.
        curvature: "hessian", or "gauss_newton" for a positive semi-definite approximation.

    Returns:
        An Optax transformation, the last link of a chain; `update` needs `params` and the extra arguments `value`,
        `value_fn` and `grad_fn`, which `make_train_step` passes, and `gnvp_fn` for the Gauss-Newton matrix
        (`curvature=GaussNewton(...)`).

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `max_backtracks` is no integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> loss_fn = lambda x: jnp.cosh(x[0]) + 100.0 * jnp.cosh(x[1])
        >>> grad_fn, params, tx = jax.grad(loss_fn), jnp.array([4.0, -2.0]), gradient_normalized_newton()
        >>> state = tx.init(params)
        >>> for _ in range(8):
        ...     given = {"value": loss_fn(params), "value_fn": loss_fn, "grad_fn": grad_fn}
        ...     updates, state = tx.update(grad_fn(params), state, params, **given)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{loss_fn(params):.3f}")
        101.000

    Source:
        A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for Optimization with Approximate Hessians",
        2025, Algorithm 1.
    """
    name = "gradient_normalized_newton"
    check_range(name, "gamma", gamma, 0.0, open_low=True)
    check_range(name, "gamma_min", gamma_min, 0.0, open_low=True)
    max_backtracks = check_positive_integer(name, "max_backtracks", max_backtracks)
    if curvature not in ("hessian", "gauss_newton"):
        raise ValueError(f"{name}: curvature must be 'hessian' or 'gauss_newton', got {curvature!r}")
    gamma, gamma_min = wide_scalar(gamma), wide_scalar(gamma_min)

    def init(params: PyTree) -> GradientNormalizedState:
        del params
        return GradientNormalizedState(jnp.zeros([], jnp.int32), jnp.asarray(gamma, float))

    def update(
        updates: PyTree,
        state: GradientNormalizedState,
        params: PyTree | None = None,
        *,
        value: Any = None,
        value_fn: Any = None,
        grad_fn: Any = None,
        gnvp_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[PyTree, GradientNormalizedState]:
        del extra_args
        grad_fn = needed(name, "grad_fn", grad_fn) if adaptive or curvature == "hessian" else grad_fn
        params = needed(name, "params", params, "every chain passes them")
        if dimension(updates) == 0:
            return updates, state._replace(count=optax.safe_increment(state.count))
        if curvature == "hessian":
            product = linear(lambda v: hessian_vector_product(grad_fn, params, v), params)
        else:
            gnvp_fn = needed(name, "gnvp_fn", gnvp_fn, GAUSS_NEWTON_SOURCE)
            product = linear(lambda v: gnvp_fn(params, v), params)
        g = jax.tree.map(wide, updates)
        hessian, flat, back = dense(product, g)
        norm = global_norm(g)

        def at(radius: jax.Array) -> tuple[PyTree, jax.Array]:
            """The step with this radius, and its λ; no step for no gradient."""
            lam = norm / radius
            solved = gradient_regularized_newton_direction(hessian, flat, lam.astype(hessian.dtype))
            return laid_out_as(g, back(jnp.where(norm == 0, 0.0, -solved))), lam

        def cast(step: PyTree) -> PyTree:
            return jax.tree.map(lambda s, u: s.astype(u.dtype), step, updates)

        count = optax.safe_increment(state.count)
        if not adaptive:
            return cast(at(state.gamma)[0]), GradientNormalizedState(count, state.gamma)
        value_fn, value = needed(name, "value_fn", value_fn), needed(name, "value", value)

        def descends(step: PyTree, lam: jax.Array) -> jax.Array:
            there = optax.apply_updates(params, cast(step))
            decrease = wide_scalar(value) - value_fn(there)
            return decrease >= global_norm(grad_fn(there)) ** 2 / (8.0 * lam)

        def trial(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            radius, number, _, _ = carry
            step, lam = at(radius)
            accepted = descends(step, lam)
            return jnp.where(accepted, radius, 0.5 * radius), number + 1, step, accepted

        start = (state.gamma, jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, g), jnp.zeros([], bool))
        radius, _, step, accepted = lax.while_loop(lambda carry: ~carry[3] & (carry[1] < max_backtracks), trial, start)
        following = jnp.where(accepted, jnp.maximum(2.0 * radius, gamma_min), state.gamma)
        taken = jax.tree.map(lambda s: jnp.where(accepted, s, 0.0), step)
        return cast(taken), GradientNormalizedState(count, following.astype(state.gamma.dtype))

    return optax.GradientTransformationExtraArgs(init, update)
