"""Checkered regression: a sigmoid of several hyperplanes that tessellates the space like a checkerboard."""

import jax
import jax.numpy as jnp

from objectives._inputs import (
    check_classes,
    check_same_shape,
    clean,
    compute_dtype,
    expand,
    finish,
    floating,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real


def checkered_sigmoid(logits: Float[ArrayLike, "*batch planes"]) -> Float[Array, "*batch"]:
    r"""Checkered sigmoid: the probability that an even number of independent binary decisions is negative.

    $$
    \tfrac12 \Big( 1 + \prod_j \tanh \tfrac{z_j}{2} \Big)
    $$

    With one hyperplane it is the sigmoid. Changing the sign of two logits changes nothing, of one turns p to 1 - p.

    Args:
        logits: Scores z of the hyperplanes `[..., M]`.

    Returns:
        Probabilities of the positive class `[...]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no hyperplane.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{checkered_sigmoid(jnp.array([2.0, -2.0])):.4f}")
        0.2100

    Source:
        Achab, "Checkered Regression", 2022.
    """
    scores = floating("checkered_sigmoid", "logits", logits)
    check_classes("checkered_sigmoid", "logits", scores, "[..., M]")
    return jnp.exp(_even_and_odd(scores.astype(compute_dtype(scores)))[0])


def checkered_regression_loss(
    logits: Float[ArrayLike, "*batch planes"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Checkered regression: the cross-entropy of a checkered sigmoid, which tells XOR apart with two hyperplanes.

    $$
    -y \log p - (1 - y) \log (1 - p), \quad p = \tfrac12 \Big( 1 + \prod_j \tanh \tfrac{z_j}{2} \Big)
    $$

    Both logarithms come from a recurrence in the log domain, so that neither p nor 1 - p is rounded.

    Args:
        logits: Scores z of the hyperplanes `[..., M]`.
        labels: 0 or 1, boolean, or probability y of the positive class `[...]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{checkered_regression_loss(jnp.array([[2.0, -2.0]]), jnp.array([0]))[0]:.4f}")
        0.2357

    Source:
        Achab, "Checkered Regression", 2022; Achab, "Beyond Log-Concavity: Theory and Algorithm for Sum-Log-Concave
        Optimization", 2023.
    """
    name = "checkered_regression_loss"
    scores, targets = floating(name, "logits", logits), real(name, "labels", labels)
    check_classes(name, "logits", scores, "[..., M]")
    check_same_shape(name, "labels", targets, "logits without its last axis", scores[..., 0])
    kept, dtype = mask(name, where, scores.shape[:-1]), compute_dtype(scores)
    even, odd = _even_and_odd(clean(scores, kept).astype(dtype))
    positive = clean(targets, kept).astype(dtype)
    positive = jnp.where((positive >= 0) & (positive <= 1), positive, jnp.nan)
    return finish(-positive * even - (1 - positive) * odd, kept)


def sum_log_concave_loss(
    log_components: Float[ArrayLike, "*batch components"], *, where: Bool[ArrayLike, "*batch components"] | None = None
) -> Float[Array, "*batch"]:
    r"""Negative logarithm of a sum of log-concave components: mixtures, and checkered regression, are of this form.

    $$
    -\log \sum_k e^{l_k}
    $$

    It is not convex, but lies above its tangents less a Kullback–Leibler divergence of the shares of its components.

    Args:
        log_components: Logarithms l of the components `[..., K]`, each concave in the parameters.
        where: Boolean mask of components `[..., K]`; one that is masked is no part of the sum and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); 0 where no component is kept.

    Raises:
        TypeError: If the components are not floating point or `where` not boolean.
        ValueError: If shapes do not match or there is no component.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sum_log_concave_loss(jnp.log(jnp.array([0.25, 0.25]))):.4f}")
        0.6931

    Source:
        Achab, "Beyond Log-Concavity: Theory and Algorithm for Sum-Log-Concave Optimization", 2023.
    """
    name = "sum_log_concave_loss"
    components = floating(name, "log_components", log_components)
    check_classes(name, "log_components", components, "[..., K]")
    kept = mask(name, where, components.shape)
    values = clean(components, kept).astype(compute_dtype(components))
    if kept is None:
        return -jax.nn.logsumexp(values, axis=-1)
    some = jnp.any(kept, axis=-1)
    total = jax.nn.logsumexp(values, axis=-1, where=kept | ~expand(some, values.ndim))
    return jnp.where(some, -total, 0)


def _even_and_odd(z: Array) -> tuple[Array, Array]:
    """log p and log(1 - p): of an even and of an odd number of negative decisions, combined in pairs."""
    even, odd = jax.nn.log_sigmoid(z), jax.nn.log_sigmoid(-z)
    while even.shape[-1] > 1:
        pairs = even.shape[-1] // 2
        a, b = (even[..., :pairs], odd[..., :pairs]), (even[..., pairs : 2 * pairs], odd[..., pairs : 2 * pairs])
        both = jnp.logaddexp(a[0] + b[0], a[1] + b[1]), jnp.logaddexp(a[0] + b[1], a[1] + b[0])
        even, odd = (jnp.concatenate([new, x[..., 2 * pairs :]], axis=-1) for new, x in zip(both, (even, odd)))
    return even[..., 0], odd[..., 0]
