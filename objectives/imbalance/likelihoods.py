"""Classes as mixtures of their own examples: a likelihood of features under every class, with the classes' prior."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    class_labels,
    class_vector,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    integers,
    mask,
    to_array,
)
from objectives._numerics import unit_vectors
from objectives._softmax import expected_penalty
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Integer, Real, Scalar
from objectives.imbalance._shared import boolean, log_share


def gaussian_mixture_likelihood_loss(
    queries: Float[ArrayLike, "*batch features"],
    labels: ClassLabels,
    keys: Float[ArrayLike, "keys features"],
    key_labels: Integer[ArrayLike, " keys"],
    *,
    class_counts: Real[ArrayLike, " classes"],
    temperature: Scalar = 0.07,
    pairs: Bool[ArrayLike, "*batch keys"] | None = None,
    key_where: Bool[ArrayLike, " keys"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Gaussian mixture likelihood (GML) loss: contrastive learning as classification by the keys of every class.

    $$
    -\log \frac{\pi_y e^{S_y}}{\sum_c \pi_c e^{S_c}}, \qquad
    S_c = \log \frac{1}{m_c} \sum_{j: y_j = c} e^{\langle q, k_j \rangle / \tau}, \qquad \pi_c = n_c / N
    $$

    with queries and keys of length 1 and m_c keys of class c: the mean over a class's keys, where the supervised
    contrastive loss sums, and the prior of its training examples. Maximising this likelihood maximises the mutual
    information between features and labels. The authors add it to `logit_adjusted_loss` of a cosine classifier.

    The loss is separable over queries, given all keys. A batch split over devices gathers its keys first
    (`jax.lax.all_gather`). A class without keys is left out; a label of it costs infinitely much.

    Args:
        queries: Features q `[..., D]`, of any length; they are normalised here.
        labels: Class ids of the queries `[...]`, or probabilities (one-hot included) `[..., C]`.
        keys: Features k of a queue or of the batch `[M, D]`, of any length.
        key_labels: Class ids of the keys `[M]`.
        class_counts: Number n of training examples of every class `[C]`, in any unit.
        temperature: Divides the cosines, positive.
        pairs: Boolean `[..., M]`, False for keys that a query is not to see, as itself; all are seen by default.
        key_where: Boolean mask of the keys `[M]`, False for empty places of a queue, which may hold anything.
        where: Boolean mask `[...]`; a masked query has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where the class id of a query or that of any
        key is out of range.

    Raises:
        TypeError: If features are not floating point, class ids not integers or a mask not boolean.
        ValueError: If shapes do not match or `temperature` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> keys, counts = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), jnp.array([1, 1])
        >>> query, label, key_labels = jnp.array([[1.0, 0.0]]), jnp.array([0]), jnp.array([0, 0, 1])
        >>> loss = gaussian_mixture_likelihood_loss(
        ...     query, label, keys, key_labels, class_counts=counts, temperature=1.0
        ... )
        >>> print(f"{loss[0]:.4f}")
        0.3133

    Source:
        Suh, Seo, "Long-Tailed Recognition by Mutual Information Maximization between Latent Features and Ground-Truth
        Labels", 2023.
    """
    name = "gaussian_mixture_likelihood_loss"
    queries, keys = floating(name, "queries", queries), floating(name, "keys", keys)
    check_rank(name, "queries", queries, 1, "[..., D]")
    if keys.ndim != 2 or keys.shape[-1] != queries.shape[-1]:
        raise ValueError(f"{name}: keys must have shape [M, {queries.shape[-1]}], got {describe(keys)}")
    batch, number, dtype = queries.shape[:-1], keys.shape[0], compute_dtype(queries, keys)
    kept = mask(name, where, batch)
    key_kept = None if key_where is None else boolean(name, "key_where", key_where, (number,))
    seen = jnp.ones((), bool) if pairs is None else boolean(name, "pairs", pairs, (*batch, number))
    key_ids = integers(name, "key_labels", key_labels)
    if key_ids.shape != (number,):
        raise ValueError(f"{name}: key_labels must have shape [{number}], got {describe(key_ids)}")
    check_rank(name, "class_counts", to_array(name, "class_counts", class_counts), 1, "[C]", 1)
    classes = jnp.shape(class_counts)[0]
    counts = class_vector(name, "class_counts", class_counts, classes, dtype)
    targets = class_labels(name, labels, (*batch, classes), dtype, kept)
    temperature = hyperparameter(name, "temperature", temperature, dtype, 0, open_low=True)

    key_ids = clean(key_ids, key_kept)
    key_valid = (key_ids >= 0) & (key_ids < classes)
    seen = seen if key_kept is None else seen & key_kept
    cosine = jnp.tensordot(
        unit_vectors(clean(queries, kept).astype(dtype)),
        unit_vectors(clean(keys, key_kept).astype(dtype)),
        axes=(-1, -1),
        precision=lax.Precision.HIGHEST,
    )
    by_key = jnp.moveaxis(jnp.where(seen, cosine / temperature, -jnp.inf), -1, 0)
    likelihoods = jnp.moveaxis(_log_mean_exp(by_key, jnp.where(key_valid, key_ids, 0), classes), 0, -1)
    losses = expected_penalty(likelihoods + log_share(counts), targets, jnp.negative)
    losses = losses * jnp.where(jnp.all(key_valid), 1, jnp.nan).astype(dtype)
    return finish(losses, kept, targets.valid)


def _log_mean_exp(values: Array, groups: Array, number: int) -> Array:
    """log of the mean of exp over the groups of the first axis, with a peak a group; -inf for an empty group."""
    peaks = lax.stop_gradient(jax.ops.segment_max(values, groups, number))
    peaks = jnp.where(jnp.isfinite(peaks), peaks, 0)
    totals = jax.ops.segment_sum(jnp.exp(values - peaks[groups]), groups, number)
    sizes = jax.ops.segment_sum((values > -jnp.inf).astype(values.dtype), groups, number)
    filled = sizes > 0
    means = jnp.log(jnp.where(filled, totals, 1)) - jnp.log(jnp.where(filled, sizes, 1)) + peaks
    return jnp.where(filled, means, -jnp.inf)
