"""The Lie groups of preconditioned SGD as members of its frame: how each starts, is fitted and acts."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optimizers._trees import accumulator_dtype
from optimizers.second_order._psgd import LieGroup, Packing, Stacks
from optimizers.second_order._psgd_math import (
    Geometry,
    bound,
    cross_apply,
    cross_gradient,
    dense_gradient,
    kron_apply,
    kron_step,
    lra_apply,
    lra_step,
    standard_normal,
)


def _bounds(leaves: list[Array], number: int) -> Array:
    return jnp.zeros(number, jnp.result_type(jnp.float32, *(leaf.dtype for leaf in leaves)))


def _ones(leaf: Array) -> Array:
    return jnp.ones_like(leaf, dtype=accumulator_dtype(leaf.dtype))


def _vector(x: Array) -> Array:
    """A scalar as a tensor of one axis."""
    return x.reshape(x.shape or (1,))


def kron_factors(leaf: Array, max_size: float, max_skew: float) -> tuple[Array, ...]:
    """Identity factors of a leaf: a matrix for an axis that is small enough, by itself and beside the others."""
    dtype = accumulator_dtype(leaf.dtype)
    if leaf.ndim < 2:
        dense = leaf.ndim == 1 and 1 < leaf.size <= max_size and leaf.size <= max_skew
        return (jnp.eye(leaf.size, dtype=dtype) if dense else _ones(_vector(leaf)),)
    return tuple(
        jnp.eye(size, dtype=dtype)
        if 1 < size <= max_size and size**2 <= max_skew * leaf.size
        else jnp.ones(size, dtype)
        for size in leaf.shape
    )


def kron_group(max_size: float, max_skew: float, geometry: Geometry) -> LieGroup:
    """Q a Kronecker product of triangular (or diagonal) factors, one an axis, for every parameter on its own."""

    def start(leaves: list[Array], key: Array) -> tuple[list[Any], Array]:
        del key

        def part(leaf: Array) -> Any:
            factors = kron_factors(leaf, max_size, max_skew) if leaf.size else ()
            return factors, jnp.zeros(len(factors), accumulator_dtype(leaf.dtype))

        return [part(leaf) for leaf in leaves], _bounds(leaves, 0)

    def scale(q: Stacks, by: Array) -> Stacks:
        return [(tuple(x * (by ** (1 / len(f))).astype(x.dtype) for x in f), bounds) for f, bounds in q]

    def fit(
        q: Stacks, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Stacks, Array]:
        del key

        def one(part: Any, v: Array | None, h: Array) -> Any:
            v = None if v is None else _vector(v)
            return kron_step(part[0], part[1], v, _vector(h), mu, decay, geometry)

        vs = [None] * len(h) if v is None else v
        return [jax.vmap(one)(*each) for each in zip(q, vs, h)], lipschitz

    def apply(q: Stacks, g: Stacks) -> Stacks:
        return [
            jax.vmap(lambda part, g: kron_apply(part[0], _vector(g)).reshape(g.shape))(*each) for each in zip(q, g)
        ]

    return LieGroup(start, scale, fit, apply, needs_v=geometry == "EQ", per_leaf=True)


def lra_group(rank: int) -> LieGroup:
    """Q = (I + U Vᵀ) diag(d) over all parameters together."""

    def start(leaves: list[Array], key: Array) -> tuple[list[Any], Array]:
        def tall(key: Array) -> list[Array]:
            keys = jax.random.split(key, len(leaves) or 1)
            rows = [standard_normal(k, jnp.zeros((*x.shape, rank), accumulator_dtype(x.dtype))) for k, x in zip(keys, leaves)]
            norm = jnp.sqrt(sum((jnp.sum(x * x) for x in rows), start=jnp.zeros(())))
            return [x * (math.sqrt(0.1) / jnp.maximum(norm, 1e-30)).astype(x.dtype) for x in rows]

        one, other = jax.random.split(key)
        return list(zip(tall(one), tall(other), [_ones(x) for x in leaves])), _bounds(leaves, 3)

    def scale(q: Stacks, by: Array) -> Stacks:
        return [(u, v, d * by.astype(d.dtype)) for u, v, d in q]

    def rows(q: Stacks) -> tuple[list[Array], list[Array], list[Array]]:
        u, v, d = zip(*((u.reshape(-1, rank), v.reshape(-1, rank), d.reshape(-1)) for u, v, d in q))
        return list(u), list(v), list(d)

    def fit(
        q: Stacks, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Stacks, Array]:
        x, y = ([each.reshape(-1) for each in stacks] for stacks in (v or [], h))
        *new, lipschitz = lra_step(*rows(q), lipschitz, x, y, mu, decay, jax.random.bernoulli(key))
        return [tuple(n.reshape(o.shape) for n, o in zip(parts, old)) for *parts, old in zip(*new, q)], lipschitz

    def apply(q: Stacks, g: Stacks) -> Stacks:
        moved = lra_apply(*rows(q), [x.reshape(-1) for x in g])
        return [m.reshape(x.shape) for m, x in zip(moved, g)]

    return LieGroup(start, scale, fit, apply)


def cross_group() -> LieGroup:
    """Q = diag(a) + adiag(b), which pairs each entry of a parameter with its mirror image."""

    def start(leaves: list[Array], key: Array) -> tuple[list[Any], Array]:
        del key
        return [(_ones(leaf), jnp.zeros_like(_ones(leaf))) for leaf in leaves], _bounds(leaves, 1)

    def scale(q: Stacks, by: Array) -> Stacks:
        return [(a * by.astype(a.dtype), b * by.astype(b.dtype)) for a, b in q]

    def flat(x: Array) -> Array:
        return x.reshape(x.shape[0], -1)

    def fit(
        q: Stacks, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Stacks, Array]:
        del key
        done = [
            jax.vmap(cross_gradient)(flat(a), flat(b), flat(x), flat(y)) for (a, b), x, y in zip(q, v or [], h)
        ]
        ell = bound(jnp.max(jnp.stack([jnp.max(each) for _, each in done])), lipschitz[0], decay)
        new = [
            tuple(old - (mu / ell).astype(old.dtype) * step.reshape(old.shape) for old, step in zip(part, steps))
            for part, (steps, _) in zip(q, done)
        ]
        return new, ell[None]

    def apply(q: Stacks, g: Stacks) -> Stacks:
        return [jax.vmap(cross_apply)(flat(a), flat(b), flat(x)).reshape(x.shape) for (a, b), x in zip(q, g)]

    return LieGroup(start, scale, fit, apply)


def dense_group(triangular: bool) -> LieGroup:
    """Q a matrix over all parameters together; every parameter holds the rows that are its own, `[..., n]`."""

    def start(leaves: list[Array], key: Array) -> tuple[list[Any], Array]:
        del key
        total, first = sum(leaf.size for leaf in leaves), 0
        parts: list[Any] = [jnp.zeros((*leaf.shape, total), accumulator_dtype(leaf.dtype)) for leaf in leaves]
        for number in (number for members in Packing(leaves).members for number in members):  # as in the stacks
            rows = jnp.eye(leaves[number].size, total, k=first, dtype=parts[number].dtype)
            parts[number] = rows.reshape(parts[number].shape)
            first += leaves[number].size
        return parts, _bounds(leaves, 1)

    def matrix(q: Stacks) -> Array:
        return jnp.concatenate([rows.reshape(-1, rows.shape[-1]) for rows in q])

    def vector(x: Stacks) -> Array:
        return jnp.concatenate([each.reshape(-1) for each in x])

    def split(x: Array, like: Stacks) -> Stacks:
        ends = [sum(each.size // (x.size // x.shape[0]) for each in like[: k + 1]) for k in range(len(like))]
        return [part.reshape(each.shape).astype(each.dtype) for part, each in zip(jnp.split(x, ends[:-1]), like)]

    def scale(q: Stacks, by: Array) -> Stacks:
        return [rows * by.astype(rows.dtype) for rows in q]

    def fit(
        q: Stacks, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Stacks, Array]:
        del key
        old = matrix(q)
        step, ell = dense_gradient(old, vector(v or []), vector(h), triangular)
        ell = bound(ell, lipschitz[0], decay)
        return split(old - mu / ell * step, q), ell[None]

    def apply(q: Stacks, g: Stacks) -> Stacks:
        whole = matrix(q)
        return split(whole.T @ (whole @ vector(g)), g)

    return LieGroup(start, scale, fit, apply)

