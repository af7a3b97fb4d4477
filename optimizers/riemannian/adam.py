"""Adam and AMSGrad on manifolds: a direction in the tangent space, and one second moment a point."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._moments import TINY, Moments, Scalars, average, bias_correction, check_decays, wide_scalar
from optimizers._trees import PyTree
from optimizers.riemannian._descent import Labels, on_manifolds


class RiemannianAdamState(NamedTuple):
    """State of `riemannian_adam`: step counter, momentum at the present point, and a second moment a point."""

    count: jax.Array  # type: ignore[assignment]
    mu: PyTree
    nu: PyTree


class RiemannianAMSGradState(NamedTuple):
    """State of `riemannian_amsgrad`: that of Adam, and the largest second moment so far."""

    count: jax.Array  # type: ignore[assignment]
    mu: PyTree
    nu: PyTree
    nu_max: PyTree


def _adam(
    function: str,
    state_type: Any,
    learning_rate: optax.ScalarOrSchedule,
    manifold: Labels,
    b1: Any,
    b2: Any,
    eps: Any,
    debias: bool,
    **maps: str,
) -> optax.GradientTransformationExtraArgs:
    """The family; AMSGrad's state has a maximum, which takes the place of the second moment."""
    check_decays(function, eps, b1=b1, b2=b2)
    b1, b2, eps = (wide_scalar(x) for x in (b1, b2, eps))
    extra = state_type._fields[3:]

    def scalars(step: jax.Array) -> Scalars:
        corrections = (bias_correction(b1, step), bias_correction(b2, step)) if debias else (1.0, 1.0)
        return b1, 1 - b1, b2, 1 - b2, eps + TINY, *corrections

    def advance(g: jax.Array, squared: jax.Array, old: Moments, s: Scalars) -> Moments:
        mu, nu = average(s[0], s[1], old[0], g), average(s[2], s[3], old[1], squared)
        return (mu, nu, *(jnp.maximum(m, nu / s[6]) for m in old[2:]))

    def direction(g: jax.Array, new: Moments, s: Scalars) -> jax.Array:
        del g
        second = new[2] if extra else new[1] / s[6]
        return new[0] / s[5] / (jnp.sqrt(second) + s[4])

    return on_manifolds(
        function,
        learning_rate,
        manifold,
        state_type,
        tangent=("mu",),
        scalar=dict.fromkeys(("nu", *extra), 0.0),
        scalars=scalars,
        advance=advance,
        direction=direction,
        **maps,
    )


def riemannian_adam(
    learning_rate: optax.ScalarOrSchedule,
    manifold: Labels,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    debias: bool = True,
    step_map: Literal["exp", "retraction"] = "exp",
    transport: Literal["parallel", "projection"] = "parallel",
) -> optax.GradientTransformationExtraArgs:
    r"""Riemannian Adam: each point moves along a geodesic of its manifold, by about the learning rate.

    $$m_t = \beta_1 \tau_{t-1} + (1 - \beta_1) g_t, \quad
    \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) \lVert g_t \rVert_{x_t}^2, \quad
    x_{t+1} = \exp_{x_t}\!\left( -\eta_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{\nu_t / (1 - \beta_2^t)} + \varepsilon}
    \right), \quad \tau_t = P_{x_t \to x_{t+1}}\, m_t$$

    with $g_t = \operatorname{grad} f(x_t)$, the metric's norm, one number $\nu$ a point, and the momentum carried along
    to the new point. On `euclidean()` this is Adam, coordinate by coordinate. The update given to Optax is the
    difference of the two points; the step is computed from the point itself and ends on the manifold, so that rounding
    does not add up. The parameters must begin there: see `Manifold.project` and `Manifold.random`.

    L2 regularisation and clipping come first in a chain, where they act on the derivative in coordinates; a decoupled
    decay, or anything else after this link, would leave the manifold.

    Args:
        learning_rate: Step size, at least 0, the length of a step in the metric: a number, a traced scalar or a
            schedule.
        manifold: A `Manifold` for all leaves; a tree of them that is a prefix of the parameters; or a function from a
            leaf's path, its keys joined by slashes, to its manifold.
        b1: Decay of the momentum, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        debias: Whether to divide the moments by 1 - β^t, as Adam does; the paper leaves this out.
        step_map: "exp", the exponential map, or "retraction", cheaper and the same to first order.
        transport: How the momentum gets to the new point: "parallel", or by "projection" onto the tangent space there.
            In the ball and among the positive definite matrices, where all coordinates are tangent and only lengths
            change, it is always parallel; on the Stiefel manifold, where that has no closed form, always projected.

    Returns:
        An Optax transformation; `update` needs `params`. On curved manifolds these must be float32 or float64.

    Raises:
        ValueError: A concrete hyperparameter is out of range, a leaf's shape does not fit its manifold, or a word is
            none of those above.
        TypeError: `manifold` is none of those above, or a point on a curved manifold is not float32 or float64.

    Examples:
        The smallest eigenvalue of a matrix, on the sphere:

        >>> import jax, jax.numpy as jnp, optax
        >>> from optimizers import sphere
        >>> matrix, x = jnp.diag(jnp.array([3.0, 2.0, 1.0])), jnp.ones(3) / jnp.sqrt(3.0)
        >>> tx = riemannian_adam(0.1, sphere())
        >>> state = tx.init(x)
        >>> for _ in range(100):
        ...     updates, state = tx.update(jax.grad(lambda x: x @ matrix @ x)(x), state, x)
        ...     x = optax.apply_updates(x, updates)
        >>> print(f"{x @ matrix @ x:.2f} {x @ x:.4f}")
        1.00 1.0000

    Source:
        G. Bécigneul, O.-E. Ganea, "Riemannian Adaptive Optimization Methods", 2019.
    """
    return _adam(
        "riemannian_adam",
        RiemannianAdamState,
        learning_rate,
        manifold,
        b1,
        b2,
        eps,
        debias,
        step_map=step_map,
        transport=transport,
    )


def riemannian_amsgrad(
    learning_rate: optax.ScalarOrSchedule,
    manifold: Labels,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    debias: bool = True,
    step_map: Literal["exp", "retraction"] = "exp",
    transport: Literal["parallel", "projection"] = "parallel",
) -> optax.GradientTransformationExtraArgs:
    r"""Riemannian AMSGrad: Riemannian Adam whose second moment never falls, for which convergence is proved.

    $$x_{t+1} = \exp_{x_t}\!\left( -\eta_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{\hat\nu_t} + \varepsilon} \right), \qquad
    \hat\nu_t = \max\left(\hat\nu_{t-1}, \frac{\nu_t}{1 - \beta_2^t}\right)$$

    with the moments of `riemannian_adam`. The maximum is over corrected moments, as in Optax, whose AMSGrad this is on
    `euclidean()`; PyTorch and geoopt correct the maximum. Without corrections, as in the paper, all are one. The
    paper's rates hold with learning rates proportional to $1 / \sqrt t$.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or a schedule.
        manifold: One, a tree of them, or a function from path to manifold, see `riemannian_adam`.
        b1: Decay of the momentum, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        debias: Whether to divide the moments by 1 - β^t; the paper leaves this out.
        step_map: "exp" or "retraction", see `riemannian_adam`.
        transport: "parallel" or "projection", see `riemannian_adam`.

    Returns:
        An Optax transformation; `update` needs `params`. On curved manifolds these must be float32 or float64.

    Raises:
        ValueError: A concrete hyperparameter is out of range, a leaf's shape does not fit its manifold, or a word is
            none of those above.
        TypeError: `manifold` is none of those above, or a point on a curved manifold is not float32 or float64.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from optimizers import sphere
        >>> target, x = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0])
        >>> tx = riemannian_amsgrad(0.1, sphere())
        >>> state = tx.init(x)
        >>> for _ in range(100):
        ...     updates, state = tx.update(jax.grad(lambda x: -x @ target)(x), state, x)
        ...     x = optax.apply_updates(x, updates)
        >>> print(f"{x @ target:.2f}")
        1.00

    Source:
        G. Bécigneul, O.-E. Ganea, "Riemannian Adaptive Optimization Methods", 2019.
    """
    return _adam(
        "riemannian_amsgrad",
        RiemannianAMSGradState,
        learning_rate,
        manifold,
        b1,
        b2,
        eps,
        debias,
        step_map=step_map,
        transport=transport,
    )
