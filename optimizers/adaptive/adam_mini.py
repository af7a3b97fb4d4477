"""Adam-mini: Adam with one second moment for each block of a tensor in place of one for each element."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable
from optimizers._moments import (
    MU_DTYPES,
    Moments,
    Scalars,
    average,
    bias_correction,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    first_moment,
    real_dtype,
    root_scalars,
    square,
    tensorwise,
    wide_scalar,
)
from optimizers._trees import PyTree, accumulator_dtype

BlockAxes = Callable[[str, tuple[int, ...]], tuple[int, ...]]


def _one_per_output(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    del path
    return (-1,) if len(shape) > 1 else ()


def _block_moment(function: str, block_axes: BlockAxes) -> Callable[[PyTree], PyTree]:
    """Real zeros of the parameters' shapes, of size 1 along the axes that do not tell blocks apart."""

    def leaf(path: Any, p: Any) -> jax.Array:
        p, name = jnp.asarray(p), jax.tree_util.keystr(path, simple=True, separator="/")
        axes = block_axes(name, p.shape)
        if not all(-p.ndim <= axis < p.ndim for axis in axes):
            raise ValueError(f"{function}: block_axes must name axes of {name}, of shape {p.shape}, got {axes}")
        kept = {axis % p.ndim for axis in axes}
        # A part of the parameter, not a new array of that shape, so that it lies on the devices where they do.
        part = p[tuple(slice(None) if axis in kept else slice(0, 1) for axis in range(p.ndim))]
        shape = tuple(size if axis in kept else 1 for axis, size in enumerate(p.shape))
        dtype = real_dtype(accumulator_dtype(p.dtype))
        return jnp.zeros_like(part, dtype=dtype) if part.shape == shape else jnp.zeros(shape, dtype)

    return lambda params: jax.tree_util.tree_map_with_path(leaf, params)


def _adam_mini(
    function: str, b1: Any, b2: Any, eps: Any, eps_root: Any, mu_dtype: Any, block_axes: BlockAxes | None
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    axes = _one_per_output if block_axes is None else block_axes
    check_callable(function, "block_axes", axes, "(path, shape) -> axes, or None")
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        root, small, small_root = root_scalars(b2, eps, eps_root, step)
        return b1, 1 - b1, b2, 1 - b2, root / bias_correction(b1, step), small, small_root

    def advance(g: jax.Array, p: Any, old: Moments, s: Scalars) -> Moments:
        shared = tuple(axis for axis, size in enumerate(old[1].shape) if size == 1)
        sums = jnp.sum(square(g), axis=shared, keepdims=True)
        return average(s[0], s[1], old[0], g), average(s[2], s[3] * sums.size / max(g.size, 1), old[1], sums)

    def direction(g: jax.Array, p: Any, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        on_m, small, small_root = s[4:]
        return new[0] * (on_m / (jnp.sqrt(new[1] + small_root) + small))

    moments = {"mu": first_moment(mu_dtype), "nu": _block_moment(function, axes)}
    return tensorwise(optax.ScaleByAdamState, moments, scalars, advance, direction)


def scale_by_adam_mini(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    block_axes: BlockAxes | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the gradient as Adam does, with the second moment averaged over each block.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
    \nu_{t,b} = \beta_2 \nu_{t-1,b} + (1 - \beta_2) \operatorname{mean}_{i \in b} g_{t,i}^2, \quad
    u_{t,i} = \frac{m_{t,i} / (1 - \beta_1^t)}{\sqrt{\nu_{t,b(i)} / (1 - \beta_2^t) + \bar\varepsilon} + \varepsilon}$$

    Blocks should follow the Hessian's: one output neuron of a dense layer or a convolution, one head of queries or
    keys, one token of an embedding. Half of Adam's memory remains.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moments, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        eps_root: Added under the root, at least 0.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        block_axes: From a parameter's path (its keys joined by slashes) and shape to the axes along which each index
            is a block of its own: `()` is one block for the tensor, all axes are Adam. None means the last axis (an
            output neuron, for Flax kernels) of what has two axes or more, and one block for the rest. Where an
            embedding has its tokens on axis 0 or attention its heads on axis 1:
            `lambda path, shape: (0,) if "embed" in path else (1,) if len(shape) == 3 else shape[1:] and (-1,)`.

    Returns:
        An Optax transformation with state `optax.ScaleByAdamState`; ν has size 1 along the other axes.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or (at `init`) `block_axes` names an axis too many.
        TypeError: `mu_dtype` is no dtype `scale_by_adam` names, or `block_axes` no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx, gradient = scale_by_adam_mini(), jnp.array([[1.0, 3.0], [7.0, 3.0]])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print((5 * update).round())  # columns over the roots of 25 and of 9
        [[1. 5.]
         [7. 5.]]

    Source:
        Y. Zhang, C. Chen, Z. Li, T. Ding, C. Wu, D. P. Kingma, Y. Ye, Z.-Q. Luo, R. Sun, "Adam-mini: Use Fewer Learning
        Rates To Gain More", 2024.
    """
    return _adam_mini("scale_by_adam_mini", b1, b2, eps, eps_root, mu_dtype, block_axes)


def adam_mini(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    block_axes: BlockAxes | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam-mini: AdamW in half the memory, one learning rate for each block of weights.

    $$\theta_t = \theta_{t-1} - \eta_t \left( \frac{m_t / (1 - \beta_1^t)}
    {\sqrt{\nu_{t,b} / (1 - \beta_2^t) + \bar\varepsilon} + \varepsilon} + \lambda\,\theta_{t-1} \right)$$

    with moments of `scale_by_adam_mini`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moments, in [0, 1).
        eps: Added to the root, at least 0.
        eps_root: Added under the root, at least 0.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        block_axes: What is a block, see `scale_by_adam_mini`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or (at `init`) `block_axes` names an axis too many.
        TypeError: `mu_dtype` is no dtype `scale_by_adam` names, or `block_axes` no function.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), adam_mini(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        0.76

    Source:
        Y. Zhang, C. Chen, Z. Li, T. Ding, C. Wu, D. P. Kingma, Y. Ye, Z.-Q. Luo, R. Sun, "Adam-mini: Use Fewer Learning
        Rates To Gain More", 2024.
    """
    check_descent("adam_mini", learning_rate, weight_decay)
    directions = _adam_mini("adam_mini", b1, b2, eps, eps_root, mu_dtype, block_axes)
    return descend(directions, learning_rate, weight_decay, mask)
