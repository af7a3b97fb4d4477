"""What a manifold is to an optimizer: a handful of pure functions; and flat space, the simplest of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimizers._moments import square


class Manifold(NamedTuple):
    """A Riemannian manifold, as functions of arrays `[..., point]` whose last `ndim` axes are one point.

    Leading axes are a product: that many points, each on a copy of the manifold. Points are `x` and `y`, tangent
    vectors `u` and `v`, in the coordinates of the points.

    Attributes:
        name: What error messages call it.
        ndim: Number of trailing axes that make one point.
        flat: Whether it is a linear space: `exp` adds, and nothing changes in transport.
        embedded: Whether the metric is that of the space around, so that vectors may be transported by projection.
        check: `check(shape)`, the reason why no point has this shape, or None.
        egrad_to_rgrad: `egrad_to_rgrad(x, g)`, the Riemannian gradient from the derivative in coordinates.
        inner: `inner(x, u, v)`, the metric at `x`, without the axes of a point: `[...]`.
        exp: `exp(x, v)`, where the geodesic that leaves `x` with velocity `v` is after time 1.
        retraction: `retraction(x, v)`, the same to first order, and cheaper.
        transport: `transport(x, y, u)`, `u` at `x` carried to `y` in parallel along the shortest geodesic; the
            projection where that has no closed form.
        tangent: `tangent(y, u)`, the projection onto the tangent space at `y`.
        project: `project(x)`, a point on the manifold near any `x` in the space around it.
        random: `random(key, shape, dtype)`, random points.
        log: `log(x, y)`, the inverse of `exp`, or None where it has no closed form.
        distance: `distance(x, y)`, the length of the shortest geodesic, `[...]`, or None likewise.
    """

    name: str
    ndim: int
    flat: bool
    embedded: bool
    check: Callable[[tuple[int, ...]], str | None]
    egrad_to_rgrad: Callable[[jax.Array, jax.Array], jax.Array]
    inner: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    exp: Callable[[jax.Array, jax.Array], jax.Array]
    retraction: Callable[[jax.Array, jax.Array], jax.Array]
    transport: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    tangent: Callable[[jax.Array, jax.Array], jax.Array]
    project: Callable[[jax.Array], jax.Array]
    random: Callable[..., jax.Array]
    log: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    distance: Callable[[jax.Array, jax.Array], jax.Array] | None = None


def dot(u: jax.Array, v: jax.Array) -> jax.Array:
    """Inner products along the last axis, `[..., 1]`."""
    return jnp.sum(u * v, axis=-1, keepdims=True)


def length(u: jax.Array) -> jax.Array:
    """Lengths along the last axis, `[..., 1]`, with gradient 0 at 0."""
    squared = dot(u, u)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)


def ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """The quotient, or its limit 1 where both are 0."""
    there = denominator > 0
    return jnp.where(there, numerator / jnp.where(there, denominator, 1), 1)


def symmetric(u: jax.Array) -> jax.Array:
    """The symmetric part, exactly symmetric."""
    return (u + jnp.matrix_transpose(u)) / 2


def no_reason(shape: tuple[int, ...]) -> str | None:
    """Every shape will do."""
    del shape
    return None


def euclidean(ndim: int = 0) -> Manifold:
    r"""Flat space: $\mathbb R$ for every coordinate, or $\mathbb R^{d}$ for every point.

    $$\operatorname{grad} f = \nabla f, \qquad \langle u, v \rangle_x = u^\top v, \qquad \exp_x(v) = x + v$$

    With `ndim` 0 each coordinate is a factor of its own, and the adaptive methods are the ordinary ones, coordinate by
    coordinate. With `ndim` 1 a point is a vector along the last axis, and all its coordinates share one step size.

    Args:
        ndim: Number of trailing axes that make one point, at least 0.

    Returns:
        The `Manifold`.

    Raises:
        ValueError: `ndim` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.zeros(2), jnp.array([3.0, 4.0])
        >>> print(euclidean().distance(x, y), euclidean(1).distance(x, y))
        [3. 4.] 5.0
    """
    if ndim < 0:
        raise ValueError(f"euclidean: ndim must be at least 0, got {ndim}")
    axes = tuple(range(-ndim, 0))

    def check(shape: tuple[int, ...]) -> str | None:
        return f"at least {ndim} axes" if len(shape) < ndim else None

    def inner(x: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
        del x
        return jnp.sum(square(u) if u is v else jnp.real(jnp.conj(u) * v), axis=axes)

    def distance(x: jax.Array, y: jax.Array) -> jax.Array:
        step = y - x
        return jnp.sqrt(inner(x, step, step))

    def random(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.normal(key, shape, dtype)

    return Manifold(
        name="euclidean",
        ndim=ndim,
        flat=True,
        embedded=True,
        check=check,
        egrad_to_rgrad=lambda x, g: g,
        inner=inner,
        exp=lambda x, v: x + v,
        retraction=lambda x, v: x + v,
        transport=lambda x, y, u: u,
        tangent=lambda y, u: u,
        project=lambda x: x,
        random=random,
        log=lambda x, y: y - x,
        distance=distance,
    )
