"""Regression by a histogram: numbers encoded as classes, losses of the logits, and the numbers back.

Targets become a distribution over C bins between `bin_edges` `[C + 1]`: a Gaussian about the target (HL-Gauss), or the
one bin it falls into. To add an encoding, write the distribution and take `softmax_cross_entropy(logits, it)`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from objectives._inputs import (
    check_classes,
    clean,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar
from objectives.classification import softmax_cross_entropy
from objectives.regression._residuals import check_one_a_row, pair
from objectives.regression.errors import squared_error


def hl_gauss_targets(
    targets: Real[ArrayLike, "*batch"], bin_edges: Real[ArrayLike, " edges"], *, sigma_ratio: Scalar = 0.75
) -> Float[Array, "*batch classes"]:
    r"""The histogram of a Gaussian about each target: soft labels for a classifier of bins (HL-Gauss).

    $$
    p_c = \frac{\Phi\left( (b_{c+1} - y)/\sigma \right) - \Phi\left( (b_c - y)/\sigma \right)}
    {\Phi\left( (b_C - y)/\sigma \right) - \Phi\left( (b_0 - y)/\sigma \right)}
    $$

    Computed from logarithms: a target far outside the edges goes to the outermost bin, where the quotient is 0/0.

    Args:
        targets: Numbers y `[...]`.
        bin_edges: Edges b `[C + 1]` of the bins, increasing, in the units of the targets. Leave a few σ between the
            outermost edges and the targets, or their mean is biased inwards.
        sigma_ratio: The Gaussian's standard deviation σ in units of the mean width of a bin, positive; 0.75 spreads a
            target over about six bins.

    Returns:
        Probabilities `[..., C]`, float32 (float64 for float64 inputs); NaN for a NaN.

    Raises:
        TypeError: If the targets or edges are not real.
        ValueError: If the edges have no shape `[C + 1]` or do not increase, or `sigma_ratio` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = hl_gauss_targets(jnp.array([0.5]), jnp.linspace(-1.0, 2.0, 4), sigma_ratio=0.5)
        >>> print([f"{p:.4f}" for p in probabilities[0]])
        ['0.1577', '0.6845', '0.1577']

    Source:
        Imani, White, "Improving Regression Performance with Distributional Losses", 2018; Farebrother, Orbay, Vuong, et
        al., "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL", 2024.
    """
    name = "hl_gauss_targets"
    values = real(name, "targets", targets)
    return _hl_gauss(name, values, bin_edges, sigma_ratio, compute_dtype(values))


def hl_gauss_loss(
    logits: Float[ArrayLike, "*batch classes"],
    targets: Real[ArrayLike, "*batch"],
    bin_edges: Real[ArrayLike, " edges"],
    *,
    sigma_ratio: Scalar = 0.75,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""HL-Gauss loss: the cross-entropy between a Gaussian about the target and a histogram.

    $$
    -\sum_c p_c(y) \log \operatorname{softmax}(\mathrm{logits})_c
    $$

    With p of `hl_gauss_targets`. `histogram_mean(softmax(logits), bin_edges)` is the prediction. The least loss is not
    0 but the entropy of p.

    Args:
        logits: Logits `[..., C]`.
        targets: Numbers y `[...]`.
        bin_edges: Edges `[C + 1]` of the bins, increasing, in the units of the targets.
        sigma_ratio: The Gaussian's standard deviation in units of the mean width of a bin, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the logits are not floating point, targets or edges not real or `where` not boolean.
        ValueError: If shapes do not match, the edges do not increase or `sigma_ratio` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{hl_gauss_loss(jnp.zeros((1, 4)), jnp.array([0.3]), jnp.linspace(0.0, 1.0, 5))[0]:.4f}")
        1.3863

    Source:
        Imani, White, "Improving Regression Performance with Distributional Losses", 2018; Farebrother, Orbay, Vuong, et
        al., "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL", 2024.
    """
    name = "hl_gauss_loss"
    scores, values = floating(name, "logits", logits), real(name, "targets", targets)
    check_classes(name, "logits", scores)
    check_one_a_row(name, "targets", values, "logits", scores)
    kept = mask(name, where, values.shape)
    probabilities = _hl_gauss(
        name, clean(values, kept), bin_edges, sigma_ratio, compute_dtype(scores, values), scores.shape[-1]
    )
    return softmax_cross_entropy(scores, probabilities, where=kept)


def histogram_mean(
    probabilities: Float[ArrayLike, "*batch classes"], bin_edges: Real[ArrayLike, " edges"]
) -> Float[Array, "*batch"]:
    r"""The mean of a histogram: the number that probabilities of bins stand for.

    $$
    \sum_c p_c \tfrac12 (b_c + b_{c+1})
    $$

    Args:
        probabilities: Probabilities p of the bins `[..., C]`.
        bin_edges: Edges b `[C + 1]` of the bins, increasing.

    Returns:
        Numbers `[...]` in the units of the edges, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the probabilities are not floating point or the edges not real.
        ValueError: If the shapes do not match or the edges do not increase.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(histogram_mean(jnp.array([0.25, 0.75]), jnp.array([0.0, 2.0, 4.0])))
        2.5

    Source:
        Farebrother, Orbay, Vuong, et al., "Stop Regressing: Training Value Functions via Classification for Scalable
        Deep RL", 2024.
    """
    name = "histogram_mean"
    weights = floating(name, "probabilities", probabilities)
    check_classes(name, "probabilities", weights)
    dtype = compute_dtype(weights)
    edges = _edges(name, bin_edges, dtype, weights.shape[-1])
    return jnp.sum(weights.astype(dtype) * (0.5 * (edges[:-1] + edges[1:])), axis=-1)


def discretize_targets(
    targets: Real[ArrayLike, "*batch"], bin_edges: Real[ArrayLike, " edges"]
) -> Integer[Array, "*batch"]:
    r"""The bin that each target falls into, a class id.

    $$
    c(y) = \max \{ c : b_c \le y \}, \text{ clipped to } 0, \ldots, C - 1
    $$

    Quantiles of the targets as edges make the classes balanced, equal widths keep their frequencies.

    Args:
        targets: Numbers y `[...]`.
        bin_edges: Edges b `[C + 1]` of the bins, increasing; what lies outside goes to the outermost bins.

    Returns:
        Class ids `[...]`, int32; -1, which losses turn into NaN, for a NaN.

    Raises:
        TypeError: If the targets or edges are not real.
        ValueError: If the edges have no shape `[C + 1]` or do not increase.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(discretize_targets(jnp.array([-1.0, 0.5, 1.0, 7.0]), jnp.array([0.0, 1.0, 2.0])))
        [0 0 1 1]

    Source:
        Pintea, Lin, Dijkstra, van Gemert, "A Step Towards Understanding why Classification Helps Regression", 2023.
    """
    name = "discretize_targets"
    values = real(name, "targets", targets)
    dtype = compute_dtype(values)
    edges = _edges(name, bin_edges, dtype)
    values = values.astype(dtype)
    ids = jnp.searchsorted(edges[1:-1], values, side="right").astype(jnp.int32)
    return jnp.where(jnp.isnan(values), -1, ids)


def regression_with_classification_loss(
    predictions: Float[ArrayLike, "*batch"],
    logits: Float[ArrayLike, "*batch classes"],
    targets: Real[ArrayLike, "*batch"],
    bin_edges: Real[ArrayLike, " edges"],
    *,
    class_weight: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared error beside a cross-entropy of the bin that the target falls into.

    $$
    (\hat y - y)^2 - \lambda \log \operatorname{softmax}(\mathrm{logits})_{c(y)}
    $$

    The classifier shares the features of the regression and is dropped after training. Where targets are unevenly
    frequent it helps most, and nothing is lost where they are even. For another error add `softmax_cross_entropy` of
    `discretize_targets` to it.

    Args:
        predictions: Predictions `[...]`.
        logits: Logits of the bins `[..., C]`.
        targets: Targets, of the shape of `predictions`.
        bin_edges: Edges `[C + 1]` of the bins, increasing; what lies outside goes to the outermost bins.
        class_weight: Weight λ of the cross-entropy, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If predictions or logits are not floating point, targets or edges not real or `where` not boolean.
        ValueError: If shapes do not match, the edges do not increase or `class_weight` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = regression_with_classification_loss(
        ...     jnp.array([1.0]), jnp.zeros((1, 2)), jnp.array([3.0]), jnp.array([0.0, 2.0, 4.0])
        ... )
        >>> print(f"{loss[0]:.4f}")
        4.6931

    Source:
        Pintea, Lin, Dijkstra, van Gemert, "A Step Towards Understanding why Classification Helps Regression", 2023.
    """
    name = "regression_with_classification_loss"
    entries, scores = pair(name, predictions, targets, where), floating(name, "logits", logits)
    check_classes(name, "logits", scores)
    check_one_a_row(name, "targets", entries.targets, "logits", scores)
    weight = hyperparameter(name, "class_weight", class_weight, entries.dtype, 0)
    ids = discretize_targets(entries.targets, _edges(name, bin_edges, entries.dtype, scores.shape[-1]))
    cross_entropy = softmax_cross_entropy(scores, ids, where=entries.kept)
    return squared_error(entries.predictions, entries.targets, where=entries.kept) + weight * cross_entropy


def _edges(function: str, bin_edges: ArrayLike, dtype: np.dtype, bins: int | None = None) -> Array:
    """Checked edges of bins in the compute dtype; whether they increase is checked where they are concrete."""
    edges = real(function, "bin_edges", bin_edges)
    if edges.ndim != 1 or edges.shape[0] < 2 or (bins is not None and edges.shape[0] != bins + 1):
        expected = "[C + 1]" if bins is None else f"[{bins + 1}]"
        raise ValueError(f"{function}: bin_edges must have shape {expected}, got {describe(edges)}")
    if not isinstance(edges, jax.core.Tracer) and not np.all(np.diff(np.asarray(edges, np.float64)) > 0):
        raise ValueError(f"{function}: bin_edges must increase")
    return edges.astype(dtype)


def _hl_gauss(
    function: str, targets: Array, bin_edges: ArrayLike, sigma_ratio: Scalar, dtype: np.dtype, bins: int | None = None
) -> Array:
    """Normalised masses of the bins: differences of log Φ, taken on the side where both are small."""
    edges = _edges(function, bin_edges, dtype, bins)
    ratio = hyperparameter(function, "sigma_ratio", sigma_ratio, dtype, 0, open_low=True)
    sigma = ratio * (edges[-1] - edges[0]) / (edges.shape[0] - 1)
    standard = (edges - targets.astype(dtype)[..., None]) / sigma
    lower, upper = standard[..., :-1], standard[..., 1:]
    above = lower > 0
    small, large = log_ndtr(jnp.where(above, -upper, lower)), log_ndtr(jnp.where(above, -lower, upper))
    return jax.nn.softmax(large + jnp.log(-jnp.expm1(small - large)), axis=-1)
