"""PRNG keys in states: stored as plain integers, which every checkpoint format can hold, and used as typed keys."""

import jax
import jax.numpy as jnp


def typed_key(key: jax.Array | int) -> jax.Array:
    """A typed PRNG key from a seed, a typed key, or the raw data of one of the default implementation."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.key(key) if jnp.ndim(key) == 0 else jax.random.wrap_key_data(jnp.asarray(key))


def split_data(key: jax.Array | int, key_data: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The key of this update and the raw data of the next one's, from a state that began with `key`."""
    carried = jax.random.wrap_key_data(key_data, impl=jax.random.key_impl(typed_key(key)))
    following, current = jax.random.split(carried)
    return current, jax.random.key_data(following)
