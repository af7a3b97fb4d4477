"""Slow parts of the gradient made larger: a low-pass filter in front of any optimizer."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._memory import combination, replaced
from optimizers._moments import (
    MU_DTYPES,
    Moments,
    Scalars,
    average,
    check_moment_dtype,
    elementwise,
    first_moment,
    wide_scalar,
)
from optimizers._trees import PyTree, accumulator_dtype, wide


class GrokfastState(NamedTuple):
    """The moving average of the gradients, and the number of updates."""

    count: jax.Array  # type: ignore[assignment]
    slow: PyTree


def grokfast_ema(
    alpha: jax.typing.ArrayLike = 0.98, lamb: jax.typing.ArrayLike = 2.0, mu_dtype: Any = None
) -> optax.GradientTransformationExtraArgs:
    r"""Add a multiple of the gradient's exponential moving average to the gradient.

    $$\mu_1 = g_1, \quad \mu_t = \alpha \mu_{t-1} + (1 - \alpha) g_t, \qquad g_t \leftarrow g_t + \lambda \mu_t$$

    The slow components are those along which a network generalises long after it has memorised its data (grokking);
    the paper has this first in the chain, with weight decay behind it: `optax.chain(grokfast_ema(), adamw(1e-3))`.
    Gradients grow by about 1 + λ, so a bound on them belongs in front.

    Args:
        alpha: Decay of the average, in [0, 1).
        lamb: Weight λ of the average, at least 0.
        mu_dtype: dtype of the average; None means float32, or the parameters' dtype where that is wider. bfloat16 and
            float16 are rounded stochastically, hence without bias.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is no floating-point dtype.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = grokfast_ema(alpha=0.5, lamb=2.0)
        >>> update, state = tx.update(jnp.array(1.0), tx.init(jnp.array(0.0)))
        >>> update, state = tx.update(jnp.array(-1.0), state)
        >>> print(update, state.slow)
        -1.0 0.0

    Source:
        J. Lee, B. G. Kang, K. Kim, K. M. Lee, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients", 2024.
    """
    check_range("grokfast_ema", "alpha", alpha, 0.0, 1.0, open_high=True)
    check_range("grokfast_ema", "lamb", lamb, 0.0)
    mu_dtype = check_moment_dtype("grokfast_ema", "mu_dtype", mu_dtype, MU_DTYPES)
    alpha, lamb = wide_scalar(alpha), wide_scalar(lamb)

    def scalars(state: GrokfastState, step: jax.Array) -> Scalars:
        del state
        decay = jnp.where(step == 1, 0.0, alpha)
        return decay, jnp.where(step == 1, 1.0, 1 - alpha), lamb

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (average(s[0], s[1], old[0], g),)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        return g + s[2] * new[0]

    return elementwise(GrokfastState, {"slow": first_moment(mu_dtype)}, scalars, advance, direction)


class GrokfastWindowState(NamedTuple):
    """The last gradients, `[window_size, ...]` for each leaf, and the number of updates."""

    count: jax.Array  # type: ignore[assignment]
    history: PyTree


def grokfast_ma(
    window_size: int = 100,
    lamb: jax.typing.ArrayLike = 5.0,
    filter_type: Literal["mean", "sum"] = "mean",
    *,
    warmup: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Add a multiple of the mean of the last gradients to the gradient.

    $$g_t \leftarrow g_t + \frac{\lambda}{w} \sum_{i=0}^{w-1} g_{t-i}$$

    once there are w gradients. The window is kept in float32: w times the parameters in memory, all of it read at every
    step. `grokfast_ema` needs one copy, and is what the paper recommends.

    Args:
        window_size: Number w of gradients, at least 1.
        lamb: Weight λ, at least 0.
        filter_type: "mean", or "sum" for the sum of the window without the 1/w.
        warmup: Pass gradients through until the window is full; else average those there are.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `filter_type` is neither of the two.
        TypeError: `window_size` is no integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = grokfast_ma(window_size=2, lamb=1.0)
        >>> update, state = tx.update(jnp.array(1.0), tx.init(jnp.array(0.0)))
        >>> print(update)
        1.0
        >>> update, state = tx.update(jnp.array(3.0), state)
        >>> print(update)
        5.0

    Source:
        J. Lee, B. G. Kang, K. Kim, K. M. Lee, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients", 2024.
    """
    window_size = check_positive_integer("grokfast_ma", "window_size", window_size)
    check_range("grokfast_ma", "lamb", lamb, 0.0)
    if filter_type not in ("mean", "sum"):
        raise ValueError(f"grokfast_ma: filter_type must be 'mean' or 'sum', got {filter_type!r}")
    lamb = wide_scalar(lamb)

    def init(params: PyTree) -> GrokfastWindowState:
        def leaf(p: Any) -> jax.Array:
            zeros = jnp.zeros_like(p, dtype=accumulator_dtype(jnp.result_type(p)))
            return jnp.broadcast_to(zeros, (window_size, *zeros.shape)).copy()

        return GrokfastWindowState(jnp.zeros([], jnp.int32), jax.tree.map(leaf, params))

    def update(
        updates: PyTree, state: GrokfastWindowState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, GrokfastWindowState]:
        del params, extra_args
        # The slot and the number of gradients are kept in one counter, which stays below twice the window.
        slot = state.count % window_size
        count = jnp.where(state.count + 1 == 2 * window_size, window_size, state.count + 1)
        held = jnp.minimum(count, window_size)
        weight = lamb / held if filter_type == "mean" else lamb
        weight = jnp.where((held == window_size) | (not warmup), weight, 0.0)
        others = jnp.arange(window_size) != slot

        def leaf(g: Any, h: jax.Array) -> tuple[jax.Array, jax.Array]:
            g = jnp.asarray(g)
            new = wide(g).astype(h.dtype)
            total = new + combination(others.astype(h.dtype), h)
            return (new + weight.astype(h.real.dtype) * total).astype(g.dtype), replaced(h, new, slot, total)

        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(updates)
        done = [leaf(g, h) for g, h in zip(leaves, treedef.flatten_up_to(state.history), strict=True)]
        moved, history = (treedef.unflatten([pair[k] for pair in done]) for k in (0, 1))
        return moved, GrokfastWindowState(count, history)

    return optax.GradientTransformationExtraArgs(init, update)
