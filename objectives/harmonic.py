"""Harmonic loss: cross-entropy of logits that are made from the distances to class centres."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
)
from objectives._softmax import expected_penalty
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar


def harmonic_logits(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    *,
    exponent: Scalar | None = None,
    epsilon: Scalar = 1e-9,
) -> Float[Array, "*batch classes"]:
    r"""Logits whose softmax is the harmonic max of the distances to the class centres.

    $$
    -\tfrac{n}{2} \log\left( \lVert w_c - x \rVert^2 + \epsilon \right), \quad
    \mathrm{softmax}_c = \frac{d_c^{-n}}{\sum_j d_j^{-n}}
    $$

    The squared distances come from inner products. Those below their rounding error, 16 units in the last place of the
    squared norms, count as that error and have gradient 0; embeddings and centres that share a large offset should
    therefore be centred first.

    Args:
        embeddings: Embeddings x `[..., D]`.
        weights: Class centres w `[C, D]`.
        exponent: Harmonic exponent n, positive; the square root of D by default.
        epsilon: Positive guard, in squared units of the embeddings, for an embedding at a centre.

    Returns:
        Logits `[..., C]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If embeddings or weights are not floating point.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> logits = harmonic_logits(jnp.array([0.0]), jnp.array([[1.0], [2.0]]), exponent=2.0)
        >>> print(f"{jax.nn.softmax(logits)[0]:.4f}")
        0.8000

    Source:
        Baek, Liu, Tyagi, Tegmark, "Harmonic Loss Trains Interpretable AI Models", 2025.
    """
    return _harmonic_logits("harmonic_logits", embeddings, weights, exponent, epsilon)


def harmonic_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch classes"] | Bool[ArrayLike, "*batch classes"],
    *,
    exponent: Scalar | None = None,
    epsilon: Scalar = 1e-9,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Harmonic loss: the nearer a class centre, the more probable the class.

    $$
    -\sum_c q_c \log p_c, \quad p_c = \frac{d_c^{-n}}{\sum_j d_j^{-n}}, \quad d_c = \lVert w_c - x \rVert
    $$

    It is invariant to a common scaling, rotation or translation of embeddings and centres, and it is 0 at a finite
    point: x = w_y.

    Args:
        embeddings: Embeddings x `[..., D]`.
        weights: Class centres w `[C, D]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        exponent: Harmonic exponent n, positive; the square root of D by default.
        epsilon: Positive guard, in squared units of the embeddings, for an embedding at a centre.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> centres = jnp.array([[1.0], [2.0]])
        >>> print(f"{harmonic_loss(jnp.array([[0.0]]), centres, jnp.array([0]), exponent=2.0)[0]:.4f}")
        0.2231

    Source:
        Baek, Liu, Tyagi, Tegmark, "Harmonic Loss Trains Interpretable AI Models", 2025.
    """
    name = "harmonic_loss"
    embeddings = floating(name, "embeddings", embeddings)
    check_rank(name, "embeddings", embeddings, 1, "[..., D]")
    kept = mask(name, where, embeddings.shape[:-1])
    logits = _harmonic_logits(name, clean(embeddings, kept), weights, exponent, epsilon)
    targets = class_labels(name, labels, logits.shape, compute_dtype(logits), kept)
    return finish(expected_penalty(logits, targets, jnp.negative), kept, targets.valid)


def _harmonic_logits(
    function: str, embeddings: ArrayLike, weights: ArrayLike, exponent: Scalar | None, epsilon: Scalar
) -> Array:
    """The logits of the harmonic max, with errors in the caller's name."""
    embeddings, weights = floating(function, "embeddings", embeddings), floating(function, "weights", weights)
    check_rank(function, "embeddings", embeddings, 1, "[..., D]")
    check_rank(function, "weights", weights, 2, "[C, D]", 2)
    if weights.shape[-1] != embeddings.shape[-1] or weights.size == 0:
        raise ValueError(
            f"{function}: weights must have shape [C, {embeddings.shape[-1]}] with C > 0, got {describe(weights)}"
        )
    dtype = compute_dtype(embeddings, weights)
    order = embeddings.shape[-1] ** 0.5 if exponent is None else exponent
    order = hyperparameter(function, "exponent", order, dtype, 0, open_low=True)
    guard = hyperparameter(function, "epsilon", epsilon, dtype, 0, open_low=True)

    x, w = embeddings.astype(dtype), weights.astype(dtype)
    norms = jnp.sum(x * x, axis=-1, keepdims=True) + jnp.sum(w * w, axis=-1)
    squared = norms - 2 * jnp.tensordot(x, w, axes=(-1, -1), precision=lax.Precision.HIGHEST)
    # Below the rounding error of the norms a distance is unknown: it counts as that error, and has no direction.
    squared = jnp.maximum(squared, lax.stop_gradient(16 * jnp.finfo(dtype).eps * norms))
    return -0.5 * order * jnp.log(squared + guard)
