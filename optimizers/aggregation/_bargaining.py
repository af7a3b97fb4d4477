"""The bargaining equation `G w = w^(-1/alpha)` of Nash-MTL and FairGrad, solved inside jit on any backend."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from optimizers.aggregation._gramian import nan_unless_finite, unit_gramian
from optimizers.aggregation._spectrum import rounding
from optimizers.aggregation.mgda import shortest_combination

# Newton's method takes 5 to 15 iterations, and one more for every halving of the distance to Pareto stationarity.
_ITERATIONS = 100
# For large alpha the bound would allow a weight to vanish at once; and it may vanish from what the others can feel.
_LARGEST_DECREASE = 0.99


def bargaining_weights(gramian: Float[Array, "T T"], alpha: Any) -> Float[Array, " T"]:
    """The w > 0 of `G w = w^(-1/alpha)`, all 0 where the gradients are Pareto stationary: then there is none.

    With `p = 1 / alpha` it is the minimum of the convex `w^T G w / 2 - sum_t h(w_t)`, where `h'(w) = w^-p`. In units of
    the gradients' norms G has ones on its diagonal; the start is what solves the equation for orthogonal gradients.
    """
    cosines, norms = unit_gramian(gramian)
    power = 1.0 / jnp.asarray(alpha, gramian.dtype)
    vanishes = norms == 0
    longest = jnp.max(norms)
    longest = jnp.where(longest == 0, 1.0, longest)
    relative = jnp.where(vanishes, 1.0, norms / longest)
    start = relative ** ((power - 1) / (power + 1))
    steps = _newton(cosines, start, power)
    weights = start * steps / relative * longest ** (-2 / (power + 1))
    shortest = shortest_combination(cosines, 1.0 - vanishes.astype(gramian.dtype))
    square = jnp.sum(shortest * jnp.dot(cosines, shortest, precision=lax.Precision.HIGHEST))
    return nan_unless_finite(gramian, jnp.where(square <= rounding(cosines), 0.0, weights))


@jax.jit
def _newton(cosines: Float[Array, "T T"], start: Float[Array, " T"], power: Array) -> Float[Array, " T"]:
    """The factors x > 0 by which `z = start * x` solves `C z = start * x^-p`.

    Newton's relative changes r of z are shortened by `(1 - (1 + p d)^(-1/p)) / d`, with d the largest relative decrease
    among them. This minimises the bound on the convex function that holds while no z shrinks by more than d, so that
    it decreases at every iteration without a line search, from any start.
    """
    tolerance = jnp.sqrt(jnp.finfo(cosines.dtype).eps)
    floor = jnp.asarray(jnp.finfo(cosines.dtype).tiny, cosines.dtype) ** 0.9

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, iteration = state
        barrier = x ** (1 - power)
        slope = x * jnp.dot(cosines, start * x, precision=lax.Precision.HIGHEST) - start * barrier
        curvature = x[:, None] * cosines * x + jnp.diag(power * barrier)
        change = -cho_solve(cho_factor(curvature, lower=True), slope) / start
        decrease = jnp.maximum(jnp.max(-change), 0.0)
        positive = jnp.where(decrease > 0, decrease, 1.0)
        best = jnp.minimum(-jnp.expm1(-jnp.log1p(power * positive) / power), _LARGEST_DECREASE) / positive
        moved = jnp.maximum(x * (1 + jnp.where(decrease > 0, best, 1.0) * change), floor)
        return moved, jnp.max(jnp.abs(moved / x - 1)), iteration + 1

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        _, change, iteration = state
        return (change > tolerance) & (iteration < _ITERATIONS)

    first = (jnp.ones_like(start), jnp.full((), jnp.inf, start.dtype), jnp.int32(0))
    return lax.while_loop(unfinished, step, first)[0]
