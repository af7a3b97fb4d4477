"""Unbiased storage of moments in 16 bits: stochastic rounding with noise computed where it is used.

An exponential average with decay 0.999 moves by a thousandth of its distance per step; bfloat16 resolves 1/256, so
rounding to nearest never moves it (a second moment that should reach 1 sticks at 0.5). Rounding up with a probability
equal to the fraction cut off keeps the expectation exact. The noise is a hash of element index, leaf and step: nothing
is stored, and nothing is written besides the moment itself.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from optimizers._trees import cast

_GOLDEN = 0x9E3779B9
_F32_MANTISSA_OVER_F16 = 13
_F32_EXPONENT_OVER_F16 = 112 << 10
_F16_INFINITY = 0x7C00


def _mix(x: jax.Array, second: jax.Array) -> jax.Array:
    """A 32-bit integer hash (two xor-shift-multiply rounds) with `second` added between the rounds."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D) + second
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def noise_bits(shape: tuple[int, ...], step: jax.Array, stream: int) -> jax.Array:
    """32 pseudo-random bits per element [shape], a function of the element's index, `step` and `stream` alone."""
    step = step.astype(jnp.uint32)
    first = _mix(step, jnp.uint32((stream * _GOLDEN) & 0xFFFFFFFF))
    second = _mix(step ^ jnp.uint32(0x68E31DA4), jnp.uint32((stream * 0xB5297A4D) & 0xFFFFFFFF))
    index = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):  # per axis, not a reshaped range: each device of a sharded leaf makes its own part
        stride = math.prod(shape[axis + 1 :]) & 0xFFFFFFFF
        index += lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    return _mix(index ^ first, second)


def _round_to_bfloat16(x: jax.Array, noise: jax.Array) -> jax.Array:
    """The half of the word that is cut off plus 16 random bits carries into the other half with its probability."""
    bits = lax.bitcast_convert_type(x, jnp.uint32) + (noise >> 16)
    rounded = lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32)
    # The conversion, exact here, is where XLA writes the result to memory. Bits assembled into bfloat16 would be
    # recomputed wherever they are read, from the old moment, which must then be copied.
    return jnp.where(jnp.isnan(x), x, rounded).astype(jnp.bfloat16)


def _round_to_float16(x: jax.Array, noise: jax.Array) -> jax.Array:
    """The same with the 13 bits that float16 lacks, and in multiples of 2**-24 below float16's normal numbers."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    magnitude = (bits & 0x7FFFFFFF) + (noise >> (32 - _F32_MANTISSA_OVER_F16))
    normal = jnp.minimum((magnitude >> _F32_MANTISSA_OVER_F16) - jnp.uint32(_F32_EXPONENT_OVER_F16), _F16_INFINITY)
    uniform = (noise >> 8).astype(jnp.float32) * 2.0**-24
    subnormal = jnp.floor(jnp.minimum(jnp.abs(x), 1.0) * 2.0**24 + uniform).astype(jnp.uint32)
    kept = jnp.where(jnp.abs(x) < 2.0**-14, subnormal, normal) | ((bits >> 16) & 0x8000)
    rounded = lax.bitcast_convert_type(kept.astype(jnp.uint16), jnp.float16)
    return jnp.where(jnp.isnan(x), jnp.array(jnp.nan, jnp.float16), rounded)


def stochastic_round(x: jax.Array, dtype: jnp.dtype, noise: jax.Array) -> jax.Array:
    """`x` in bfloat16 or float16, up or down with the probability that makes the expectation `x`.

    Args:
        x: Real numbers [...]; infinities and NaN keep their kind.
        dtype: bfloat16 or float16.
        noise: Random bits, uint32 [...].

    Returns:
        The rounded numbers [...]; a number that `dtype` holds exactly is returned as it is.
    """
    to_half = _round_to_bfloat16 if dtype == jnp.bfloat16 else _round_to_float16
    return to_half(x.astype(jnp.float32), noise)


def round_to_nearest(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`x.astype(dtype)` that fuses with what reads it: for bfloat16 from integer operations, ties to even.

    XLA's CPU compiler writes the result of a conversion to bfloat16 to memory; of integer operations it does not.
    """
    if dtype != jnp.bfloat16 or x.dtype != jnp.float32:
        return x.astype(dtype)
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    kept = jnp.where(jnp.isnan(x), jnp.uint32(0x7FC0), kept)
    return lax.bitcast_convert_type(kept.astype(jnp.uint16), jnp.bfloat16)


def store(x: jax.Array, dtype: jnp.dtype, step: jax.Array, stream: int) -> jax.Array:
    """`x` in `dtype`: stochastically rounded into a 16-bit float, converted otherwise."""
    if dtype in (jnp.bfloat16, jnp.float16):
        return stochastic_round(x, dtype, noise_bits(x.shape, step, stream))
    return cast(x, dtype)
