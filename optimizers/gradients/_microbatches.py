"""A batch in microbatches, for the rules that take one after the other."""

from typing import Any

import jax
import jax.numpy as jnp

from optimizers._keys import is_key
from optimizers._trees import PyTree


def strided(function: str, name: str, batch: PyTree, parts: int) -> PyTree:
    """Leaves `[B, ...]` as `[B / parts, parts, ...]`, whose slice `i` along axis 1 is microbatch `i`.

    Microbatch `i` takes examples `i, i + parts, i + 2 parts, ...`: nothing is moved, not even between devices.

    Raises:
        ValueError: the leading axis of a leaf is not divisible by the argument `name` of `function`.
    """

    def split(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        if leaf.ndim == 0 or leaf.shape[0] % parts:
            raise ValueError(
                f"{function}: the leading axis of every leaf of the batch must be divisible by {name}={parts}, "
                f"got a leaf of shape {leaf.shape}"
            )
        return leaf.reshape(leaf.shape[0] // parts, parts, *leaf.shape[1:])

    return jax.tree.map(split, batch)


def microbatch(batch: PyTree, index: jax.Array) -> PyTree:
    """Microbatch number `index` of a `strided` batch."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, 1, False), batch)


def fold_keys(args: PyTree, index: jax.Array) -> PyTree:
    """`args` with the number of the microbatch in every typed PRNG key."""

    def fold(leaf: Any) -> Any:
        return jax.random.fold_in(leaf, index) if is_key(leaf) else leaf

    return jax.tree.map(fold, args)
