"""The convex combination of the gradients that a guide likes best among those that harm no objective."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from optimizers.aggregation._gramian import check_gramian, nan_unless_finite, unit_gramian, weighted
from optimizers.aggregation._spectrum import rounding
from optimizers.aggregation.mgda import shortest_combination


def pareto_guided_weights(gramian: Float[Array, "T T"]) -> Float[Array, " T"]:
    r"""Weights of the gradients in the combination nearest to a guide's wish that harms none; the guide is the last.

    $$
    \max_{w \ge 0,\ \sum_k w_k = 1} \langle d, g_T \rangle \ \text{ where } \
    \langle d, g_j \rangle \ge 0 \ (j < T), \quad d = \sum_{k < T} w_k g_k
    $$

    The guide is the gradient of what should decrease but cannot be trained on, such as a surrogate loss on held-out
    data. This is the linear program of exact Pareto optimal search in its descent mode, with the guide in the place of
    the preference. It always has a solution: the shortest convex combination, that of `mgda_weights`, harms no
    objective. Where the guide vanishes, every feasible point is as good, and that one is taken.

    The program is solved by a dual simplex method, exactly up to rounding, in about as many linear solves as there are
    gradients; `mgda_weights` stand in should rounding stop it. In float32, for up to 64 gradients whose lengths differ
    by up to 1e4, `<d, g_j>` is above -2e-4 |g_j| times their mean length `sum_k w_k |g_k|`, and the objective within
    1e-3 of the best, times that length and the guide's (8e-6 and 2e-4 are the worst seen, nearly dependent gradients
    among them).

    Args:
        gramian: inner products of the gradients, `[T, T]`, the guide's last.

    Returns:
        Weights `[T]`, non-negative, of sum 1, the guide's 0; NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, or that of a guide alone.

    Examples:
        The guide (-1, 2) likes (-1, 1), which harms (1, 0); as much of it as does not gives (0, 0.5):

        >>> import jax.numpy as jnp
        >>> jacobian = jnp.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, 2.0]])
        >>> [round(float(w), 3) for w in pareto_guided_weights(jacobian @ jacobian.T)]
        [0.5, 0.5, 0.0]

    Source:
        Lv, Liang, Gong, Li, Liu, Li, Liu, Wang, "Pareto Domain Adaptation" (2021); Mahapatra, Rajan, "Multi-Task
        Learning with User Preferences: Gradient Descent with Controlled Ascent in Pareto Optimization" (2020).
    """
    gramian = check_gramian("pareto_guided_weights", gramian)
    _check("pareto_guided_weights", gramian.shape[0])
    cosines, norms = unit_gramian(gramian)
    among, wishes, lengths = cosines[:-1, :-1], cosines[:-1, -1], norms[:-1]
    vanishes = lengths == 0
    shortest = jnp.min(jnp.where(vanishes, jnp.inf, lengths))
    # w is `inverse` times multiples of the unit gradients, and what vanishes counts as of the shortest length.
    inverse = jnp.where(vanishes, 1.0, shortest / jnp.where(vanishes, 1.0, lengths))
    multiples, solved = _best_multiples(among, inverse, wishes)
    weights = multiples * inverse
    weights = weights / jnp.sum(weights)
    fallback = shortest_combination(among, lengths)
    guided = solved & (norms[-1] > 0) & jnp.all(jnp.isfinite(weights))
    weights = jnp.where(guided, weights, fallback)
    return nan_unless_finite(gramian, jnp.append(weights, 0.0))


def _check(function: str, rows: int) -> None:
    if rows < 2:
        raise ValueError(f"{function}: expected at least one gradient before the guide's, got {rows} in all")


class _Vertex(NamedTuple):
    basis: Int[Array, " T"]
    values: Float[Array, " T"]
    iteration: Array
    done: Bool[Array, ""]
    stuck: Bool[Array, ""]


def _best_multiples(
    cosines: Float[Array, "K K"], inverse: Float[Array, " K"], wishes: Float[Array, " K"]
) -> tuple[Float[Array, " K"], Bool[Array, ""]]:
    """argmax_{b >= 0} wishes^T b where C b >= 0 and inverse^T b = 1, and whether it was found.

    Dual simplex on `C b - s = 0, s >= 0`: from the gradient that the guide likes best, the most violated of the
    constraints is met next, at the least loss. A little on the diagonal of C leaves room for rounding.
    """
    size = wishes.shape[0]
    eps, small = jnp.finfo(cosines.dtype).eps, rounding(cosines)
    identity = jnp.eye(size, dtype=cosines.dtype)
    slack = jnp.zeros(size, cosines.dtype)
    columns = jnp.block([[cosines + small * identity, -identity], [inverse, slack]])
    gains = jnp.concatenate([wishes, slack])

    def times(x: Array, y: Array) -> Array:
        return jnp.dot(x, y, precision=lax.Precision.HIGHEST)

    def exchange(vertex: _Vertex) -> _Vertex:
        inverted = jnp.linalg.inv(columns[:, vertex.basis])
        values = inverted[:, -1]
        leaving = jnp.argmin(values)
        losses = jnp.maximum(times(times(gains[vertex.basis], inverted), columns) - gains, 0.0)
        pivots = -times(inverted[leaving], columns)
        outside = jnp.ones(2 * size, bool).at[vertex.basis].set(False)
        enters = outside & (pivots > 16 * eps * jnp.max(jnp.abs(pivots)))
        divisors = jnp.where(enters, pivots, 1.0)
        # Of the ratios that rounding cannot tell from the least, that of the largest pivot.
        bound = jnp.min(jnp.where(enters, (losses + 16 * eps) / divisors, jnp.inf))
        entering = jnp.argmax(jnp.where(enters & (losses / divisors <= bound), pivots, 0.0))
        done = values[leaving] >= -small * jnp.max(values)
        stuck = ~jnp.any(enters) | ~jnp.all(jnp.isfinite(inverted))
        return _Vertex(
            basis=jnp.where(done, vertex.basis, vertex.basis.at[leaving].set(entering)),
            values=values,
            iteration=vertex.iteration + 1,
            done=done,
            stuck=stuck,
        )

    first = jnp.argmax(wishes / inverse)
    start = _Vertex(
        basis=jnp.concatenate([first[None], size + jnp.arange(size)]),
        values=jnp.zeros(size + 1, cosines.dtype),
        iteration=jnp.int32(0),
        done=jnp.bool_(False),
        stuck=jnp.bool_(False),
    )
    limit = 20 + 8 * size
    end = lax.while_loop(lambda v: ~v.done & ~v.stuck & (v.iteration < limit), exchange, start)
    multiples = jnp.zeros(2 * size, cosines.dtype).at[end.basis].set(jnp.maximum(end.values, 0.0))
    return multiples[:size], end.done


def pareto_guided() -> optax.GradientTransformationExtraArgs:
    """The convex combination of the gradients that serves a guide best among those that harm no objective.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T - 1 objectives and last the guide's, into one update
    of leaves `[...]` in the same dtype; see `pareto_guided_weights` for the definition. It conflicts with no objective,
    and the guide itself has no part in it. The Gramian over the whole tree is accumulated in float32 or wider; a
    gradient with NaN or inf gives NaN.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones, a guide alone.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(pareto_guided(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, 2.0]]), tx.init(params), params)
        >>> [abs(round(float(updates[0]), 3)), round(float(updates[1]), 3)]
        [0.0, -0.5]

    Source:
        Lv, Liang, Gong, Li, Liu, Li, Liu, Wang, "Pareto Domain Adaptation" (2021); Mahapatra, Rajan, "Multi-Task
        Learning with User Preferences: Gradient Descent with Controlled Ascent in Pareto Optimization" (2020).
    """

    def weigh(gramian: Array) -> Array:
        _check("pareto_guided", gramian.shape[0])
        return pareto_guided_weights(gramian)

    return weighted("pareto_guided", weigh)
