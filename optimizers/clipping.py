"""Bounds on the size of the gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from optimizers._checks import check_range
from optimizers._moments import TINY, real_dtype, wide_scalar
from optimizers._rounding import round_to_nearest
from optimizers._trees import PyTree, accumulator_dtype, global_norm


def _own_reading(g: jax.typing.ArrayLike) -> jax.Array:
    g = jnp.asarray(g)
    return g if g.dtype == accumulator_dtype(g.dtype) else lax.optimization_barrier(g)


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
        # Behind a barrier the norm has its own conversion of 16-bit leaves; a shared one would be written to memory.
        norm = global_norm(jax.tree.map(_own_reading, updates))
        factor = jnp.minimum(1.0, wide_scalar(max_norm) / jnp.maximum(norm, TINY))
        factor = jnp.where(jnp.isfinite(norm), factor, jnp.nan)

        def leaf(g: jax.typing.ArrayLike) -> jax.Array:
            g = jnp.asarray(g)
            wide = accumulator_dtype(g.dtype)
            return round_to_nearest(g.astype(wide) * factor.astype(real_dtype(wide)), g.dtype)

        return jax.tree.map(leaf, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
