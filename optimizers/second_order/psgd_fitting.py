"""Fitting a preconditioner P = QᵀQ to pairs (v, h), one group of matrices Q after another.

One step on every group: against the gradient of `hessian_fitting_loss` in the group, over a bound on its size, so that
the step μ in (0, 1] has no unit. `psgd_kron` and its relatives run these steps inside an optimizer.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers._moments import TINY
from optimizers.second_order._arrays import check_shape, floats
from optimizers.second_order._psgd_math import (
    Geometry,
    cross_apply,
    cross_gradient,
    dense_gradient,
    diagonal_gradient,
    kron_apply,
    kron_step,
    lra_apply,
    lra_step,
)

Number = jax.typing.ArrayLike


def hessian_fitting_loss(
    p: Float[Array, "n n"], v: Float[Array, "*batch n"], h: Float[Array, "*batch n"]
) -> Float[Array, "*batch"]:
    r"""What a preconditioner is fitted by: smallest, over many pairs, for P⁻² = E h hᵀ.

    $$c(P; v, h) = h^\top P\, h + v^\top P^{-1} v$$

    For v normal and h = H v the minimiser is |H|⁻¹, also of an indefinite H; for v normal and h a gradient independent
    of it, (E g gᵀ)^(-1/2).

    Args:
        p: Preconditioner, symmetric positive definite, `[n, n]`.
        v: Random vectors `[..., n]`.
        h: Products with the Hessian, or gradients, `[..., n]`.

    Returns:
        The criterion `[...]` of every pair.

    Raises:
        ValueError: Shapes do not match.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> v = jnp.array([1.0, 1.0])
        >>> print(hessian_fitting_loss(jnp.diag(jnp.array([0.5, 1.0])), v, jnp.array([2.0, -1.0])))
        6.0

    Source:
        X.-L. Li, "Stochastic Hessian Fittings with Lie Groups", 2024.
    """
    p, v, h = floats("hessian_fitting_loss", p=p, v=v, h=h)
    check_shape("hessian_fitting_loss", "p", p, (v.shape[-1] if v.ndim else 0,) * 2)
    check_shape("hessian_fitting_loss", "h", h, v.shape)
    solved = jnp.linalg.solve(p, v[..., None])[..., 0]
    return jnp.sum(h * (h @ p.T) + v * solved, axis=-1)


def _pair(function: str, v: Any, h: Any, mu: Any) -> list[Array]:
    check_range(function, "mu", mu, 0.0, 2.0)
    v, h = floats(function, v=v, h=h)
    check_shape(function, "h", h, v.shape)
    return [v, h]


def update_dense_q(
    q: Float[Array, "n n"],
    v: Float[Array, " n"],
    h: Float[Array, " n"],
    *,
    mu: Number = 0.1,
    group: Literal["triangular", "general"] = "triangular",
) -> Float[Array, "n n"]:
    r"""One step of a matrix Q towards QᵀQ = |H|⁻¹.

    $$a = Q h, \quad b = Q^{-\top} v, \quad
    Q \leftarrow \left(I - \mu\, \frac{a a^\top - b b^\top}{\lVert a \rVert^2 + \lVert b \rVert^2}\right) Q$$

    of which the triangular group takes the upper triangle of the middle.

    Args:
        q: Q `[n, n]`; upper triangular for that group.
        v: Random vector `[n]`.
        h: Product with the Hessian, or gradient, `[n]`.
        mu: Step, in [0, 2].
        group: `"triangular"`, or `"general"` for all invertible matrices.

    Returns:
        The new Q `[n, n]`.

    Raises:
        ValueError: Shapes do not match, or `mu` or `group` is none of the above.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> hessian, q = jnp.array([[2.0, 1.0], [1.0, 3.0]]), jnp.eye(2)
        >>> update = jax.jit(lambda q, v, h: update_dense_q(q, v, h, mu=0.5))
        >>> for key in jax.random.split(jax.random.key(0), 300):
        ...     v = jax.random.normal(key, (2,))
        ...     q = update(q, v, hessian @ v)
        >>> print(jnp.round(jnp.abs(jnp.linalg.eigvals(q.T @ q @ hessian)), 2))
        [1. 1.]

    Source:
        X.-L. Li, "Stochastic Hessian Fittings with Lie Groups", 2024.
    """
    v, h = _pair("update_dense_q", v, h, mu)
    (q,) = floats("update_dense_q", q=q)
    check_shape("update_dense_q", "v", v, (None,))
    check_shape("update_dense_q", "q", q, (v.size, v.size))
    if group not in ("triangular", "general"):
        raise ValueError(f"update_dense_q: group must be 'triangular' or 'general', got {group!r}")
    gradient, ell = dense_gradient(q, v, h, group == "triangular")
    return q - mu / (ell + TINY) * gradient


def update_diag_q(
    q: Float[Array, "*shape"], v: Float[Array, "*shape"], h: Float[Array, "*shape"], *, mu: Number = 0.1
) -> Float[Array, "*shape"]:
    r"""One step of a diagonal Q towards q⁴ = E v² / E h².

    $$q \leftarrow q \left(1 - \mu\, \frac{(q h)^2 - (v / q)^2}{\max \left((q h)^2 + (v / q)^2\right)}\right)$$

    Args:
        q: Diagonal of Q, of any shape, positive.
        v: Random numbers of that shape.
        h: Product with the Hessian, or gradient, of that shape.
        mu: Step, in [0, 2].

    Returns:
        The new diagonal.

    Raises:
        ValueError: Shapes do not match, or `mu` is out of range.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> q = jnp.ones(2)
        >>> for _ in range(100):
        ...     q = update_diag_q(q, jnp.ones(2), jnp.array([1.0, 4.0]))
        >>> print(q.round(2))
        [1.  0.5]

    Source:
        X.-L. Li, "Stochastic Hessian Fittings with Lie Groups", 2024.
    """
    v, h = _pair("update_diag_q", v, h, mu)
    (q,) = floats("update_diag_q", q=q)
    check_shape("update_diag_q", "q", q, v.shape)
    gradient, ell = diagonal_gradient(q, v, h)
    return q - mu / (ell + TINY) * gradient


def _factors(function: str, q: Any, shape: tuple[int, ...]) -> list[Array]:
    if not isinstance(q, Sequence) or len(q) != len(shape):
        raise ValueError(
            f"{function}: q must be a sequence of {len(shape)} factors, one an axis, got {type(q).__name__}"
        )
    factors = [floats(function, q=each)[0] for each in q]
    for factor, size in zip(factors, shape):
        check_shape(function, "q", factor, (size,) * (1 if factor.ndim == 1 else 2))
    return factors


def update_kron_q(
    q: Sequence[Float[Array, "..."]],
    v: Float[Array, "..."],
    h: Float[Array, "..."],
    *,
    mu: Number = 0.1,
    geometry: Geometry = "EQ",
) -> tuple[Float[Array, "..."], ...]:
    r"""One step of the factors of a Kronecker product, each of which acts on an axis.

    For a matrix H, with A = Q₁ H Q₂ᵀ and B = Q₁⁻ᵀ V Q₂⁻¹,

    $$Q_1 \leftarrow \left(I - \mu\, \frac{\operatorname{triu}(A A^\top - B B^\top)}{\lVert A A^\top + B B^\top \rVert}
    \right) Q_1, \qquad
    Q_2 \leftarrow \left(I - \mu\, \frac{\operatorname{triu}(A^\top A - B^\top B)}{\lVert A^\top A + B^\top B \rVert}
    \right) Q_2$$

    and so on for tensors, each axis contracted over all others. Factors are then balanced, which leaves the product.

    Args:
        q: For each axis an upper triangular matrix `[d, d]`, or a diagonal `[d]`.
        v: Random tensor, whose axes are those of the factors.
        h: Product with the Hessian, or gradient, of that shape.
        mu: Step, in [0, 2].
        geometry: `"EQ"` as above, or `"Q0.5EQ1.5"`, without solves and near symmetric: P h hᵀ P and v vᵀ in place of a
            aᵀ and b bᵀ, the whole in place of the triangle, and then a rotation towards the symmetric.

    Returns:
        The new factors.

    Raises:
        ValueError: Shapes do not match, or `mu` or `geometry` is none of the above.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> q, scales = (jnp.eye(2), jnp.eye(2)), jnp.array([[8.0, 4.0], [2.0, 1.0]])
        >>> update = jax.jit(lambda q, v, h: update_kron_q(q, v, h, mu=0.5))
        >>> for key in jax.random.split(jax.random.key(0), 300):
        ...     v = jax.random.normal(key, (2, 2))
        ...     q = update(q, v, scales * v)
        >>> print(precond_grad_kron(q, scales).round(2))
        [[1. 1.]
         [1. 1.]]

    Source:
        X.-L. Li, "Preconditioned Stochastic Gradient Descent", 2018; X.-L. Li, "Stochastic Hessian Fittings with Lie
        Groups", 2024.
    """
    v, h = _pair("update_kron_q", v, h, mu)
    factors = _factors("update_kron_q", q, v.shape)
    if geometry not in ("EQ", "Q0.5EQ1.5"):
        raise ValueError(f"update_kron_q: geometry must be 'EQ' or 'Q0.5EQ1.5', got {geometry!r}")
    return kron_step(factors, jnp.zeros(v.ndim, v.dtype), v, h, mu, 0.0, geometry)[0]


def _lra(function: str, q: Any, size: int) -> tuple[Array, Array, Array]:
    if not isinstance(q, Sequence) or len(q) != 3:
        raise ValueError(f"{function}: q must be a tuple (u, v, d), got {type(q).__name__}")
    u, v, d = (floats(function, q=each)[0] for each in q)
    check_shape(function, "q", u, (size, None))
    check_shape(function, "q", v, u.shape)
    check_shape(function, "q", d, (size,))
    return u, v, d


def update_lra_q(
    q: tuple[Float[Array, "n r"], Float[Array, "n r"], Float[Array, " n"]],
    v: Float[Array, " n"],
    h: Float[Array, " n"],
    *,
    mu: Number = 0.1,
    update_u: Any = True,
) -> tuple[Float[Array, "n r"], Float[Array, "n r"], Float[Array, " n"]]:
    r"""One step of Q = (I + U Vᵀ) diag(d): of d, and of U or of V.

    $$d \leftarrow d \left(1 - \mu\, \frac{h \odot P h - v \odot P^{-1} v}{\max |h \odot P h| + \max |v \odot P^{-1} v|}
    \right), \qquad
    U \leftarrow U - \mu\, \frac{(a a^\top - b b^\top) V (I + V^\top U)}{\lVert a \rVert \lVert V V^\top a \rVert +
    \lVert b \rVert \lVert V V^\top b \rVert}$$

    with a = Q h, b = Q⁻ᵀ v, and for V alike: `V -= μ (I + V Uᵀ)(a aᵀ - b bᵀ) U / …`. U and V are first balanced, which
    changes their product in the fourth order of the imbalance.

    Args:
        q: `(U, V, d)`, of shapes `[n, r]`, `[n, r]`, `[n]`.
        v: Random vector `[n]`.
        h: Product with the Hessian, or gradient, `[n]`.
        mu: Step, in [0, 2].
        update_u: Whether U moves, or else V; drawn at random in the method.

    Returns:
        The new `(U, V, d)`.

    Raises:
        ValueError: Shapes do not match, or `mu` is out of range.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> q = (jnp.eye(2, 1), jnp.eye(2, 1), jnp.ones(2))
        >>> update = jax.jit(lambda q, v, h, on_u: update_lra_q(q, v, h, update_u=on_u))
        >>> for key in jax.random.split(jax.random.key(0), 300):
        ...     v = jax.random.normal(key, (2,))
        ...     q = update(q, v, jnp.array([4.0, 0.5]) * v, jax.random.bernoulli(key))
        >>> print(precond_grad_lra(q, jnp.array([4.0, 0.5])).round(2))
        [1. 1.]

    Source:
        O. Pooladzandi, X.-L. Li, "Curvature-Informed SGD via General Purpose Lie-Group Preconditioners", 2024.
    """
    v, h = _pair("update_lra_q", v, h, mu)
    check_shape("update_lra_q", "v", v, (None,))
    return lra_step(_lra("update_lra_q", q, v.size), jnp.zeros(3, v.dtype), v, h, mu, 0.0, update_u)[0]


def _cross(function: str, q: Any, shape: tuple[int, ...]) -> list[Array]:
    if not isinstance(q, Sequence) or len(q) != 2:
        raise ValueError(f"{function}: q must be a pair (a, b), got {type(q).__name__}")
    pair = [floats(function, q=each)[0] for each in q]
    for each in pair:
        check_shape(function, "q", each, shape)
    return pair


def update_xmat_q(
    q: tuple[Float[Array, " n"], Float[Array, " n"]],
    v: Float[Array, " n"],
    h: Float[Array, " n"],
    *,
    mu: Number = 0.1,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    r"""One step of Q = diag(a) + adiag(b), a diagonal and an antidiagonal.

    With a bar for reversed order, w = Q h = a h + b h̄, z = Q⁻ᵀ v = (ā v - b̄ v̄) / (a ā - b b̄), s = w² - z² and t = w w̄ -
    z z̄ (0 in the middle of odd n),

    $$a \leftarrow a - \mu\, \frac{s\, a + t\, \bar b}{\max(w^2 + z^2)}, \qquad
    b \leftarrow b - \mu\, \frac{s\, b + t\, \bar a}{\max(w^2 + z^2)}$$

    Args:
        q: `(a, b)`, both `[n]`; the middle of b is 0 for odd n.
        v: Random vector `[n]`.
        h: Product with the Hessian, or gradient, `[n]`.
        mu: Step, in [0, 2].

    Returns:
        The new `(a, b)`.

    Raises:
        ValueError: Shapes do not match, or `mu` is out of range.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> hessian, q = jnp.array([[2.0, 1.0], [1.0, 1.0]]), (jnp.ones(2), jnp.zeros(2))
        >>> update = jax.jit(lambda q, v, h: update_xmat_q(q, v, h, mu=0.5))
        >>> for key in jax.random.split(jax.random.key(0), 300):
        ...     v = jax.random.normal(key, (2,))
        ...     q = update(q, v, hessian @ v)
        >>> print(precond_grad_xmat(q, hessian @ jnp.ones(2)).round(2))
        [1. 1.]

    Source:
        O. Pooladzandi, X.-L. Li, "Curvature-Informed SGD via General Purpose Lie-Group Preconditioners", 2024.
    """
    v, h = _pair("update_xmat_q", v, h, mu)
    check_shape("update_xmat_q", "v", v, (None,))
    a, b = _cross("update_xmat_q", q, v.shape)
    steps, ell = cross_gradient(a, b, v, h)
    scale = mu / (ell + TINY)
    return a - scale * steps[0], b - scale * steps[1]


def precond_grad_dense(q: Float[Array, "n n"], g: Float[Array, " n"]) -> Float[Array, " n"]:
    r"""A gradient preconditioned by a matrix.

    $$P g = Q^\top Q\, g$$

    Args:
        q: Q `[n, n]`.
        g: Gradient `[n]`.

    Returns:
        P g, of the shape of the gradient.

    Raises:
        ValueError: Shapes do not match.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(precond_grad_dense(jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.array([1.0, 2.0])))
        [3. 5.]

    Source:
        X.-L. Li, "Stochastic Hessian Fittings with Lie Groups", 2024.
    """
    (q,), (g,) = floats("precond_grad_dense", q=q), floats("precond_grad_dense", g=g)
    check_shape("precond_grad_dense", "g", g, (None,))
    check_shape("precond_grad_dense", "q", q, (g.size, g.size))
    return q.T @ (q @ g)


def precond_grad_diag(q: Float[Array, "*shape"], g: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""A gradient preconditioned by a diagonal.

    $$P g = q^2 \odot g$$

    Args:
        q: Diagonal of Q, of any shape.
        g: Gradient of that shape.

    Returns:
        P g, of the shape of the gradient.

    Raises:
        ValueError: Shapes do not match.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(precond_grad_diag(jnp.array([2.0, 3.0]), jnp.array([1.0, 1.0])))
        [4. 9.]

    Source:
        X.-L. Li, "Stochastic Hessian Fittings with Lie Groups", 2024.
    """
    (q,), (g,) = floats("precond_grad_diag", q=q), floats("precond_grad_diag", g=g)
    check_shape("precond_grad_diag", "g", g, q.shape)
    return q * q * g


def precond_grad_kron(q: Sequence[Float[Array, "..."]], g: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""A gradient preconditioned by a Kronecker product.

    $$P G = Q_1^\top Q_1\, G\, Q_2^\top Q_2$$

    Args:
        q: For each axis a matrix `[d, d]`, or a diagonal `[d]`.
        g: Gradient, whose axes are those of the factors.

    Returns:
        P g, of the shape of the gradient.

    Raises:
        ValueError: Shapes do not match.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(precond_grad_kron((jnp.array([1.0, 2.0]), jnp.eye(3)), jnp.ones((2, 3))))
        [[1. 1. 1.]
         [4. 4. 4.]]

    Source:
        X.-L. Li, "Stochastic Hessian Fittings with Lie Groups", 2024.
    """
    (g,) = floats("precond_grad_kron", g=g)
    return kron_apply(_factors("precond_grad_kron", q, g.shape), g)


def precond_grad_lra(
    q: tuple[Float[Array, "n r"], Float[Array, "n r"], Float[Array, " n"]], g: Float[Array, " n"]
) -> Float[Array, " n"]:
    r"""A gradient preconditioned by a diagonal with a low-rank correction.

    $$P g = d \odot (I + V U^\top)(I + U V^\top)(d \odot g)$$

    Args:
        q: `(U, V, d)`, of shapes `[n, r]`, `[n, r]`, `[n]`.
        g: Gradient `[n]`.

    Returns:
        P g, of the shape of the gradient.

    Raises:
        ValueError: Shapes do not match.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(precond_grad_lra((jnp.eye(2, 1), jnp.eye(2, 1), jnp.ones(2)), jnp.ones(2)))
        [4. 1.]

    Source:
        O. Pooladzandi, X.-L. Li, "Curvature-Informed SGD via General Purpose Lie-Group Preconditioners", 2024.
    """
    (g,) = floats("precond_grad_lra", g=g)
    check_shape("precond_grad_lra", "g", g, (None,))
    return lra_apply(_lra("precond_grad_lra", q, g.size), g)


def precond_grad_xmat(q: tuple[Float[Array, " n"], Float[Array, " n"]], g: Float[Array, " n"]) -> Float[Array, " n"]:
    r"""A gradient preconditioned by a cross.

    $$P g = (a^2 + \bar b^2) \odot g + (a b + \overline{a b}) \odot \bar g$$

    Args:
        q: `(a, b)` of Q = diag(a) + adiag(b), both `[n]`.
        g: Gradient `[n]`.

    Returns:
        P g, of the shape of the gradient.

    Raises:
        ValueError: Shapes do not match.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(precond_grad_xmat((jnp.ones(2), jnp.array([1.0, 0.0])), jnp.array([1.0, 2.0])))
        [3. 5.]

    Source:
        O. Pooladzandi, X.-L. Li, "Curvature-Informed SGD via General Purpose Lie-Group Preconditioners", 2024.
    """
    (g,) = floats("precond_grad_xmat", g=g)
    check_shape("precond_grad_xmat", "g", g, (None,))
    a, b = _cross("precond_grad_xmat", q, g.shape)
    return cross_apply(a, b, g)
