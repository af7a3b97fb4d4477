"""Minimisation of a ratio of functions, one coordinate at a time and exactly along each."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._trees import wide

Scalar = Callable[[jax.Array], jax.Array]


def _along(function: Scalar, x: jax.Array, direction: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Value, first and second derivative of `function` at `x` along `direction`."""

    def slope(t: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(lambda s: function(x + s * direction), (t,), (jnp.ones_like(t),))

    zero = jnp.zeros((), x.dtype)
    (value, first), (_, second) = jax.jvp(slope, (zero,), (jnp.ones_like(zero),))
    return value, first, second


def _real_roots(a: jax.Array, b: jax.Array, c: jax.Array) -> list[jax.Array]:
    """The roots of a t² + b t + c, without cancellation; any numbers where there are none."""
    root = jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0.0))
    q = -0.5 * (b + jnp.where(b < 0, -root, root))
    return [jnp.where(d == 0, 0.0, n / jnp.where(d == 0, 1.0, d)) for n, d in ((q, a), (c, q))]


def _best_step(
    numerator: tuple[Any, ...], denominator: tuple[Any, ...], x: jax.Array, l1: Any, ratio: Any
) -> jax.Array:
    """The t that minimises (n(t) + l1 |x + t|) / d(t), or with `ratio` r the numerator less r d(t), n and d quadratics.

    Between the kinks of |x + t| the stationary points are the roots of a quadratic; the minimum is among those of both
    sides, the kink and 0.
    """
    (n0, n1, n2), (d0, d1, d2) = numerator, denominator

    def value(t: jax.Array) -> jax.Array:
        above = n0 + t * (n1 + 0.5 * t * n2) + l1 * jnp.abs(x + t)
        below = d0 + t * (d1 + 0.5 * t * d2)
        if ratio is not None:
            return above - ratio * below
        return jnp.where(below > 0, above / jnp.where(below > 0, below, 1.0), jnp.inf)

    candidates = [jnp.zeros_like(x), -x]
    for sign in (1.0, -1.0):
        p0, p1 = n0 + l1 * sign * x, n1 + l1 * sign
        if ratio is None:  # of (p0 + p1 t + n2 t²/2) / (d0 + d1 t + d2 t²/2): the cubic terms cancel
            candidates += _real_roots(0.5 * (n2 * d1 - p1 * d2), n2 * d0 - p0 * d2, p1 * d0 - p0 * d1)
        else:
            slope, curvature = p1 - ratio * d1, n2 - ratio * d2
            candidates.append(jnp.where(curvature > 0, -slope / jnp.where(curvature > 0, curvature, 1.0), 0.0))
    steps = jnp.stack(candidates)
    values = jax.vmap(value)(steps)
    return steps[jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))]


def fractional_coordinate_descent(
    f: Scalar,
    g: Scalar,
    x0: Float[Array, " n"],
    *,
    lipschitz: Any,
    l1: Any = 0.0,
    theta: Any = 1e-6,
    mode: Literal["fcd", "pcd"] = "fcd",
    order: Literal["cyclic", "random"] = "cyclic",
    num_steps: int,
    key: jax.Array | None = None,
) -> tuple[Float[Array, " n"], Float[Array, " num_steps"]]:
    r"""Coordinate descent for a ratio: minimise $F(x) = (f(x) + \lambda \lVert x \rVert_1) / g(x)$.

    A step takes one coordinate i, bounds f along it by a quadratic, and minimises globally over the step t:

    $$
    J(t) = f(x) + \partial_i f(x)\, t + \tfrac{L_i + \theta}{2} t^2 + \lambda \lVert x + t e_i \rVert_1, \qquad
    \text{fcd: } \min_t \frac{J(t)}{g(x + t e_i)}, \quad \text{pcd: } \min_t\, J(t) - F(x)\, g(x + t e_i)
    $$

    Where the ratio falls towards a limit at infinity, the best stationary point is taken instead. F never increases,
    and the points where it stops are optimal along every coordinate, which is stronger than being critical: smallest
    eigenvalues (f = xᵀAx/2, g = xᵀx/2), sparse Fisher ratios, independent components.

    Args:
        f: the smooth part of the numerator, with Lipschitz derivative along each coordinate; f + λ‖x‖₁ is at least 0
            in `"pcd"`.
        g: the denominator, above 0, and a polynomial of degree 2 (or less) along each coordinate, as quadratic and
            linear forms are: its derivatives at x are taken for the whole line.
        x0: the start, where g is above 0.
        lipschitz: L, a Lipschitz constant of each partial derivative of f, `[n]` or a number, at least 0.
        l1: λ, the weight of the absolute values, at least 0.
        theta: added to L, at least 0: steps shorten, and sums of squares of steps stay finite.
        mode: `"fcd"` minimises the ratio along the coordinate, `"pcd"` Dinkelbach's difference.
        order: `"cyclic"`, coordinate after coordinate, or `"random"`, which needs `key`.
        num_steps: number of steps, each of one coordinate.
        key: a typed PRNG key, for `"random"`.

    Returns:
        The last point, in the dtype of `x0`, and F after each step, float32 or wider.

    Raises:
        ValueError: a hyperparameter out of range, an unknown mode or order, a random order without key, `x0` that is no
            vector.
        TypeError: `f` or `g` is no function, `num_steps` no integer.

    Examples:
        The smallest eigenvalue of a matrix, as a Rayleigh quotient:

        >>> import jax.numpy as jnp
        >>> matrix = jnp.array([[2.0, 1.0], [1.0, 3.0]])
        >>> f, g = lambda x: 0.5 * x @ matrix @ x, lambda x: 0.5 * x @ x
        >>> x, values = fractional_coordinate_descent(f, g, jnp.ones(2), lipschitz=jnp.diag(matrix), num_steps=40)
        >>> print(f"{values[-1]:.4f} {jnp.linalg.eigvalsh(matrix)[0]:.4f}")
        1.3820 1.3820

    Source:
        G. Yuan, "Coordinate Descent Methods for Fractional Minimization", 2023.
    """
    function = "fractional_coordinate_descent"
    check_callable(function, "f", f, "(x) -> value")
    check_callable(function, "g", g, "(x) -> value")
    if jnp.ndim(x0) != 1:
        raise ValueError(f"{function}: x0 must be a vector [n], got shape {jnp.shape(x0)}")
    if jnp.shape(lipschitz) not in {(), jnp.shape(x0)}:
        raise ValueError(f"{function}: lipschitz must have shape {jnp.shape(x0)} or (), got {jnp.shape(lipschitz)}")
    check_range(function, "lipschitz", lipschitz, 0.0)
    check_range(function, "l1", l1, 0.0)
    check_range(function, "theta", theta, 0.0)
    num_steps = check_positive_integer(function, "num_steps", num_steps)
    if mode not in ("fcd", "pcd"):
        raise ValueError(f"{function}: mode must be 'fcd' or 'pcd', got {mode!r}")
    if order not in ("cyclic", "random"):
        raise ValueError(f"{function}: order must be 'cyclic' or 'random', got {order!r}")
    if order == "random" and key is None:
        raise ValueError(f"{function}: order='random' needs key")
    start = wide(jnp.asarray(x0))
    count = max(len(start), 1)
    curvatures = jnp.broadcast_to(wide(jnp.asarray(lipschitz, start.dtype)) + theta, start.shape)
    numbers = jnp.arange(num_steps) % count
    if key is not None and order == "random":
        numbers = jax.random.randint(key, (num_steps,), 0, count)

    def ratio(x: jax.Array) -> jax.Array:
        return (f(x) + l1 * jnp.sum(jnp.abs(x))) / g(x)

    def step(x: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        direction = jnp.zeros_like(x).at[i].set(1.0)
        value, slope = jax.jvp(f, (x,), (direction,))
        others = l1 * (jnp.sum(jnp.abs(x)) - jnp.abs(x[i]))
        difference = ratio(x) if mode == "pcd" else None
        t = _best_step((value + others, slope, curvatures[i]), _along(g, x, direction), x[i], l1, difference)
        x = x.at[i].add(t)
        return x, ratio(x)

    last, values = lax.scan(step, start, numbers)
    return last.astype(jnp.asarray(x0).dtype), values
