"""Krum: the gradient that is nearest to its neighbours, or the mean of several such."""

import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer
from optimizers.aggregation._gramian import check_gramian, nan_unless_finite, weighted


def krum_weights(gramian: Float[Array, "T T"], byzantine: int = 0, *, selected: int = 1) -> Float[Array, " T"]:
    r"""Weights of the gradients in (Multi-)Krum: even among the `selected` ones with the lowest scores, else 0.

    $$
    s_i = \sum_{j \in N_i} \lVert g_i - g_j \rVert^2
    $$

    where `N_i` are the `T - byzantine - 2` other gradients nearest to `g_i`. (torchjd adds up distances, not their
    squares as in the paper, and may choose others.) The lower index goes first among equal scores.

    Args:
        gramian: inner products of the gradients of T workers or tasks, `[T, T]`.
        byzantine: so many of them, f, may be arbitrary, at least 0; the paper's resilience needs `T > 2 f + 2`.
        selected: so many are averaged.

    Returns:
        Weights `[T]` of sum 1, NaN where the Gramian holds NaN or inf: a worker that sends those must be left out
        before.

    Raises:
        TypeError: a count that is not an integer.
        ValueError: a Gramian that is not square or has fewer than `byzantine + 3` or `selected` rows, a count out of
            range.

    Examples:
        Three gradients near (1, 0), and one far away:

        >>> import jax.numpy as jnp
        >>> gradients = jnp.array([[0.9, 0.0], [1.0, 0.0], [1.1, 0.0], [-9.0, 5.0]])
        >>> [round(float(w), 3) for w in krum_weights(gradients @ gradients.T, 1, selected=3)]
        [0.333, 0.333, 0.333, 0.0]

    Source:
        Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine Tolerant Gradient
        Descent" (2017).
    """
    byzantine, selected = _check_counts("krum_weights", byzantine, selected)
    gramian = check_gramian("krum_weights", gramian)
    size = gramian.shape[0]
    fewest = max(byzantine + 3, selected)
    if size < fewest:
        raise ValueError(
            f"krum_weights: byzantine={byzantine} and selected={selected} need {fewest} gradients or more, "
            f"got a gramian of shape {gramian.shape}"
        )
    squares = jnp.diagonal(gramian)
    distances = jnp.maximum(squares[:, None] + squares - 2 * gramian, 0.0)
    others = jnp.sort(jnp.where(jnp.eye(size, dtype=bool), jnp.inf, distances), axis=1)
    scores = jnp.sum(others[:, : size - byzantine - 2], axis=1)
    _, chosen = lax.top_k(-scores, selected)
    weights = jnp.zeros_like(squares).at[chosen].set(1.0 / selected)
    return nan_unless_finite(gramian, weights)


def _check_counts(function: str, byzantine: int, selected: int) -> tuple[int, int]:
    if isinstance(byzantine, bool) or not isinstance(byzantine, int | np.integer):
        raise TypeError(f"{function}: byzantine must be an integer, got {type(byzantine).__name__}")
    if byzantine < 0:
        raise ValueError(f"{function}: byzantine must be at least 0, got {byzantine}")
    return int(byzantine), check_positive_integer(function, "selected", selected)


def krum(byzantine: int = 0, *, selected: int = 1) -> optax.GradientTransformationExtraArgs:
    """Krum and Multi-Krum: the gradient nearest to its neighbours, which a few arbitrary ones cannot draw far away.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T workers or tasks, into one update of leaves `[...]`
    in the same dtype; see `krum_weights` for the definition. The Gramian over the whole tree is accumulated in float32
    or wider; a gradient with NaN or inf gives NaN.

    Args:
        byzantine: so many of the gradients may be arbitrary, at least 0.
        selected: so many are averaged, 1 in Krum, more in Multi-Krum.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a count that is not an integer.
        ValueError: a count out of range; from the update, leaves without a leading task axis or with different ones,
            fewer than `byzantine + 3` or `selected` gradients.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(krum(1), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> gradients = jnp.array([[0.9, 0.0], [1.0, 0.5], [1.1, 0.0], [-9.0, 5.0]])
        >>> updates, state = tx.update(gradients, tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.9, -0.0]

    Source:
        Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine Tolerant Gradient
        Descent" (2017).
    """
    byzantine, selected = _check_counts("krum", byzantine, selected)
    return weighted("krum", lambda gramian: krum_weights(gramian, byzantine, selected=selected))
