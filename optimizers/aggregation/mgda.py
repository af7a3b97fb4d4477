"""MGDA: the point of least norm in the convex hull of the task gradients."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers.aggregation._complementarity import complementary
from optimizers.aggregation._gramian import check_gramian, nan_unless_finite, unit_gramian, weighted
from optimizers.aggregation._spectrum import rounding


def mgda_weights(gramian: Float[Array, "T T"]) -> Float[Array, " T"]:
    r"""Weights of the task gradients in the shortest of their convex combinations.

    $$
    w = \operatorname{argmin}_{v \ge 0,\ \sum_t v_t = 1} v^\top G v, \quad G = J J^\top
    $$

    It decreases all losses at the same rate or faster, or is 0 where none can decrease without another's increase. A
    short gradient outweighs long ones: one that vanishes makes the result 0.

    The quadratic program is solved exactly up to rounding, by linear solves; the Frank-Wolfe iterations of Sener and
    Koltun, which torchjd follows too, approach the same point. In float32 the norm of the result is accurate to 1e-3
    of the longest gradient where it should be 0, and much better elsewhere.

    Args:
        gramian: inner products G of the task gradients, `[T, T]`.

    Returns:
        Weights `[T]`, non-negative, of sum 1; even among the vanishing gradients where there are any, NaN where the
        Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square.

    Examples:
        The nearest point to the origin between (1, 0) and (-1, 1) is (0.2, 0.4):

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in mgda_weights(jnp.array([[1.0, -1.0], [-1.0, 2.0]]))]
        [0.6, 0.4]

    Source:
        Desideri, "Multiple-Gradient Descent Algorithm (MGDA) for Multiobjective Optimization" (2012); Sener, Koltun,
        "Multi-Task Learning as Multi-Objective Optimization" (2018).
    """
    gramian = check_gramian("mgda_weights", gramian)
    cosines, norms = unit_gramian(gramian)
    return nan_unless_finite(gramian, shortest_combination(cosines, norms))


def shortest_combination(cosines: Float[Array, "T T"], norms: Float[Array, " T"]) -> Float[Array, " T"]:
    """MGDA's weights from the cosines of the gradients and their norms."""
    vanishes = norms == 0
    shortest = jnp.min(jnp.where(vanishes, jnp.inf, norms))
    inverse = shortest / jnp.where(vanishes, jnp.inf, norms)
    # min v^T G v / 2 - sum(v) over v >= 0 has the same solution up to length.
    regular = cosines + jnp.diag(jnp.where(vanishes, 1.0, rounding(cosines)))
    weights = complementary(regular, -inverse) * inverse
    weights = jnp.where(jnp.any(vanishes), vanishes.astype(norms.dtype), weights)
    return weights / jnp.sum(weights)


def mgda() -> optax.GradientTransformationExtraArgs:
    """Multiple-gradient descent: the point of least norm in the convex hull of the task gradients.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `mgda_weights` for the definition. It conflicts with no task. The Gramian over the whole tree is
    accumulated in float32 or wider; a gradient with NaN or inf gives NaN.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(mgda(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.2, -0.4]

    Source:
        Desideri, "Multiple-Gradient Descent Algorithm (MGDA) for Multiobjective Optimization" (2012); Sener, Koltun,
        "Multi-Task Learning as Multi-Objective Optimization" (2018).
    """
    return weighted("mgda", mgda_weights)
