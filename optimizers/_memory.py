"""A memory of the last m gradients of a parameter, `[m, ...]`, one of which is replaced in place.

Once something reads a memory that is written in the same step, the compiler keeps copies of all of it, unless it reads
only what was written: so with small arrays, where sums read it. A product does not read a memory as it is, but a
reshaped one, into which the compiler draws the writing: with large arrays it reads the memory as it was, and
`replaced` waits for what was made of it.
"""

import jax
import jax.numpy as jnp
from jax import lax

from optimizers._moments import after

# A product with a smaller parameter is a sum, which compiles in a tenth of the time: there may be a thousand of them.
SMALL = 2**14


def _written(memory: jax.Array, g: jax.Array, slot: jax.Array) -> jax.Array:
    return lax.dynamic_update_index_in_dim(memory, g, slot, 0)


def products(memory: jax.Array, g: jax.Array, slot: jax.Array) -> jax.Array:
    """The inner products `[m]` of an array with those in the memory, where it will be in a slot itself."""
    if g.size <= SMALL:
        return jnp.sum(_written(memory, g, slot) * g, axis=tuple(range(1, memory.ndim)))
    inner = jnp.matmul(memory.reshape(len(memory), -1), g.reshape(-1), precision=lax.Precision.HIGHEST)
    return inner.at[slot].set(jnp.sum(g * g))


def mixed(weights: jax.Array, memory: jax.Array, g: jax.Array, slot: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The weighted sum of the arrays in the memory with `g` in a slot, and that memory."""
    if g.size <= SMALL:
        written = _written(memory, g, slot)
        return combination(weights, written), written
    made = weights[slot] * g + combination(weights.at[slot].set(0), memory)
    return made, replaced(memory, g, slot, made)


def combination(weights: jax.Array, memory: jax.Array) -> jax.Array:
    """The weighted sum of the arrays in the memory."""
    if memory.size > SMALL * len(memory):
        flat = jnp.matmul(weights, memory.reshape(len(memory), -1), precision=lax.Precision.HIGHEST)
        return flat.reshape(memory.shape[1:])
    return jnp.sum(weights.reshape(-1, *[1] * (memory.ndim - 1)) * memory, axis=0)


def replaced(memory: jax.Array, g: jax.Array, slot: jax.Array, made: jax.Array) -> jax.Array:
    """The memory with `g` in a slot, once `made` of it is there."""
    return _written(memory, after(g, made), slot)
