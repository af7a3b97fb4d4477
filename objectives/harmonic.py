"""Harmonic loss: cross-entropy of logits that are made from the distances to class centres.

One equation: logits = -n/2 log(d² + ε), whose softmax is d^{-n} / Σ_j d_j^{-n}. A member is its distance: a word, or
any function from embeddings `[..., D]` and centres `[C, D]` to distances `[..., C]`, for one

    def lorentzian(x, w):
        return jnp.sum(jnp.log1p(jnp.abs(x[..., None, :] - w)), axis=-1)
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

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
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar

Distance: TypeAlias = (
    Literal["euclidean", "mahalanobis", "cosine", "manhattan", "minkowski", "chebyshev", "canberra", "bray_curtis"]
    | Callable[[Array, Array], Array]
)


def harmonic_logits(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    *,
    exponent: Scalar | None = None,
    epsilon: Scalar = 1e-9,
    distance: Distance = "euclidean",
    order: Scalar | None = None,
    precision: Float[ArrayLike, "features features"] | None = None,
) -> Float[Array, "*batch classes"]:
    r"""Logits whose softmax is the harmonic max of the distances to the class centres.

    $$
    -\tfrac{n}{2} \log\left( d(w_c, x)^2 + \epsilon \right), \quad
    \mathrm{softmax}_c = \frac{d_c^{-n}}{\sum_j d_j^{-n}}
    $$

    Euclidean, Mahalanobis and cosine distances come from inner products. Squares below their rounding error, 16 units
    in the last place of the squared norms, count as that error and have gradient 0; embeddings and centres that share
    a large offset should therefore be centred first. The others look at every difference.

    Args:
        embeddings: Embeddings x `[..., D]`.
        weights: Class centres w `[C, D]`.
        exponent: Harmonic exponent n, positive; the square root of D by default.
        epsilon: Positive guard, in squared units of the distance, for an embedding at a centre.
        distance: `"euclidean"`; `"mahalanobis"`, the root of (x - w)ᵀ P (x - w); `"cosine"`, one minus the cosine;
            `"manhattan"`; `"minkowski"`; `"chebyshev"`; `"canberra"`, Σ |x - w| / (|x| + |w|); `"bray_curtis"`,
            Σ |x - w| / Σ |x + w|, all as in SciPy; or a function from embeddings and centres to distances `[..., C]`.
        order: Order of Minkowski's distance, at least 1; for that distance only.
        precision: Precision P of Mahalanobis's distance `[D, D]`, symmetric and positive semidefinite (the inverse of a
            covariance); for that distance only.

    Returns:
        Logits `[..., C]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If embeddings, weights or `precision` are not floating point.
        ValueError: If shapes do not match, a hyperparameter is out of range, or `order` or `precision` does not go with
            the distance.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> logits = harmonic_logits(jnp.array([0.0]), jnp.array([[1.0], [2.0]]), exponent=2.0)
        >>> print(f"{jax.nn.softmax(logits)[0]:.4f}")
        0.8000

    Source:
        Baek, Liu, Tyagi, Tegmark, "Harmonic Loss Trains Interpretable AI Models", 2025; Miller-Golub, Coil, Faber,
        Pietron, Zheng, Minervini, Corizzo, "Rethinking the Harmonic Loss via Non-Euclidean Distance Layers", 2026.
    """
    return _harmonic_logits("harmonic_logits", embeddings, weights, exponent, epsilon, distance, order, precision)


def harmonic_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    labels: ClassLabels,
    *,
    exponent: Scalar | None = None,
    epsilon: Scalar = 1e-9,
    distance: Distance = "euclidean",
    order: Scalar | None = None,
    precision: Float[ArrayLike, "features features"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Harmonic loss: the nearer a class centre, the more probable the class.

    $$
    -\sum_c q_c \log p_c, \quad p_c = \frac{d_c^{-n}}{\sum_j d_j^{-n}}, \quad d_c = d(w_c, x)
    $$

    It is invariant to a common scale of all distances, and it is 0 at a finite point: x = w_y.

    Args:
        embeddings: Embeddings x `[..., D]`.
        weights: Class centres w `[C, D]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        exponent: Harmonic exponent n, positive; the square root of D by default.
        epsilon: Positive guard, in squared units of the distance, for an embedding at a centre.
        distance: Distance d by name, as in `harmonic_logits`, or a function.
        order: Order of Minkowski's distance, at least 1; for that distance only.
        precision: Precision of Mahalanobis's distance `[D, D]`; for that distance only.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings, weights or `precision` are not floating point, class ids not integers or `where` not
            boolean.
        ValueError: If shapes do not match, a hyperparameter is out of range, or `order` or `precision` does not go with
            the distance.

    Examples:
        >>> import jax.numpy as jnp
        >>> centres = jnp.array([[1.0], [2.0]])
        >>> print(f"{harmonic_loss(jnp.array([[0.0]]), centres, jnp.array([0]), exponent=2.0)[0]:.4f}")
        0.2231

    Source:
        Baek, Liu, Tyagi, Tegmark, "Harmonic Loss Trains Interpretable AI Models", 2025; Miller-Golub, Coil, Faber,
        Pietron, Zheng, Minervini, Corizzo, "Rethinking the Harmonic Loss via Non-Euclidean Distance Layers", 2026.
    """
    name = "harmonic_loss"
    embeddings = floating(name, "embeddings", embeddings)
    check_rank(name, "embeddings", embeddings, 1, "[..., D]")
    kept = mask(name, where, embeddings.shape[:-1])
    cleaned = clean(embeddings, kept)
    logits = _harmonic_logits(name, cleaned, weights, exponent, epsilon, distance, order, precision)
    targets = class_labels(name, labels, logits.shape, compute_dtype(logits), kept)
    return finish(expected_penalty(logits, targets, jnp.negative), kept, targets.valid)


def _harmonic_logits(
    function: str,
    embeddings: ArrayLike,
    weights: ArrayLike,
    exponent: Scalar | None,
    epsilon: Scalar,
    distance: Distance,
    order: Scalar | None,
    precision: ArrayLike | None,
) -> Array:
    """The logits of the harmonic max, with errors in the caller's name."""
    embeddings, weights = floating(function, "embeddings", embeddings), floating(function, "weights", weights)
    check_rank(function, "embeddings", embeddings, 1, "[..., D]")
    check_rank(function, "weights", weights, 2, "[C, D]", 2)
    features = embeddings.shape[-1]
    if weights.shape[-1] != features or weights.size == 0:
        raise ValueError(f"{function}: weights must have shape [C, {features}] with C > 0, got {describe(weights)}")
    dtype = compute_dtype(embeddings, weights)
    power = hyperparameter(
        function, "exponent", features**0.5 if exponent is None else exponent, dtype, 0, open_low=True
    )
    guard = hyperparameter(function, "epsilon", epsilon, dtype, 0, open_low=True)
    if not callable(distance) and distance not in {*_OF_DIFFERENCES, *_OF_PRODUCTS, "minkowski"}:
        raise ValueError(f"{function}: distance must be the name of a distance or a function, got {distance!r}")
    for keyword, value, owner in (("order", order, "minkowski"), ("precision", precision, "mahalanobis")):
        if (value is not None) != (distance == owner):
            raise ValueError(f"{function}: {keyword} must be given with distance={owner!r}, and with no other")

    x, w = embeddings.astype(dtype), weights.astype(dtype)
    if callable(distance):
        squared = distance(x, w) ** 2
    elif distance == "minkowski":
        p = hyperparameter(function, "order", order, dtype, 1)
        squared = _minkowski(x[..., None, :] - w, p) ** 2
    elif distance in _OF_PRODUCTS:
        matrix = None
        if precision is not None:
            matrix = floating(function, "precision", precision).astype(dtype)
            if matrix.shape != (features, features):
                raise ValueError(
                    f"{function}: precision must have shape [{features}, {features}], got {describe(matrix)}"
                )
        squared = _from_products(x, w, matrix, cosine=distance == "cosine")
    else:
        squared = _OF_DIFFERENCES[distance](x[..., None, :], w) ** 2
    return -0.5 * power * jnp.log(squared + guard)


def _from_products(x: Array, w: Array, precision: Array | None, *, cosine: bool) -> Array:
    """Squared distances from inner products: Euclidean under a precision, or those of cosines."""
    highest = lax.Precision.HIGHEST
    if cosine:
        x, w = _normalize(x), _normalize(w)
        return (1 - jnp.tensordot(x, w, axes=(-1, -1), precision=highest)) ** 2
    left = x if precision is None else jnp.tensordot(x, precision, axes=(-1, -1), precision=highest)
    right = w if precision is None else jnp.tensordot(w, precision, axes=(-1, -1), precision=highest)
    norms = jnp.sum(left * x, axis=-1, keepdims=True) + jnp.sum(right * w, axis=-1)
    squared = norms - 2 * jnp.tensordot(left, w, axes=(-1, -1), precision=highest)
    # Below the rounding error of the norms a distance is unknown: it counts as that error, and has no direction.
    return jnp.maximum(squared, lax.stop_gradient(16 * jnp.finfo(x.dtype).eps * jnp.maximum(norms, 0)))


def _normalize(x: Array) -> Array:
    """x / |x| along the last axis; a zero vector stays zero."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    x = x / jnp.where(largest > 0, largest, 1)
    squared = jnp.sum(x * x, axis=-1, keepdims=True)
    return jnp.where(squared > 0, x * lax.rsqrt(jnp.where(squared > 0, squared, 1)), 0)


def _minkowski(difference: Array, order: Scalar) -> Array:
    """(Σ |d|^p)^{1/p}, with gradient 0 at 0."""
    size = jnp.abs(difference)
    largest = lax.stop_gradient(jnp.max(size, axis=-1, keepdims=True))
    some = largest[..., 0] > 0
    scaled = jnp.where(largest > 0, size / jnp.where(largest > 0, largest, 1), 0)
    powers = jnp.where(scaled > 0, jnp.where(scaled > 0, scaled, 1) ** order, 0)
    total = jnp.where(some, jnp.sum(powers, axis=-1), 1)
    return jnp.where(some, largest[..., 0] * total ** (1 / order), 0)


def _canberra(x: Array, w: Array) -> Array:
    size = jnp.abs(x) + jnp.abs(w)
    return jnp.sum(jnp.where(size > 0, jnp.abs(x - w) / jnp.where(size > 0, size, 1), 0), axis=-1)


def _bray_curtis(x: Array, w: Array) -> Array:
    """Opposite vectors are as far apart as rounding can tell, not infinitely."""
    total, least = jnp.sum(jnp.abs(x + w), axis=-1), jnp.sum(jnp.abs(x) + jnp.abs(w), axis=-1)
    total = jnp.maximum(total, lax.stop_gradient(jnp.finfo(x.dtype).eps * least))
    return jnp.where(total > 0, jnp.sum(jnp.abs(x - w), axis=-1) / jnp.where(total > 0, total, 1), 0)


_OF_PRODUCTS = {"euclidean", "mahalanobis", "cosine"}
_OF_DIFFERENCES: dict[str, Callable[[Array, Array], Array]] = {
    "manhattan": lambda x, w: jnp.sum(jnp.abs(x - w), axis=-1),
    "chebyshev": lambda x, w: jnp.max(jnp.abs(x - w), axis=-1),
    "canberra": _canberra,
    "bray_curtis": _bray_curtis,
}
