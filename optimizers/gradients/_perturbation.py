"""The idea that the sharpness-aware rules share: a perturbation of the parameters before the gradient.

A member is `change(params, gradient, gradient_at, **hyperparameters) -> gradient`: from the gradient at the parameters,
and the gradient of the same batch wherever it likes, the gradient that the optimizer receives.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable
from optimizers._trees import PyTree, add_scaled, global_norm, wide
from optimizers.gradients.backprop import GradientRule, LossFn, ValueAndGrad

ScalarOrSchedule = float | jax.Array | Callable[[Any], Any]


def perturbing_rule(
    function: str, inner: GradientRule, change: Callable[..., PyTree], **hyperparameters: ScalarOrSchedule
) -> Callable[..., ValueAndGrad]:
    """The gradient rule of `change`: its value and aux are those of the first pass, at the parameters themselves."""
    check_callable(function, "inner", inner, "rule(loss_fn, has_aux)")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        value_and_grad = inner(loss_fn, has_aux)

        def perturbing(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            def gradient_at(point: PyTree) -> PyTree:
                return value_and_grad(point, *args, step=step, **kwargs)[1]

            params = jax.tree.map(jnp.asarray, params)
            settings = {name: at_step(function, name, value, step) for name, value in hyperparameters.items()}
            value, gradient = value_and_grad(params, *args, step=step, **kwargs)
            return value, change(params, gradient, gradient_at, **settings)

        return perturbing

    return rule


def ascend(params: PyTree, direction: PyTree, radius: Any, shape: PyTree = None) -> PyTree:
    """`params` moved to the edge of the ball in which a linear loss of slope `direction` grows most.

    The ball is `|e / shape| <= radius`, with `shape` in float32 or wider, or round. A zero direction moves nothing.
    """
    stretched = direction if shape is None else jax.tree.map(jnp.multiply, shape, direction)
    length = global_norm(stretched)
    towards = stretched if shape is None else jax.tree.map(jnp.multiply, shape, stretched)
    return add_scaled(params, jnp.where(length > 0, radius / jnp.where(length > 0, length, 1.0), 0.0), towards)


def orthogonal(tree: PyTree, axis: PyTree) -> PyTree:
    """`tree` without its component along `axis`, in float32 or wider; all of it where `axis` is zero."""
    along, square = _dot(tree, axis), _dot(axis, axis)
    share = jnp.where(square > 0, along / jnp.where(square > 0, square, 1.0), 0.0)
    return jax.tree.map(lambda t, a: wide(t) - share * wide(a), tree, axis)


def difference(left: PyTree, right: PyTree) -> PyTree:
    """`left - right` in float32 or wider."""
    return jax.tree.map(lambda a, b: wide(a) - wide(b), left, right)


def _dot(left: PyTree, right: PyTree) -> jax.Array:
    products = jax.tree.map(lambda a, b: jnp.sum(wide(a) * wide(b)), left, right)
    return sum(jax.tree.leaves(products), start=jnp.zeros((), jnp.float32))


def at_step(function: str, name: str, value: ScalarOrSchedule, step: Any) -> Any:
    """The hyperparameter at this step: a schedule is evaluated, and needs the step; anything else is itself."""
    if not callable(value):
        return value
    if step is None:
        raise ValueError(
            f"{function}: {name} is a schedule, so the rule needs the step it is at: value_and_grad(..., step=step)"
        )
    return value(step)
