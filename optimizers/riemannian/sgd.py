"""Gradient descent on manifolds, with momentum."""

from typing import Literal, NamedTuple

import jax
import optax

from optimizers._checks import check_range
from optimizers._moments import Moments, Scalars, wide_scalar
from optimizers._trees import PyTree
from optimizers.riemannian._descent import Labels, on_manifolds


class RiemannianSGDState(NamedTuple):
    """State of `riemannian_sgd` without momentum: the step counter."""

    count: jax.Array  # type: ignore[assignment]


class RiemannianMomentumState(NamedTuple):
    """State of `riemannian_sgd` with momentum: step counter, and the momentum at the present point."""

    count: jax.Array  # type: ignore[assignment]
    trace: PyTree


def riemannian_sgd(
    learning_rate: optax.ScalarOrSchedule,
    manifold: Labels,
    momentum: jax.typing.ArrayLike | None = None,
    nesterov: bool = False,
    *,
    step_map: Literal["exp", "retraction"] = "exp",
    transport: Literal["parallel", "projection"] = "parallel",
) -> optax.GradientTransformationExtraArgs:
    r"""Riemannian gradient descent, with heavy-ball or Nesterov momentum that is carried along.

    $$m_t = \mu\, \tau_{t-1} + g_t, \qquad x_{t+1} = \exp_{x_t}(-\eta_t\, m_t), \qquad
    \tau_t = P_{x_t \to x_{t+1}}\, m_t$$

    with $g_t = \operatorname{grad} f(x_t)$; with `nesterov`, along $g_t + \mu\, m_t$. On `euclidean()` this is
    `optax.sgd`. geoopt begins with the momentum at $\nabla f(x_1)$ instead of 0, so that its first step is longer.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or a schedule.
        manifold: One, a tree of them, or a function from path to manifold, see `riemannian_adam`.
        momentum: Decay μ of the momentum, in [0, 1], or None for no momentum and no state.
        nesterov: Look one step ahead.
        step_map: "exp" or "retraction", see `riemannian_adam`.
        transport: "parallel" or "projection", see `riemannian_adam`.

    Returns:
        An Optax transformation; `update` needs `params`. On curved manifolds these must be float32 or float64.

    Raises:
        ValueError: A concrete hyperparameter is out of range, a leaf's shape does not fit its manifold, or a word is
            none of those above.
        TypeError: `manifold` is none of those above, or a point on a curved manifold is not float32 or float64.

    Examples:
        The mean of two covariances, which is their geometric mean:

        >>> import jax, jax.numpy as jnp, optax
        >>> from optimizers import positive_definite
        >>> cone, x, data = positive_definite(), jnp.eye(2), (jnp.diag(jnp.array([1.0, 4.0])), 4.0 * jnp.eye(2))
        >>> tx = riemannian_sgd(0.2, cone)
        >>> state = tx.init(x)
        >>> for _ in range(20):
        ...     gradient = jax.grad(lambda x: sum(cone.distance(x, y) ** 2 for y in data) / 2)(x)
        ...     updates, state = tx.update(gradient, state, x)
        ...     x = optax.apply_updates(x, updates)
        >>> print(abs(x.round(2)))
        [[2. 0.]
         [0. 4.]]

    Source:
        S. Bonnabel, "Stochastic Gradient Descent on Riemannian Manifolds", 2013.
    """
    check_range("riemannian_sgd", "momentum", momentum, 0.0, 1.0)
    decay = None if momentum is None else wide_scalar(momentum)

    def advance(g: jax.Array, squared: jax.Array, old: Moments, s: Scalars) -> Moments:
        del squared
        return tuple(s[0] * m + g for m in old)

    def direction(g: jax.Array, new: Moments, s: Scalars) -> jax.Array:
        if not new:
            return g
        return g + s[0] * new[0] if nesterov else new[0]

    return on_manifolds(
        "riemannian_sgd",
        learning_rate,
        manifold,
        RiemannianSGDState if decay is None else RiemannianMomentumState,
        tangent=() if decay is None else ("trace",),
        scalars=lambda step: (0.0 if decay is None else decay,),
        advance=advance,
        direction=direction,
        step_map=step_map,
        transport=transport,
    )
