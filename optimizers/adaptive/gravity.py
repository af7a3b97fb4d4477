"""Gravity: a velocity driven by gradients of which the largest count least."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._keys import typed_key
from optimizers._moments import (
    Moments,
    Scalars,
    average,
    check_descent,
    descend,
    square,
    tensorwise,
    wide_scalar,
    zeros_for,
)
from optimizers._trees import PyTree


class GravityState(NamedTuple):
    """State of Gravity: the number of updates made, and the velocity."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    velocity: PyTree


def _velocity(key: jax.Array | int, deviation: Any) -> Any:
    """Normal numbers of that standard deviation, of which a masked or absent leaf takes none."""

    def start(params: PyTree) -> PyTree:
        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(zeros_for(params))
        keys = [jax.random.fold_in(typed_key(key), number) for number in range(len(leaves))]
        drawn = [
            zero + (deviation * jax.random.normal(each, zero.shape, zero.dtype)).astype(zero.dtype)
            for each, zero in zip(keys, leaves, strict=True)
        ]
        return treedef.unflatten(drawn)

    return start


def gravity(
    learning_rate: optax.ScalarOrSchedule,
    alpha: jax.typing.ArrayLike = 0.01,
    beta: jax.typing.ArrayLike = 0.9,
    *,
    key: jax.Array | int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Gravity: kinematic descent, in which a tensor's largest gradients are damped.

    $$\zeta_t = \frac{g_t}{1 + (g_t / m_t)^2}, \quad m_t = \frac{1}{\max |g_t|}, \qquad
    V_t = \hat\beta_t V_{t-1} + (1 - \hat\beta_t)\, \zeta_t, \quad \hat\beta_t = \frac{\beta t + 1}{t + 2}, \qquad
    \theta_{t+1} = \theta_t - \eta_t V_t$$

    for t = 0, 1, 2, …, with the maximum over the tensor and $V_{-1} \sim N(0, (\alpha / \eta_0)^2)$, so that the first
    steps are about alpha long. The damping compares g with the *reciprocal* of the largest gradient, so the units of
    the loss matter; gradients far above 1 are all but ignored.

    Args:
        learning_rate: Step size, positive: a number, a traced scalar or an Optax schedule. The paper takes 0.1.
        alpha: Standard deviation of the first step that the initial velocity makes, at least 0.
        beta: Final decay of the velocity, in [0, 1].
        key: Key or seed of the initial velocity.

    Returns:
        An Optax transformation with one moment in float32 or wider.

    Raises:
        ValueError: A concrete hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = gravity(0.1, alpha=0.0)
        >>> update, _ = tx.update(jnp.array([1.0, 0.5]), tx.init(jnp.zeros(2)))
        >>> print(update)  # -0.1 / 2 of 1 / (1 + 1) and 0.5 / (1 + 0.25)
        [-0.025 -0.02 ]

    Source:
        D. Bahrami, S. Pouriyan Zadeh, "Gravity Optimizer: a Kinematic Approach on Optimization in Deep Learning", 2021.
        The authors' code counts t from 0, as here; pytorch-optimizer counts from 1.
    """
    check_descent("gravity", learning_rate)
    check_range("gravity", "learning_rate", learning_rate, 0.0, open_low=True)
    check_range("gravity", "alpha", alpha, 0.0)
    check_range("gravity", "beta", beta, 0.0, 1.0)
    first = learning_rate(jnp.zeros([], jnp.int32)) if callable(learning_rate) else learning_rate
    deviation, final = wide_scalar(alpha) / wide_scalar(first), wide_scalar(beta)

    def scalars(state: Any, step: jax.Array) -> Scalars:
        made = state.count.astype(jnp.result_type(float))
        return (final * made + 1) / (made + 2), (1 + made * (1 - final)) / (made + 2)

    def advance(g: jax.Array, p: Any, old: Moments, s: Scalars) -> Moments:
        largest = jnp.max(jnp.abs(g), initial=0.0)
        return (average(s[0], s[1], old[0], g / (1 + square(g * largest))),)

    def direction(g: jax.Array, p: Any, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        return new[0]

    moments = {"velocity": _velocity(key, deviation)}
    return descend(tensorwise(GravityState, moments, scalars, advance, direction), learning_rate)
