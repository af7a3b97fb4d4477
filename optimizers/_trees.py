"""Arithmetic on pytrees that the rooms of this package share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def accumulator_dtype(dtype: Any) -> Any:
    """float32 for float16 and bfloat16, the dtype itself otherwise."""
    return jnp.promote_types(dtype, jnp.float32)


def cast(x: jax.Array, dtype: Any) -> jax.Array:
    """`x.astype(dtype)`, which takes time to trace even where it changes nothing: a tree may have a thousand leaves."""
    unchanged = x.dtype == dtype and not getattr(x, "weak_type", False)
    return x if unchanged else x.astype(dtype)


def wide(leaf: jax.Array) -> jax.Array:
    """The leaf in float32 or wider."""
    return cast(leaf, accumulator_dtype(leaf.dtype))


def global_norm(tree: PyTree) -> jax.Array:
    """The L2 norm over all leaves, accumulated in float32 or wider so that float16 leaves cannot overflow it."""
    squares = [jnp.sum(jnp.square(jnp.abs(wide(leaf)))) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(squares, start=jnp.zeros((), jnp.float32)))


def add_scaled(tree: PyTree, scale: jax.Array | float, direction: PyTree) -> PyTree:
    """`tree + scale * direction`, computed in float32 or wider and returned in the dtypes of `tree`."""

    def leaf(x: jax.Array, d: jax.Array) -> jax.Array:
        return (wide(x) + scale * d.astype(accumulator_dtype(x.dtype))).astype(x.dtype)

    return jax.tree.map(leaf, tree, direction)


def mask_by_path(predicate: Callable[[str], bool], tree: PyTree) -> PyTree:
    """A tree of bools: what `predicate` says of the path of each leaf, its keys joined by slashes."""

    def leaf(path: Any, _: Any) -> bool:
        return bool(predicate(jax.tree_util.keystr(path, simple=True, separator="/")))

    return jax.tree_util.tree_map_with_path(leaf, tree)
