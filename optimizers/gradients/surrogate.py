"""Surrogates for offline optimization, trained so that their outputs are not sharp in their parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_range
from optimizers._trees import PyTree, wide
from optimizers.gradients._losses import losses_of_terms
from optimizers.gradients._perturbation import ScalarOrSchedule, at_step
from optimizers.gradients.backprop import GradientRule, LossFn, backprop
from optimizers.gradients.stateful import StatefulRule


def surrogate_sharpness(
    model_fn: Callable[[PyTree, PyTree], jax.Array], params: PyTree, inputs: PyTree, *, rho: float | jax.Array = 0.05
) -> jax.Array:
    r"""Sharpness of a surrogate: how far its mean output can move within a ball around its parameters.

    $$
    \rho \left\lVert \nabla_\theta \frac1B \sum_{b=1}^B f(x_b; \theta) \right\rVert_2
    \approx \max_{\lVert \delta \rVert_2 \le \rho}
    \left| \frac1B \sum_b f(x_b; \theta + \delta) - \frac1B \sum_b f(x_b; \theta) \right|
    $$

    to first order in `rho`. This is the sharpness of the output, not of a loss: targets do not enter. Differentiable in
    the parameters, with gradient 0 where the norm is 0. Costs one gradient of the model, and twice that when it is
    differentiated itself.

    Args:
        model_fn: `model_fn(params, inputs)`, the surrogate's predictions of any shape, whose mean is taken.
        params: the parameters, any pytree of arrays.
        inputs: the inputs, passed on to `model_fn`.
        rho: radius of the ball, at least 0; a number or a traced scalar.

    Returns:
        The sharpness, a scalar in the units of the predictions, float32 or wider.

    Raises:
        ValueError: if `rho` is negative.
        TypeError: if `model_fn` is not a function, or `rho` not a number.

    Examples:
        >>> import jax.numpy as jnp
        >>> model_fn = lambda w, x: x @ w
        >>> x = jnp.array([[2.0, 4.0], [4.0, 4.0]])
        >>> print(surrogate_sharpness(model_fn, jnp.array([1.0, -1.0]), x, rho=0.5))
        2.5

    Source:
        Manh Cuong Dao, Phi Le Nguyen, Thao Nguyen Truong, Trong Nghia Hoang, "Incorporating Surrogate Gradient Norm to
        Improve Offline Optimization Techniques", 2024.
    """
    check_callable("surrogate_sharpness", "model_fn", model_fn, "(params, inputs) -> predictions")
    check_range("surrogate_sharpness", "rho", rho, 0.0)
    gradient = jax.grad(lambda p: jnp.mean(wide(model_fn(p, inputs))))(jax.tree.map(jnp.asarray, params))
    squares = [jnp.sum(jnp.square(wide(g))) for g in jax.tree.leaves(gradient)]
    square = sum(squares, start=jnp.zeros((), jnp.float32))
    return rho * jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), square)


def ignite(
    bound: ScalarOrSchedule = 1e-3,
    multiplier_rate: ScalarOrSchedule = 1e-3,
    *,
    initial: float | jax.Array = 1e-3,
    inner: GradientRule = backprop,
) -> StatefulRule:
    r"""IGNITE: the gradient of a loss under a bound on the sharpness, by a multiplier that learns to hold it.

    $$
    g_t = \nabla\left(L + \lambda_t R\right)(\theta_t), \qquad
    \lambda_{t+1} = \max\left(0, \lambda_t + \eta \left(R(\theta_t) - \epsilon\right)\right)
    $$

    the method of multipliers for $\min_\theta L$ subject to $R \le \epsilon$, where $R$ is `surrogate_sharpness` or
    any other quantity that shall not pass the `bound` $\epsilon$. The multiplier rises while the bound is broken, falls
    while it is kept, and stays at 0 from there on; the authors' code lets it fall below, and differentiates the norm
    by a finite difference, which `surrogate_sharpness` does exactly. Costs one gradient of `inner`.

        def loss_fn(params, batch, key):
            errors = jnp.square(model(params, batch["x"]) - batch["y"])
            return jnp.stack([jnp.mean(errors), surrogate_sharpness(model, params, batch["x"])]), {}

        step = make_train_step(loss_fn, tx, gradient=ignite(bound=0.1, multiplier_rate=0.01))

    Args:
        bound: the largest value wanted of the second term; a number, a traced scalar, or a schedule of the `step`
            given to the rule.
        multiplier_rate: learning rate of the multiplier, at least 0; a number, a traced scalar or a schedule.
        initial: the multiplier at first, at least 0; a number or a traced scalar.
        inner: the gradient rule used, such as `accumulate(4)`.

    Returns:
        A `StatefulRule` for a `loss_fn` that returns the vector `[loss, sharpness]`. That vector is the value; the
        state is the multiplier, a float32 scalar.

    Raises:
        ValueError: if `multiplier_rate` or `initial` is negative, `bound` is no number, `loss_fn` does not return a
            vector of two, or a schedule is given and no `step`.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> bounded = ignite(bound=1.0, multiplier_rate=0.5, initial=0.0)
        >>> value_and_grad = bounded.rule(lambda w: jnp.stack([w, w**2]))
        >>> state = bounded.init(jnp.array(2.0))
        >>> for _ in range(2):
        ...     losses, gradient, state = value_and_grad(jnp.array(2.0), state=state)
        ...     print(losses, gradient, state)
        [2. 4.] 1.0 1.5
        [2. 4.] 7.0 3.0

    Source:
        Manh Cuong Dao, Phi Le Nguyen, Thao Nguyen Truong, Trong Nghia Hoang, "Incorporating Surrogate Gradient Norm to
        Improve Offline Optimization Techniques", 2024. John C. Platt, Alan H. Barr, "Constrained Differential
        Optimization", 1987.
    """
    check_range("ignite", "bound", bound)
    check_range("ignite", "multiplier_rate", multiplier_rate, 0.0)
    check_range("ignite", "initial", initial, 0.0)
    check_callable("ignite", "inner", inner, "rule(loss_fn, has_aux)")

    def init(params: PyTree) -> jax.Array:
        del params
        return jnp.asarray(initial, jnp.float32)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> Callable[..., tuple[Any, Any, Any]]:
        losses_and_aux = losses_of_terms("ignite", loss_fn, has_aux, "loss, sharpness")

        def bounded(
            params: PyTree, *args: Any, state: jax.Array, step: Any = None, **kwargs: Any
        ) -> tuple[Any, Any, jax.Array]:
            def lagrangian(*args: Any, **kwargs: Any) -> tuple[jax.Array, Any]:
                losses, aux = losses_and_aux(*args, **kwargs)
                return losses[0] + state.astype(losses.dtype) * losses[1], (losses, aux)

            limit = at_step("ignite", "bound", bound, step)
            rate = at_step("ignite", "multiplier_rate", multiplier_rate, step)
            (_, (losses, aux)), gradient = inner(lagrangian, True)(params, *args, step=step, **kwargs)
            multiplier = jnp.maximum(state + rate * (losses[1] - limit), 0.0).astype(state.dtype)
            return ((losses, aux) if has_aux else losses), gradient, multiplier

        return bounded

    return StatefulRule(init, rule)
