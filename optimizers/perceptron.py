"""Logistic regression with large steps, and the perceptron that it becomes.

With margins m_i = y_i a_i·w, gradient descent on the logistic loss adds a multiple of Σ_i σ(-m_i) y_i a_i. Divided by
the total weight instead of the number of examples, its step does not shrink as the examples come to be classified.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from optimizers._trees import wide


def normalized_logistic_weights(
    margins: Float[Array, " B"], *, where: Bool[Array, " B"] | None = None
) -> Float[Array, " B"]:
    r"""The weights of examples in the normalised gradient of the logistic loss.

    $$q_i = \frac{\sigma(-m_i)}{\sum_j \sigma(-m_j)} = \mathrm{softmax}_i \log \sigma(-m)$$

    In the last form nothing underflows: margins of 1e4 have weights as well.

    Args:
        margins: the margins m.
        where: mask of the examples that count; None means all.

    Returns:
        The weights, in float32 or wider; their sum is 1, or 0 where no example counts.

    Raises:
        ValueError: `margins` is no vector, or `where` of another shape.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(normalized_logistic_weights(jnp.array([0.0, 0.0, 1e4])))
        [0.5 0.5 0. ]

    Source:
        A. Tyurin, "From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step
        Sizes", 2024.
    """
    return _weights("normalized_logistic_weights", margins, where)


def _weights(function: str, margins: Array, where: Array | None) -> Array:
    margins = jnp.asarray(margins)
    if margins.ndim != 1:
        raise ValueError(f"{function}: margins must be a vector [B], got shape {margins.shape}")
    if where is not None and jnp.shape(where) != margins.shape:
        raise ValueError(f"{function}: where must have shape {margins.shape}, got {jnp.shape(where)}")
    counts = jnp.ones(margins.shape, bool) if where is None else jnp.asarray(where)
    scores = jnp.where(counts, jax.nn.log_sigmoid(-wide(jnp.where(counts, margins, 0))), -jnp.inf)
    largest = lax.stop_gradient(jnp.max(scores, initial=-jnp.inf))
    weights = jnp.where(counts, jnp.exp(scores - jnp.where(jnp.isfinite(largest), largest, 0.0)), 0.0)
    total = jnp.sum(weights)
    return weights / jnp.where(total == 0, 1.0, total)


def normalized_logistic_surrogate(
    margins: Float[Array, " B"], *, where: Bool[Array, " B"] | None = None
) -> Float[Array, ""]:
    r"""A number whose gradient is the normalised gradient of the logistic loss.

    $$L = -\sum_i \bar q_i\, m_i, \qquad \nabla L = -\sum_i q_i \nabla m_i$$

    with the weights q of `normalized_logistic_weights` held fixed (the bar): no function has this gradient, so the
    value itself is no objective. Any optimizer may follow it; under `optax.sgd(gamma)` each step is γ times an average
    of the examples still near or beyond the boundary.

    Args:
        margins: the margins m, as a function of the parameters.
        where: mask of the examples that count; None means all.

    Returns:
        A scalar in float32 or wider, the negative weighted mean of the margins.

    Raises:
        ValueError: `margins` is no vector, or `where` of another shape.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> print(jnp.abs(jax.grad(normalized_logistic_surrogate)(jnp.array([0.0, 0.0, 1e4]))))
        [0.5 0.5 0. ]

    Source:
        A. Tyurin, "From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step
        Sizes", 2024.
    """
    weights = lax.stop_gradient(_weights("normalized_logistic_surrogate", margins, where))
    margins = wide(jnp.asarray(margins))
    return -jnp.sum(weights * jnp.where(weights == 0, 0.0, margins))


def batch_perceptron_step(
    params: Float[Array, " d"],
    features: Float[Array, "B d"],
    labels: Float[Array, " B"],
    *,
    normalized: bool = True,
) -> Float[Array, " d"]:
    r"""One step of the batch perceptron: what gradient descent on the logistic loss becomes as its step size grows.

    $$
    w \leftarrow w + \frac{1}{|S|} \sum_{i \in S} y_i a_i, \qquad S = \{i : y_i\, a_i \cdot w < 0\}
    $$

    Examples exactly on the boundary count half, as the logistic weights have it. `normalized=False` divides by the
    number of all examples instead: the limit of plain gradient descent, which needs more steps by that factor.
    Normalised, at most $R^2 / \mu^2$ steps separate data of radius R that can be separated with margin μ.

    Args:
        params: the weights w.
        features: the examples a, one a row.
        labels: -1 or 1 each; any other label makes the step NaN.
        normalized: divide by the number of misclassified examples.

    Returns:
        The new weights, in the dtype of `params`; unchanged once everything is classified.

    Raises:
        ValueError: shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> features, labels = jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.array([1.0, -1.0])
        >>> print(batch_perceptron_step(jnp.array([1.0, 1.0]), features, labels))
        [ 1. -3.]

    Source:
        A. Tyurin, "From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step
        Sizes", 2024; A. B. J. Novikoff, "On Convergence Proofs on Perceptrons", 1962.
    """
    params, features, labels = map(jnp.asarray, (params, features, labels))
    if params.ndim != 1 or features.shape != (*labels.shape, *params.shape) or labels.ndim != 1:
        raise ValueError(
            "batch_perceptron_step: params, features and labels must have shapes [d], [B, d] and [B], "
            f"got params {params.shape}, features {features.shape} and labels {labels.shape}"
        )
    w, a, y = wide(params), wide(features), labels.astype(wide(params).dtype)
    y = jnp.where(jnp.abs(y) == 1, y, jnp.nan)
    margins = y * jnp.dot(a, w, precision=lax.Precision.HIGHEST)
    mistakes = jnp.where(margins < 0, 1.0, jnp.where(margins == 0, 0.5, margins * 0))
    total: Any = jnp.sum(mistakes) if normalized else max(len(y), 1)
    step = jnp.dot(mistakes * y, a, precision=lax.Precision.HIGHEST) / jnp.where(total == 0, 1.0, total)
    return (w + step).astype(params.dtype)
