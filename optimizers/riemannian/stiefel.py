"""Matrices with orthonormal columns."""

from typing import Any

import jax
import jax.numpy as jnp

from optimizers.riemannian.manifold import Manifold, symmetric


def _orthonormal(x: jax.Array) -> jax.Array:
    """The factor Q of the QR decomposition whose R has a positive diagonal."""
    q, r = jnp.linalg.qr(x)
    diagonal = jnp.diagonal(r, axis1=-2, axis2=-1)
    return q * jnp.where(diagonal < 0, -1, 1).astype(x.dtype)[..., None, :]


def stiefel() -> Manifold:
    r"""The Stiefel manifold: matrices `[..., n, p]`, n at least p, with orthonormal columns, and the metric around it.

    $$X^\top X = I, \qquad \langle U, V \rangle_X = \operatorname{tr}(U^\top V), \qquad
    \operatorname{grad} f = \nabla f - X\, \frac{X^\top \nabla f + \nabla f^\top X}{2}$$

    $$\exp_X(V) = \begin{pmatrix} X & V \end{pmatrix}
    \exp \begin{pmatrix} A & -S \\ I & A \end{pmatrix} \begin{pmatrix} e^{-A} \\ 0 \end{pmatrix}, \qquad
    A = X^\top V, \quad S = V^\top V$$

    The retraction is the factor Q of the QR decomposition of X + V, with R's diagonal positive. Parallel transport has
    no closed form: `transport` is the projection onto the tangent space, which shortens vectors. With n = p these are
    the orthogonal matrices; a step never leaves the component, rotations or reflections, that it started in.

    Returns:
        The `Manifold`; `log` and `distance` are None. `project` gives the nearest point, the polar factor.

    Examples:
        >>> import jax.numpy as jnp
        >>> x = jnp.eye(3, 2)
        >>> y = stiefel().exp(x, jnp.array([[0.0, -0.5], [0.5, 0.0], [0.0, 1.0]]))
        >>> print(abs(y.T @ y).round(3))
        [[1. 0.]
         [0. 1.]]

    Source:
        A. Edelman, T. A. Arias, S. T. Smith, "The Geometry of Algorithms with Orthogonality Constraints", 1998.
    """

    def check(shape: tuple[int, ...]) -> str | None:
        return None if len(shape) > 1 and shape[-2] >= shape[-1] else "matrices with at least as many rows as columns"

    def tangent(y: jax.Array, u: jax.Array) -> jax.Array:
        return u - y @ symmetric(jnp.matrix_transpose(y) @ u)

    def inner(x: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
        del x
        return jnp.sum(u * v, axis=(-2, -1))

    def exp(x: jax.Array, v: jax.Array) -> jax.Array:
        columns = x.shape[-1]
        a, s = jnp.matrix_transpose(x) @ v, jnp.matrix_transpose(v) @ v
        identity = jnp.broadcast_to(jnp.eye(columns, dtype=x.dtype), a.shape)
        generator = jnp.concatenate([jnp.concatenate([a, -s], -1), jnp.concatenate([identity, a], -1)], -2)
        half = jax.scipy.linalg.expm(generator)[..., :columns] @ jax.scipy.linalg.expm(-a)
        return _orthonormal(jnp.concatenate([x, v], -1) @ half)

    def project(x: jax.Array) -> jax.Array:
        left, _, right = jnp.linalg.svd(x, full_matrices=False)
        return left @ right

    def random(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return _orthonormal(jax.random.normal(key, shape, dtype))

    return Manifold(
        name="stiefel",
        ndim=2,
        flat=False,
        embedded=True,
        check=check,
        egrad_to_rgrad=tangent,
        inner=inner,
        exp=exp,
        retraction=lambda x, v: _orthonormal(x + v),
        transport=lambda x, y, u: tangent(y, u),
        tangent=tangent,
        project=project,
        random=random,
    )
