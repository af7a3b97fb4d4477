"""Steps on Lie groups of preconditioners P = QᵀQ, each as Q's gradient in the group and a bound on its size.

The criterion E[hᵀPh + vᵀP⁻¹v] changes, when Q becomes (I + E)Q, at the rate 2⟨E, aaᵀ - bbᵀ⟩ with a = Qh and b = Q⁻ᵀv. So
every group steps along its own part of G = aaᵀ - bbᵀ,

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
    if geometry == "EQ":
        forward, backward = h, v
        for axis, q in enumerate(factors):
            forward, backward = apply_factor(q, forward, axis), solve_factor(q, backward, axis)
    else:
        forward, backward = kron_apply(factors, h), v
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


Rows = list[Array]  # of a vector or of a tall matrix, in blocks


def _times(rows: Rows, columns: Rows) -> Array:
    """Aᵀ B of two tall matrices (or vectors) given in blocks of rows."""
    return sum(jnp.tensordot(a, b, axes=(0, 0)) for a, b in zip(rows, columns))  # type: ignore[return-value]


def _norm(rows: Rows) -> Array:
    return jnp.sqrt(_times(rows, rows))


def lra_apply(u: Rows, v: Rows, d: Rows, g: Rows) -> Rows:
    """P g for Q = (I + U Vᵀ) diag(d)."""
    g = [each_d * each for each_d, each in zip(d, g)]
    small = _times(v, g)
    g = [each + each_u @ small for each_u, each in zip(u, g)]
    small = _times(u, g)
    return [each_d * (each + each_v @ small) for each_d, each_v, each in zip(d, v, g)]


def lra_balance(u: Rows, v: Rows) -> tuple[Rows, Rows]:
    """U and V with nearly the same U Vᵀ, of equal norms, turned towards UᵀU = VᵀV."""
    uu, vv = _times(u, u), _times(v, v)
    ratio = (jnp.trace(uu) + TINY) / (jnp.trace(vv) + TINY)
    rho = ratio**0.25
    error = 0.1 * (uu / rho**2 - vv * rho**2) / (jnp.trace(uu) / rho**2 + jnp.trace(vv) * rho**2 + TINY)
    second = 0.5 * error @ error
    u = [each / rho - each / rho @ (error - second) for each in u]
    return u, [each * rho + each * rho @ (error + second) for each in v]


def lra_step(
    u: Rows, v: Rows, d: Rows, lipschitz: Array, x: Rows, h: Rows, mu: Any, decay: Any, update_u: Any
) -> tuple[Rows, Rows, Rows, Array]:
    """A step of d, and of U or of V, with the normalisers `[3]` of d, U and V; `x` is the pair's random vector."""
    rank = u[0].shape[-1]
    if rank:
        u, v = lra_balance(u, v)
    identity = jnp.eye(rank, dtype=u[0].dtype)
    inner = identity + _times(v, u)

    dh = [each_d * each for each_d, each in zip(d, h)]
    small = _times(v, dh)
    a = [each + each_u @ small for each_u, each in zip(u, dh)]
    small = _times(u, a)
    ph = [each_d * (each + each_v @ small) for each_d, each_v, each in zip(d, v, a)]
    b = [each / each_d for each_d, each in zip(d, x)]
    small = jnp.linalg.solve(inner.T, _times(u, b)) if rank else _times(u, b)
    b = [each - each_v @ small for each_v, each in zip(v, b)]
    small = jnp.linalg.solve(inner, _times(v, b)) if rank else _times(v, b)
    px = [(each - each_u @ small) / each_d for each_d, each_u, each in zip(d, u, b)]

    hph = [each_h * each for each_h, each in zip(h, ph)]
    xpx = [each_x * each for each_x, each in zip(x, px)]
    largest = [jnp.max(jnp.stack([jnp.max(jnp.abs(each), initial=0.0) for each in rows])) for rows in (hph, xpx)]
    ell_d = bound(largest[0] + largest[1], lipschitz[0], decay)
    d = [each_d - mu / ell_d * (p - n) * each_d for each_d, p, n in zip(d, hph, xpx)]
    if not rank:
        return u, v, d, lipschitz.at[0].set(ell_d)

    def step_u(_: None) -> tuple[Rows, Rows, Array]:
        av, bv = _times(v, a), _times(v, b)
        ell = _norm(a) * _norm([each @ av for each in v]) + _norm(b) * _norm([each @ bv for each in v])
        ell = bound(ell, lipschitz[1], decay)
        on_a, on_b = av @ inner, bv @ inner
        new = [w - mu / ell * (jnp.outer(p, on_a) - jnp.outer(n, on_b)) for w, p, n in zip(u, a, b)]
        return new, v, jnp.stack([ell_d, ell, lipschitz[2]])

    def step_v(_: None) -> tuple[Rows, Rows, Array]:
        au, bu = _times(u, a), _times(u, b)
        ell = _norm(a) * _norm([each @ au for each in u]) + _norm(b) * _norm([each @ bu for each in u])
        ell = bound(ell, lipschitz[2], decay)
        new = [
            w - mu / ell * (jnp.outer(p + w @ au, au) - jnp.outer(n + w @ bu, bu)) for w, p, n in zip(v, a, b)
        ]
        return u, new, jnp.stack([ell_d, lipschitz[1], ell])

    u, v, lipschitz = lax.cond(jnp.asarray(update_u, bool), step_u, step_v, None)
    return u, v, d, lipschitz


def standard_normal(key: Array, like: Array) -> Array:
    """Normal numbers of an array's shape and dtype."""
    return jax.random.normal(key, like.shape, like.dtype)
