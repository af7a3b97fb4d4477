"""Bounds on the size of the gradient, of all of it together and of each coordinate."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from optimizers._checks import check_range
from optimizers._moments import TINY, real_dtype, reread, wide_scalar
from optimizers._rounding import round_to_nearest
from optimizers._trees import PyTree, accumulator_dtype, global_norm


def clip_by_global_norm(max_norm: jax.typing.ArrayLike) -> optax.GradientTransformationExtraArgs:
    r"""Scale all gradients by one factor so that their joint L2 norm is at most `max_norm`.

    $$g \leftarrow g \cdot \min\left(1, \frac{c}{\lVert g \rVert_2}\right), \qquad
    \lVert g \rVert_2^2 = \sum_{\text{leaves}} \sum_i |g_i|^2$$

    The factor is one scalar, computed first, so that the transformation behind it in the chain multiplies by it as it
    reads the gradient: no clipped copy of the tree is written. (Optax divides every element by the norm, and the
    compiler keeps the result of a division in memory.) The norm is accumulated in float32 or wider.

    An infinite or NaN gradient, or a norm above 1.8e19, whose square overflows float32, makes *every* update NaN, never
    a plausible number. The train step's `skip_nonfinite` looks at the norm and skips all three; `optax.apply_if_finite`
    looks at the gradient and skips the first two.

    Args:
        max_norm: Largest norm to let pass, at least 0, in the units of the gradient. May be traced.

    Returns:
        An Optax transformation without state; updates keep their dtype.

    Raises:
        ValueError: A concrete `max_norm` is negative or NaN.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = clip_by_global_norm(1.0)
        >>> gradient = {"w": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}
        >>> clipped, _ = tx.update(gradient, tx.init(gradient))
        >>> print(clipped["w"], clipped["b"])
        [0.6 0. ] 0.8

    Source:
        R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    check_range("clip_by_global_norm", "max_norm", max_norm, 0.0)

    def init(params: PyTree) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: PyTree, state: optax.EmptyState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, optax.EmptyState]:
        del params, extra_args
        norm = global_norm(*reread(updates))  # with a conversion of 16-bit leaves of its own
        factor = jnp.minimum(1.0, wide_scalar(max_norm) / jnp.maximum(norm, TINY))
        factor = jnp.where(jnp.isfinite(norm), factor, jnp.nan)

        def leaf(g: jax.typing.ArrayLike) -> jax.Array:
            g = jnp.asarray(g)
            wide = accumulator_dtype(g.dtype)
            return round_to_nearest(g.astype(wide) * factor.astype(real_dtype(wide)), g.dtype)

        return jax.tree.map(leaf, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _largest_magnitude(leaves: list[jax.Array], count: jax.Array) -> jax.Array:
    """The magnitude that `count` of all elements reach, exactly: the bits of it are found one by one, from the first.

    Floats of one sign are ordered as their bits are. A pass over the elements counts how many are as large as the bits
    so far with the next one set; nothing is sorted or gathered.
    """
    kind = jnp.result_type(jnp.float32, *(real_dtype(accumulator_dtype(x.dtype)) for x in leaves))
    bits = jnp.uint64 if kind == jnp.float64 else jnp.uint32
    width = jnp.iinfo(bits).bits

    def settle(step: jax.Array, found: jax.Array) -> jax.Array:
        tried = found | (jnp.ones((), bits) << (width - 2 - step).astype(bits))
        bound = lax.bitcast_convert_type(tried, kind)
        reached = sum(jnp.sum(~(jnp.abs(x).astype(kind) < bound), dtype=jnp.int32) for x in leaves)  # NaN reaches all
        return jnp.where(reached >= count, tried, found)

    return lax.bitcast_convert_type(lax.fori_loop(0, width - 1, settle, jnp.zeros((), bits)), kind)


def clip_coordinatewise(
    threshold: jax.typing.ArrayLike | None = None, top_fraction: jax.typing.ArrayLike | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Cut every coordinate off at a threshold, given or found so that a part of all coordinates is cut.

    $$g_i \leftarrow \max(-\tau, \min(\tau, g_i)), \qquad
    \tau = \text{the } \lceil p\,n \rfloor \text{-th largest of } |g_1|, \dots, |g_n|$$

    with p n rounded to a whole number, at least 1: these coordinates come out as ±τ, those above and the one that sets
    it. A few coordinates carry most of a gradient's curvature; without them steps may be longer. In front of SGD this
    clips the gradient, at the end of a chain the finished update. τ is found exactly, in 31 passes over the gradient
    and without sorting.

    Args:
        threshold: τ, at least 0, in the units of the gradient; equal to `optax.clip` then. May be traced.
        top_fraction: p, of the coordinates of the whole tree, in [0, 1]; the paper takes 0.1 to 0.5. May be traced.

    Returns:
        An Optax transformation without state; updates keep their dtype. NaN coordinates stay NaN.

    Raises:
        ValueError: Both arguments are given, or none; or a concrete one is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> gradient = {"w": jnp.array([3.0, -0.5, 1.0]), "b": jnp.array(-2.0)}
        >>> for tx in (clip_coordinatewise(0.75), clip_coordinatewise(top_fraction=0.5)):
        ...     clipped, _ = tx.update(gradient, tx.init(gradient))
        ...     print(clipped["w"], clipped["b"])
        [ 0.75 -0.5   0.75] -0.75
        [ 2.  -0.5  1. ] -2.0

    Source:
        Y. Pan, Y. Li, "Toward Understanding Why Adam Converges Faster Than SGD for Transformers", 2023.
    """
    if (threshold is None) == (top_fraction is None):
        raise ValueError(
            f"clip_coordinatewise: expected one of threshold and top_fraction, got {threshold!r} and {top_fraction!r}"
        )
    check_range("clip_coordinatewise", "threshold", threshold, 0.0)
    check_range("clip_coordinatewise", "top_fraction", top_fraction, 0.0, 1.0)

    def init(params: PyTree) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: PyTree, state: optax.EmptyState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, optax.EmptyState]:
        del params, extra_args
        leaves = [jnp.asarray(g) for g in jax.tree.leaves(updates)]
        if threshold is not None:
            bound = jnp.asarray(wide_scalar(threshold))
        else:
            chosen = jnp.round(wide_scalar(top_fraction) * sum(g.size for g in leaves)).astype(jnp.int32)
            bound = _largest_magnitude(leaves, jnp.maximum(chosen, 1)) if leaves else jnp.zeros(())

        def leaf(g: jax.typing.ArrayLike) -> jax.Array:
            g = jnp.asarray(g)
            limit = bound.astype(real_dtype(accumulator_dtype(g.dtype)))
            return jnp.clip(g.astype(accumulator_dtype(g.dtype)), -limit, limit).astype(g.dtype)

        return jax.tree.map(leaf, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
