"""Arrays in eight bits a word: blocks with a scale of their own, and the dynamic-tree code books of 8-bit optimizers.

A code book has 256 numbers in [-1, 1], or in [0, 1] for blocks without a negative number: seven decades below 1, the
k-th from the bottom cut into 2**k cells (2**(k + 1) without signs), each represented by its middle; and 0 and 1. So
large numbers of a block are resolved to about a percent, and none is lost that is a millionth of the largest.

Blocks run along the longest axis of an array, and codes keep the array's shape: where the array is sharded, so are its
codes. Which of the two books a block uses is the sign of its scale: a block is told by its own numbers.
"""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimizers._moments import TINY
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


def _power_of_ten(exponent: jax.Array) -> jax.Array:
    """10**exponent for whole exponents from -6 to 0, exact to the last bit."""
    power = jnp.float32(1.0)
    for k in range(1, DECADES):
        power = jnp.where(exponent <= -k, jnp.float32(10.0**-k), power)
    return power


def _number(place: jax.Array, signed: jax.Array) -> jax.Array:
    """The number at a place of the upper half of the book with signs, from 0 up, or of that without, from 1 up.

    place + 1/2 = 2**k (1 + f), whose exponent and mantissa are those of a float, is the middle of a cell at f of its
    decade; 0 stands at the first place, and 1 behind the last decade.
    """
    bits = jax.lax.bitcast_convert_type(place.astype(jnp.float32) + 0.5, jnp.uint32)
    exponent = (bits >> 23).astype(jnp.int32) - 127
    fraction = (bits & 0x7FFFFF).astype(jnp.float32) * 2.0**-23
    number = _power_of_ten(exponent - jnp.where(signed, DECADES - 1, DECADES)) * (0.1 + 0.9 * fraction)
    first, last = jnp.where(signed, 0, 1), jnp.where(signed, 128, 256)
    return jnp.where(place <= first, 0, jnp.where(place >= last, 1, number))


def _place_below(ratio: jax.Array, signed: jax.Array) -> jax.Array:
    """The place of the largest number that is not above `ratio`, up to rounding."""
    decade = sum((ratio >= 10.0 ** (k - DECADES)).astype(jnp.int32) for k in range(1, DECADES))
    up = jnp.float32(1.0)
    for k in range(DECADES - 1):
        up = jnp.where(decade == k, jnp.float32(10.0 ** (DECADES - 1 - k)), up)
    cells = 1 << (decade + jnp.where(signed, 0, 1))
    fraction = (ratio * up - 0.1) / jnp.float32(0.9)
    return cells + jnp.floor(fraction * cells - 0.5).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=("block_size", "rounding", "stream"), inline=True)
def quantize(x: jax.Array, block_size: int, rounding: Rounding, step: jax.Array, stream: int) -> Blocks:
    """`x`, real numbers [...], in blocks; NaN or infinity in a block makes all of the block NaN or infinite."""
    shape, x = x.shape, jnp.atleast_1d(x)
    axis = _longest_axis(x.shape)
    blocks = _per_block(x, block_size, axis)
    largest = jnp.max(jnp.abs(blocks), axis=axis + 1)
    largest = jnp.where(largest < TINY, 0, largest)
    scales = jnp.where(jnp.min(blocks, axis=axis + 1) < 0, largest, -largest)

    each = _spread(jnp.where(scales == 0, 1, scales), x.shape, block_size, axis)
    signed, negative = each > 0, x < 0
    ratio = jnp.abs(x / each).astype(jnp.float32)
    below = _place_below(ratio, signed)
    low, high = _number(below, signed), _number(below + 1, signed)
    threshold = (
        0.5 if rounding == "nearest" else (noise_bits(x.shape, step, stream) >> 8).astype(jnp.float32) * 2.0**-24
    )
    place = below + (ratio - low > threshold * (high - low))
    # A second moment that is rounded to 0 would make the next step endless; it is at least the smallest number.
    place = jnp.where(~signed & (ratio > 0), jnp.maximum(place, 2), place)
    codes = jnp.where(signed, jnp.where(negative, ZERO - jnp.minimum(place, ZERO), ZERO + place), place - 1)
    return Blocks(codes.astype(jnp.uint8).reshape(shape), scales.reshape(scales.shape if shape else ()))


@functools.partial(jax.jit, static_argnames="block_size", inline=True)
def dequantize(blocks: Blocks, block_size: int) -> jax.Array:
    """The numbers that stand for the codes, [...], in the dtype of the scales."""
    codes, scales = jnp.atleast_1d(blocks.codes).astype(jnp.int32), jnp.atleast_1d(blocks.scales)
    each = _spread(scales, codes.shape, block_size, _longest_axis(codes.shape))
    signed = ~(each < 0)
    place = jnp.where(signed, jnp.abs(codes - ZERO), codes + 1)
    number = _number(place, signed).astype(each.dtype) * jnp.abs(each)
    return jnp.where(signed & (codes < ZERO), -number, number).reshape(blocks.codes.shape)


def is_blocks(x: Any) -> bool:
    """Whether `x` is an array in blocks."""
    return isinstance(x, Blocks)
