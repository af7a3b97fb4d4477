"""Sign momentum: the direction is the gradient of a convex function at an interpolation of momentum and gradient.

One equation, "Lion-K", with a convex function K:

    c = b1 * m_old + (1 - b1) * g        direction = ∇K(c)        m = b2 * m_old + (1 - b2) * g

K = |c|_1, whose gradient is the sign, makes it Lion; b1 = b2, where c is the new momentum, makes Lion Signum.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import (
    MU_DTYPES,
    SMALLEST_INVERTIBLE_DECAY,
    TINY,
    Moments,
    Scalars,
    check_descent,
    check_moment_dtype,
    descend,
    elementwise,
    wide_scalar,
    zeros_for,
)
from optimizers._trees import PyTree, wide

Kernel = Callable[[jax.Array], jax.Array]
TreeKernel = Callable[[PyTree], PyTree]
Kappa = Literal["l1", "l2", "lp", "group_l2", "huber", "entropy", "relu_l1"]


def _sign_momentum(kernel: Kernel, b1: Any, b2: Any, mu_dtype: Any) -> optax.GradientTransformationExtraArgs:
    """The family: `kernel` of the interpolation, written through the new momentum wherever b2 allows."""
    is_momentum = b1 is b2
    b1, b2 = wide_scalar(b1), wide_scalar(b2)
    from_new = is_momentum or not (isinstance(b2, float) and b2 < SMALLEST_INVERTIBLE_DECAY)
    # m_old = (m - (1 - b2) g) / b2 put into c gives c = (b1 / b2) m + (1 - b1 / b2) g.
    weight = 1.0 if is_momentum else b1 / b2 if from_new else b1

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state, step
        return weight, 1 - weight, b2, 1 - b2

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (s[2] * old[0] + s[3] * g,)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        momentum = new[0] if from_new else old[0]
        return kernel(momentum if is_momentum else s[0] * momentum + s[1] * g)

    moments = {"mu": lambda params: zeros_for(params, mu_dtype)}
    return elementwise(optax.ScaleByLionState, moments, scalars, advance, direction)


def _over_the_tree(
    interpolation: optax.GradientTransformationExtraArgs, kernel: TreeKernel
) -> optax.GradientTransformationExtraArgs:
    """The family where the function couples all parameters: the interpolation as it is, then `kernel` of its tree."""

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        c, state = interpolation.update(jax.tree.map(lambda g: wide(jnp.asarray(g)), updates), state, params)
        return jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), kernel(c), updates), state

    return optax.GradientTransformationExtraArgs(interpolation.init, update)


def _largest(tree: PyTree) -> jax.Array:
    tops = [jnp.max(jnp.abs(x), initial=0.0).astype(jnp.result_type(float)) for x in jax.tree.leaves(tree)]
    return jnp.maximum(jnp.max(jnp.stack([*tops, jnp.zeros((), jnp.result_type(float))])), TINY)


def _norm_gradient(p: Any) -> TreeKernel:
    """The gradient of the p-norm of all numbers in a tree, c ↦ sign(c) (|c| / |c|_p)^(p - 1); 0 at 0."""

    def kernel(tree: PyTree) -> PyTree:
        top = _largest(tree)  # divided by first: no power of a large or small number leaves the range

        def power(x: jax.Array, exponent: Any) -> jax.Array:
            ratio = jnp.abs(x) / top.astype(x.real.dtype)
            return jnp.where(ratio > 0, jnp.where(ratio > 0, ratio, 1.0) ** exponent, ratio)

        powers = [jnp.sum(power(x, p)).astype(top.dtype) for x in jax.tree.leaves(tree)]
        total = jnp.maximum(sum(powers, start=jnp.zeros((), top.dtype)), TINY)
        scale = total ** (1 / p - 1)
        return jax.tree.map(lambda x: jnp.sign(x) * (power(x, p - 1) * scale.astype(x.real.dtype)), tree)

    return kernel


def _rows(c: jax.Array) -> jax.Array:
    """Each row (the last axis) divided by its L2 norm; a row of zeros stays."""
    top = jnp.max(jnp.abs(c), axis=-1, keepdims=True, initial=0.0) if c.ndim else jnp.abs(c)
    scaled = c / jnp.maximum(top, TINY)
    squares = jnp.sum(jnp.abs(scaled) ** 2, axis=-1, keepdims=True) if c.ndim else jnp.abs(scaled) ** 2
    return scaled / jnp.sqrt(jnp.maximum(squares, TINY))


def _huber(c: jax.Array, width: Any) -> jax.Array:
    ratio = c / width
    return jnp.where(jnp.abs(ratio) < 1, ratio, jnp.sign(c))


def _kernel(function: str, kappa: Any, width: Any) -> Kernel:
    """The gradient of K, for those that read one leaf at a time."""
    if callable(kappa):
        return kappa
    kernels: dict[str, Kernel] = {
        "l1": jnp.sign,
        "group_l2": _rows,
        "huber": lambda c: _huber(c, width),
        "entropy": lambda c: jnp.tanh(c / width),
        "relu_l1": lambda c: jnp.where(jnp.abs(c) > width, jnp.sign(c), 0.0),
    }
    if kappa not in kernels:
        names = ", ".join(repr(name) for name in (*kernels, "l2", "lp"))
        raise ValueError(f"{function}: kappa must be a function or one of {names}, got {kappa!r}")
    return kernels[kappa]


def _lion_k(
    function: str, kappa: Any, b1: Any, b2: Any, mu_dtype: Any, p: Any, width: Any
) -> optax.GradientTransformationExtraArgs:
    check_range(function, "b1", b1, 0.0, 1.0)
    check_range(function, "b2", b2, 0.0, 1.0, open_high=True)
    check_range(function, "p", p, 1.0)
    check_range(function, "width", width, 0.0, open_low=True)
    dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    if isinstance(kappa, str) and kappa in ("l2", "lp"):
        identity = _sign_momentum(lambda c: c, b1, b2, dtype)
        return _over_the_tree(identity, _norm_gradient(2.0 if kappa == "l2" else wide_scalar(p)))
    return _sign_momentum(_kernel(function, kappa, wide_scalar(width)), b1, b2, dtype)


def scale_by_lion_k(
    kappa: Kappa | Kernel = "l1",
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.99,
    mu_dtype: Any = None,
    *,
    p: jax.typing.ArrayLike = 1.5,
    width: jax.typing.ArrayLike = 1.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace the gradient by that of a convex function, taken at its interpolation with the momentum.

    $$c_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad u_t = \nabla \mathcal{K}(c_t), \qquad
    m_t = \beta_2 m_{t-1} + (1 - \beta_2) g_t$$

    | `kappa` | K(c) | its gradient |
    |---|---|---|
    | `"l1"` | $\lvert c\rvert_1$ | sign(c): Lion |
    | `"l2"` | $\lVert c\rVert_2$, of all parameters | $c / \lVert c\rVert_2$ |
    | `"lp"` | $\lVert c\rVert_p$, of all parameters | $\operatorname{sign}(c)\,(|c| / \lVert c\rVert_p)^{p-1}$ |
    | `"group_l2"` | the sum of the L2 norms of the rows (last axis) | each row over its norm |
    | `"huber"` | Huber's function of width e | c / e, clipped to [-1, 1] |
    | `"entropy"` | e Σ log cosh(c / e) | tanh(c / e) |
    | `"relu_l1"` | Σ max(\|c\| - e, 0) | sign(c) where \|c\| > e, else 0 |
    | a function | any that is convex | the function, applied to each leaf `[...]` |

    Together with a decay λ this minimises $f(\theta) + \frac{1}{\lambda} \mathcal{K}^*(\lambda \theta)$, with the
    convex conjugate K*: for a norm, f where the dual norm of θ is at most 1/λ. See `lion_k`.

    Args:
        kappa: The convex function, by its name or by its gradient.
        b1: Weight of the momentum in the direction, in [0, 1].
        b2: Decay of the momentum, in [0, 1); below 0.1 see `scale_by_lion`.
        mu_dtype: dtype of the momentum, see `scale_by_lion`.
        p: The p of `"lp"`, at least 1.
        width: The e of `"huber"`, `"entropy"` and `"relu_l1"`, above 0, in the units of the gradient.

    Returns:
        An Optax transformation with state `optax.ScaleByLionState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `kappa` is an unknown name.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> gradient = jnp.array([3.0, -4.0, 0.0])
        >>> for kappa in ("l1", "l2", "huber"):
        ...     tx = scale_by_lion_k(kappa, b1=0.0)
        ...     print([round(float(u), 3) for u in tx.update(gradient, tx.init(gradient))[0]])
        [1.0, -1.0, 0.0]
        [0.6, -0.8, 0.0]
        [1.0, -1.0, 0.0]

    Source:
        L. Chen, B. Liu, K. Liang, Q. Liu, "Lion Secretly Solves Constrained Optimization: As Lyapunov Predicts", 2024.
    """
    return _lion_k("scale_by_lion_k", kappa, b1, b2, mu_dtype, p, width)


def lion_k(
    learning_rate: optax.ScalarOrSchedule,
    kappa: Kappa | Kernel = "l1",
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.99,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 1e-3,
    mask: Any = None,
    *,
    p: jax.typing.ArrayLike = 1.5,
    width: jax.typing.ArrayLike = 1.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Lion-K: descent under the constraint, or the penalty, that a convex function and a weight decay make.

    $$\theta_t = \theta_{t-1} - \eta_t\,(\nabla \mathcal{K}(c_t) + \lambda\,\theta_{t-1}), \qquad
    \text{a minimiser of } f(\theta) + \tfrac{1}{\lambda} \mathcal{K}^*(\lambda\,\theta)$$

    with the c of `scale_by_lion_k`. `"l1"` keeps every parameter in [-1/λ, 1/λ], `"l2"` all of them in a ball of radius
    1/λ, `"lp"` in that of the dual norm, `"group_l2"` each row in a ball; `"relu_l1"` adds a penalty e |θ|_1 within
    the box. Outside, the distance to the set shrinks by 1 - ηλ a step, whatever the gradients; inside, it is never
    left. Without decay there is no constraint, and K only shapes the step.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        kappa: The convex function, see `scale_by_lion_k`.
        b1: Weight of the momentum in the direction, in [0, 1].
        b2: Decay of the momentum, in [0, 1).
        mu_dtype: dtype of the momentum, see `scale_by_lion`.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        p: The p of `"lp"`, at least 1.
        width: The e of `"huber"`, `"entropy"` and `"relu_l1"`, above 0, in the units of the gradient.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `kappa` is an unknown name.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.zeros(2), lion_k(0.01, "l2", weight_decay=1.0)
        >>> state = tx.init(params)
        >>> target = jnp.array([3.0, -4.0])  # outside the unit ball
        >>> for _ in range(1000):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum((x - target) ** 2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print([round(float(x), 2) for x in params])
        [0.6, -0.8]

    Source:
        L. Chen, B. Liu, K. Liang, Q. Liu, "Lion Secretly Solves Constrained Optimization: As Lyapunov Predicts", 2024.
    """
    check_descent("lion_k", learning_rate, weight_decay)
    return descend(_lion_k("lion_k", kappa, b1, b2, mu_dtype, p, width), learning_rate, weight_decay, mask)


def _mode(function: str, mode: str, smooth_beta: Any) -> Kernel:
    """Optax's names for three of the functions; the slope is multiplied by, so that it may be 0."""
    if mode == "hard":
        return jnp.sign
    if mode == "smooth":
        return lambda c: jnp.tanh(wide_scalar(smooth_beta) * c)
    if mode == "refined":
        return lambda c: _huber(c, 1.0)
    raise ValueError(f"{function}: mode must be 'hard', 'smooth' or 'refined', got {mode!r}")


def _lion(
    function: str, b1: Any, b2: Any, mu_dtype: Any, mode: str = "hard", smooth_beta: Any = 1.0
) -> optax.GradientTransformationExtraArgs:
    check_range(function, "smooth_beta", smooth_beta, 0.0)
    return _lion_k(function, _mode(function, mode, smooth_beta), b1, b2, mu_dtype, 1.0, 1.0)


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
        mode: `"hard"` is the sign; `"smooth"` is tanh(smooth_beta * c); `"refined"` is c clipped to [-1, 1]: the
            `"l1"`, `"entropy"` and `"huber"` of `scale_by_lion_k`, under Optax's names.
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


def signum(
    learning_rate: optax.ScalarOrSchedule,
    beta: jax.typing.ArrayLike = 0.9,
    accumulator_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Signum: steps of constant size in the sign of the averaged gradient; Lion-K with b1 = b2 = `beta`.

    $$m_t = \beta m_{t-1} + (1 - \beta) g_t, \qquad
    \theta_t = \theta_{t-1} - \eta_t\,(\operatorname{sign}(m_t) + \lambda\,\theta_{t-1})$$

    The trajectory of `optax.signum`, which has no decay; signSGD at `beta=0`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        beta: Decay of the momentum, in [0, 1).
        accumulator_dtype: dtype of the momentum, see `scale_by_lion`'s `mu_dtype`.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule; None means no decay, and an update that needs no `params`.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `accumulator_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([1.0, -2.0]), signum(0.1)
        >>> update, state = tx.update(jnp.array([1e-3, 50.0]), tx.init(params), params)
        >>> print(update)
        [-0.1 -0.1]

    Source:
        J. Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", 2018.
    """
    check_range("signum", "beta", beta, 0.0, 1.0, open_high=True)
    check_descent("signum", learning_rate, weight_decay)
    dtype = check_moment_dtype("signum", "accumulator_dtype", accumulator_dtype, MU_DTYPES)
    return descend(_sign_momentum(jnp.sign, beta, beta, dtype), learning_rate, weight_decay, mask)
