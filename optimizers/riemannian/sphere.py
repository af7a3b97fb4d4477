"""The unit sphere."""

from typing import Any

import jax
import jax.numpy as jnp

from optimizers.riemannian.manifold import Manifold, dot, length, ratio


def sphere() -> Manifold:
    r"""Unit vectors along the last axis, with angles as distances.

    $$\operatorname{grad} f = \nabla f - (x^\top \nabla f)\, x, \qquad
    \exp_x(v) = \cos(\lVert v \rVert)\, x + \frac{\sin \lVert v \rVert}{\lVert v \rVert}\, v, \qquad
    P_{x \to y}\, u = u - \frac{y^\top u}{1 + x^\top y} (x + y)$$

    The retraction is $(x + v) / \lVert x + v \rVert$. Between antipodes, which many shortest geodesics join, transport
    leaves a tangent vector as it is.

    Returns:
        The `Manifold`; `project` of a zero vector is NaN.

    Examples:
        >>> import jax.numpy as jnp
        >>> north, east = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0])
        >>> print(f"{sphere().distance(north, east):.4f}", sphere().exp(north, jnp.pi / 6 * east).round(4))
        1.5708 [0.5   0.866]

    Source:
        P.-A. Absil, R. Mahony, R. Sepulchre, "Optimization Algorithms on Matrix Manifolds", 2008.
    """

    def check(shape: tuple[int, ...]) -> str | None:
        return None if shape and (shape[-1] > 0 or 0 in shape[:-1]) else "a vector along the last axis"

    def project(x: jax.Array) -> jax.Array:
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def tangent(y: jax.Array, u: jax.Array) -> jax.Array:
        return u - dot(y, u) * y

    def inner(x: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
        del x
        return jnp.sum(u * v, axis=-1)

    def exp(x: jax.Array, v: jax.Array) -> jax.Array:
        angle = length(v)
        return project(jnp.cos(angle) * x + ratio(jnp.sin(angle), angle) * v)

    def log(x: jax.Array, y: jax.Array) -> jax.Array:
        across = tangent(x, y - x)
        sine = length(across)
        return ratio(jnp.arctan2(sine, dot(x, y)), sine) * across

    def distance(x: jax.Array, y: jax.Array) -> jax.Array:
        return 2 * jnp.arctan2(length(x - y), length(x + y))[..., 0]  # no cancellation at small angles nor near pi

    def transport(x: jax.Array, y: jax.Array, u: jax.Array) -> jax.Array:
        opening = jnp.maximum(1 + dot(x, y), jnp.finfo(x.dtype).eps)
        return tangent(y, u - dot(y, u) / opening * (x + y))

    def random(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return project(jax.random.normal(key, shape, dtype))

    return Manifold(
        name="sphere",
        ndim=1,
        flat=False,
        embedded=True,
        check=check,
        egrad_to_rgrad=tangent,
        inner=inner,
        exp=exp,
        retraction=lambda x, v: project(x + v),
        transport=transport,
        tangent=tangent,
        project=project,
        random=random,
        log=log,
        distance=distance,
    )
