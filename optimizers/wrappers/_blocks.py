"""Arrays in eight bits a word: blocks with a scale of their own, and the dynamic-tree code books of 8-bit optimizers.

A code book has 256 numbers in [-1, 1], or in [0, 1] for blocks without a negative number: seven decades below 1, the
k-th from the bottom cut into 2**k cells (2**(k + 1) without signs), each represented by its middle; and 0 and 1. So
large numbers of a block are resolved to about a percent, and none is lost that is a millionth of the largest.

Blocks run along the longest axis of an array, and codes keep the array's shape: where the array is sharded, so are its
codes. Which of the two books a block uses is the sign of its scale: a block is told by its own numbers.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimizers._rounding import noise_bits

DECADES = 7
ZERO = 127  # the place of 0 in the book with signs

Rounding = Literal["nearest", "stochastic"]


def code_book(*, signed: bool) -> np.ndarray:
    """The 256 numbers of a code book in ascending order, float32."""
    magnitudes: list[float] = []
    for decade in range(DECADES):
        edges = np.linspace(0.1, 1.0, 2 ** (decade if signed else decade + 1) + 1)
        magnitudes += list(10.0 ** (decade - DECADES + 1) * (edges[:-1] + edges[1:]) / 2)
    values = [*magnitudes, 0.0, 1.0, *([-m for m in magnitudes] if signed else [])]
    return np.sort(np.asarray(values, np.float32))


_BOOKS = np.concatenate([code_book(signed=True), code_book(signed=False)])
_WITHOUT_SIGNS = 256  # where the second book begins


class Blocks(NamedTuple):
    """An array in blocks: codes, uint8 of the array's shape, and the scale of each block, of the array's dtype.

    The scale is the block's largest magnitude, negative where the block has no negative number.
    """

    codes: jax.Array
    scales: jax.Array


def _longest_axis(shape: tuple[int, ...]) -> int:
    return max(range(len(shape)), key=lambda axis: (shape[axis], axis))


def _per_block(x: jax.Array, block_size: int, axis: int) -> jax.Array:
    """`x` with its axis split in two, [..., blocks, words, ...], filled up with zeros."""
    length = x.shape[axis]
    words = min(block_size, length)
    blocks = math.ceil(length / words)
    if blocks * words > length:
        x = jnp.pad(x, [(0, blocks * words - length if a == axis else 0) for a in range(x.ndim)])
    return x.reshape(*x.shape[:axis], blocks, words, *x.shape[axis + 1 :])


def _spread(scales: jax.Array, shape: tuple[int, ...], block_size: int, axis: int) -> jax.Array:
    """The scale of each word."""
    words = min(block_size, shape[axis])
    wide = jnp.broadcast_to(
        jnp.expand_dims(scales, axis + 1), (*scales.shape[: axis + 1], words, *scales.shape[axis + 1 :])
    )
    flat = wide.reshape(*scales.shape[:axis], scales.shape[axis] * words, *scales.shape[axis + 1 :])
    return jax.lax.slice_in_dim(flat, 0, shape[axis], axis=axis)


def _book(place: jax.Array) -> jax.Array:
    return jnp.asarray(_BOOKS).at[place].get(mode="promise_in_bounds")


def quantize(x: jax.Array, block_size: int, rounding: Rounding, step: jax.Array, stream: int) -> Blocks:
    """`x`, real numbers [...], in blocks; NaN or infinity in a block makes all of the block NaN or infinite."""
    shape, x = x.shape, jnp.atleast_1d(x)
    axis = _longest_axis(x.shape)
    blocks = _per_block(x, block_size, axis)
    largest = jnp.max(jnp.abs(blocks), axis=axis + 1)
    scales = jnp.where(jnp.min(blocks, axis=axis + 1) < 0, largest, -largest)
    each = _spread(scales, x.shape, block_size, axis)
    first = jnp.where(each < 0, _WITHOUT_SIGNS, 0)
    ratio = (x / jnp.where(each == 0, 1, jnp.abs(each))).astype(jnp.float32)

    below = first  # the place of the largest number of the book that is not above the ratio
    for stride in (128, 64, 32, 16, 8, 4, 2, 1):
        below = jnp.where(_book(below + stride) <= ratio, below + stride, below)
    above = jnp.minimum(below + 1, first + 255)
    low, high = _book(below), _book(above)
    threshold = (
        0.5 if rounding == "nearest" else (noise_bits(x.shape, step, stream) >> 8).astype(jnp.float32) * 2.0**-24
    )
    place = jnp.where(ratio - low > threshold * (high - low), above, below)
    # A second moment that is rounded to 0 would make the next step endless; it is at least the smallest number.
    place = jnp.where((each < 0) & (ratio > 0), jnp.maximum(place, first + 1), place)
    codes = (place - first).astype(jnp.uint8)
    return Blocks(codes.reshape(shape), scales.reshape(scales.shape if shape else ()))


def dequantize(blocks: Blocks, block_size: int) -> jax.Array:
    """The numbers that stand for the codes, [...], in the dtype of the scales."""
    codes, scales = jnp.atleast_1d(blocks.codes), jnp.atleast_1d(blocks.scales)
    each = _spread(scales, codes.shape, block_size, _longest_axis(codes.shape))
    place = codes.astype(jnp.int32) + jnp.where(each < 0, _WITHOUT_SIGNS, 0)
    numbers = _book(place).astype(each.dtype) * jnp.abs(each)
    return numbers.reshape(blocks.codes.shape)


def is_blocks(x: Any) -> bool:
    """Whether `x` is an array in blocks."""
    return isinstance(x, Blocks)
