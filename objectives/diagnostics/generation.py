"""Measures of what a model generates: text by perplexity and BLEU, images by features and class probabilities."""

import jax
import jax.numpy as jnp
import numpy as np

from objectives._batch import all_sum
from objectives._inputs import check_classes, check_rank, clean, compute_dtype, describe, finish, floating, mask, real
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Integer


def perplexity(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Perplexity: the exponential of the mean cross-entropy over all tokens.

    $$
    \exp \Big( -\frac1N \sum_i \log p_i(y_i) \Big)
    $$

    Args:
        logits: Unnormalised log probabilities of the vocabulary `[..., C]`.
        labels: Token ids `[...]`, or probabilities `[..., C]`.
        where: Boolean mask of tokens `[...]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar, float32 (float64 for float64 logits); 1 where nothing is counted, NaN where a token id is out of
        range.

    Raises:
        TypeError: If the logits are not floating point, token ids not integers or `where` not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{perplexity(jnp.zeros((2, 8)), jnp.array([3, 5])):.4f}")
        8.0000

    Source:
        Jelinek, Mercer, Bahl, Baker, "Perplexity: a Measure of the Difficulty of Speech Recognition Tasks", 1977.
    """
    logits, targets, kept = read("perplexity", logits, labels, where)
    losses = finish(expected_penalty(logits, targets, jnp.negative), kept, targets.valid)
    count = all_sum(jnp.asarray(losses.size) if kept is None else jnp.sum(kept), axis_name)
    return jnp.exp(all_sum(jnp.sum(losses), axis_name) / jnp.maximum(count, 1).astype(losses.dtype))


def inception_score(
    logits: Float[ArrayLike, "batch classes"],
    *,
    where: Bool[ArrayLike, " batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Inception score of generated examples, from a classifier's logits: sure of each, and of all classes.

    $$
    \exp \Big( \operatorname{mean}_i \mathrm{KL}\big( p_i \,\Vert\, \operatorname{mean}_j p_j \big) \Big), \qquad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    The published scores are means over ten splits of 5,000 examples: take the mean of ten calls.

    Args:
        logits: Logits of the classifier for every example `[N, C]` (log probabilities will do).
        where: Boolean mask of examples `[N]`; a masked one counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar in [1, C], float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point or `where` is not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{inception_score(100.0 * jnp.eye(4)):.4f}")
        4.0000

    Source:
        Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", 2016.
    """
    name = "inception_score"
    scores = floating(name, "logits", logits)
    check_rank(name, "logits", scores, 2, "[N, C]", 2)
    check_classes(name, "logits", scores, "[N, C]")
    kept, dtype = mask(name, where, scores.shape[:1]), compute_dtype(scores)
    log_p = jax.nn.log_softmax(clean(scores, kept).astype(dtype), axis=-1)
    p = clean(jnp.exp(log_p), kept)
    count = all_sum(jnp.asarray(p.shape[0]) if kept is None else jnp.sum(kept), axis_name)
    size = jnp.maximum(count, 1).astype(dtype)
    marginal = all_sum(jnp.sum(p, axis=0), axis_name) / size
    some = p > 0
    ratios = jnp.where(some, log_p, 0) - jnp.where(some, jnp.log(jnp.where(marginal > 0, marginal, 1)), 0)
    return jnp.exp(all_sum(jnp.sum(p * ratios), axis_name) / size)


def frechet_distance(
    features_a: Float[ArrayLike, "examples_a features"],
    features_b: Float[ArrayLike, "examples_b features"],
    *,
    where_a: Bool[ArrayLike, " examples_a"] | None = None,
    where_b: Bool[ArrayLike, " examples_b"] | None = None,
) -> Float[Array, ""]:
    r"""Fréchet distance between Gaussians fitted to two sets of features (FID, with an Inception network's features).

    $$
    \lVert \mu_a - \mu_b \rVert^2 + \operatorname{tr} \left( \Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2} \right)
    $$

    with unbiased covariances. The trace of the root is the nuclear norm of the product of triangular factors of the
    covariances: no matrix is squared, and singular ones (fewer examples than features) lose no digits.

    Args:
        features_a: Features of the first set `[N, D]`, at least two examples.
        features_b: Features of the second set `[M, D]`, at least two examples.
        where_a: Boolean mask `[N]`; a masked example counts nowhere and may hold anything.
        where_b: Boolean mask `[M]`, likewise.

    Returns:
        The (squared) distance, a scalar, at least 0, float32 (float64 for float64 features).

    Raises:
        TypeError: If features are not floating point or a mask not boolean.
        ValueError: If the shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> features = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]])
        >>> print(f"{frechet_distance(features, features + 2.0):.4f}")
        8.0000

    Source:
        Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge to a
        Local Nash Equilibrium", 2017; Dowson, Landau, "The Fréchet Distance between Multivariate Normal
        Distributions", 1982.
    """
    name = "frechet_distance"
    first, second = floating(name, "features_a", features_a), floating(name, "features_b", features_b)
    for argument, features in (("features_a", first), ("features_b", second)):
        if features.ndim != 2 or features.shape[0] < 2:
            raise ValueError(f"{name}: {argument} must have shape [N, D] with N at least 2, got {describe(features)}")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{name}: features_b must have shape [M, {first.shape[1]}], got {describe(second)}")
    dtype = compute_dtype(first, second)
    mean_a, factor_a = _moments(name, "where_a", first, where_a, dtype)
    mean_b, factor_b = _moments(name, "where_b", second, where_b, dtype)
    cross = jnp.matmul(factor_a, factor_b.T, precision=jax.lax.Precision.HIGHEST)
    nuclear = jnp.sum(jnp.linalg.svd(cross, compute_uv=False))
    traces = jnp.sum(factor_a**2) + jnp.sum(factor_b**2)
    return jnp.sum((mean_a - mean_b) ** 2) + jnp.maximum(traces - 2 * nuclear, 0)


def bleu_score(
    candidates: Integer[ArrayLike, "batch length"],
    references: Integer[ArrayLike, "batch references reference_length"],
    *,
    candidate_lengths: Integer[ArrayLike, " batch"],
    reference_lengths: Integer[ArrayLike, "batch references"],
    max_order: int = 4,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""BLEU of a corpus of token ids: the geometric mean of n-gram precisions, times a penalty for brevity.

    $$
    \min \left( 1, e^{1 - r / c} \right) \Big( \prod_{n=1}^N p_n \Big)^{1/N}, \qquad
    p_n = \frac{\sum \min(\mathrm{count}, \max_R \mathrm{count}_R)}{\sum \mathrm{count}}
    $$

    with sums over the n-grams of all candidates, c the tokens of all candidates and r those of the references nearest
    to them in length (the shorter of two). Nothing is smoothed, as in the paper.

    Args:
        candidates: Token ids `[B, T]`, padded at the end with anything.
        references: Token ids of R references for each candidate `[B, R, S]`, padded at the end.
        candidate_lengths: Number of tokens of each candidate `[B]`; one of 0 counts nowhere but in r.
        reference_lengths: Number of tokens of each reference `[B, R]`; 0 for one that is not there.
        max_order: Length N of the longest n-grams, at least 1.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the result is then that of the
            global batch.

    Returns:
        A scalar in [0, 1], float32; 0 where no n-gram of some order is matched. It takes O(B T (T + R S)) memory.

    Raises:
        TypeError: If an argument is not an integer or an array of integers.
        ValueError: If the shapes do not match or `max_order` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> candidate, reference = jnp.array([[1, 2, 3, 4, 9]]), jnp.array([[[1, 2, 3, 4, 5]]])
        >>> lengths = {"candidate_lengths": jnp.array([5]), "reference_lengths": jnp.array([[5]])}
        >>> print(f"{bleu_score(candidate, reference, **lengths):.4f}")
        0.6687

    Source:
        Papineni, Roukos, Ward, Zhu, "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002.
    """
    name = "bleu_score"
    arrays = {
        "candidates": real(name, "candidates", candidates),
        "references": real(name, "references", references),
        "candidate_lengths": real(name, "candidate_lengths", candidate_lengths),
        "reference_lengths": real(name, "reference_lengths", reference_lengths),
    }
    for argument, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(f"{name}: {argument} must be integers, got {describe(array)}")
    words, others, lengths, other_lengths = arrays.values()
    check_rank(name, "candidates", words, 2, "[B, T]", 2)
    if others.ndim != 3 or others.shape[0] != words.shape[0] or others.shape[1] == 0:
        raise ValueError(f"{name}: references must have shape [{words.shape[0]}, R, S], got {describe(others)}")
    for argument, array, shape in (
        ("candidate_lengths", lengths, words.shape[:1]),
        ("reference_lengths", other_lengths, others.shape[:2]),
    ):
        if array.shape != shape:
            raise ValueError(f"{name}: {argument} must have shape {list(shape)}, got {describe(array)}")
    if isinstance(max_order, bool) or not isinstance(max_order, int | np.integer):
        raise TypeError(f"{name}: max_order must be an integer, got {type(max_order).__name__}")
    if max_order < 1:
        raise ValueError(f"{name}: max_order must be at least 1, got {max_order}")

    here = jnp.arange(words.shape[1]) < lengths[:, None]
    there = jnp.arange(others.shape[2]) < other_lengths[..., None]
    with_itself = _equal(words, words, here, here)  # [B, T, T]: do the n-grams that start there agree
    with_others = _equal(words[:, None], others, here[:, None], there)  # [B, R, T, S]
    own, theirs = with_itself, with_others
    log_precision = jnp.zeros((), jnp.float32)
    for n in range(1, max_order + 1):
        if n > 1:
            own, theirs = _longer(own, with_itself, n), _longer(theirs, with_others, n)
        starts = jnp.diagonal(own, axis1=-2, axis2=-1)
        count = jnp.maximum(jnp.sum(own, axis=-1), 1)  # of each start's n-gram in the candidate
        best = jnp.max(jnp.sum(theirs, axis=-1), axis=1)
        matched = jnp.sum(jnp.where(starts, jnp.minimum(count, best) / count, 0))  # every n-gram once in all
        matches, grams = all_sum(matched, axis_name), all_sum(jnp.sum(starts), axis_name)
        log_precision += jnp.log(matches.astype(jnp.float32) / jnp.maximum(grams, 1)) / max_order
    distance = jnp.where(other_lengths > 0, jnp.abs(other_lengths - lengths[:, None]), jnp.iinfo(jnp.int32).max)
    nearest = distance == jnp.min(distance, axis=-1, keepdims=True)
    closest = jnp.min(jnp.where(nearest, other_lengths, jnp.iinfo(jnp.int32).max), axis=-1)
    c, r = all_sum(jnp.sum(lengths), axis_name), all_sum(jnp.sum(closest), axis_name)
    brevity = jnp.minimum(0, 1 - r.astype(jnp.float32) / jnp.maximum(c, 1))
    return jnp.exp(brevity + log_precision).astype(jnp.float32)


def _equal(a: Array, b: Array, in_a: Array, in_b: Array) -> Array:
    """Which tokens of one sequence equal which of another."""
    return (a[..., :, None] == b[..., None, :]) & in_a[..., :, None] & in_b[..., None, :]


def _longer(grams: Array, tokens: Array, n: int) -> Array:
    """Which n-grams agree, from which (n-1)-grams and which tokens do."""
    step = n - 1
    last = jnp.pad(tokens, [(0, 0)] * (tokens.ndim - 2) + [(0, step), (0, step)])[..., step:, step:]
    return grams & last


def _moments(
    function: str, name: str, features: Array, where: ArrayLike | None, dtype: np.dtype
) -> tuple[Array, Array]:
    """The mean, and a factor R with covariance RᵀR."""
    kept = None if where is None else jnp.asarray(where)
    if kept is not None and kept.dtype != jnp.bool_:
        raise TypeError(f"{function}: {name} must be boolean, got {describe(kept)}")
    if kept is not None and kept.shape != features.shape[:1]:
        raise ValueError(f"{function}: {name} must have shape {list(features.shape[:1])}, got {describe(kept)}")
    values = clean(features, kept).astype(dtype)
    count = jnp.asarray(features.shape[0], dtype) if kept is None else jnp.sum(kept, dtype=dtype)
    mean = jnp.sum(values, axis=0) / jnp.maximum(count, 1)
    return mean, jnp.linalg.qr(clean(values - mean, kept), mode="r") / jnp.sqrt(jnp.maximum(count - 1, 1))
