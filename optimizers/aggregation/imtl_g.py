"""IMTL-G: the combination of the task gradients that makes the same angle with each of them."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers.aggregation._gramian import check_gramian, nan_unless_finite, unit_gramian, weighted
from optimizers.aggregation._spectrum import pseudo_solve, rounding


def imtl_g_weights(gramian: Float[Array, "T T"]) -> Float[Array, " T"]:
    r"""Weights of sum 1 for which the aggregate projects onto all task gradients with one length.

    $$
    w = \frac{v}{\sum_t v_t}, \quad v = G^{+} d, \quad G = J J^\top, \quad d_t = \lVert g_t \rVert
    $$

    so that `<J^T w, g_t> / |g_t|` is the same for all t where the gradients are independent, the paper's case. The
    pseudo-inverse for dependent ones is that of Quinton and Rey, which torchjd follows too. Weights may be negative,
    and the sum of v may be: then the aggregate goes against every task.

    Args:
        gramian: inner products G of the task gradients, `[T, T]`. Where the unit gradients are independent, the weights
            are computed from those, and small gradients lose no accuracy to large ones; else eigenvalues of G below
            `10 T eps` of the largest count as 0.

    Returns:
        Weights `[T]`: 0 for a vanishing gradient, all 0 where the sum of v is 0 up to rounding (one gradient
        opposite to another of the same norm), 1/T each where all gradients vanish, NaN where the Gramian holds NaN or
        inf.

    Raises:
        ValueError: a Gramian that is not square.

    Examples:
        Gradients (2, 0) and (0, 1), of which the aggregate is (2/3, 2/3):

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in imtl_g_weights(jnp.array([[4.0, 0.0], [0.0, 1.0]]))]
        [0.333, 0.667]

    Source:
        Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, "Towards Impartial Multi-task Learning" (2021); Quinton, Rey,
        "Jacobian Descent for Multi-Objective Optimization" (2024), for dependent gradients.
    """
    gramian = check_gramian("imtl_g_weights", gramian)
    cosines, norms = unit_gramian(gramian)
    longest = jnp.max(norms)
    relative = norms / jnp.where(longest == 0, 1.0, longest)
    present = relative > 0
    # A vanishing gradient must not make the others count as dependent.
    filled = cosines + jnp.diag(1.0 - present.astype(gramian.dtype))
    by_units, independent = pseudo_solve(filled, present.astype(gramian.dtype))
    by_gradients, _ = pseudo_solve(cosines * relative[:, None] * relative, relative)
    v = jnp.where(independent, by_units / jnp.where(present, relative, 1.0), by_gradients)
    total = jnp.sum(v)
    cancels = jnp.abs(total) <= rounding(gramian) * jnp.sum(jnp.abs(v))
    weights = jnp.where(cancels, 0.0, v / jnp.where(cancels, 1.0, total))
    return nan_unless_finite(gramian, jnp.where(longest == 0, 1.0 / norms.size, weights))


def imtl_g() -> optax.GradientTransformationExtraArgs:
    """Impartial multi-task learning: the aggregate makes the same angle with every task gradient.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `imtl_g_weights` for the definition. The Gramian over the whole tree is accumulated in float32 or wider;
    a gradient with NaN or inf gives NaN.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(imtl_g(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.172, -0.414]

    Source:
        Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, "Towards Impartial Multi-task Learning" (2021); Quinton, Rey,
        "Jacobian Descent for Multi-Objective Optimization" (2024), for dependent gradients.
    """
    return weighted("imtl_g", imtl_g_weights)
