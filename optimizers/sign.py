"""Sign momentum: the direction is a bounded function of an interpolation between momentum and gradient.

One equation, with an odd, nondecreasing function κ (the gradient of a convex function, as in "Lion-K"):

    c = b1 * m_old + (1 - b1) * g        direction = κ(c)        m = b2 * m_old + (1 - b2) * g
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import (
    MU_DTYPES,
    Moments,
    Scalars,
    check_moment_dtype,
    descend,
    elementwise,
    wide_scalar,
    zeros_for,
)

Kernel = Callable[[jax.Array], jax.Array]

# Solving for m_old divides rounding errors by b2; below this the definition is evaluated as it stands.
_SMALLEST_INVERTIBLE_DECAY = 0.1


def _sign_momentum(kernel: Kernel, b1: Any, b2: Any, mu_dtype: Any) -> optax.GradientTransformationExtraArgs:
    """The family: `kernel` of the interpolation, written through the new momentum wherever b2 allows."""
    b1, b2 = wide_scalar(b1), wide_scalar(b2)
    from_new = not (isinstance(b2, float) and b2 < _SMALLEST_INVERTIBLE_DECAY)
    # m_old = (m - (1 - b2) g) / b2 put into c gives c = (b1 / b2) m + (1 - b1 / b2) g.
    weight = b1 / b2 if from_new else b1

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state, step
        return weight, 1 - weight, b2, 1 - b2

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (s[2] * old[0] + s[3] * g,)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        momentum = new[0] if from_new else old[0]
        return kernel(s[0] * momentum + s[1] * g)

    moments = {"mu": lambda params: zeros_for(params, mu_dtype)}
    return elementwise(optax.ScaleByLionState, moments, scalars, advance, direction)


def _kernel(function: str, mode: str, smooth_beta: Any) -> Kernel:
    if mode == "hard":
        return jnp.sign
    if mode == "smooth":
        return lambda c: jnp.tanh(wide_scalar(smooth_beta) * c)
    if mode == "refined":
        return lambda c: jnp.where(jnp.abs(c) < 1, c, jnp.sign(c))
    raise ValueError(f"{function}: mode must be 'hard', 'smooth' or 'refined', got {mode!r}")


def _lion(
    function: str, b1: Any, b2: Any, mu_dtype: Any, mode: str = "hard", smooth_beta: Any = 1.0
) -> optax.GradientTransformationExtraArgs:
    check_range(function, "b1", b1, 0.0, 1.0)
    check_range(function, "b2", b2, 0.0, 1.0, open_high=True)
    check_range(function, "smooth_beta", smooth_beta, 0.0)
    dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    return _sign_momentum(_kernel(function, mode, smooth_beta), b1, b2, dtype)


def scale_by_lion(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.99,
    mu_dtype: Any = None,
    *,
    mode: Literal["hard", "smooth", "refined"] = "hard",
    smooth_beta: jax.typing.ArrayLike = 1.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace the gradient by the sign of its interpolation with the momentum.

    $$c_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad u_t = \operatorname{sign}(c_t), \qquad
    m_t = \beta_2 m_{t-1} + (1 - \beta_2) g_t$$

    Computed from the new momentum, $c_t = \frac{\beta_1}{\beta_2} m_t + (1 - \frac{\beta_1}{\beta_2}) g_t$, whose
    buffer has taken the place of the old one: no copy of the tree, against `optax.scale_by_lion`, which reads both. A
    concrete `b2` below 0.1, where the division would amplify rounding, evaluates the definition (and pays the copy); a
    traced `b2` of 0 gives NaN.

    Args:
        b1: Weight of the momentum in the direction, in [0, 1].
        b2: Decay of the momentum, in [0, 1).
        mu_dtype: dtype of the momentum; None means float32, or the parameters' dtype where that is wider. bfloat16 and
            float16 are rounded stochastically, hence without bias.
        mode: `"hard"` is the sign; `"smooth"` is tanh(smooth_beta * c); `"refined"` is c clipped to [-1, 1].
        smooth_beta: Steepness of `"smooth"`, at least 0.

    Returns:
        An Optax transformation with state `optax.ScaleByLionState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `mode` is none of the three.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_lion()
        >>> gradient = jnp.array([0.5, -2.0, 0.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update)
        [ 1. -1.  0.]

    Source:
        X. Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
    """
    return _lion("scale_by_lion", b1, b2, mu_dtype, mode, smooth_beta)


def lion(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.99,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 1e-3,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Lion: steps of constant size in the sign of the interpolated momentum, with decoupled weight decay.

    $$\theta_t = \theta_{t-1} - \eta_t\,(\operatorname{sign}(\beta_1 m_{t-1} + (1 - \beta_1) g_t) +
    \lambda\,\theta_{t-1}), \qquad m_t = \beta_2 m_{t-1} + (1 - \beta_2) g_t$$

    Same trajectory as `optax.lion`, without its copy of the momentum (see `scale_by_lion`). The step does not depend
    on the scale of the gradients. Learning rates are 3 to 10 times smaller than AdamW's, weight decay larger by the
    same factor.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Weight of the momentum in the direction, in [0, 1].
        b2: Decay of the momentum, in [0, 1).
        mu_dtype: dtype of the momentum, see `scale_by_lion`.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), lion(0.1, weight_decay=0.0)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.3f}")
        1.000

    Source:
        X. Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
    """
    check_range("lion", "learning_rate", learning_rate, 0.0)
    check_range("lion", "weight_decay", weight_decay, 0.0)
    return descend(_lion("lion", b1, b2, mu_dtype), learning_rate, weight_decay, mask)
