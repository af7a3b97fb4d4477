"""Random selections that are hard in the forward pass and soft in the backward pass.

One equation: with Gumbel noise G, `scores = logits + G`; what is selected are the largest scores, and the gradient is
that of `softmax(scores / tau)`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import wide
from optimizers.layers._inputs import describe, floating
from optimizers.layers.straight_through import straight_through


def _scores(key: Array, logits: Array) -> Array:
    """Logits with Gumbel noise, in float32 or wider: the largest is a sample of their softmax."""
    logits = wide(logits)
    return logits + jax.random.gumbel(key, logits.shape, logits.dtype)


def _selected(hard: Array, valid: Array, scores: Array, tau: Any, dtype: Any) -> Array:
    """The mask `hard` in `dtype`, with the gradient of the softmax; NaN where the selection is not `valid`."""
    soft = jax.nn.softmax(scores / tau, axis=-1)
    return straight_through(jnp.where(valid, hard, jnp.nan), soft.astype(dtype))


def gumbel_topk(key: Array, logits: Float[Array, "*batch n"], k: int, *, tau: Any = 1.0) -> Float[Array, "*batch n"]:
    r"""The mask of k random entries without replacement, the likelier the larger their logit, with a soft gradient.

    $$
    y = \operatorname{top}_k(\phi + G), \qquad dy := d \operatorname{softmax}\left( (\phi + G) / \tau \right)
    $$

    with Gumbel noise G. With `k=1` it is the straight-through Gumbel-softmax, and the entry a sample of `softmax(phi)`.
    Differentiable RANSAC selects its minimal samples with it, by the predicted quality of each point. Cost: one sort.

    Args:
        key: PRNG key of the noise.
        logits: φ `[..., n]`; -inf excludes an entry.
        k: How many are selected, from 1 to n.
        tau: Temperature of the gradient, above 0.

    Returns:
        Mask `[..., n]` of k ones, in the dtype of `logits`; NaN where a logit is NaN, or fewer than k are above -inf.

    Raises:
        TypeError: The logits are not floating point, or `k` is no integer.
        ValueError: `k` or `tau` is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> draw = lambda key: gumbel_topk(key, jnp.array([0.0, 1.0, 2.0, -jnp.inf]), 2)
        >>> print(draw(jax.random.key(0)).sum())
        2.0
        >>> often = jax.vmap(draw)(jax.random.split(jax.random.key(0), 10_000)).mean(axis=0)
        >>> [round(float(p), 1) for p in often]
        [0.3, 0.8, 0.9, 0.0]

    Source:
        Wei, Patel, Shekhovtsov, Matas, Barath, "Generalized Differentiable RANSAC", 2023; Kool, van Hoof, Welling,
        "Stochastic Beams and Where to Find Them", 2019.
    """
    logits = floating("gumbel_topk", "logits", logits, 1)
    k = check_positive_integer("gumbel_topk", "k", k)
    if k > logits.shape[-1]:
        raise ValueError(f"gumbel_topk: k must be at most the {logits.shape[-1]} logits, got {k}")
    check_range("gumbel_topk", "tau", tau, 0.0, open_low=True)
    scores = _scores(key, logits)
    best, indices = lax.top_k(lax.stop_gradient(scores), k)
    hard = jnp.put_along_axis(jnp.zeros_like(scores), indices, 1.0, axis=-1, inplace=False)
    valid = jnp.min(best, axis=-1, keepdims=True) > -jnp.inf  # false for NaN, which sorts as the largest
    return _selected(hard, valid, scores, tau, logits.dtype)


def gumbel_subsample_mask(
    key: Array, logits: Float[Array, "*batch m n"], *, tau: Any = 1.0, exclude: bool = True
) -> Float[Array, "*batch m n"]:
    r"""m one-hot rows that select m of n entries, each row by its own logits, with a soft gradient.

    $$
    y_m = \operatorname{onehot} \operatorname{argmax}_n (\phi_{mn} + G_{mn} + \omega_{mn}), \qquad
    dy_m := d \operatorname{softmax}\left( (\phi_m + G_m + \omega_m) / \tau \right)
    $$

    with Gumbel noise G, and ω of -inf at the entries that rows before m have selected. Row 0 is a sample of its
    softmax. A signal x is subsampled by `y @ x`. Train the logits at a larger learning rate than the network, and let
    tau fall in the course of training.

    Args:
        key: PRNG key of the noise.
        logits: φ `[..., m, n]`; -inf excludes an entry of a row.
        tau: Temperature of the gradient, above 0.
        exclude: Whether no entry is selected twice; the rows are independent otherwise.

    Returns:
        Mask `[..., m, n]` with a single one in each row, in the dtype of `logits`; NaN where a logit is NaN, or a row
        has no entry left above -inf.

    Raises:
        TypeError: The logits are not floating point.
        ValueError: `tau` is out of range, the logits have fewer than two axes, or more rows than entries and `exclude`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> print(gumbel_subsample_mask(jax.random.key(0), jnp.array([[50.0, 0.0, 0.0], [50.0, 0.0, 25.0]])))
        [[1. 0. 0.]
         [0. 0. 1.]]

    Source:
        Huijben, Veeling, Janse, Mischi, van Sloun, "Learning Sub-Sampling and Signal Recovery with Applications in
        Ultrasound Imaging", 2020.
    """
    logits = floating("gumbel_subsample_mask", "logits", logits, 2)
    check_range("gumbel_subsample_mask", "tau", tau, 0.0, open_low=True)
    rows, entries = logits.shape[-2:]
    if exclude and rows > entries:
        raise ValueError(f"gumbel_subsample_mask: logits must have no more rows than entries, got {describe(logits)}")
    scores = _scores(key, logits)
    if exclude:
        scores = jnp.where(_taken_before(lax.stop_gradient(scores)), -jnp.inf, scores)
    hard = jax.nn.one_hot(jnp.argmax(scores, axis=-1), entries, dtype=scores.dtype)
    valid = jnp.all(jnp.max(lax.stop_gradient(scores), axis=-1) > -jnp.inf, axis=-1)  # false for NaN
    return _selected(hard, valid[..., None, None], scores, tau, logits.dtype)


def _taken_before(scores: Array) -> Array:
    """Whether an entry `[..., m, n]` was selected by an earlier row, each row taking the best of what is left."""

    def next_row(taken: Array, row: Array) -> tuple[Array, Array]:
        best = jnp.argmax(jnp.where(taken, -jnp.inf, row), axis=-1)
        return taken | jax.nn.one_hot(best, row.shape[-1], dtype=bool), taken

    by_row = jnp.moveaxis(scores, -2, 0)
    return jnp.moveaxis(lax.scan(next_row, jnp.zeros(by_row.shape[1:], bool), by_row)[1], 0, -2)


def subsample_entropy_penalty(logits: Float[Array, "*batch m n"]) -> Float[Array, "*batch"]:
    r"""The entropies of the rows of a subsampling mask, added up: small where each row is sure of its entry.

    $$
    \sum_m H(\operatorname{softmax}(\phi_m)) = -\sum_{m, n} p_{mn} \log p_{mn}
    $$

    Args:
        logits: φ `[..., m, n]` of `gumbel_subsample_mask`; -inf is a probability of 0.

    Returns:
        Penalties `[...]` in nats, from 0 to `m log n`, float32 (float64 for float64 logits).

    Raises:
        TypeError: The logits are not floating point.
        ValueError: They have fewer than two axes.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{subsample_entropy_penalty(jnp.zeros((2, 4))):.4f}")  # 2 log 4
        2.7726

    Source:
        Huijben, Veeling, Janse, Mischi, van Sloun, "Learning Sub-Sampling and Signal Recovery with Applications in
        Ultrasound Imaging", 2020.
    """
    log_p = jax.nn.log_softmax(wide(floating("subsample_entropy_penalty", "logits", logits, 2)), axis=-1)
    return -jnp.sum(jnp.exp(log_p) * jnp.where(jnp.isneginf(log_p), 0, log_p), axis=(-2, -1))
