"""Sharpness-aware gradients: a perturbation of the parameters before the gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_range
from optimizers._trees import add_scaled, global_norm
from optimizers.gradients.backprop import GradientRule, LossFn, ValueAndGrad, backprop

PyTree = Any
ScalarOrSchedule = float | jax.Array | Callable[[Any], Any]


def sam(
    rho: ScalarOrSchedule = 0.05, *, adaptive: bool = False, eta: float = 0.01, inner: GradientRule = backprop
) -> Callable[..., ValueAndGrad]:
    r"""Sharpness-aware minimisation: the gradient at the worst point of a ball around the parameters.

    $$
    \epsilon = \rho \frac{g}{\lVert g \rVert_2}, \qquad g = \nabla L(\theta), \qquad
    g_\text{SAM} = \nabla L(\theta + \epsilon)
    $$

    and with `adaptive` (ASAM), where the ball is measured relative to the size of each parameter,

    $$
    \epsilon = \rho \frac{T^2 g}{\lVert T g \rVert_2}, \qquad T = |\theta| + \eta .
    $$

    Only the gradient changes: the parameters that the caller holds are never perturbed, the optimizer inside is any
    Optax chain, and the value and `aux` (metrics, batch statistics) are those of the unperturbed pass. A zero
    gradient leaves the parameters where they are. Costs two gradients of `inner`.

    Args:
        rho: radius of the ball, at least 0; a number, a traced scalar, or an Optax schedule, which is then evaluated
            at the `step` given to the rule (`make_train_step` does).
        adaptive: scale the ball by the parameters (ASAM; its paper uses `rho` about ten times larger).
        eta: added to the size of each parameter when `adaptive`.
        inner: the gradient rule used for both gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`.

    Raises:
        ValueError: if `rho` or `eta` is negative, or `rho` is a schedule and no `step` is given.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> value, gradient = sam(rho=0.1)(lambda w: jnp.sum(w**2))(jnp.array([3.0, 4.0]))
        >>> print(value, gradient)
        25.0 [6.12 8.16]

    Source:
        Pierre Foret, Ariel Kleiner, Hossein Mobahi, Behnam Neyshabur, "Sharpness-Aware Minimization for Efficiently
        Improving Generalization", 2021. Jungmin Kwon, Jeongseop Kim, Hyunseo Park, In Kwon Choi, "ASAM: Adaptive
        Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural Networks", 2021.
    """
    check_range("sam", "rho", rho, 0.0)
    check_range("sam", "eta", eta, 0.0)
    check_callable("sam", "inner", inner, "rule(loss_fn, has_aux)")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        value_and_grad = inner(loss_fn, has_aux)

        def sharpness_aware(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            value, gradient = value_and_grad(params, *args, step=step, **kwargs)
            perturbed = ascend(params, gradient, _at(rho, step), eta if adaptive else None)
            return value, value_and_grad(perturbed, *args, step=step, **kwargs)[1]

        return sharpness_aware

    return rule


def ascend(params: PyTree, gradient: PyTree, rho: Any, eta: Any = None) -> PyTree:
    """`params` moved by `rho` up the gradient, in the norm scaled by `|params| + eta` unless `eta` is None."""
    if eta is None:
        length, direction = global_norm(gradient), gradient
    else:
        scaled = jax.tree.map(lambda w, g: (jnp.abs(w) + eta) * g, params, gradient)
        length = global_norm(scaled)
        direction = jax.tree.map(lambda w, s: (jnp.abs(w) + eta) * s, params, scaled)
    scale = jnp.where(length > 0, rho / jnp.where(length > 0, length, 1.0), 0.0)
    return add_scaled(params, scale, direction)


def _at(value: ScalarOrSchedule, step: Any) -> Any:
    if not callable(value):
        return value
    if step is None:
        raise ValueError("sam: rho is a schedule, so the rule needs the step it is at: value_and_grad(..., step=step)")
    return value(step)
