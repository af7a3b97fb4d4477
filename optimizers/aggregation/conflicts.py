"""How much the tasks disagree: a diagnostic, from the Gramian that the aggregators work on."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizers.aggregation._gramian import check_gramian


def conflict_rate(gramian: Float[Array, "T T"]) -> Float[Array, ""]:
    r"""The share of pairs of tasks whose gradients conflict: whose inner product is negative.

    $$
    \frac{2}{T (T - 1)} \left| \{ i < j : \langle g_i, g_j \rangle < 0 \} \right|
    $$

    To be logged beside the losses: near 0 the tasks get along, and an aggregator changes little.

    Args:
        gramian: inner products of the task gradients, `[T, T]`, from `gramian(gradients)`.

    Returns:
        A scalar in [0, 1]; 0 for a single task, NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square.

    Examples:
        Of the pairs of (1, 0), (-1, 1) and (0, 1), one conflicts:

        >>> import jax.numpy as jnp
        >>> gradients = jnp.array([[1.0, 0.0], [-1.0, 1.0], [0.0, 1.0]])
        >>> print(conflict_rate(gradients @ gradients.T).round(3))
        0.333

    Source:
        Yu, Kumar, Gupta, Levine, Hausman, Finn, "Gradient Surgery for Multi-Task Learning" (2020), Definition 1.
    """
    gramian = check_gramian("conflict_rate", gramian)
    tasks = gramian.shape[0]
    conflicts = jnp.sum(jnp.triu(gramian < 0, 1), dtype=gramian.dtype)
    return jnp.where(jnp.all(jnp.isfinite(gramian)), conflicts / max(tasks * (tasks - 1) // 2, 1), jnp.nan)
