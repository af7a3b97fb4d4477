"""Adversarial parameters: the gradient after a few steps of ascent inside a ball."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import PyTree, add_scaled, global_norm, wide
from optimizers.gradients._perturbation import ScalarOrSchedule, ascend, perturbing_rule
from optimizers.gradients.backprop import GradientRule, ValueAndGrad, backprop


def adversarial_weight_perturbation(
    gamma: ScalarOrSchedule = 0.005, *, min_ndim: int = 2, inner: GradientRule = backprop
) -> Callable[..., ValueAndGrad]:
    r"""Adversarial weight perturbation (AWP): the gradient after each weight rose by a share of its own norm.

    $$
    \epsilon_l = \gamma \lVert \theta_l \rVert_2 \frac{g_l}{\lVert g_l \rVert_2}, \qquad g = \nabla L(\theta), \qquad
    g_\text{AWP} = \nabla L(\theta + \epsilon)
    $$

    for every leaf $l$ of the parameters with at least `min_ndim` axes; biases and the scales of norms stay where they
    are. SAM with a ball a layer instead of one around all parameters. Made for adversarial training, where `loss_fn`
    is the loss on adversarial examples; the perturbation ascends whatever loss it is given. Parameters, value and aux
    are treated as by `sam`. Costs two gradients of `inner`.

    Args:
        gamma: radius of each ball over the norm of its leaf, at least 0; a number, a traced scalar, or a schedule of
            the `step` given to the rule (0 at first is a warm-up).
        min_ndim: leaves of fewer axes are not perturbed, at least 1.
        inner: the gradient rule used for both gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`.

    Raises:
        ValueError: if `gamma` is negative, `min_ndim` is below 1, or `gamma` is a schedule and no `step` is given.
        TypeError: if `min_ndim` is no integer, or `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> rule = adversarial_weight_perturbation(gamma=0.1)
        >>> loss_fn = lambda p: jnp.sum(p["w"] ** 2) + p["b"] ** 2
        >>> value, gradient = rule(loss_fn)({"w": jnp.array([[3.0, 4.0]]), "b": jnp.array(1.0)})
        >>> print(value, gradient["w"], gradient["b"])
        26.0 [[6.6 8.8]] 2.0

    Source:
        Dongxian Wu, Shu-Tao Xia, Yisen Wang, "Adversarial Weight Perturbation Helps Robust Generalization", 2020.
    """
    check_range("adversarial_weight_perturbation", "gamma", gamma, 0.0)
    min_ndim = check_positive_integer("adversarial_weight_perturbation", "min_ndim", min_ndim)

    def change(params: PyTree, gradient: PyTree, gradient_at: Any, gamma: Any) -> PyTree:
        def leaf(w: jax.Array, g: jax.Array) -> jax.Array:
            return w if w.ndim < min_ndim else ascend(w, g, gamma * global_norm(w))

        return gradient_at(jax.tree.map(leaf, params, gradient))

    return perturbing_rule("adversarial_weight_perturbation", inner, change, gamma=gamma)


def adversarial_model_perturbation(
    epsilon: ScalarOrSchedule = 0.5,
    inner_rate: ScalarOrSchedule = 1.0,
    *,
    steps: int = 1,
    per_leaf: bool = False,
    inner: GradientRule = backprop,
) -> Callable[..., ValueAndGrad]:
    r"""Adversarial model perturbation (AMP): the gradient after projected gradient ascent inside a ball.

    $$
    \Delta_0 = 0, \qquad
    \Delta_{k+1} = \Pi_\epsilon\left(\Delta_k + \zeta \nabla L(\theta + \Delta_k)\right), \qquad
    g_\text{AMP} = \nabla L(\theta + \Delta_N)
    $$

    where $\Pi_\epsilon$ scales a perturbation longer than $\epsilon$ back onto the ball, and $\zeta$ is `inner_rate`.
    Unlike SAM's, the perturbation is short where the gradient is, and vanishes at a minimum. Parameters, value and aux
    are treated as by `sam`. Costs `steps + 1` gradients of `inner`.

    Args:
        epsilon: radius of the ball, at least 0; a number, a traced scalar, or a schedule of the `step` given to the
            rule.
        inner_rate: learning rate of the ascent, at least 0; a number, a traced scalar or a schedule.
        steps: number of ascent steps, at least 1.
        per_leaf: a ball for each leaf, as in the authors' code, instead of one around all parameters, as in the paper.
        inner: the gradient rule used for all gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`.

    Raises:
        ValueError: if `epsilon` or `inner_rate` is negative, `steps` is below 1, or a schedule is given and no `step`.
        TypeError: if `steps` is no integer, or `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> rule = adversarial_model_perturbation(epsilon=1.0, inner_rate=0.01)
        >>> value, gradient = rule(lambda w: jnp.sum(w**2))(jnp.array([3.0, 4.0]))
        >>> print(value, gradient)
        25.0 [6.12 8.16]

    Source:
        Yaowei Zheng, Richong Zhang, Yongyi Mao, "Regularizing Neural Networks via Adversarial Model Perturbation",
        2021.
    """
    check_range("adversarial_model_perturbation", "epsilon", epsilon, 0.0)
    check_range("adversarial_model_perturbation", "inner_rate", inner_rate, 0.0)
    steps = check_positive_integer("adversarial_model_perturbation", "steps", steps)

    def change(params: PyTree, gradient: PyTree, gradient_at: Any, epsilon: Any, inner_rate: Any) -> PyTree:
        delta = jax.tree.map(lambda w: jnp.zeros_like(wide(w)), params)
        for _ in range(steps):
            delta = add_scaled(delta, inner_rate, gradient)
            delta = jax.tree.map(lambda d: _into_ball(d, epsilon), delta) if per_leaf else _into_ball(delta, epsilon)
            gradient = gradient_at(add_scaled(params, 1.0, delta))
        return gradient

    return perturbing_rule("adversarial_model_perturbation", inner, change, epsilon=epsilon, inner_rate=inner_rate)


def _into_ball(delta: PyTree, radius: Any) -> PyTree:
    length = global_norm(delta)
    outside = length > radius
    share = jnp.where(outside, radius / jnp.where(outside, length, 1.0), 1.0)
    return jax.tree.map(lambda d: (share * d).astype(d.dtype), delta)
