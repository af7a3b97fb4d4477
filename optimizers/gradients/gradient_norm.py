"""A small gradient as an aim of its own: penalties on its norm, by differences of gradients."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax.numpy as jnp

from optimizers._checks import check_range
from optimizers._trees import PyTree, add_scaled
from optimizers.gradients._perturbation import ScalarOrSchedule, ascend, difference, orthogonal, perturbing_rule
from optimizers.gradients.backprop import GradientRule, ValueAndGrad, backprop

DifferenceMode = Literal["forward", "backward", "centered"]


def gradient_norm_regularization(
    gamma: ScalarOrSchedule = 0.05,
    epsilon: ScalarOrSchedule = 0.05,
    *,
    mode: DifferenceMode = "forward",
    squared: bool = True,
    inner: GradientRule = backprop,
) -> Callable[..., ValueAndGrad]:
    r"""The gradient of the loss plus a penalty on the norm of its gradient, by finite differences.

    $$
    \nabla\left(L + \tfrac{\gamma}{2} \lVert \nabla L \rVert_2^2\right) = g + \gamma H g, \qquad
    \nabla\left(L + \gamma \lVert \nabla L \rVert_2\right) = g + \gamma H \frac{g}{\lVert g \rVert_2}
    $$

    with `squared` and without. The product of the Hessian $H$ with a direction $v$ is a difference of gradients:

    $$
    H v \approx \frac{\nabla L(\theta + \epsilon v) - g}{\epsilon}, \qquad
    \frac{g - \nabla L(\theta - \epsilon v)}{\epsilon}, \qquad
    \frac{\nabla L(\theta + \epsilon v) - \nabla L(\theta - \epsilon v)}{2 \epsilon}
    $$

    for `mode` forward, backward and centered. A forward difference with `epsilon = gamma` is the gradient at
    $\theta + \gamma v$: without `squared`, exactly SAM. The papers find a forward difference over a long `epsilon`
    to generalise better than the exact product, which it need not resemble. Parameters, value and aux are treated as
    by `sam`. Costs two gradients of `inner`, three when centered.

    Args:
        gamma: weight of the penalty, at least 0; a number, a traced scalar, or a schedule of the `step` given to the
            rule.
        epsilon: length of the difference in units of $v$, above 0; a number, a traced scalar or a schedule. The
            difference loses as many digits as `epsilon` is small.
        mode: "forward", "backward" or "centered".
        squared: penalise half the squared norm (Karakida et al.); without it, the norm itself (Zhao et al., who write
            `gamma = alpha * epsilon`).
        inner: the gradient rule used for all gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`.

    Raises:
        ValueError: if `gamma` is negative, `epsilon` not positive, `mode` unknown, or a schedule is given and no
            `step`.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> rule = gradient_norm_regularization(gamma=0.1, epsilon=0.01)
        >>> value, gradient = rule(lambda w: jnp.sum(w**2))(jnp.array([3.0, 4.0]))
        >>> print(f"{value:.1f} {gradient[0]:.2f} {gradient[1]:.2f}")
        25.0 7.20 9.60

    Source:
        Ryo Karakida, Tomoumi Takase, Tomohiro Hayase, Kazuki Osawa, "Understanding Gradient Regularization in Deep
        Learning: Efficient Finite-Difference Computation and Implicit Bias", 2023. Yang Zhao, Hao Zhang, Xiuyuan Hu,
        "Penalizing Gradient Norm for Efficiently Improving Generalization in Deep Learning", 2022.
    """
    name = "gradient_norm_regularization"
    check_range(name, "gamma", gamma, 0.0)
    check_range(name, "epsilon", epsilon, 0.0, open_low=True)
    if mode not in get_args(DifferenceMode):
        raise ValueError(f"{name}: mode must be one of {get_args(DifferenceMode)}, got {mode!r}")

    def change(params: PyTree, gradient: PyTree, gradient_at: Any, gamma: Any, epsilon: Any) -> PyTree:
        move = add_scaled if squared else lambda point, length, towards: ascend(point, towards, length)
        above = gradient if mode == "backward" else gradient_at(move(params, epsilon, gradient))
        below = gradient if mode == "forward" else gradient_at(move(params, -epsilon, gradient))
        width = 2 * epsilon if mode == "centered" else epsilon
        return add_scaled(gradient, gamma / width, difference(above, below))

    return perturbing_rule(name, inner, change, gamma=gamma, epsilon=epsilon)


def gam(
    rho: ScalarOrSchedule = 0.02,
    norm_rho: ScalarOrSchedule = 0.2,
    alpha: ScalarOrSchedule = 0.03,
    beta: ScalarOrSchedule = 1.0,
    *,
    inner: GradientRule = backprop,
) -> Callable[..., ValueAndGrad]:
    r"""Gradient norm aware minimisation (GAM): a low loss, and a small gradient wherever in a ball it is largest.

    With $u(v) = v / \lVert v \rVert_2$, four gradients: here, up the loss, up the norm of the gradient, and up the
    loss from there,

    $$
    g_0 = \nabla L(\theta), \quad
    g_1 = \nabla L(\theta + \rho u(g_0)), \quad
    g_2 = \nabla L(\theta_2), \quad
    g_3 = \nabla L(\theta_2 + \rho u(g_2)), \qquad
    \theta_2 = \theta + \rho' u(g_1 - g_0),
    $$

    $$
    g_\text{GAM} = n - \alpha \left(m - \frac{\langle m, n \rangle}{\lVert n \rVert_2^2} n\right), \qquad
    n = g_1 + \beta g_3, \qquad m = g_0 + \beta g_2 .
    $$

    $g_1 - g_0$ points along the gradient of $\lVert \nabla L \rVert_2$, and $g_3 - g_2$ is $\rho$ times that gradient
    at the point of the ball where the norm is largest. This is the authors' code, without products with the Hessian:
    GSAM's equation for the sum of two losses, so that the result is $1 + \beta$ times as long as a gradient.
    Parameters, value and aux are treated as by `sam`. Costs four gradients of `inner`.

    Args:
        rho: radius of the steps up the loss, at least 0; a number, a traced scalar, or a schedule of the `step` given
            to the rule. At 0 the steeper point is unknown, and no step goes there.
        norm_rho: radius of the step up the norm of the gradient ($\rho'$), at least 0; a number, a traced scalar or a
            schedule.
        alpha: weight of the orthogonal part, at least 0; a number, a traced scalar or a schedule.
        beta: weight of the flatter point's gradients, at least 0; a number, a traced scalar or a schedule. At 0 this
            is GSAM.
        inner: the gradient rule used for all gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`.

    Raises:
        ValueError: if a hyperparameter is negative, or is a schedule and no `step` is given.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> value, gradient = gam(rho=0.1, norm_rho=0.2)(lambda w: jnp.sum(w**2))(jnp.array([3.0, 4.0]))
        >>> print(f"{value:.1f} {gradient[0]:.2f} {gradient[1]:.2f}")
        25.0 12.48 16.64

    Source:
        Xingxuan Zhang, Renzhe Xu, Han Yu, Hao Zou, Peng Cui, "Gradient Norm Aware Minimization Seeks First-Order
        Flatness and Improves Generalization", 2023.
    """
    for name, value in (("rho", rho), ("norm_rho", norm_rho), ("alpha", alpha), ("beta", beta)):
        check_range("gam", name, value, 0.0)

    def change(
        params: PyTree, gradient: PyTree, gradient_at: Any, rho: Any, norm_rho: Any, alpha: Any, beta: Any
    ) -> PyTree:
        risen = gradient_at(ascend(params, gradient, rho))
        # At rho = 0, as at the start of a warm-up, what differs is rounding, and no direction to go.
        steep = ascend(params, difference(risen, gradient), jnp.where(rho > 0, norm_rho, 0.0))
        gradient_steep = gradient_at(steep)
        risen_steep = gradient_at(ascend(steep, gradient_steep, rho))
        here, above = add_scaled(gradient, beta, gradient_steep), add_scaled(risen, beta, risen_steep)
        return add_scaled(above, -alpha, orthogonal(here, above))

    return perturbing_rule("gam", inner, change, rho=rho, norm_rho=norm_rho, alpha=alpha, beta=beta)
