"""Sharpness-aware gradients that remember the steps before: a direction to use again, or the mean of the gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import PyTree, accumulator_dtype, global_norm, wide
from optimizers.gradients._perturbation import ScalarOrSchedule, ascend, orthogonal, remembering_rule
from optimizers.gradients.backprop import GradientRule, backprop
from optimizers.gradients.stateful import StatefulRule


class LookSAMState(NamedTuple):
    """What LookSAM remembers.

    Attributes:
        phase: steps since SAM's gradient was last due, int32 `[]`; 0 where it is due now.
        direction: the part of SAM's gradient across the plain one, in float32 or wider.
    """

    phase: jax.Array
    direction: PyTree


class FriendlySAMState(NamedTuple):
    """What Friendly SAM remembers.

    Attributes:
        started: whether there was a step before, bool `[]`.
        average: exponential moving average of the gradients, in float32 or wider.
    """

    started: jax.Array
    average: PyTree


def looksam(
    rho: ScalarOrSchedule = 0.05,
    k: int = 5,
    alpha: ScalarOrSchedule = 0.7,
    *,
    inner: GradientRule = backprop,
) -> StatefulRule:
    r"""LookSAM: SAM's gradient at every k-th step, and the part that made it different again at the steps between.

    At every k-th step, the first included, the gradient is SAM's, and its part across the plain gradient is kept:

    $$
    g = \nabla L(\theta), \qquad
    g_s = \nabla L\left(\theta + \rho \frac{g}{\lVert g \rVert_2}\right), \qquad
    g_v = g_s - \frac{\langle g_s, g \rangle}{\lVert g \rVert_2^2} g ;
    $$

    at the others it is the plain gradient, turned that way by as much as it is long,

    $$
    g_\text{LookSAM} = g + \alpha \frac{\lVert g \rVert_2}{\lVert g_v \rVert_2} g_v .
    $$

    Where nothing but rounding lies across (a linear loss, `rho` at 0), nothing is kept, and the steps between follow
    the plain gradient. Parameters, value and aux are treated as by `sam`. Costs two gradients of `inner` at every k-th
    step and one at the others, `1 + 1 / k` on average; under a `jax.vmap` over the state, JAX computes both at
    every step. The state holds one copy of the parameters in float32.

    Args:
        rho: radius of the ball, at least 0; a number, a traced scalar, or a schedule of the `step` given to the rule.
        k: number of steps for which one SAM gradient serves, at least 1. At 1 this is SAM.
        alpha: weight of the kept direction, at least 0; a number, a traced scalar or a schedule. At 0, SAM at every
            k-th step and the plain gradient between.
        inner: the gradient rule used for all gradients, such as `accumulate(4)`.

    Returns:
        A `StatefulRule`.

    Raises:
        ValueError: if `rho` or `alpha` is negative, `k` is below 1, or a schedule is given and no `step`.
        TypeError: if `k` is no integer, or `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> looking = looksam(rho=0.5, k=2)
        >>> value_and_grad = looking.rule(lambda w: jnp.sum(w**4))
        >>> w = jnp.array([1.0, 2.0])
        >>> state = looking.init(w)
        >>> for _ in range(2):
        ...     value, gradient, state = value_and_grad(w, state=state)
        ...     print(f"{value:.1f} {gradient[0]:.2f} {gradient[1]:.2f}")
        17.0 4.79 62.21
        17.0 -18.40 34.80

    Source:
        Yong Liu, Siqi Mai, Xiangning Chen, Cho-Jui Hsieh, Yang You, "Towards Efficient and Scalable Sharpness-Aware
        Minimization", 2022.
    """
    check_range("looksam", "rho", rho, 0.0)
    k = check_positive_integer("looksam", "k", k)
    check_range("looksam", "alpha", alpha, 0.0)

    def init(params: PyTree) -> LookSAMState:
        return LookSAMState(jnp.zeros((), jnp.int32), _zeros(params))

    def change(
        params: PyTree, gradient: PyTree, gradient_at: Any, state: LookSAMState, rho: Any, alpha: Any
    ) -> tuple[PyTree, LookSAMState]:
        def look() -> tuple[PyTree, PyTree]:
            sharp = gradient_at(ascend(params, gradient, rho))
            return sharp, _across(sharp, gradient, rho)

        def look_back() -> tuple[PyTree, PyTree]:
            return ascend(gradient, state.direction, alpha * global_norm(gradient)), state.direction

        gradient, direction = jax.lax.cond(state.phase == 0, look, look_back)
        return gradient, LookSAMState((state.phase + 1) % k, direction)

    return remembering_rule("looksam", inner, init, change, rho=rho, alpha=alpha)


def friendly_sam(
    rho: ScalarOrSchedule = 0.05,
    sigma: ScalarOrSchedule = 1.0,
    decay: ScalarOrSchedule = 0.9,
    *,
    inner: GradientRule = backprop,
) -> StatefulRule:
    r"""Friendly SAM: the perturbation follows what is particular to the batch, not the gradient of all data.

    $$
    d_t = g_t - \sigma m_{t-1}, \qquad
    g_\text{F-SAM} = \nabla L\left(\theta + \rho \frac{d_t}{\lVert d_t \rVert_2}\right), \qquad
    m_t = \lambda m_{t-1} + (1 - \lambda) g_t
    $$

    with $g_t = \nabla L(\theta_t)$ on the batch, $\lambda$ the `decay`, $m_0 = 0$ and $m_1 = g_1$: the moving average
    stands for the gradient of all data, and the first step is SAM's. This is the authors' code; with the paper's
    $g_t - \sigma m_t$ the direction at `sigma` 1 is the same. Where a gradient equals the average of those before,
    nothing is perturbed at `sigma` 1. Parameters, value and aux are treated as by `sam`. Costs two gradients of
    `inner`, and the state one copy of the parameters in float32.

    Args:
        rho: radius of the ball, at least 0; a number, a traced scalar, or a schedule of the `step` given to the rule.
        sigma: how much of the average is taken away, at least 0; a number, a traced scalar or a schedule. At 0 this
            is SAM.
        decay: decay of the average, in [0, 1]; a number, a traced scalar or a schedule.
        inner: the gradient rule used for both gradients, such as `accumulate(4)`.

    Returns:
        A `StatefulRule`.

    Raises:
        ValueError: if `rho` or `sigma` is negative, `decay` not in [0, 1], or a schedule is given and no `step`.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> friendly = friendly_sam(rho=0.1)
        >>> value_and_grad = friendly.rule(lambda w, target: jnp.sum((w - target) ** 2))
        >>> w = jnp.array([3.0, 4.0])
        >>> state = friendly.init(w)
        >>> for target in (0.0, 1.0):
        ...     value, gradient, state = value_and_grad(w, target, state=state)
        ...     print(f"{value:.1f} {gradient[0]:.2f} {gradient[1]:.2f}")
        25.0 6.12 8.16
        13.0 3.86 5.86

    Source:
        Tao Li, Pan Zhou, Zhengbao He, Xinwen Cheng, Xiaolin Huang, "Friendly Sharpness-Aware Minimization", 2024.
    """
    check_range("friendly_sam", "rho", rho, 0.0)
    check_range("friendly_sam", "sigma", sigma, 0.0)
    check_range("friendly_sam", "decay", decay, 0.0, 1.0)

    def init(params: PyTree) -> FriendlySAMState:
        return FriendlySAMState(jnp.zeros((), jnp.bool_), _zeros(params))

    def change(
        params: PyTree, gradient: PyTree, gradient_at: Any, state: FriendlySAMState, rho: Any, sigma: Any, decay: Any
    ) -> tuple[PyTree, FriendlySAMState]:
        particular = jax.tree.map(lambda g, m: wide(g) - sigma * m, gradient, state.average)
        # In this form the average of equal gradients is their very number, and their difference exactly zero.
        rate = jnp.where(state.started, 1.0 - decay, 1.0)
        average = jax.tree.map(lambda m, g: (m + rate * (wide(g) - m)).astype(m.dtype), state.average, gradient)
        sharp = gradient_at(ascend(params, particular, rho))
        return sharp, FriendlySAMState(jnp.ones_like(state.started), average)

    return remembering_rule("friendly_sam", inner, init, change, rho=rho, sigma=sigma, decay=decay)


def _zeros(params: PyTree) -> PyTree:
    return jax.tree.map(lambda w: jnp.zeros_like(wide(jnp.asarray(w))), params)


def _across(sharp: PyTree, gradient: PyTree, rho: Any) -> PyTree:
    """The part of `sharp` across `gradient`, zero where it is no longer than rounding makes it."""
    across = orthogonal(sharp, gradient)
    rounding = max((float(jnp.finfo(g.dtype).eps) for g in jax.tree.leaves(gradient)), default=0.0)
    real = (rho > 0) & (global_norm(across) > 4 * rounding * global_norm(sharp))
    return jax.tree.map(lambda a, g: jnp.where(real, a, 0).astype(accumulator_dtype(g.dtype)), across, gradient)
