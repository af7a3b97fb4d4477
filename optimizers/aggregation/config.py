"""ConFIG: the direction of one cosine with all task gradients, as long as they reach along it together."""

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers.aggregation._gramian import (
    Preference,
    check_gramian,
    nan_unless_finite,
    task_vector,
    unit_gramian,
    weighted,
)
from optimizers.aggregation._spectrum import pseudo_solve


def config_weights(gramian: Float[Array, "T T"], *, preference: Preference = None) -> Float[Array, " T"]:
    r"""Weights of the task gradients in ConFIG's conflict-free update.

    $$
    J^\top w = \Bigl(\sum_t \langle g_t, u \rangle\Bigr) u, \quad u = \frac{x}{\lVert x \rVert}, \quad
    x = U^{+} p, \quad U = \operatorname{diag}(\lVert g_t \rVert)^{-1} J
    $$

    Where the unit gradients U are independent, the cosines of the update with the gradients are in proportion to p.

    Args:
        gramian: inner products `J J^T` of the task gradients, `[T, T]`.
        preference: the cosines p up to length, `[T]`; all 1 by default.

    Returns:
        Weights `[T]`: 0 for a vanishing gradient, all 0 where no x is better than 0 (opposite gradients), NaN where
        the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, a preference that is not a vector of length T.

    Examples:
        Orthogonal gradients (2, 0) and (0, 1) become (1.5, 1.5):

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in config_weights(jnp.array([[4.0, 0.0], [0.0, 1.0]]))]
        [0.75, 1.5]

    Source:
        Liu, Chu, Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks" (2024).
    """
    gramian = check_gramian("config_weights", gramian)
    vector = task_vector("config_weights", "preference", preference, gramian, 1.0)
    cosines, norms = unit_gramian(gramian)
    present = norms > 0
    z, _ = pseudo_solve(cosines, jnp.where(present, vector, 0.0))  # x = U^T z
    along = jnp.dot(cosines, z, precision=lax.Precision.HIGHEST)  # <g_t, x> / |g_t|
    square = jnp.sum(z * along)
    vanishes = square <= 0
    length = jnp.sum(norms * along) / jnp.where(vanishes, 1.0, square)
    return nan_unless_finite(gramian, jnp.where(present & ~vanishes, length * z / jnp.where(present, norms, 1.0), 0.0))


def config(*, preference: Preference = None) -> optax.GradientTransformationExtraArgs:
    """Conflict-free inverse gradients: one cosine with every task gradient, and their joint length along it.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `config_weights` for the definition. The Gramian over the whole tree is accumulated in float32 or wider;
    a gradient with NaN or inf gives NaN.

    Args:
        preference: the cosines with the task gradients up to length, `[T]`; all 1 by default.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: from the update, for leaves without a leading task axis or with different ones, a preference of
            another length.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(config(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.354, -0.854]

    Source:
        Liu, Chu, Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks" (2024).
    """
    return weighted("config", lambda gramian: config_weights(gramian, preference=preference))
