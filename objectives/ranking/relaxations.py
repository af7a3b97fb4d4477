"""Soft permutations without a network: NeuralSort, made doubly stochastic by Sinkhorn's scaling; and NeuralNDCG."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    mask,
    real,
    static_integer,
)
from objectives._log_domain import finite_log_sum_exp
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def neural_sort(
    scores: Float[ArrayLike, "*batch items"],
    *,
    temperature: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch items items"]:
    r"""NeuralSort: the soft permutation that sorts scores in descending order, each row a distribution over items.

    $$
    P_r = \mathrm{softmax}\Big( \frac{(n + 1 - 2r)\, s - A \mathbf 1}{\tau} \Big), \qquad A_{ij} = |s_i - s_j|
    $$

    It is equivariant to permutations of the items, and invariant to a shift of all scores.

    Args:
        scores: Scores s `[..., n]`.
        temperature: Temperature τ, positive; towards 0 the rows become one-hot.
        where: Boolean mask of items `[..., n]`; the columns of masked items are 0, and so are the last rows, which
            have no item to hold.

    Returns:
        Soft permutations `[..., n, n]`, rows by rank, columns by item, float32 (float64 for float64 scores).

    Raises:
        TypeError: If the scores are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or `temperature` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{neural_sort(jnp.array([0.0, 1.0]))[0, 1]:.4f}")
        0.7311

    Source:
        Grover, Wang, Zweig, Ermon, "Stochastic Optimization of Sorting Networks via Continuous Relaxations", 2019.
    """
    name = "neural_sort"
    scores, kept = _scores(name, scores, where)
    return _exp(
        _neural_sort(scores, kept, hyperparameter(name, "temperature", temperature, scores.dtype, 0, open_low=True))
    )


def sinkhorn(
    logits: Float[ArrayLike, "*batch rows columns"], *, iterations: int = 50
) -> Float[Array, "*batch rows columns"]:
    r"""Sinkhorn's scaling: columns and rows of exp(logits) are normalised in turns, towards doubly stochastic.

    $$
    P = e^{L - u \mathbf 1^\top - \mathbf 1 v^\top}, \qquad
    v \leftarrow \log \textstyle\sum_i e^{L_{i \cdot} - u_i}, \quad u \leftarrow \log \sum_j e^{L_{\cdot j} - v_j}
    $$

    All in the logarithm. A row or column that is all -inf stays 0. The gradient goes through the iterations, of which
    the two potentials are all that is kept in memory.

    Args:
        logits: Logarithms of non-negative matrices `[..., n, n]`; -inf where an entry is to stay 0.
        iterations: Number of rounds, at least 0; the rows are normalised last.

    Returns:
        Matrices `[..., n, n]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point, or `iterations` no integer.
        ValueError: If the matrices are not square or `iterations` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sinkhorn(jnp.log(jnp.array([[1.0, 4.0], [1.0, 1.0]])))[0, 1]:.4f}")
        0.6667

    Source:
        Sinkhorn, "A Relationship Between Arbitrary Positive Matrices and Doubly Stochastic Matrices", 1964. Mena,
        Belanger, Linderman, Snoek, "Learning Latent Permutations with Gumbel-Sinkhorn Networks", 2018.
    """
    logits = floating("sinkhorn", "logits", logits)
    check_rank("sinkhorn", "logits", logits, 2, "[..., n, n]")
    if logits.shape[-1] != logits.shape[-2]:
        raise ValueError(f"sinkhorn: logits must have shape [..., n, n], got {describe(logits)}")
    return _exp(
        _sinkhorn(logits.astype(compute_dtype(logits)), static_integer("sinkhorn", "iterations", iterations, 0))
    )


def neural_ndcg_loss(
    scores: Float[ArrayLike, "*batch items"],
    relevance: Real[ArrayLike, "*batch items"],
    *,
    temperature: Scalar = 1.0,
    top: int | None = None,
    gain: str = "exponential",
    iterations: int = 50,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch"]:
    r"""NeuralNDCG: minus the normalised discounted cumulative gain of a softly sorted list.

    $$
    -\frac{1}{\mathrm{maxDCG}} \sum_{r \le k} \frac{(P g)_r}{\log_2(1 + r)}, \qquad g_i = 2^{\mathrm{rel}_i} - 1
    $$

    P is NeuralSort's permutation after Sinkhorn's scaling; as the temperature goes to 0 the loss becomes -NDCG exactly.
    Without scaling (`iterations=0`) the rows still are distributions but an item may be counted twice; that is PiRank's
    surrogate. The paper's transposed form, $g \cdot P^\top d$, is the same number.

    Args:
        scores: Scores of the items of a list `[..., n]`.
        relevance: Their relevance `[..., n]`, non-negative.
        temperature: Temperature of NeuralSort, positive.
        top: The rank k at which the list is cut; none by default.
        gain: "exponential", $2^{\mathrm{rel}} - 1$, or "linear".
        iterations: Rounds of Sinkhorn's scaling, at least 0.
        where: Boolean mask of items `[..., n]`; masked ones are not in the list and may hold anything.

    Returns:
        Losses of the lists `[...]`, in [-1, 0] up to the scaling's error, float32 (float64 for float64 scores); 0 for a
        list where nothing is relevant.

    Raises:
        TypeError: If the scores are not floating point, `where` not boolean, or a count no integer.
        ValueError: If shapes do not match, a hyperparameter is out of range or there is no such gain.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{neural_ndcg_loss(jnp.array([1.0, 2.0]), jnp.array([1, 0]), temperature=0.01):.4f}")
        -0.6309

    Source:
        Pobrotyn, Białobrzeski, "NeuralNDCG: Direct Optimisation of a Ranking Metric via Differentiable Relaxation of
        Sorting", 2021. Swezey, Grover, Charron, Ermon, "PiRank: Scalable Learning To Rank via Differentiable
        Sorting", 2021.
    """
    name = "neural_ndcg_loss"
    scores, kept = _scores(name, scores, where)
    relevance = real(name, "relevance", relevance)
    check_same_shape(name, "relevance", relevance, "scores", scores)
    heat = hyperparameter(name, "temperature", temperature, scores.dtype, 0, open_low=True)
    items = scores.shape[-1]
    cut = items if top is None else min(static_integer(name, "top", top, 1), items)
    if gain not in ("exponential", "linear"):
        raise ValueError(f"{name}: gain must be 'exponential' or 'linear', got {gain!r}")
    grades = clean(relevance, kept).astype(scores.dtype)
    gains = clean(jnp.exp2(grades) - 1 if gain == "exponential" else grades, kept)
    discounts = jnp.asarray(np.where(np.arange(items) < cut, 1 / np.log2(np.arange(items) + 2.0), 0), scores.dtype)
    if items == 0:
        return jnp.sum(scores, axis=-1)
    permutation = _exp(_sinkhorn(_neural_sort(scores, kept, heat), static_integer(name, "iterations", iterations, 0)))
    soft = jnp.einsum("...ri,...i,r->...", permutation, gains, discounts, precision=lax.Precision.HIGHEST)
    ideal = jnp.sum(-jnp.sort(-gains, axis=-1) * discounts, axis=-1)
    relevant = ideal > 0
    return -jnp.where(relevant, soft, 0) / jnp.where(relevant, ideal, 1)


def _scores(function: str, scores: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array | None]:
    """Cleaned scores in the compute dtype, and the mask."""
    array = floating(function, "scores", scores)
    check_rank(function, "scores", array, 1, "[..., n]")
    kept = mask(function, where, array.shape)
    return clean(array, kept).astype(compute_dtype(array)), kept


def _neural_sort(scores: Array, kept: Array | None, temperature: Scalar) -> Array:
    """The logarithm of NeuralSort's permutation; -inf in the rows and columns of what is masked."""
    items = scores.shape[-1]
    if items == 0:
        return jnp.zeros((*scores.shape, 0), scores.dtype)
    counted = jnp.ones(scores.shape, bool) if kept is None else kept
    count = jnp.sum(counted, axis=-1, dtype=scores.dtype)[..., None]
    centre = lax.stop_gradient(jnp.sum(scores, axis=-1, keepdims=True) / jnp.maximum(count, 1))
    scores = jnp.where(counted, scores - centre, 0)
    pairs = counted[..., :, None] & counted[..., None, :]
    distances = jnp.sum(jnp.where(pairs, jnp.abs(scores[..., :, None] - scores[..., None, :]), 0), axis=-1)
    ranks = jnp.arange(1, items + 1, dtype=scores.dtype)
    slopes = (count + 1 - 2 * ranks)[..., None]
    logits = (slopes * scores[..., None, :] - distances[..., None, :]) / temperature
    held = (ranks <= count)[..., None] & counted[..., None, :]
    total = finite_log_sum_exp(jnp.where(held, logits, -jnp.inf))[..., None]
    return jnp.where(held, logits - total, -jnp.inf)


def _sinkhorn(logits: Array, iterations: int) -> Array:
    """The logarithm of the scaled matrix."""
    if logits.size == 0:
        return logits
    present = logits > -jnp.inf
    some_row, some_column = jnp.any(present, axis=-1), jnp.any(present, axis=-2)

    @jax.checkpoint
    def scale(potentials: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        columns = jnp.where(some_column, finite_log_sum_exp(logits - potentials[0][..., :, None], axis=-2), 0)
        rows = jnp.where(some_row, finite_log_sum_exp(logits - columns[..., None, :]), 0)
        return (rows, columns), None

    start = jnp.zeros_like(logits[..., 0]), jnp.zeros_like(logits[..., 0, :])
    (rows, columns), _ = lax.scan(scale, start, None, length=iterations)
    return jnp.where(present, logits - rows[..., :, None] - columns[..., None, :], -jnp.inf)


def _exp(logits: Array) -> Array:
    """exp, with a gradient of 0 at -inf."""
    present = logits > -jnp.inf
    return jnp.where(present, jnp.exp(jnp.where(present, logits, 0)), 0)
