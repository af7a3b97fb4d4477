"""A memory of the last m gradients of a parameter, `[m, ...]`: read first, then written in place.

Once something reads a memory that is written in the same step, the compiler keeps copies of all of it. So the products
here are with the memory as it was, and `replaced` waits for what was made of them.
"""

import jax
import jax.numpy as jnp
from jax import lax

from optimizers._moments import after

# A product with a smaller parameter is a sum, which compiles in a tenth of the time: there may be a thousand of them.
SMALL = 2**14


def products(memory: jax.Array, g: jax.Array) -> jax.Array:
    """The inner products `[m]` of an array with those in the memory."""
    if g.size > SMALL:
        return jnp.matmul(memory.reshape(len(memory), -1), g.reshape(-1), precision=lax.Precision.HIGHEST)
    return jnp.sum(memory * g, axis=tuple(range(1, memory.ndim)))


def combination(weights: jax.Array, memory: jax.Array) -> jax.Array:
    """The weighted sum of the arrays in the memory."""
    if memory.size > SMALL * len(memory):
        flat = jnp.matmul(weights, memory.reshape(len(memory), -1), precision=lax.Precision.HIGHEST)
        return flat.reshape(memory.shape[1:])
    return jnp.sum(weights.reshape(-1, *[1] * (memory.ndim - 1)) * memory, axis=0)


def replaced(memory: jax.Array, g: jax.Array, slot: jax.Array, made: jax.Array) -> jax.Array:
    """The memory with `g` in a slot, once `made` of it is there."""
    return lax.dynamic_update_index_in_dim(memory, after(g, made), slot, 0)
