"""Gradients without their part along the weights."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import real_dtype, reread, square, wide_scalar
from optimizers._trees import PyTree, wide
from optimizers.wrappers._inner import check_given

_ROUNDINGS = 4  # what is left of a gradient parallel to the weights, in units of the dtype's resolution


def orthograd(eps: jax.typing.ArrayLike = 1e-30, *, rescale: bool = False) -> optax.GradientTransformationExtraArgs:
    r"""Remove from the gradient of every leaf its component along the leaf itself (⊥Grad).

    $$g \leftarrow g - \frac{\langle \theta, g \rangle}{\langle \theta, \theta \rangle + \varepsilon}\, \theta$$

    A model that has fitted its data can lower a cross-entropy for ever by scaling its logits up, without a change of
    any prediction; this direction is taken away, so that training goes on in those that generalise. Weights of an SGD
    step then keep their norm to first order. Put it first in the chain, in front of any optimizer.

    Each leaf is one vector, as in the authors' code: a leaf with a single element never moves (freeze nothing you need:
    `optax.masked` leaves biases and scales alone). The authors' released optimizer also gives the result the length of
    the gradient, which is no part of the paper's equation: `rescale=True`. A gradient that is parallel up to rounding
    becomes 0, as in pytorch-optimizer: what is left of it are rounding errors, and an adaptive optimizer behind would
    take them for a direction.

    Args:
        eps: Added to the squared norm of the weights, at least 0; matters for zero weights alone.
        rescale: Stretch the result to the length of the gradient.

    Returns:
        An Optax transformation without state; `update` needs `params`; updates keep their dtype.

    Raises:
        ValueError: A concrete `eps` is negative, or `update` gets no `params`.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx, weights = orthograd(), jnp.array([1.0, 1.0])
        >>> update, _ = tx.update(jnp.array([3.0, 1.0]), tx.init(weights), weights)
        >>> print(update)
        [ 1. -1.]

    Source:
        L. Prieto, M. Barsbey, P. A. M. Mediano, T. Birdal, "Grokking at the Edge of Numerical Stability", 2025.
    """
    check_range("orthograd", "eps", eps, 0.0)
    eps = wide_scalar(eps)

    def leaf(g: jax.typing.ArrayLike, w: jax.typing.ArrayLike) -> jax.Array:
        g = jnp.asarray(g)
        g_wide, w_wide = wide(g), wide(jnp.asarray(w))
        squared = jnp.sum(square(w_wide)) + eps
        along = jnp.sum(jnp.real(jnp.conj(w_wide) * g_wide)) / jnp.where(squared > 0, squared, 1)

        def rest(g: jax.Array, w: jax.Array, along: jax.Array) -> jax.Array:
            return g - along.astype(g.dtype) * w

        seen = rest(*reread(g_wide, w_wide, along))
        length, remaining = (jnp.sqrt(jnp.sum(square(x))) for x in (g_wide, seen))
        parallel = remaining <= _ROUNDINGS * float(jnp.finfo(real_dtype(g_wide.dtype)).eps) * length
        factor = length / jnp.where(parallel, 1, remaining) if rescale else 1
        return (rest(g_wide, w_wide, along) * jnp.where(parallel, 0, factor).astype(length.dtype)).astype(g.dtype)

    def init(params: PyTree) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: PyTree, state: optax.EmptyState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, optax.EmptyState]:
        del extra_args
        return jax.tree.map(leaf, updates, check_given("orthograd", "params", params)), state

    return optax.GradientTransformationExtraArgs(init, update)
