"""A small gradient as an aim of its own: penalties on its norm, by differences of gradients."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from optimizers._checks import check_range
from optimizers._trees import add_scaled
from optimizers.gradients._perturbation import PyTree, ScalarOrSchedule, ascend, difference, perturbing_rule
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
