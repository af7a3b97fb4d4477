"""CAGrad: within a ball around the mean of the task gradients, the update that serves the worst-off task best."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers.aggregation._complementarity import complementary
from optimizers.aggregation._gramian import check_gramian, nan_unless_finite, unit_gramian, weighted
from optimizers.aggregation._spectrum import rounding
from optimizers.aggregation.mgda import shortest_combination

# Newton's method needs about 6 iterations; 15 or so where the tasks nearly cannot all improve.
_ITERATIONS = 40


def cagrad_weights(gramian: Float[Array, "T T"], c: Any = 0.5, *, norm_eps: Any = 1e-4) -> Float[Array, " T"]:
    r"""Weights of the task gradients in the conflict-averse update.

    $$
    J^\top w = \operatorname{argmax}_{x:\ \lVert x - g_0 \rVert \le c \lVert g_0 \rVert} \min_t \langle g_t, x \rangle
    = g_0 + \frac{c \lVert g_0 \rVert}{\lVert J^\top v \rVert} J^\top v, \quad g_0 = \frac{1}{T} \sum_t g_t
    $$

    where v of the simplex minimises `<J^T v, g_0> + c |g_0| |J^T v|`. With c of 1 or more it harms no task. Where
    `J^T v` is 0 the second form is undefined: no update makes the worst-off task better off (one gradient vanishes,
    or some are opposite), and all weights are 0, as in torchjd.

    The program is solved exactly up to rounding: the least distance from g_0 at which every task gains m is a quadratic
    program, convex in m, and Newton's method finds the m at which it is `c |g_0|`.

    Args:
        gramian: inner products `J J^T` of the task gradients, `[T, T]`.
        c: radius of the ball relative to the norm of the mean, at least 0; at 0 the mean itself.
        norm_eps: below this norm, relative to that of all gradients together, `J^T v` counts as 0; so it does where its
            terms cancel but for their rounding (1e-3 of them for three tasks in float32).

    Returns:
        Weights `[T]`, at least 1/T or all 0; a single gradient is multiplied by 1 + c. 1/T each where all gradients
        vanish (torchjd gives 0), NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, a negative c or epsilon.

    Examples:
        The mean of (1, 0) and (-1, 1) is (0, 0.5); within 0.25 of it, (0.25, 0.5) improves both tasks by 0.25:

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in cagrad_weights(jnp.array([[1.0, -1.0], [-1.0, 2.0]]), 0.5)]
        [0.75, 0.5]

    Source:
        Liu, Liu, Jin, Stone, Liu, "Conflict-Averse Gradient Descent for Multi-task Learning" (2021).
    """
    gramian = check_gramian("cagrad_weights", gramian)
    check_range("cagrad_weights", "c", c, 0.0)
    check_range("cagrad_weights", "norm_eps", norm_eps, 0.0)
    size, dtype = gramian.shape[0], gramian.dtype
    cosines, norms = unit_gramian(gramian)
    longest = jnp.max(norms)
    norms = norms / jnp.where(longest == 0, 1.0, longest)
    to_mean = norms * jnp.dot(cosines, norms, precision=lax.Precision.HIGHEST) / size  # <g_t, g_0>
    radius = jnp.asarray(c, dtype) * jnp.sqrt(jnp.maximum(jnp.mean(to_mean), 0.0))

    def length(v: Array) -> Array:
        """`|J^T v|`, 0 where its terms cancel to their rounding, or where it is negligible beside all gradients."""
        norm = jnp.sqrt(jnp.maximum(_square(cosines, norms * v), 0.0))
        rounded = 2 * jnp.sqrt(size * jnp.finfo(dtype).eps) * jnp.sum(v * norms)
        return jnp.where(norm <= jnp.maximum(norm_eps * jnp.linalg.norm(norms) * jnp.sum(v), rounded), 0.0, norm)

    # Every point of the simplex bounds the gain of the worst-off task: the corners, and the shortest combination.
    shortest = shortest_combination(cosines, norms)
    bounds = jnp.append(to_mean + radius * norms, jnp.dot(shortest, to_mean) + radius * length(shortest))
    bounds = bounds.at[size].set(jnp.where(length(shortest) == 0, 0.0, bounds[size]))
    v = _steps_to_best(cosines, norms, to_mean, radius, jnp.min(bounds))
    distance = length(v)
    weights = 1.0 / size + v * (radius / jnp.where(distance == 0, 1.0, distance))
    return nan_unless_finite(gramian, jnp.where((distance == 0) & (radius > 0), 0.0, weights))


def _square(matrix: Array, vector: Array) -> Array:
    """`x^T A x`."""
    return jnp.sum(vector * jnp.dot(matrix, vector, precision=lax.Precision.HIGHEST))


@jax.jit
def _steps_to_best(cosines: Array, norms: Array, to_mean: Array, radius: Array, gain: Array) -> Array:
    """Multiples v of the gradients that lead from their mean to the ball's best point; 0 where no direction is best.

    For a gain m the nearest x to g_0 with `<g_t, x> >= m` is `g_0 + J^T v`, with v from a complementarity problem. The
    distance is convex in m, of slope `sum(v) / distance`, so that Newton's method from a bound above never overshoots.
    Where the bound itself is reached within the ball, it is the gain 0 of a combination of gradients that vanishes.
    """
    present = norms > 0
    safe = jnp.where(present, norms, 1.0)
    matrix = cosines + jnp.diag(jnp.where(present, rounding(cosines), 1.0))

    def nearest(gain: Array) -> tuple[Array, Array]:
        """`diag(norms) v` and the distance."""
        slope = jnp.where(present, (to_mean - gain) / safe, 0.0)
        largest = jnp.max(jnp.abs(slope))
        largest = jnp.where(largest == 0, 1.0, largest)
        step = complementary(matrix, slope / largest) * largest
        return step, jnp.sqrt(_square(matrix, step))

    def newton(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        gain, _, _, iteration = state
        step, distance = nearest(gain)
        slope = jnp.sum(jnp.where(present, step / safe, 0.0)) / distance
        return gain - (distance - radius) / slope, step, distance, iteration + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        _, _, distance, iteration = state
        return (distance > radius * (1 + rounding(cosines))) & (iteration < _ITERATIONS)

    start = (gain, jnp.zeros_like(norms), jnp.full_like(gain, jnp.inf), jnp.int32(0))
    _, step, distance, _ = lax.while_loop(unfinished, newton, start)
    within = distance < radius * (1 - jnp.sqrt(jnp.finfo(norms.dtype).eps))
    return jnp.where(present & ~within, step / safe, 0.0)


def cagrad(c: Any = 0.5, *, norm_eps: Any = 1e-4) -> optax.GradientTransformationExtraArgs:
    """Conflict-averse gradient descent: near the mean of the task gradients, the best update for the worst-off task.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `cagrad_weights` for the definition. The Gramian over the whole tree is accumulated in float32 or wider,
    and the program solved inside jit on any backend; a gradient with NaN or inf gives NaN.

    Args:
        c: radius of the ball around the mean, relative to the norm of the mean, at least 0.
        norm_eps: below this norm, relative to that of all gradients together, a combination of gradients counts as 0.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: a negative c or epsilon; from the update, leaves without a leading task axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(cagrad(0.5), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.25, -0.5]

    Source:
        Liu, Liu, Jin, Stone, Liu, "Conflict-Averse Gradient Descent for Multi-task Learning" (2021).
    """
    check_range("cagrad", "c", c, 0.0)
    check_range("cagrad", "norm_eps", norm_eps, 0.0)
    return weighted("cagrad", lambda gramian: cagrad_weights(gramian, c, norm_eps=norm_eps))
