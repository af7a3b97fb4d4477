"""Hyperbolic space, as the Poincaré ball."""

from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_range
from optimizers._moments import wide_scalar
from optimizers.riemannian.manifold import Manifold, dot, length, ratio


def poincare_ball(c: jax.typing.ArrayLike = 1.0) -> Manifold:
    r"""Hyperbolic space of curvature -c: vectors along the last axis with $c \lVert x \rVert^2 < 1$.

    $$\lambda_x = \frac{2}{1 - c \lVert x \rVert^2}, \qquad
    \langle u, v \rangle_x = \lambda_x^2 u^\top v, \qquad \operatorname{grad} f = \lambda_x^{-2} \nabla f$$

    $$\exp_x(v) = x \oplus \tanh\!\left(\sqrt c\, \lambda_x \lVert v \rVert / 2\right) \frac{v}{\sqrt c\,\lVert v
    \rVert}, \qquad P_{x \to y}\, u = \frac{\lambda_x}{\lambda_y} \operatorname{gyr}[y, -x]\, u$$

    with Möbius addition ⊕ and its gyration. The retraction is x + v. Both end at a distance of the boundary that the
    dtype can resolve, $\sqrt c \lVert x \rVert \le 1 - \epsilon^{1/3}$ with ε its machine epsilon: 0.995 in float32.
    Beyond, $1 - c \lVert x \rVert^2$ has no digits left to compute with. `project` is that clipping.

    Args:
        c: Minus the curvature, above 0.

    Returns:
        The `Manifold`; a point outside the ball gives NaN distances.

    Raises:
        ValueError: `c` is not positive.

    Examples:
        The same velocity in coordinates is a longer step near the boundary:

        >>> import jax.numpy as jnp
        >>> ball, v = poincare_ball(), jnp.array([0.1, 0.0])
        >>> for x in (jnp.zeros(2), jnp.array([0.9, 0.0])):
        ...     print(f"{ball.exp(x, v)[0] - x[0]:.4f} {ball.distance(x, ball.exp(x, v)):.4f}")
        0.0997 0.2000
        0.0639 1.0526

    Source:
        O.-E. Ganea, G. Bécigneul, T. Hofmann, "Hyperbolic Neural Networks", 2018.
    """
    check_range("poincare_ball", "c", c, 0.0, open_low=True)
    curvature: Any = wide_scalar(c)
    return _ball(curvature, curvature**0.5)


def _ball(c: Any, root: Any) -> Manifold:
    """The ball of curvature -c, with c and its root float32 or wider."""

    def check(shape: tuple[int, ...]) -> str | None:
        return None if shape else "a vector along the last axis"

    def room(x: jax.Array) -> jax.Array:
        return 1 - c * dot(x, x)

    def project(x: jax.Array) -> jax.Array:
        size = root * length(x)
        largest = 1 - float(jnp.finfo(x.dtype).eps) ** (1 / 3)
        return jnp.where(size > largest, largest / jnp.where(size > largest, size, 1), 1) * x

    def add(x: jax.Array, y: jax.Array) -> jax.Array:
        xx, xy, yy = c * dot(x, x), c * dot(x, y), c * dot(y, y)
        return ((1 + 2 * xy + yy) * x + (1 - xx) * y) / (1 + 2 * xy + xx * yy)

    def gyration(a: jax.Array, b: jax.Array, u: jax.Array) -> jax.Array:
        aa, ab, bb, au, bu = (c * dot(*pair) for pair in ((a, a), (a, b), (b, b), (a, u), (b, u)))
        on_a = bu * (1 + 2 * ab) - au * bb
        on_b = -bu * aa - au
        return u + 2 * (on_a * a + on_b * b) / (1 + 2 * ab + aa * bb)

    def exp(x: jax.Array, v: jax.Array) -> jax.Array:
        reach = root * length(v) / room(x)
        return project(add(x, ratio(jnp.tanh(reach), reach) * v / room(x)))

    def log(x: jax.Array, y: jax.Array) -> jax.Array:
        step = add(-x, y)
        size = root * length(step)
        return room(x) * ratio(jnp.arctanh(size), size) * step

    def distance(x: jax.Array, y: jax.Array) -> jax.Array:
        return (2 / root * jnp.arcsinh(root * length(x - y) / jnp.sqrt(room(x) * room(y))))[..., 0]

    def inner(x: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
        return (4 / room(x) ** 2 * dot(u, v))[..., 0]

    def transport(x: jax.Array, y: jax.Array, u: jax.Array) -> jax.Array:
        return room(y) / room(x) * gyration(y, -x, u)

    def random(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Points at normal distances from the origin, in uniform directions."""
        return exp(jnp.zeros(shape, dtype), jax.random.normal(key, shape, dtype) / (2 * root * shape[-1] ** 0.5))

    return Manifold(
        name="poincare_ball",
        ndim=1,
        flat=False,
        embedded=False,
        check=check,
        egrad_to_rgrad=lambda x, g: room(x) ** 2 / 4 * g,
        inner=inner,
        exp=exp,
        retraction=lambda x, v: project(x + v),
        transport=transport,
        tangent=lambda y, u: u,
        project=project,
        random=random,
        log=log,
        distance=distance,
    )
