"""EnsLoss: a new random calibrated loss at every step, known only by its derivatives."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather
from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    mask,
    prng_key,
    real,
)
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar


def ensloss(
    logits: Float[ArrayLike, " batch"],
    labels: Integer[ArrayLike, " batch"] | Real[ArrayLike, " batch"] | Bool[ArrayLike, " batch"],
    key: Array,
    *,
    lam: Scalar = 0.0,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " batch"]:
    r"""EnsLoss: a surrogate whose gradient is that of a random convex and calibrated loss of the margins.

    $$
    \operatorname{sg}(g_i)\, s_i, \quad s_i = y_i f_i, \quad y_i = \pm 1,
    \quad g = \text{derivatives from } \texttt{sample\_calibrated\_derivatives}
    $$

    The value means nothing; the gradient by the logits is y g, and follows another loss at every step. The derivatives
    are given by rank, so that the examples of a batch are coupled.

    Args:
        logits: Scores f `[N]`, positive for the positive class.
        labels: 0 or 1, or boolean `[N]`.
        key: PRNG key, a new one at every step and the same on all devices.
        lam: Parameter λ of the inverse Box–Cox transformation that makes derivatives of normal numbers. The authors
            draw a new one from (-1, 1) every few epochs.
        where: Boolean mask `[N]`; a masked entry has value 0 and gradient 0, takes no rank and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`: ranks are then those in the
            global batch.

    Returns:
        Values `[N]`, float32 (float64 for float64 logits); NaN where a label is neither 0 nor 1.

    Raises:
        TypeError: If the logits are not floating point, the labels not real, `key` no PRNG key or `where` not boolean.
        ValueError: If shapes differ or `lam` is not a finite number.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> logits, labels = jnp.array([2.0, -1.0]), jnp.array([1, 1])
        >>> gradient = jax.grad(lambda f: ensloss(f, labels, jax.random.key(0)).sum())(logits)
        >>> print(int((gradient < 0).sum()))
        2

    Source:
        Dai, "EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in Classification", 2024.
    """
    scores, targets = floating("ensloss", "logits", logits), real("ensloss", "labels", labels)
    check_rank("ensloss", "logits", scores, 1, "[N]", 1)
    check_same_shape("ensloss", "labels", targets, "logits", scores)
    kept, dtype = mask("ensloss", where, scores.shape), compute_dtype(scores)
    positive = clean(targets, kept).astype(dtype)
    signs = jnp.where((positive == 0) | (positive == 1), 2 * positive - 1, jnp.nan)
    margins = clean(scores, kept).astype(dtype) * signs
    derivatives = _derivatives("ensloss", key, lax.stop_gradient(margins), lam, kept, axis_name)
    return finish(derivatives * margins, kept)


def sample_calibrated_derivatives(
    key: Array, margins: Float[ArrayLike, " batch"], *, lam: Scalar = 0.0
) -> Float[Array, " batch"]:
    r"""Derivatives at the margins of a random convex, calibrated loss with a superlinear tail.

    $$
    g = -\min\left( (1 + \lambda u)_+^{1/\lambda},\ 1 \right) \cdot \min(1,\ 1 / s)_{s > 1} - 10^{-6}, \quad
    u \sim \mathcal N(0, 1)
    $$

    sorted so that g grows with the margin s, which makes the loss convex below a margin of 1; all g are negative,
    which makes it calibrated.

    Args:
        key: PRNG key.
        margins: Margins s `[N]`.
        lam: Parameter λ of the inverse Box–Cox transformation; 0 is the exponential.

    Returns:
        Derivatives `[N]`, float32 (float64 for float64 margins).

    Raises:
        TypeError: If the margins are not floating point or `key` is no PRNG key.
        ValueError: If `margins` has not one axis or `lam` is not a finite number.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> g = sample_calibrated_derivatives(jax.random.key(0), jnp.array([0.5, -2.0]))
        >>> print(int(g[1] <= g[0]))
        1

    Source:
        Dai, "EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in Classification", 2024.
    """
    name = "sample_calibrated_derivatives"
    values = floating(name, "margins", margins)
    check_rank(name, "margins", values, 1, "[N]", 1)
    return _derivatives(name, key, values.astype(compute_dtype(values)), lam, None, None)


def _derivatives(
    function: str,
    key: Array,
    margins: Array,
    lam: Scalar,
    kept: Array | None,
    axis_name: AxisName,
) -> Array:
    """Random derivatives, the k-th smallest to the k-th smallest kept margin of the global batch."""
    largest = float(jnp.finfo(margins.dtype).max)
    lam = hyperparameter(function, "lam", lam, margins.dtype, -largest, largest)
    kept = jnp.ones(margins.shape, bool) if kept is None else kept
    everyone = gather(jnp.where(kept, margins, jnp.inf), axis_name)  # what is masked, or NaN, takes the last ranks
    total = all_sum(jnp.sum(kept), axis_name)

    draws = jax.random.normal(prng_key(function, "key", key), everyone.shape, margins.dtype)
    flat = jnp.abs(lam) < 1e-4
    base = 1 + jnp.where(flat, 1, lam) * draws
    positive = base > 0
    power = jnp.exp(jnp.log(jnp.where(positive, base, 1)) / jnp.where(flat, 1, lam))
    power = jnp.where(positive, power, jnp.where(lam > 0, 0, jnp.inf))
    slopes = -jnp.minimum(jnp.where(flat, jnp.exp(draws), power), 1)
    slopes = jnp.sort(jnp.where(jnp.arange(slopes.size) < total, slopes, jnp.inf))

    ranks = jnp.zeros(everyone.shape, jnp.int32)
    ranks = ranks.at[jnp.argsort(everyone)].set(jnp.arange(everyone.size, dtype=jnp.int32))
    if axis_name is not None:
        start = lax.axis_index(axis_name) * margins.size
        ranks = lax.dynamic_slice_in_dim(ranks, start, margins.size)
    given = jnp.where(kept, slopes[ranks], 0)
    return given / jnp.maximum(margins, 1) - 1e-6
