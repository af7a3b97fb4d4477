"""PRNG keys in states: stored as plain integers, which every checkpoint format can hold, and used as typed keys."""

import jax
import jax.numpy as jnp


def typed_key(key: jax.Array | int) -> jax.Array:
    """A typed PRNG key from a seed, a typed key, or the raw data of one of the default implementation."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.key(key) if jnp.ndim(key) == 0 else jax.random.wrap_key_data(jnp.asarray(key))
