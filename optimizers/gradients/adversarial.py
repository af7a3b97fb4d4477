"""Adversarial parameters: the gradient after a few steps of ascent inside a ball."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._trees import PyTree, add_scaled, global_norm, wide
from optimizers.gradients._losses import losses_of_examples
from optimizers.gradients._perturbation import ScalarOrSchedule, ascend, at_step, perturbing_rule
from optimizers.gradients.backprop import GradientRule, LossFn, ValueAndGrad, backprop


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
        return gradient_at(_to_the_edge(params, gradient, gamma, min_ndim))

    return perturbing_rule("adversarial_weight_perturbation", inner, change, gamma=gamma)


def robust_weight_perturbation(
    c_min: ScalarOrSchedule = 1.7,
    gamma: ScalarOrSchedule = 0.01,
    *,
    steps: int = 10,
    min_ndim: int = 2,
    per_layer: bool = True,
    inner: GradientRule = backprop,
) -> Callable[..., ValueAndGrad]:
    r"""Robust weight perturbation (RWP): AWP in several steps, against the examples whose loss is still small.

    $$
    d_{k+1} = d_k + \nabla \frac1B \sum_{i :\, \ell_i \le c_\text{min}} \ell_i(\theta + \epsilon_k), \qquad
    \epsilon_{k,l} = \gamma \lVert \theta_l \rVert_2 \frac{d_{k,l}}{\lVert d_{k,l} \rVert_2}, \qquad
    g_\text{RWP} = \nabla \frac1B \sum_{i=1}^B \ell_i(\theta + \epsilon_K)
    $$

    from $d_0 = 0$, for every leaf $l$ with at least `min_ndim` axes, the losses $\ell_i \le c_\text{min}$ taken at
    $\theta + \epsilon_k$ as well. An example whose loss has grown past `c_min` pushes the weights no further, so that
    only what is fitted too well perturbs them; with none below, the gradient is the plain one. Made for adversarial
    training, like AWP, which this is with `c_min` infinite and one step. The value is the mean of the losses; it, the
    parameters and aux are treated as by `sam`. Costs at most `steps + 1` gradients of `inner`, and fewer where no
    example is left below `c_min` on the way.

    Args:
        c_min: losses up to here take part (the loss stationary condition; 1.7 is the paper's for the cross-entropy of
            CIFAR-10); a number, a traced scalar, or a schedule of the `step` given to the rule.
        gamma: radius of each ball over the norm of its leaf, at least 0; a number, a traced scalar or a schedule.
        steps: number of ascent steps, at least 1.
        min_ndim: leaves of fewer axes are not perturbed, at least 1.
        per_layer: a ball for each leaf, as AWP has it; without, one ball around all that is perturbed, relative to
            its joint norm, as in the authors' code.
        inner: the gradient rule used for all gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule for a `loss_fn` that returns one loss an example, shape `[B]`. Its value is their mean.

    Raises:
        ValueError: if `c_min` is no number, `gamma` is negative, `steps` or `min_ndim` is below 1, `loss_fn` does not
            return a vector, or a schedule is given and no `step`.
        TypeError: if `steps` or `min_ndim` is no integer, or `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> rule = robust_weight_perturbation(c_min=1.0, gamma=0.5, steps=1, min_ndim=1)
        >>> loss_fn = lambda w, x: (x @ w) ** 2
        >>> value, gradient = rule(loss_fn)(jnp.array([0.5, 1.0]), jnp.array([[1.0, 0.0], [0.0, 4.0]]))
        >>> print(f"{value:.3f} {gradient[0]:.3f} {gradient[1]:.3f}")
        8.125 1.059 16.000

    Source:
        Chaojian Yu, Bo Han, Mingming Gong, Li Shen, Shiming Ge, Bo Du, Tongliang Liu, "Robust Weight Perturbation for
        Adversarial Training", 2022.
    """
    name = "robust_weight_perturbation"
    check_range(name, "c_min", c_min)
    check_range(name, "gamma", gamma, 0.0)
    steps = check_positive_integer(name, "steps", steps)
    min_ndim = check_positive_integer(name, "min_ndim", min_ndim)
    check_callable(name, "inner", inner, "rule(loss_fn, has_aux)")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        losses_and_aux = losses_of_examples(name, loss_fn, has_aux)
        mean_and_grad = inner(lambda *args, **kwargs: jnp.mean(losses_and_aux(*args, **kwargs)[0]), False)

        def robust(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            highest, radius = at_step(name, "c_min", c_min, step), at_step(name, "gamma", gamma, step)
            params = jax.tree.map(jnp.asarray, params)

            def mean_of_low(*args: Any, **kwargs: Any) -> tuple[jax.Array, Any]:
                losses, aux = losses_and_aux(*args, **kwargs)
                return jnp.mean(jnp.where(losses <= highest, losses, 0)), (jnp.mean(losses), aux)

            low_and_grad = inner(mean_of_low, True)

            def risen(direction: PyTree) -> PyTree:
                return _to_the_edge(params, direction, radius, min_ndim, per_layer)

            def rise(loop: tuple[Any, PyTree, Any]) -> tuple[Any, PyTree, Any]:
                count, direction, _ = loop
                gradient = low_and_grad(risen(direction), *args, step=step, **kwargs)[1]
                return count + 1, add_scaled(direction, 1.0, gradient), global_norm(gradient) > 0

            (_, (value, aux)), gradient = low_and_grad(params, *args, step=step, **kwargs)
            direction = jax.tree.map(wide, gradient)
            if steps > 1:
                # Without a gradient the next step would be where this one was.
                start = jnp.int32(1), direction, global_norm(gradient) > 0
                _, direction, _ = jax.lax.while_loop(lambda loop: (loop[0] < steps) & loop[2], rise, start)
            gradient = mean_and_grad(risen(direction), *args, step=step, **kwargs)[1]
            return ((value, aux) if has_aux else value), gradient

        return robust

    return rule


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


def _to_the_edge(params: PyTree, direction: PyTree, gamma: Any, min_ndim: int, per_layer: bool = True) -> PyTree:
    """`params` moved along `direction` to the edge of balls of `gamma` times their norm, one a leaf or one for all."""
    if per_layer:

        def leaf(w: jax.Array, d: jax.Array) -> jax.Array:
            return w if w.ndim < min_ndim else ascend(w, d, gamma * global_norm(w))

        return jax.tree.map(leaf, params, direction)
    direction = jax.tree.map(lambda w, d: jnp.zeros_like(d) if w.ndim < min_ndim else d, params, direction)
    return ascend(params, direction, gamma * global_norm([w for w in jax.tree.leaves(params) if w.ndim >= min_ndim]))


def _into_ball(delta: PyTree, radius: Any) -> PyTree:
    length = global_norm(delta)
    outside = length > radius
    share = jnp.where(outside, radius / jnp.where(outside, length, 1.0), 1.0)
    return jax.tree.map(lambda d: (share * d).astype(d.dtype), delta)
