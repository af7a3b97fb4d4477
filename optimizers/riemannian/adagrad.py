"""Adagrad on manifolds."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import Moments, Scalars, wide_scalar
from optimizers._trees import PyTree
from optimizers.riemannian._descent import Labels, on_manifolds


class RiemannianAdagradState(NamedTuple):
    """State of `riemannian_adagrad`: step counter, and the sum of the squared gradient lengths, a number a point."""

    count: jax.Array  # type: ignore[assignment]
    sum_of_squares: PyTree


def riemannian_adagrad(
    learning_rate: optax.ScalarOrSchedule,
    manifold: Labels,
    initial_accumulator_value: jax.typing.ArrayLike = 0.1,
    eps: jax.typing.ArrayLike = 1e-7,
    *,
    step_map: Literal["exp", "retraction"] = "exp",
) -> optax.GradientTransformationExtraArgs:
    r"""Riemannian Adagrad: steps that shorten with the gradients already seen at the same point.

    $$x_{t+1} = \exp_{x_t}\!\left( -\eta_t \frac{g_t}{\sqrt{s_t + \varepsilon}} \right), \qquad
    s_t = s_0 + \sum_{r \le t} \lVert g_r \rVert_{x_r}^2$$

    with $g_t = \operatorname{grad} f(x_t)$. On `euclidean()` this is Adagrad, with the defaults of Optax; the paper has
    both $s_0$ and ε at 0, where a sum of 0 makes a step of 0.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or a schedule.
        manifold: One, a tree of them, or a function from path to manifold, see `riemannian_adam`.
        initial_accumulator_value: The sum before the first step, at least 0.
        eps: Added under the root, at least 0.
        step_map: "exp" or "retraction", see `riemannian_adam`.

    Returns:
        An Optax transformation; `update` needs `params`. On curved manifolds these must be float32 or float64.

    Raises:
        ValueError: A concrete hyperparameter is out of range, a leaf's shape does not fit its manifold, or `step_map`
            is none of the two.
        TypeError: `manifold` is none of those above, or a point on a curved manifold is not float32 or float64.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from optimizers import poincare_ball
        >>> ball, target, x = poincare_ball(), jnp.array([0.5, 0.0]), jnp.array([0.0, 0.5])
        >>> tx = riemannian_adagrad(1.0, ball)
        >>> state = tx.init(x)
        >>> for _ in range(30):
        ...     updates, state = tx.update(jax.grad(lambda x: ball.distance(x, target) ** 2)(x), state, x)
        ...     x = optax.apply_updates(x, updates)
        >>> print(x.round(2))
        [0.5 0. ]

    Source:
        G. Bécigneul, O.-E. Ganea, "Riemannian Adaptive Optimization Methods", 2019.
    """
    check_range("riemannian_adagrad", "initial_accumulator_value", initial_accumulator_value, 0.0)
    check_range("riemannian_adagrad", "eps", eps, 0.0)
    eps = wide_scalar(eps)

    def advance(g: jax.Array, squared: jax.Array, old: Moments, s: Scalars) -> Moments:
        del g, s
        return (old[0] + squared,)

    def direction(g: jax.Array, new: Moments, s: Scalars) -> jax.Array:
        seen = new[0] > 0
        return jnp.where(seen, g * jax.lax.rsqrt(jnp.where(seen, new[0], 1) + s[0]), 0)

    return on_manifolds(
        "riemannian_adagrad",
        learning_rate,
        manifold,
        RiemannianAdagradState,
        scalar={"sum_of_squares": initial_accumulator_value},
        scalars=lambda step: (eps,),
        advance=advance,
        direction=direction,
        step_map=step_map,
        transport="projection",
    )
