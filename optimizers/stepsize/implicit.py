"""Follow-the-regularised-leader with implicit updates: the gradient replaced by a better point of the loss's dual."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._moments import TINY, check_descent, reread, wide_scalar, zeros_for
from optimizers._trees import PyTree, wide
from optimizers.curvature import hessian_vector_product
from optimizers.stepsize._extra import at_count, dots, required, total

MODES = ("linear", "truncated", "extragradient", "prox")
GradFn = Callable[[PyTree], PyTree]


class ImplicitFTRLState(NamedTuple):
    """State of `generalized_implicit_ftrl`: the updates made, the first parameters, and minus the sum of all z."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    origin: PyTree
    theta: PyTree


def generalized_implicit_ftrl(
    learning_rate: optax.ScalarOrSchedule,
    mode: Literal["linear", "truncated", "extragradient", "prox"] = "truncated",
    *,
    lower_bound: jax.typing.ArrayLike = 0.0,
    newton_steps: int = 2,
    cg_steps: int = 10,
) -> optax.GradientTransformationExtraArgs:
    r"""Follow-the-regularised-leader whose steps know more of the loss than its slope.

    $$\theta_t = \theta_{t-1} - z_t, \qquad x_{t+1} = x_1 + \eta_t \theta_t$$

    minimises the regret against the losses so far with the regulariser $\lVert x - x_1 \rVert^2 / 2\eta_t$. Every $z_t$
    with $H_t(z_t) \le H_t(g_t)$, $H_t(z) = \tfrac{\eta_t}{2} \lVert \theta_{t-1} - z \rVert^2 + \ell_t^\star(z)$,
    keeps the guarantee of the gradient $g_t$ or improves it. With $\hat x = x_1 + \eta_t \theta_{t-1}$, the point that
    the old losses ask for:

    | mode | z | reads |
    |---|---|---|
    | `"linear"` | $g_t$: dual averaging | |
    | `"truncated"` | $g_t \cdot \operatorname{clip}(a / \eta_t \lVert g_t \rVert^2, 0, 1)$ | `value` |
    | `"extragradient"` | $\nabla \ell_t(\hat x - \eta_t g_t)$ | `grad_fn` |
    | `"prox"` | $(\hat x - x') / \eta_t$ | `grad_fn` |

    with $a = \ell_t - \ell_{low} + \langle g_t, \hat x - x_t \rangle$, how far the linear model at $\hat x$ is above
    the lower bound, and $x' = \arg\min_x \ell_t(x) + \lVert x - \hat x \rVert^2 / 2\eta_t$.

    At a constant rate $\hat x = x_t$: linear is gradient descent, truncated the Polyak step with a ceiling (aProx),
    extragradient Mirror-Prox, prox the proximal point method, stable at every rate for convex losses. The proximal
    point is found by Newton's method, its linear systems by conjugate gradients.

    The parameters are what the state says, whatever else moved them in between. The state holds two copies of them in
    float32.

    Args:
        learning_rate: η, at least 0: a number, a traced scalar or a schedule, whose value at an update is the η of the
            parameters it leads to. May fall with the steps, never rise.
        mode: How z is found.
        lower_bound: Lower bound of the loss, for `"truncated"`.
        newton_steps: Steps of Newton's method for `"prox"`, at least 1; one is exact for quadratic losses.
        cg_steps: Iterations for each of its linear systems, at least 1: `cg_steps + 1` gradients' time each.

    Returns:
        An Optax transformation; `update` needs `params`, and what the table says, which the train step gives it.

    Raises:
        ValueError: A concrete hyperparameter is out of range, `mode` none of the four, or `update` lacks an argument.
        TypeError: A number of steps is no integer, or `update` lacks `grad_fn`.

    Examples:
        The proximal step on a parabola of curvature 4 divides by 1 + 4 η, where descent would diverge:

        >>> import jax.numpy as jnp
        >>> tx = generalized_implicit_ftrl(1.0, "prox")
        >>> grad_fn = lambda x: 4.0 * x
        >>> x = jnp.float32(10.0)
        >>> update, state = tx.update(grad_fn(x), tx.init(x), x, grad_fn=grad_fn)
        >>> print(x + update)
        2.0

    Source:
        K. Chen, F. Orabona, "Generalized Implicit Follow-The-Regularized-Leader", 2023.
    """
    function = "generalized_implicit_ftrl"
    check_descent(function, learning_rate)
    check_range(function, "lower_bound", lower_bound)
    newton_steps = check_positive_integer(function, "newton_steps", newton_steps)
    cg_steps = check_positive_integer(function, "cg_steps", cg_steps)
    if mode not in MODES:
        raise ValueError(f"{function}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    floor = wide_scalar(lower_bound)

    def init(params: PyTree) -> ImplicitFTRLState:
        zeros = zeros_for(params)
        origin = jax.tree.map(lambda z, p: jnp.asarray(p).astype(z.dtype) + 0, zeros, params)
        return ImplicitFTRLState(jnp.zeros([], jnp.int32), origin, zeros)

    def update(
        updates: PyTree,
        state: ImplicitFTRLState,
        params: PyTree | None = None,
        *,
        value: Any = None,
        grad_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[PyTree, ImplicitFTRLState]:
        del extra_args
        params = required(function, "params", params)
        rate = at_count(learning_rate, state.count)
        g = jax.tree.map(lambda t, u: jnp.asarray(u).astype(t.dtype), state.theta, updates)

        def ahead_of(origin: PyTree, theta: PyTree, rate: Any) -> PyTree:
            return jax.tree.map(lambda o, t: o + rate * t, origin, theta)

        if mode == "linear":
            z = g
        elif mode == "truncated":
            *known, at, slopes = reread(state.origin, state.theta, rate, params, g)
            beyond = jax.tree.map(lambda a, p: a - wide(p), ahead_of(*known), at)
            gap = jnp.asarray(required(function, "value", value)) - floor
            z = _truncated(g, rate, gap + total(dots(slopes, beyond)))
        else:
            ahead = ahead_of(state.origin, state.theta, rate)
            slope = _in_wide(check_callable(function, "grad_fn", grad_fn, "params -> gradient on this batch"), params)
            if mode == "extragradient":
                z = slope(jax.tree.map(lambda a, u: a - rate * u, ahead, g))
            else:
                z = _proximal(slope, ahead, g, rate, newton_steps, cg_steps)
        theta = jax.tree.map(lambda t, z: (t - z).astype(t.dtype), state.theta, z)

        def move(o: jax.Array, t: jax.Array, p: Any, u: Any) -> jax.Array:
            return (o + rate * t - wide(jnp.asarray(p))).astype(jnp.result_type(u))

        moved = jax.tree.map(move, state.origin, theta, params, updates)
        return moved, ImplicitFTRLState(optax.safe_increment(state.count), state.origin, theta)

    return optax.GradientTransformationExtraArgs(init, update)


def _in_wide(grad_fn: GradFn, params: PyTree) -> GradFn:
    """`grad_fn` from and to float32 or wider, evaluated in the dtypes of the parameters."""

    def slope(point: PyTree) -> PyTree:
        return jax.tree.map(
            lambda g, x: jnp.asarray(g).astype(x.dtype),
            grad_fn(jax.tree.map(lambda x, p: x.astype(jnp.result_type(p)), point, params)),
            point,
        )

    return slope


def _truncated(g: PyTree, rate: Any, above: jax.Array) -> PyTree:
    """The part of the gradient that takes a linear model of the loss, `above` its lower bound, down to it."""
    norm = total(dots(g, g))
    part = jnp.clip(above / jnp.maximum(rate * norm, TINY), 0.0, 1.0)
    part = jnp.where(jnp.isfinite(norm), part, jnp.nan)
    return jax.tree.map(lambda u: part * u, g)


def _proximal(slope: GradFn, ahead: PyTree, g: PyTree, rate: Any, newton_steps: int, cg_steps: int) -> PyTree:
    """z = (x̂ - x') / η by Newton's method on z = ∇ℓ(x̂ - η z), from the gradient on."""

    if not jax.tree.leaves(g):  # of which jax.scipy finds no dtype
        return g

    def step(z: PyTree, _: None) -> tuple[PyTree, None]:
        point = jax.tree.map(lambda a, z: a - rate * z, ahead, z)
        residual = jax.tree.map(jnp.subtract, slope(point), z)

        def system(v: PyTree) -> PyTree:
            return jax.tree.map(lambda v, h: v + rate * h, v, hessian_vector_product(slope, point, v))

        change = jax.scipy.sparse.linalg.cg(system, residual, maxiter=cg_steps)[0]
        return jax.tree.map(jnp.add, z, change), None

    z: PyTree = jax.lax.scan(step, g, length=newton_steps)[0]
    return z
