"""PRNG keys: in states as plain integers, which every checkpoint format can hold; in use as typed keys."""

import zlib
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp


def typed_key(key: jax.Array | int) -> jax.Array:
    """A typed PRNG key from a seed, a typed key, or the raw data of one of the default implementation."""
    if is_key(key):
        return key
    return jax.random.key(key) if jnp.ndim(key) == 0 else jax.random.wrap_key_data(jnp.asarray(key))


def is_key(leaf: Any) -> TypeGuard[jax.Array]:
    """Whether `leaf` is an array of typed PRNG keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def key_of_rule(function: str, args: Any) -> jax.Array:
    """The key that a random gradient rule draws from: the first typed key among its arguments, made the rule's own.

    The loss draws from the same argument, so the key is folded with a number that stands for the rule.

    Raises:
        ValueError: there is no typed key among the arguments.
    """
    keys = [leaf for leaf in jax.tree.leaves(args) if is_key(leaf)]
    if not keys:
        raise ValueError(
            f"{function}: expected a typed PRNG key (jax.random.key) among the arguments of the loss, got none"
        )
    return jax.random.fold_in(keys[0], zlib.crc32(function.encode()))


def split_data(key: jax.Array | int, key_data: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The key of this update and the raw data of the next one's, from a state that began with `key`."""
    carried = jax.random.wrap_key_data(key_data, impl=jax.random.key_impl(typed_key(key)))
    following, current = jax.random.split(carried)
    return current, jax.random.key_data(following)
