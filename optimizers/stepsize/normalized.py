"""Gradients divided by a power of their norm, for losses whose curvature grows with the gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._moments import check_descent, descend, real_dtype, wide_scalar, zeros_for
from optimizers._trees import PyTree, accumulator_dtype, global_norm, wide
from optimizers.stepsize._extra import required


class SpiderState(NamedTuple):
    """State of `normalized_spider`: the updates made, the parameters before the last, and the estimate there."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    previous: PyTree
    estimate: PyTree


def scale_by_beta_normalized_gradient(beta: jax.typing.ArrayLike = 0.5) -> optax.GradientTransformationExtraArgs:
    r"""Divide the gradient by a power of its norm.

    $$u = \frac{g}{\lVert g \rVert_2^\beta}, \qquad \lVert g \rVert_2^2 = \sum_{\text{leaves}} \sum_i |g_i|^2$$

    A zero gradient gives a zero update; one that is not finite, or whose norm overflows float32, gives NaN everywhere.

    Args:
        beta: Power β of the norm, in [0, 1]: 0 leaves the gradient as it is, 1 leaves its direction alone.

    Returns:
        An Optax transformation without state; updates keep their dtype.

    Raises:
        ValueError: A concrete `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_beta_normalized_gradient(0.5)
        >>> gradient = jnp.array([9.0, 12.0, 8.0])  # of norm 17
        >>> print(jnp.linalg.norm(tx.update(gradient, tx.init(gradient))[0]) ** 2)
        17.0

    Source:
        Z. Chen, Y. Zhou, Y. Liang, Z. Lu, "Generalized-Smooth Nonconvex Optimization is As Efficient As Smooth
        Nonconvex Optimization", 2023.
    """
    check_range("scale_by_beta_normalized_gradient", "beta", beta, 0.0, 1.0)
    power = wide_scalar(beta)

    def init(params: PyTree) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: PyTree, state: optax.EmptyState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, optax.EmptyState]:
        del params, extra_args
        norm = global_norm(jax.tree.map(jnp.asarray, updates))
        factor = jnp.where(norm > 0, jnp.where(norm > 0, norm, 1.0) ** -power, 0.0)
        factor = jnp.where(jnp.isfinite(norm), factor, jnp.nan)

        def leaf(g: jax.typing.ArrayLike) -> jax.Array:
            g = jnp.asarray(g)
            dtype = accumulator_dtype(g.dtype)
            return (g.astype(dtype) * factor.astype(real_dtype(dtype))).astype(g.dtype)

        return jax.tree.map(leaf, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def beta_normalized_sgd(
    learning_rate: optax.ScalarOrSchedule, beta: jax.typing.ArrayLike = 0.5
) -> optax.GradientTransformationExtraArgs:
    r"""β-GD: gradient descent whose steps grow slower than the gradient.

    $$\theta_{t+1} = \theta_t - \eta\,\frac{g_t}{\lVert g_t \rVert_2^\beta}$$

    Where the curvature grows with the gradient to the power α or less (polynomials, exponentials), β in [α, 1] keeps a
    constant learning rate stable from any start, at which plain descent would diverge, and reaches a gradient of norm ε
    in O(ε⁻²) steps. At `beta` 0 it is plain descent, at 1 normalised descent, whose steps are as long as the learning
    rate, so that a constant one circles the minimum.

    Args:
        learning_rate: η, at least 0: a number, a traced scalar or an Optax schedule.
        beta: Power β of the norm, in [0, 1].

    Returns:
        An Optax transformation.

    Raises:
        ValueError: A concrete hyperparameter is out of range.

    Examples:
        The gradient of x⁴ / 4 is x³: at β = 2/3 every step multiplies x by 1 - η, from any start.

        >>> import jax.numpy as jnp
        >>> tx = beta_normalized_sgd(0.5, beta=2 / 3)
        >>> for x in (1.0, 100.0):
        ...     print(round(x + float(tx.update(jnp.float32(x**3), tx.init(x), x)[0]), 3))
        0.5
        50.0

    Source:
        Z. Chen, Y. Zhou, Y. Liang, Z. Lu, "Generalized-Smooth Nonconvex Optimization is As Efficient As Smooth
        Nonconvex Optimization", 2023, algorithm 1.
    """
    check_descent("beta_normalized_sgd", learning_rate)
    check_range("beta_normalized_sgd", "beta", beta, 0.0, 1.0)
    return descend(scale_by_beta_normalized_gradient(beta), learning_rate)


def _spider(period: int) -> optax.GradientTransformationExtraArgs:
    """The estimate: the gradient at every `period`-th update, between them its changes added up, batch by batch."""

    def init(params: PyTree) -> SpiderState:
        previous = jax.tree.map(lambda z, p: jnp.asarray(p).astype(z.dtype) + 0, zeros_for(params), params)
        return SpiderState(jnp.zeros([], jnp.int32), previous, zeros_for(params))

    def update(
        updates: PyTree, state: SpiderState, params: PyTree | None = None, *, grad_fn: Any = None, **extra_args: Any
    ) -> tuple[PyTree, SpiderState]:
        del extra_args
        params = required("normalized_spider", "params", params)
        grad_fn = check_callable("normalized_spider", "grad_fn", grad_fn, "params -> gradient on this batch")
        new = jax.tree.map(lambda e, g: jnp.asarray(g).astype(e.dtype), state.estimate, updates)

        def corrected() -> PyTree:
            previous = jax.tree.map(lambda x, p: x.astype(jnp.result_type(p)), state.previous, params)
            return jax.tree.map(lambda e, g, old: e + (g - wide(old)), state.estimate, new, grad_fn(previous))

        estimate = jax.lax.cond(state.count % period == 0, lambda: new, corrected)
        previous = jax.tree.map(lambda x, p: jnp.asarray(p).astype(x.dtype), state.previous, params)
        return estimate, SpiderState(optax.safe_increment(state.count), previous, estimate)

    return optax.GradientTransformationExtraArgs(init, update)


def normalized_spider(learning_rate: optax.ScalarOrSchedule, period: int) -> optax.GradientTransformationExtraArgs:
    r"""SPIDER, normalised: a gradient of a large batch now and then, and cheap corrections of it in between.

    $$v_t = \begin{cases} \nabla f_{B_t}(\theta_t) & t \bmod q = 0 \\
    v_{t-1} + \nabla f_{B_t}(\theta_t) - \nabla f_{B_t}(\theta_{t-1}) & \text{else} \end{cases}, \qquad
    \theta_{t+1} = \theta_t - \eta\,\frac{v_t}{\lVert v_t \rVert_2}$$

    The corrections are differences of gradients on one batch, whose noise is as small as the step is short. Give every
    q-th step a large batch, the others a small one: the train step compiles once for each size. Costs two gradients a
    step (one at every q-th), and the state two copies of the parameters in float32.

    Args:
        learning_rate: η, the length of a step, at least 0: a number, a traced scalar or an Optax schedule.
        period: q, steps from one large batch to the next, at least 1; q times the small batch should be about the
            large one.

    Returns:
        An Optax transformation; `update` needs `params` and `grad_fn`, the gradient on this batch as a function of the
        parameters, which the train step gives it.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks `params`.
        TypeError: `period` is no integer, or `update` lacks `grad_fn`.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> loss_fn = lambda x, batch: jnp.mean((x - batch) ** 2)
        >>> x, tx = jnp.float32(3.0), normalized_spider(0.5, period=4)
        >>> state = tx.init(x)
        >>> for batch in (jnp.array([0.0, 2.0]), jnp.array([8.0])):  # large, then small
        ...     grad_fn = lambda x: jax.grad(loss_fn)(x, batch)
        ...     updates, state = tx.update(grad_fn(x), state, x, grad_fn=grad_fn)
        ...     x = optax.apply_updates(x, updates)
        ...     print(x, optax.tree.get(state, "estimate"))
        2.5 4.0
        2.0 3.0

    Source:
        Z. Chen, Y. Zhou, Y. Liang, Z. Lu, "Generalized-Smooth Nonconvex Optimization is As Efficient As Smooth
        Nonconvex Optimization", 2023, algorithm 2; C. Fang, C. Li, Z. Lin, T. Zhang, "SPIDER: Near-Optimal Non-Convex
        Optimization via Stochastic Path-Integrated Differential Estimator", 2018.
    """
    check_descent("normalized_spider", learning_rate)
    period = check_positive_integer("normalized_spider", "period", period)
    return descend(optax.chain(_spider(period), scale_by_beta_normalized_gradient(1.0)), learning_rate)
