"""The one equation of the room, and the vectors, cosines and angles that its members start from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    Labels,
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    is_class,
    mask,
    pick,
)
from objectives._log_domain import finite_log_sum_exp, log_sum_exp_others
from objectives._numerics import root
from objectives._typing import Array, ArrayLike, AxisName, Scalar


class Problem(NamedTuple):
    """What a member of the family starts from: checked, cleaned and in the compute dtype.

    Attributes:
        scores: Cosines `[..., C]`, or logits.
        lengths: Lengths of the embeddings `[...]`.
        labels: Class ids or probabilities.
        where: The mask `[...]`, or None.
        scale: Inverse temperature of the softmax, a scalar or one for each example `[..., 1]`.
    """

    scores: Array
    lengths: Array
    labels: Labels
    where: Array | None
    scale: Any

    @property
    def kept(self) -> Array:
        """Which examples count, `[...]`: neither masked nor with a label out of range."""
        kept = jnp.ones(self.lengths.shape, bool) if self.where is None else self.where
        return kept if self.labels.valid is None else kept & self.labels.valid

    @property
    def target(self) -> Array:
        """The cosine of the label's class `[...]`; labels are class ids."""
        return pick(self.scores, self.labels.values)


def read(
    function: str,
    embeddings: ArrayLike,
    weights: ArrayLike,
    labels: ArrayLike,
    scale: Scalar,
    where: ArrayLike | None,
    *,
    rank: int | None = None,
    ids: bool = False,
    weights_name: str = "weights",
) -> Problem:
    """The problem of embeddings `[..., D]`, weights `[C, D]` or `[C, K, D]` (of `rank` alone, if given) and labels."""
    embeddings, weights = vectors(function, embeddings, weights, rank, weights_name)
    kept, dtype = mask(function, where, embeddings.shape[:-1]), compute_dtype(embeddings, weights)
    targets = class_labels(function, labels, (*embeddings.shape[:-1], weights.shape[0]), dtype, kept)
    if ids and not targets.are_ids:
        raise ValueError(f"{function}: labels must be class ids {list(embeddings.shape[:-1])}, got probabilities")
    embeddings = clean(embeddings, kept)
    sharpness = hyperparameter(function, "scale", scale, dtype, 0, open_low=True)
    return Problem(cosines(embeddings, weights), length(embeddings, dtype), targets, kept, sharpness)


def vectors(
    function: str, embeddings: ArrayLike, weights: ArrayLike, rank: int | None = None, weights_name: str = "weights"
) -> tuple[Array, Array]:
    """Embeddings and class weights, checked against each other."""
    embeddings, weights = floating(function, "embeddings", embeddings), floating(function, weights_name, weights)
    check_rank(function, "embeddings", embeddings, 1, "[..., D]")
    shapes = {None: "[C, D] or [C, K, D]", 2: "[C, D]", 3: "[C, K, D]"}
    check_rank(function, weights_name, weights, rank or 2, shapes[rank], rank or 3)
    if weights.shape[-1] != embeddings.shape[-1] or weights.size == 0:
        expected = ", ".join(["C", "K"][: weights.ndim - 1] + [str(embeddings.shape[-1])])
        raise ValueError(
            f"{function}: {weights_name} must have shape [{expected}] and not be empty, got {describe(weights)}"
        )
    return embeddings, weights


def margin_softmax(
    problem: Problem,
    margin: Callable[[Array], Array],
    *,
    others: Array | None = None,
    extra: Array | None = None,
    penalty: Callable[[Array], Array] | None = None,
) -> Array:
    """The one equation of this room, softplus(log Σ_{j≠y} e^{s c_j} - s m(c_y)), for every label y and its probability.

    Args:
        problem: Cosines, labels, scale.
        margin: m, elementwise on target cosines `[..., 1]`, or `[..., C]` where labels are probabilities.
        others: Cosines of the wrong classes `[..., C]` if they are not those of the problem; ids only.
        extra: log Σ e^{s c} over negatives that every example has besides, broadcastable to `[..., 1]`.
        penalty: What becomes of the cross-entropy of each label.
    """
    scores, values, are_ids = problem.scores, problem.labels.values, problem.labels.are_ids
    if are_ids:
        negatives = problem.scale * (scores if others is None else others)
        negatives = jnp.where(is_class(values, scores.shape[-1]), -jnp.inf, negatives)
        rest, target = finite_log_sum_exp(negatives)[..., None], problem.target[..., None]
    else:
        rest, target = log_sum_exp_others(problem.scale * scores), scores
        target = jnp.where((values == 0) & jnp.isneginf(scores), 0, target)  # 0 times inf is 0 here
    if extra is not None:
        rest = jnp.logaddexp(rest, extra)
    losses = jax.nn.softplus(rest - problem.scale * margin(target))
    losses = losses if penalty is None else penalty(losses)
    losses = losses[..., 0] if are_ids else jnp.sum(values * losses, axis=-1)
    return finish(losses, problem.where, problem.labels.valid)


def cosines(embeddings: Array, weights: Array) -> Array:
    """Cosines `[..., C]`, the largest over the sub-centres. The product is scaled, so that no input is copied."""
    dtype = compute_dtype(embeddings, weights)
    inner = jnp.tensordot(
        embeddings, weights, axes=(-1, -1), precision=lax.Precision.HIGHEST, preferred_element_type=dtype
    )
    lengths = inverse_length(embeddings, dtype).reshape(embeddings.shape[:-1] + (1,) * (weights.ndim - 1))
    cosine = inner * lengths * inverse_length(weights, dtype)
    return cosine if weights.ndim == 2 else jnp.max(cosine, axis=-1)


def inverse_length(values: Array, dtype: np.dtype) -> Array:
    """1 / |x| over the last axis, and 0 (with gradient 0) for a vector without direction.

    For products that are scaled afterwards, where `unit_vectors` would copy the weights.
    """
    squared = jnp.sum(values.astype(dtype) ** 2, axis=-1)
    directed = squared > 1e-24
    return jnp.where(directed, lax.rsqrt(jnp.where(directed, squared, 1)), 0)


def length(values: Array, dtype: np.dtype) -> Array:
    """|x| over the last axis, and 0 (with gradient 0) for a vector without direction."""
    return root(jnp.sum(values.astype(dtype) ** 2, axis=-1), 1e-24)


def sine(cosine: Array) -> Array:
    """sin θ of cos θ, with gradient 0 at θ = 0 and π."""
    return root((1 - cosine) * (1 + cosine))


def angle(cosine: Array) -> Array:
    """θ of cos θ, with gradient 0 at θ = 0 and π."""
    return jnp.arctan2(sine(cosine), cosine)


def shift_angle(cosine: Array, shift: Scalar | Array) -> Array:
    """cos(θ + shift) for a shift in [-π, π]."""
    return cosine * jnp.cos(shift) - sine(cosine) * jnp.sin(shift)


def add_angle(cosine: Array, shift: Scalar | Array) -> Array:
    """cos(θ + shift) for a shift in [0, π], and cos θ - shift sin(shift) past π, or lower, so that it decreases."""
    # From 2.33 on, shift sin(shift) would leave more than the -1 at π; the other leaves -1 there.
    fallback = cosine - jnp.maximum(shift * jnp.sin(shift), 1 - jnp.cos(shift))
    return jnp.where(cosine >= -jnp.cos(shift), shift_angle(cosine, shift), fallback)


def descend(turned: Array) -> Array:
    """cos, continued past π so that it decreases: (-1)^k cos t - 2k for t in [kπ, (k + 1)π]."""
    half_turns = lax.stop_gradient(jnp.floor(turned / jnp.pi))
    return (1 - 2 * (half_turns % 2)) * jnp.cos(turned) - 2 * half_turns


def total(values: Array, axis_name: AxisName) -> Array:
    """The sum over the batch, and over the devices that share it."""
    summed = jnp.sum(values)
    return all_sum(summed, axis_name)
