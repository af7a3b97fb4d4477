"""Arithmetic that is safe at its ends: roots, powers and quotients at zero, directions of zero vectors."""

import jax.numpy as jnp
from jax import lax

from objectives._typing import Array, Scalar


def root(values: Array, least: float = 0.0) -> Array:
    """Square root, with value and gradient 0 up to `least`; NaN stays NaN."""
    positive = values > least
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, values, 1)), 0 * values)


def power(base: Array, exponent: Scalar | Array) -> Array:
    """base ** exponent for a base of at least 0, with value and gradient 0 where the base is 0; NaN stays NaN."""
    positive = base > 0
    return jnp.where(positive, jnp.where(positive, base, 1) ** exponent, 0 * base)


def unit_vectors(vectors: Array) -> Array:
    """Vectors scaled to length one over the last axis; one up to 1e-12 long becomes 0, with gradient 0; NaN stays NaN.

    The largest entry comes out first, as a constant: it changes no derivative, and no square overflows.
    """
    largest = lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1, keepdims=True, initial=0))
    scaled = vectors / jnp.where(largest == 0, 1, largest)
    squared = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    short = largest * jnp.sqrt(lax.stop_gradient(squared)) <= 1e-12
    return jnp.where(short, 0, scaled * lax.rsqrt(jnp.where(short, 1, squared)))


def expm1_ratio(x: Array) -> Array:
    """(exp(x) - 1) / x, smooth at 0."""
    near = jnp.abs(x) < 1e-4
    safe = jnp.where(near, 1, x)
    return jnp.where(near, 1 + x / 2 * (1 + x / 3 * (1 + x / 4)), jnp.expm1(safe) / safe)
