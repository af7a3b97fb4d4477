"""Aligned-MTL: the task gradients made orthogonal and of one length, as little changed as can be, and averaged."""

from typing import Literal

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers.aggregation._gramian import Preference, check_gramian, nan_unless_finite, task_vector, weighted
from optimizers.aggregation._spectrum import spectrum

ScaleMode = Literal["min", "median", "rmse"]


def aligned_mtl_weights(
    gramian: Float[Array, "T T"], *, preference: Preference = None, scale_mode: ScaleMode = "min"
) -> Float[Array, " T"]:
    r"""Weights of the task gradients in the mean of their aligned versions.

    $$
    w = \sqrt{s} \sum_{i:\ \lambda_i > 0} \lambda_i^{-1/2} v_i v_i^\top p, \quad
    G = J J^\top = \sum_i \lambda_i v_i v_i^\top
    $$

    The aligned gradients, rows of `sqrt(s) G^(-1/2) J`, have a condition number of 1: where G is of full rank they are
    orthogonal, of norm `sqrt(s)`. s is the least eigenvalue that is not 0 in the paper (`"min"`); the median and the
    mean (`"rmse"`) are those of its authors' code, the lower of two medians. With p = 1/T the aligned gradients
    are averaged, as in torchjd; the authors' code adds them up.

    Args:
        gramian: inner products G of the task gradients, `[T, T]`. Eigenvalues below `10 T eps` of the largest count
            as 0: in float32, gradients some 500 times shorter than the longest.
        preference: weights p of the aligned gradients, `[T]`; 1/T each by default.
        scale_mode: which of the eigenvalues that are not 0 is s: `"min"`, `"median"`, or `"rmse"` for their mean.

    Returns:
        Weights `[T]`: those preferred where all gradients vanish, NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, a preference that is not a vector of length T, another scale mode.

    Examples:
        (1, 0) and (0, 2) are aligned to (1, 0) and (0, 1):

        >>> import jax.numpy as jnp
        >>> aligned_mtl_weights(jnp.array([[1.0, 0.0], [0.0, 4.0]])).tolist()
        [0.5, 0.25]

    Source:
        Senushkin, Patakin, Kuznetsov, Konushin, "Independent Component Alignment for Multi-Task Learning" (2023).
    """
    gramian = check_gramian("aligned_mtl_weights", gramian)
    check_scale_mode("aligned_mtl_weights", scale_mode)
    vector = task_vector("aligned_mtl_weights", "preference", preference, gramian, 1.0 / gramian.shape[0])
    largest = jnp.max(jnp.diagonal(gramian))
    vanishes = largest < jnp.finfo(gramian.dtype).tiny
    values, vectors, kept = spectrum(gramian / jnp.where(vanishes, 1.0, largest))
    values = jnp.where(kept, values, 1.0)
    count = jnp.sum(kept)
    first = kept.size - count
    if scale_mode == "rmse":
        scale = jnp.sum(jnp.where(kept, values, 0.0)) / jnp.maximum(count, 1)
    else:
        scale = values[first + (count - 1) // 2 if scale_mode == "median" else jnp.minimum(first, kept.size - 1)]
    along = jnp.dot(vector, vectors, precision=lax.Precision.HIGHEST) * jnp.where(kept, jnp.sqrt(scale / values), 0.0)
    weights = jnp.dot(vectors, along, precision=lax.Precision.HIGHEST)
    return nan_unless_finite(gramian, jnp.where(vanishes, vector, weights))


def check_scale_mode(function: str, scale_mode: str) -> None:
    """ValueError unless it is one of the three."""
    if scale_mode not in ("min", "median", "rmse"):
        raise ValueError(f"{function}: scale_mode must be 'min', 'median' or 'rmse', got {scale_mode!r}")


def aligned_mtl(
    *, preference: Preference = None, scale_mode: ScaleMode = "min"
) -> optax.GradientTransformationExtraArgs:
    """Independent component alignment: the task gradients made orthogonal and of one length, and averaged.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `aligned_mtl_weights` for the definition. The Gramian over the whole tree is accumulated in float32 or
    wider; a gradient with NaN or inf gives NaN.

    Args:
        preference: weights of the aligned gradients, `[T]`; 1/T each by default.
        scale_mode: their squared length, among the eigenvalues of the Gramian: `"min"`, `"median"`, or `"rmse"`, the
            mean.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        ValueError: another scale mode; from the update, leaves without a leading task axis or with different ones, a
            preference of another length.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(aligned_mtl(), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.138, -0.415]

    Source:
        Senushkin, Patakin, Kuznetsov, Konushin, "Independent Component Alignment for Multi-Task Learning" (2023).
    """
    check_scale_mode("aligned_mtl", scale_mode)
    return weighted(
        "aligned_mtl", lambda gramian: aligned_mtl_weights(gramian, preference=preference, scale_mode=scale_mode)
    )
