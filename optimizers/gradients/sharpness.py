"""Sharpness-aware gradients: the gradient at the worst point of a ball around the parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_range
from optimizers._trees import PyTree, add_scaled, wide
from optimizers.gradients._perturbation import ScalarOrSchedule, ascend, orthogonal, perturbing_rule
from optimizers.gradients.backprop import GradientRule, ValueAndGrad, backprop


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

    def change(params: PyTree, gradient: PyTree, gradient_at: Any, rho: Any, eta: Any) -> PyTree:
        shape = jax.tree.map(lambda w: jnp.abs(wide(w)) + eta, params) if adaptive else None
        return gradient_at(ascend(params, gradient, rho, shape))

    return perturbing_rule("sam", inner, change, rho=rho, eta=eta)


def gsam(
    rho: ScalarOrSchedule = 0.05, alpha: ScalarOrSchedule = 0.4, *, inner: GradientRule = backprop
) -> Callable[..., ValueAndGrad]:
    r"""Surrogate gap minimisation: SAM's gradient, less the part of the plain gradient that is orthogonal to it.

    $$
    g = \nabla L(\theta), \qquad
    g_p = \nabla L\left(\theta + \rho \frac{g}{\lVert g \rVert_2}\right), \qquad
    g_\text{GSAM} = g_p - \alpha \left(g - \frac{\langle g, g_p \rangle}{\lVert g_p \rVert_2^2} g_p\right)
    $$

    The surrogate gap is the loss at the perturbed point less the loss here, and measures sharpness at a minimum.
    Moving against the orthogonal part of `g` shrinks the gap and leaves, to first order, the perturbed loss alone.
    Parameters, value and aux are treated as by `sam`. Costs two gradients of `inner`.

    Args:
        rho: radius of the ball, at least 0; a number, a traced scalar, or a schedule of the `step` given to the rule
            (the paper lets it follow the learning rate).
        alpha: weight of the orthogonal part, at least 0; a number, a traced scalar or a schedule. At 0 this is SAM.
        inner: the gradient rule used for both gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`.

    Raises:
        ValueError: if `rho` or `alpha` is negative, or is a schedule and no `step` is given.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> value, gradient = gsam(rho=0.5, alpha=0.5)(lambda w: jnp.sum(w**4))(jnp.array([1.0, 2.0]))
        >>> print(f"{value:.1f} {gradient[0]:.2f} {gradient[1]:.2f}")
        17.0 4.03 62.27

    Source:
        Juntang Zhuang, Boqing Gong, Liangzhe Yuan, Yin Cui, Hartwig Adam, Nicha Dvornek, Sekhar Tatikonda, James
        Duncan, Ting Liu, "Surrogate Gap Minimization Improves Sharpness-Aware Training", 2022.
    """
    check_range("gsam", "rho", rho, 0.0)
    check_range("gsam", "alpha", alpha, 0.0)

    def change(params: PyTree, gradient: PyTree, gradient_at: Any, rho: Any, alpha: Any) -> PyTree:
        perturbed = gradient_at(ascend(params, gradient, rho))
        return add_scaled(perturbed, -alpha, orthogonal(gradient, perturbed))

    return perturbing_rule("gsam", inner, change, rho=rho, alpha=alpha)


def fisher_sam(
    rho: ScalarOrSchedule = 0.1, *, eta: ScalarOrSchedule = 1.0, inner: GradientRule = backprop
) -> Callable[..., ValueAndGrad]:
    r"""Fisher SAM: the gradient at the worst point of an ellipsoid, short where the Fisher information is large.

    $$
    \epsilon = \rho \frac{F^{-1} g}{\sqrt{g^\top F^{-1} g}}, \qquad g = \nabla L(\theta), \qquad
    F = 1 + \eta g^2, \qquad g_\text{FisherSAM} = \nabla L(\theta + \epsilon)
    $$

    with the diagonal of the Fisher information estimated by the square of the batch's own gradient, as in the paper.
    Parameters, value and aux are treated as by `sam`. Costs two gradients of `inner`.

    Args:
        rho: radius of the ellipsoid, at least 0; a number, a traced scalar, or a schedule of the `step` given to the
            rule.
        eta: weight of the Fisher information against the Euclidean metric, at least 0; a number, a traced scalar or a
            schedule. At 0 this is SAM.
        inner: the gradient rule used for both gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`.

    Raises:
        ValueError: if `rho` or `eta` is negative, or is a schedule and no `step` is given.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> value, gradient = fisher_sam(rho=0.5)(lambda w: jnp.sum(w**2))(jnp.array([0.5, 1.0]))
        >>> print(f"{value:.2f} {gradient[0]:.2f} {gradient[1]:.2f}")
        1.25 1.44 2.35

    Source:
        Minyoung Kim, Da Li, Shell Xu Hu, Timothy Hospedales, "Fisher SAM: Information Geometry and Sharpness Aware
        Minimisation", 2022.
    """
    check_range("fisher_sam", "rho", rho, 0.0)
    check_range("fisher_sam", "eta", eta, 0.0)

    def change(params: PyTree, gradient: PyTree, gradient_at: Any, rho: Any, eta: Any) -> PyTree:
        shape = jax.tree.map(lambda g: jax.lax.rsqrt(1.0 + eta * jnp.square(wide(g))), gradient)
        return gradient_at(ascend(params, gradient, rho, shape))

    return perturbing_rule("fisher_sam", inner, change, rho=rho, eta=eta)
