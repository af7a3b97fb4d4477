"""Symmetric positive definite matrices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers.riemannian.manifold import Manifold, symmetric


def _function(a: jax.Array, function: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """A function of a symmetric matrix, by its eigenvalues."""
    values, vectors = jnp.linalg.eigh(a)
    return (vectors * function(values)[..., None, :]) @ jnp.matrix_transpose(vectors)


def _whiten(factor: jax.Array, u: jax.Array) -> jax.Array:
    """L⁻¹ U L⁻ᵀ of a lower triangular factor L."""
    half = jax.lax.linalg.triangular_solve(factor, u, left_side=True, lower=True)
    return symmetric(jax.lax.linalg.triangular_solve(factor, half, lower=True, transpose_a=True))


def _colour(factor: jax.Array, w: jax.Array) -> jax.Array:
    """L W Lᵀ, the inverse of whitening."""
    return symmetric(factor @ w @ jnp.matrix_transpose(factor))


def positive_definite() -> Manifold:
    r"""Symmetric positive definite matrices `[..., n, n]`, with the metric that no change of basis alters.

    $$\langle U, V \rangle_X = \operatorname{tr}(X^{-1} U X^{-1} V), \qquad
    \operatorname{grad} f = X\, \frac{\nabla f + \nabla f^\top}{2}\, X$$

    $$\exp_X(V) = L\, e^{L^{-1} V L^{-\top}} L^\top, \qquad
    P_{X \to Y}\, U = E\, U E^\top, \quad E = (Y X^{-1})^{1/2}, \qquad X = L L^\top$$

    The retraction is $X + V + \tfrac12 V X^{-1} V$, which agrees to second order and is positive definite for every V.
    Covariances with condition numbers near the inverse of the machine epsilon cannot be told from singular ones: their
    Cholesky factors, and with them the steps, are NaN. `project` raises eigenvalues to n ε times the largest.

    Returns:
        The `Manifold`.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.eye(2), jnp.diag(jnp.array([jnp.e, 1.0]))
        >>> print(f"{positive_definite().distance(x, y):.4f} {positive_definite().distance(9 * x, 9 * y):.4f}")
        1.0000 1.0000

    Source:
        X. Pennec, P. Fillard, N. Ayache, "A Riemannian Framework for Tensor Computing", 2006; S. Sra, R. Hosseini,
        "Conic Geometric Optimisation on the Manifold of Positive Definite Matrices", 2015.
    """

    def check(shape: tuple[int, ...]) -> str | None:
        return None if len(shape) > 1 and shape[-2] == shape[-1] else "square matrices"

    def inner(x: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
        factor = jnp.linalg.cholesky(x)
        return jnp.sum(_whiten(factor, u) * _whiten(factor, v), axis=(-2, -1))

    def exp(x: jax.Array, v: jax.Array) -> jax.Array:
        factor = jnp.linalg.cholesky(x)
        return _colour(factor, _function(_whiten(factor, v), jnp.exp))

    def retraction(x: jax.Array, v: jax.Array) -> jax.Array:
        w = _whiten(jnp.linalg.cholesky(x), v)
        return _colour(jnp.linalg.cholesky(x), jnp.eye(x.shape[-1], dtype=x.dtype) + w + w @ w / 2)

    def log(x: jax.Array, y: jax.Array) -> jax.Array:
        factor = jnp.linalg.cholesky(x)
        return _colour(factor, _function(_whiten(factor, y), jnp.log))

    def distance(x: jax.Array, y: jax.Array) -> jax.Array:
        logs = jnp.log(jnp.linalg.eigvalsh(_whiten(jnp.linalg.cholesky(x), y)))
        return jnp.sqrt(jnp.sum(logs**2, axis=-1))

    def transport(x: jax.Array, y: jax.Array, u: jax.Array) -> jax.Array:
        factor = jnp.linalg.cholesky(x)
        root = _function(_whiten(factor, y), jnp.sqrt)
        return _colour(factor, root @ _whiten(factor, u) @ root)

    def project(x: jax.Array) -> jax.Array:
        def floor(values: jax.Array) -> jax.Array:
            largest = jnp.max(jnp.abs(values), axis=-1, keepdims=True, initial=0)
            return jnp.maximum(values, largest * x.shape[-1] * jnp.finfo(x.dtype).eps)

        return symmetric(_function(symmetric(x), floor))

    def random(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Exponentials of symmetric matrices with normal entries."""
        return symmetric(_function(symmetric(jax.random.normal(key, shape, dtype)), jnp.exp))

    return Manifold(
        name="positive_definite",
        ndim=2,
        flat=False,
        embedded=False,
        check=check,
        egrad_to_rgrad=lambda x, g: symmetric(x @ symmetric(g) @ x),
        inner=inner,
        exp=exp,
        retraction=retraction,
        transport=transport,
        tangent=lambda y, u: symmetric(u),
        project=project,
        random=random,
        log=log,
        distance=distance,
    )
