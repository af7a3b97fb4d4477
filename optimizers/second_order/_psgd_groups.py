"""The Lie groups of preconditioned SGD as members of its frame: how each starts, is fitted and acts."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optimizers.second_order._psgd import Kind, LieGroup, Q, Stacks
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


def _dtype(kinds: list[Kind]) -> Any:
    return jnp.result_type(jnp.float32, *(kind.dtype for kind in kinds))


def _size(kinds: list[Kind]) -> int:
    return sum(kind.size for kind in kinds)


def _join(stacks: list[Array], dtype: Any) -> Array:
    """All entries as one vector."""
    return jnp.concatenate([x.reshape(-1).astype(dtype) for x in stacks] or [jnp.zeros(0, dtype)])


def _split(vector: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Consecutive parts of a vector as arrays."""
    parts, first = [], 0
    for shape in shapes:
        last = first + math.prod(shape)
        parts.append(vector[first:last].reshape(shape))
        first = last
    return parts


def _as_stacks(vector: Array, kinds: list[Kind]) -> Stacks:
    parts = _split(vector, [(len(kind.members), *kind.shape) for kind in kinds])
    return [part.astype(kind.dtype) for part, kind in zip(parts, kinds)]


def _tensor(x: Array) -> Array:
    """A scalar as a tensor of one axis."""
    return x.reshape(x.shape or (1,))


def kron_shapes(shape: tuple[int, ...], max_size: float, max_skew: float) -> list[tuple[int, ...]]:
    """The shapes of a leaf's factors: a matrix for an axis that is small enough, by itself and beside the others."""
    total = math.prod(shape)
    dense = [1 < size <= max_size and size**2 <= max_skew * total for size in shape]
    return [(size, size) if d else (size,) for size, d in zip(shape, dense)] or [(1,)]


def kron_group(max_size: float, max_skew: float, geometry: Geometry) -> LieGroup:
    """Q a Kronecker product of triangular (or diagonal) factors, one an axis, for every parameter on its own."""

    def shapes(kinds: list[Kind]) -> list[list[tuple[int, ...]]]:
        return [kron_shapes(kind.shape, max_size, max_skew) for kind in kinds]

    def start(kinds: list[Kind], key: Array) -> tuple[Q, Array]:
        del key

        def identity(shape: tuple[int, ...], copies: int) -> Array:
            one = jnp.ones(shape) if len(shape) == 1 else jnp.eye(shape[0])
            return jnp.broadcast_to(one, (copies, *shape))

        dtype = _dtype(kinds)
        factors = [identity(x, len(kind.members)) for kind, each in zip(kinds, shapes(kinds)) for x in each]
        bounds = sum(len(kind.members) * len(each) for kind, each in zip(kinds, shapes(kinds)))
        return (_join(factors, dtype),), jnp.zeros(bounds, dtype)

    def unpack(kinds: list[Kind], q: Q) -> list[tuple[Array, ...]]:
        """For each kind its factors, stacked."""
        flat = [(len(kind.members), *x) for kind, each in zip(kinds, shapes(kinds)) for x in each]
        parts = iter(_split(q[0], flat))
        return [tuple(next(parts).astype(kind.dtype) for _ in each) for kind, each in zip(kinds, shapes(kinds))]

    def scale(kinds: list[Kind], q: Q, by: Array) -> Q:
        factors = [[x * (by ** (1 / len(each))).astype(x.dtype) for x in each] for each in unpack(kinds, q)]
        return (_join([x for each in factors for x in each], q[0].dtype),)

    def fit(
        kinds: list[Kind], q: Q, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Q, Array]:
        del key

        def one(factors: tuple[Array, ...], bounds: Array, v: Array | None, h: Array) -> Any:
            v = None if v is None else _tensor(v)
            return kron_step(factors, bounds, v, _tensor(h), mu, decay, geometry)

        bounds = _split(lipschitz, [(len(kind.members), len(each)) for kind, each in zip(kinds, shapes(kinds))])
        vs = [None] * len(h) if v is None else v
        done = [
            jax.vmap(one)(factors, each.astype(kind.dtype), x, y)
            for kind, factors, each, x, y in zip(kinds, unpack(kinds, q), bounds, vs, h)
        ]
        new = _join([x for factors, _ in done for x in factors], q[0].dtype)
        return (new,), _join([each for _, each in done], lipschitz.dtype)

    def apply(kinds: list[Kind], q: Q, g: Stacks) -> Stacks:
        def one(factors: tuple[Array, ...], g: Array) -> Array:
            return kron_apply(factors, _tensor(g)).reshape(g.shape)

        return [jax.vmap(one)(*each) for each in zip(unpack(kinds, q), g)]

    return LieGroup(start, scale, fit, apply, needs_v=geometry == "EQ", per_leaf=True)


def _step(q: Array, gradient: Array, ell: Array, mu: Any) -> Array:
    return q - (mu / ell).astype(q.dtype) * gradient


def lra_group(rank: int) -> LieGroup:
    """Q = (I + U Vᵀ) diag(d) over all parameters together."""

    def start(kinds: list[Kind], key: Array) -> tuple[Q, Array]:
        dtype, size = _dtype(kinds), _size(kinds)

        def tall(key: Array) -> Array:
            x = standard_normal(key, jnp.zeros((size, rank), dtype))
            return x * (math.sqrt(0.1) / jnp.maximum(jnp.linalg.norm(x), 1e-30))

        one, other = jax.random.split(key)
        return (tall(one), tall(other), jnp.ones(size, dtype)), jnp.zeros(3, dtype)

    def scale(kinds: list[Kind], q: Q, by: Array) -> Q:
        del kinds
        return q[0], q[1], q[2] * by.astype(q[2].dtype)

    def fit(
        kinds: list[Kind], q: Q, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Q, Array]:
        del kinds
        x, y = _join(v or [], q[2].dtype), _join(h, q[2].dtype)
        u, w, d = q
        return lra_step((u, w, d), lipschitz, x, y, mu, decay, jax.random.bernoulli(key))

    def apply(kinds: list[Kind], q: Q, g: Stacks) -> Stacks:
        u, w, d = q
        return _as_stacks(lra_apply((u, w, d), _join(g, d.dtype)), kinds)

    return LieGroup(start, scale, fit, apply)


def cross_group() -> LieGroup:
    """Q = diag(a) + adiag(b), which pairs every entry with its mirror image in the vector of all parameters."""

    def start(kinds: list[Kind], key: Array) -> tuple[Q, Array]:
        del key
        ones = jnp.ones(_size(kinds), _dtype(kinds))
        return (ones, jnp.zeros_like(ones)), jnp.zeros(1, ones.dtype)

    def scale(kinds: list[Kind], q: Q, by: Array) -> Q:
        del kinds
        return q[0] * by.astype(q[0].dtype), q[1] * by.astype(q[1].dtype)

    def fit(
        kinds: list[Kind], q: Q, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Q, Array]:
        del kinds, key
        a, b = q
        gradient, ell = cross_gradient(a, b, _join(v or [], q[0].dtype), _join(h, q[0].dtype))
        ell = bound(ell, lipschitz[0], decay)
        return (_step(a, gradient[0], ell, mu), _step(b, gradient[1], ell, mu)), ell[None]

    def apply(kinds: list[Kind], q: Q, g: Stacks) -> Stacks:
        a, b = q
        return _as_stacks(cross_apply(a, b, _join(g, a.dtype)), kinds)

    return LieGroup(start, scale, fit, apply)


def dense_group(triangular: bool) -> LieGroup:
    """Q a matrix over all parameters together."""

    def start(kinds: list[Kind], key: Array) -> tuple[Q, Array]:
        del key
        identity = jnp.eye(_size(kinds), dtype=_dtype(kinds))
        return (identity,), jnp.zeros(1, identity.dtype)

    def scale(kinds: list[Kind], q: Q, by: Array) -> Q:
        del kinds
        return (q[0] * by.astype(q[0].dtype),)

    def fit(
        kinds: list[Kind], q: Q, lipschitz: Array, v: Stacks | None, h: Stacks, key: Array, mu: Any, decay: Any
    ) -> tuple[Q, Array]:
        del kinds, key
        gradient, ell = dense_gradient(q[0], _join(v or [], q[0].dtype), _join(h, q[0].dtype), triangular)
        ell = bound(ell, lipschitz[0], decay)
        return (_step(q[0], gradient, ell, mu),), ell[None]

    def apply(kinds: list[Kind], q: Q, g: Stacks) -> Stacks:
        return _as_stacks(q[0].T @ (q[0] @ _join(g, q[0].dtype)), kinds)

    return LieGroup(start, scale, fit, apply)
