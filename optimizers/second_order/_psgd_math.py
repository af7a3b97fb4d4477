"""Steps on Lie groups of preconditioners P = QᵀQ, each as Q's gradient in the group and a bound on its size.

The criterion E[hᵀPh + vᵀP⁻¹v] changes, when Q becomes (I + E)Q, at the rate 2⟨E, aaᵀ - bbᵀ⟩ with a = Qh and b = Q⁻ᵀv.
So every group steps along its own part of G = aaᵀ - bbᵀ,

    Q - (μ / L) G Q        with L a bound on ‖aaᵀ + bbᵀ‖,

and a member states G Q and L: a matrix, its upper triangle, a diagonal, a cross, factors of a Kronecker product, or a
diagonal with low-rank corrections.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

from optimizers._moments import TINY

Geometry = Literal["EQ", "Q0.5EQ1.5"]
PROCRUSTES_STEP = 1 / 8  # the authors' bound on the rotation angle, for which two terms of exp suffice


def bound(ell: Array, previous: Array, decay: Any) -> Array:
    """The step's normaliser: this pair's bound, or the decaying maximum of former ones."""
    return jnp.maximum(decay * previous + (1 - decay) * ell, ell) + TINY


def dense_gradient(q: Array, v: Array, h: Array, triangular: bool) -> tuple[Array, Array]:
    """G Q for a matrix `[n, n]`, of G its upper triangle where Q is triangular, and ‖a‖² + ‖b‖²."""
    a = q @ h
    b = solve_triangular(q, v, trans=1) if triangular else jnp.linalg.solve(q.T, v)
    ell = jnp.vdot(a, a) + jnp.vdot(b, b)
    if triangular:
        return jnp.triu(jnp.outer(a, a) - jnp.outer(b, b)) @ q, ell
    return jnp.outer(a, a @ q) - jnp.outer(b, b @ q), ell


def diagonal_gradient(q: Array, v: Array, h: Array) -> tuple[Array, Array]:
    """The same for a diagonal, of any shape."""
    aa, bb = (q * h) ** 2, (v / q) ** 2
    return (aa - bb) * q, jnp.max(aa + bb, initial=0.0)


def cross_gradient(a: Array, b: Array, v: Array, h: Array) -> tuple[tuple[Array, Array], Array]:
    """The same for Q = diag(a) + adiag(b), all `[n]`."""
    a_flip, b_flip, h_flip, v_flip = a[::-1], b[::-1], h[::-1], v[::-1]
    forward = a * h + b * h_flip
    backward = (a_flip * v - b_flip * v_flip) / (a * a_flip - b * b_flip)
    on_diagonal = forward**2 - backward**2
    across = forward * forward[::-1] - backward * backward[::-1]
    middle = jnp.arange(a.size) == a.size - 1 - jnp.arange(a.size)  # one entry of odd n belongs to both diagonals
    across = jnp.where(middle, 0.0, across)
    steps = on_diagonal * a + across * b_flip, on_diagonal * b + across * a_flip
    return steps, jnp.max(forward**2 + backward**2, initial=0.0)


def cross_apply(a: Array, b: Array, g: Array) -> Array:
    """P g for Q = diag(a) + adiag(b)."""
    ab = a * b
    return (a * a + (b * b)[::-1]) * g + (ab + ab[::-1]) * g[::-1]


def norm_bound(x: Array) -> Array:
    """A lower bound on the spectral norm of a symmetric or skew matrix, seldom below its half: one power iteration."""
    scale = jnp.max(jnp.abs(x)) + TINY
    x = x / scale
    row = x[jnp.argmax(jnp.sum(x * x, axis=1))]
    ascended = x @ row
    return scale * jnp.linalg.norm(x.T @ (ascended / (jnp.linalg.norm(ascended) + TINY)))


def apply_factor(q: Array, x: Array, axis: int, *, transpose: bool = False) -> Array:
    """One factor, `[d]` or `[d, d]`, times a tensor along one of its axes."""
    if q.ndim == 1:
        return x * jnp.expand_dims(q, tuple(a for a in range(x.ndim) if a != axis))
    return jnp.moveaxis(jnp.tensordot(q, x, axes=(0 if transpose else 1, axis)), 0, axis)


def solve_factor(q: Array, x: Array, axis: int) -> Array:
    """The inverse transpose of an upper triangular factor times a tensor along one of its axes."""
    if q.ndim == 1:
        return apply_factor(1 / q, x, axis)
    moved = jnp.moveaxis(x, axis, 0)
    solved = solve_triangular(q, moved.reshape(moved.shape[0], -1), trans=1)
    return jnp.moveaxis(solved.reshape(moved.shape), 0, axis)


def kron_apply(factors: Sequence[Array], g: Array) -> Array:
    """P g for Q = Q_1 ⊗ Q_2 ⊗ …, of which each factor acts on an axis of g."""
    for axis, q in enumerate(factors):
        g = apply_factor(q, apply_factor(q, g, axis), axis, transpose=True)
    return g


def contract(x: Array, axis: int, diagonal: bool) -> Array:
    """The tensor times itself over all axes but one: `[d, d]`, or its diagonal."""
    others = tuple(a for a in range(x.ndim) if a != axis)
    return jnp.sum(x * x, axis=others) if diagonal else jnp.tensordot(x, x, axes=(others, others))


def balance(factors: Sequence[Array]) -> list[Array]:
    """The same product with factors of equal largest entry, so that none of them leaves the range of floats."""
    peaks = [jnp.max(jnp.abs(q)) + TINY for q in factors]
    mean = jnp.exp(sum(jnp.log(peak) for peak in peaks) / len(peaks))
    return [q * (mean / peak) for q, peak in zip(factors, peaks)]


def rotate_to_symmetric(q: Array) -> Array:
    """Q turned towards a symmetric positive definite matrix: a step along the rotation that raises its trace most."""
    skew = q.T - q
    skew = skew / (norm_bound(skew) + TINY)
    once = skew @ q
    twice = skew @ once
    slope, curvature = jnp.trace(once), jnp.trace(twice)
    best = jnp.minimum(-slope / jnp.where(curvature < 0, curvature, -1.0), PROCRUSTES_STEP)
    angle = jnp.where(curvature < 0, best, PROCRUSTES_STEP)
    return q + angle * (once + 0.5 * angle * twice)


def kron_step(
    factors: Sequence[Array],
    lipschitz: Array,
    v: Array | None,
    h: Array,
    mu: Any,
    decay: Any,
    geometry: Geometry,
) -> tuple[tuple[Array, ...], Array]:
    """A step of every factor with its normaliser `[axes]`; without `v`, its expectation over normal numbers."""
    forward, backward = h, v
    if geometry == "EQ":
        assert backward is not None  # this group has no expectation
        for axis, q in enumerate(factors):
            forward, backward = apply_factor(q, forward, axis), solve_factor(q, backward, axis)
    else:
        forward = kron_apply(factors, h)
    new, bounds = [], []
    for axis, q in enumerate(factors):
        diagonal = q.ndim == 1
        norm = jnp.max if diagonal else norm_bound
        first = contract(forward, axis, diagonal)
        if backward is None:
            others = h.size / q.shape[0]
            second, ell = (others if diagonal else others * jnp.eye(q.shape[0], dtype=q.dtype)), norm(first) + others
        else:
            second = contract(backward, axis, diagonal)
            ell = norm(first + second)
        ell = bound(ell, lipschitz[axis], decay)
        gradient = first - second
        if diagonal:
            q = q - mu / ell * gradient * q
        elif geometry == "EQ":
            q = q - mu / ell * (jnp.triu(gradient) @ q)
        else:
            q = rotate_to_symmetric(q - mu / ell * (gradient @ q))
        new.append(q)
        bounds.append(ell)
    return tuple(balance(new)), jnp.stack(bounds)


Lra = tuple[Array, Array, Array]  # U [n, r], V [n, r], d [n] of Q = (I + U Vᵀ) diag(d)


def lra_apply(q: Lra, g: Array) -> Array:
    """P g for Q = (I + U Vᵀ) diag(d)."""
    u, v, d = q
    g = d * g
    g = g + u @ (v.T @ g)
    return d * (g + v @ (u.T @ g))


def lra_balance(u: Array, v: Array) -> tuple[Array, Array]:
    """U and V with nearly the same U Vᵀ, of equal norms, turned towards UᵀU = VᵀV."""
    uu, vv = u.T @ u, v.T @ v
    rho = ((jnp.trace(uu) + TINY) / (jnp.trace(vv) + TINY)) ** 0.25
    u, v, uu, vv = u / rho, v * rho, uu / rho**2, vv * rho**2
    error = 0.1 * (uu - vv) / (jnp.trace(uu) + jnp.trace(vv) + TINY)
    second = 0.5 * error @ error
    return u - u @ (error - second), v + v @ (error + second)


def lra_step(q: Lra, lipschitz: Array, x: Array, h: Array, mu: Any, decay: Any, update_u: Any) -> tuple[Lra, Array]:
    """A step of d, and of U or of V, with the normalisers `[3]` of d, U and V; `x` is the pair's random vector."""
    u, v, d = q
    rank = u.shape[1]
    if rank:
        u, v = lra_balance(u, v)
    inner = jnp.eye(rank, dtype=u.dtype) + v.T @ u

    def solve(matrix: Array, small: Array) -> Array:
        return jnp.linalg.solve(matrix, small) if rank else small

    dh = d * h
    a = dh + u @ (v.T @ dh)
    ph = d * (a + v @ (u.T @ a))
    b = x / d
    b = b - v @ solve(inner.T, u.T @ b)
    px = (b - u @ solve(inner, v.T @ b)) / d

    hph, xpx = h * ph, x * px
    ell_d = jnp.max(jnp.abs(hph), initial=0.0) + jnp.max(jnp.abs(xpx), initial=0.0)
    ell_d = bound(ell_d, lipschitz[0], decay)
    d = d - mu / ell_d * (hph - xpx) * d
    if not rank:
        return (u, v, d), lipschitz.at[0].set(ell_d)
    norm = jnp.linalg.norm

    def step_u(_: None) -> tuple[Array, Array, Array]:
        av, bv = a @ v, b @ v
        ell = bound(norm(a) * norm(v @ av) + norm(b) * norm(v @ bv), lipschitz[1], decay)
        new = u - mu / ell * (jnp.outer(a, av @ inner) - jnp.outer(b, bv @ inner))
        return new, v, jnp.stack([ell_d, ell, lipschitz[2]])

    def step_v(_: None) -> tuple[Array, Array, Array]:
        au, bu = a @ u, b @ u
        ell = bound(norm(a) * norm(u @ au) + norm(b) * norm(u @ bu), lipschitz[2], decay)
        new = v - mu / ell * (jnp.outer(a + v @ au, au) - jnp.outer(b + v @ bu, bu))
        return u, new, jnp.stack([ell_d, lipschitz[1], ell])

    u, v, lipschitz = lax.cond(jnp.asarray(update_u, bool), step_u, step_v, None)
    return (u, v, d), lipschitz


def standard_normal(key: Array, like: Array) -> Array:
    """Normal numbers of an array's shape and dtype."""
    return jax.random.normal(key, like.shape, like.dtype)
