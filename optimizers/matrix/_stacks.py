"""Leaves of equal shape as one batched operation, in blocks; and leaves of any rank as stacks of wide matrices.

A transformation that treats every matrix on its own unrolls into one copy of its program for every leaf, and the
compiler works through each. Here leaves of equal shapes are stacked, the function runs once on the stack, and the
results are taken apart again.

Stacks are blocks of at most `BLOCK` leaves rather than one for all, because taking a stack apart is what costs: the
slice at offset k is a kernel of its own, and a compiler that has seen a kernel does not translate it again. Blocks of
32 have 32 different slices however many leaves there are (1000 leaves of 32 x 32: a quarter of the time to compile, and
a third of the temporaries). Leaves above `ELEMENTS` numbers fill the machine alone, and are not copied into a stack.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

BLOCK = 32
ELEMENTS = 2**18


def _stack(arrays: Sequence[jax.Array]) -> jax.Array:
    return lax.concatenate([lax.expand_dims(x, (0,)) for x in arrays], 0)


def _unstack(stack: jax.Array) -> list[jax.Array]:
    if stack.shape[0] == 1:
        return [lax.squeeze(stack, (0,))]
    return [lax.squeeze(x, (0,)) for x in lax.split(stack, [1] * stack.shape[0])]


def _blocks(members: list[int], elements: int) -> list[list[int]]:
    size = max(1, min(BLOCK, ELEMENTS // max(elements, 1)))
    return [members[start : start + size] for start in range(0, len(members), size)]


def map_stacks(function: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """`[function(*items) for items in zip(*columns)]`, computed for many items of equal shapes at once.

    Args:
        function: Takes as many arguments as there are columns, each with one axis more in front than its items have,
            and returns a pytree of arrays with that axis in front. It must treat the entries along that axis alike and
            independently, as `jax.vmap` does. It is called once for each block of items.
        *columns: Sequences of equal length. Entry k of all columns belongs together: any pytrees of arrays (None and
            the empty tuple included). Items with equal structures, shapes and dtypes share a block.

    Returns:
        The results in the order of the items, without the axis in front.
    """
    groups: dict[Any, list[int]] = {}
    flat = []
    for number, items in enumerate(zip(*columns, strict=True)):
        leaves, structure = jax.tree.flatten(items)
        flat.append(leaves)
        key = structure, tuple((jnp.shape(x), jnp.result_type(x)) for x in leaves)
        groups.setdefault(key, []).append(number)
    results: list[Any] = [None] * len(flat)
    for (structure, kinds), members in groups.items():
        for block in _blocks(members, max((math.prod(shape) for shape, _ in kinds), default=1)):
            stacks = [_stack(arrays) for arrays in zip(*(flat[k] for k in block), strict=True)]
            found, shape_of_result = jax.tree.flatten(function(*jax.tree.unflatten(structure, stacks)))
            apart = zip(*map(_unstack, found), strict=True) if found else [()] * len(block)
            for k, parts in zip(block, apart, strict=True):
                results[k] = jax.tree.unflatten(shape_of_result, parts)
    return results


class WideView(NamedTuple):
    """An array as a stack of matrices [batch, m, n] with m at most n, and back.

    `wide` and `narrow` convert; `transposed` says whether the matrices were turned; `rows` and `columns` are the sizes
    of a matrix before that, `batch` the number of matrices.
    """

    wide: Callable[[jax.Array], jax.Array]
    narrow: Callable[[jax.Array], jax.Array]
    transposed: bool
    batch: int
    rows: int
    columns: int


def wide_view(shape: tuple[int, ...], rows: Sequence[int] = (0,), columns: Sequence[int] = (1,)) -> WideView:
    """The view of an array of `shape` whose matrices have the axes `rows` and `columns`; other axes are the batch."""
    rank = len(shape)
    row_axes, column_axes = (tuple(axis % rank for axis in axes) for axes in (rows, columns))
    batch_axes = tuple(axis for axis in range(rank) if axis not in row_axes + column_axes)
    batch, m, n = (math.prod(shape[axis] for axis in axes) for axes in (batch_axes, row_axes, column_axes))
    transposed = m > n
    order = batch_axes + (column_axes + row_axes if transposed else row_axes + column_axes)
    inverse = tuple(order.index(axis) for axis in range(rank))
    permuted = tuple(shape[axis] for axis in order)
    flat = (batch, min(m, n), max(m, n))

    def wide(x: jax.Array) -> jax.Array:
        return lax.reshape(lax.transpose(x, order), flat)

    def narrow(x: jax.Array) -> jax.Array:
        return lax.transpose(lax.reshape(x, permuted), inverse)

    return WideView(wide, narrow, transposed, batch, m, n)
