"""Labels that live in a metric space: predictions by the Fréchet mean, which may be a class never trained."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_classes,
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


def frechet_costs(
    probabilities: Float[ArrayLike, "*batch observed"], distances: Float[ArrayLike, "labels observed"]
) -> Float[Array, "*batch labels"]:
    r"""Expected squared distance of every possible label from the predicted distribution over the observed classes.

    $$
    \sum_k p_k\, d(y, \lambda_k)^2
    $$

    Args:
        probabilities: Probabilities p of the K observed classes `[..., K]`.
        distances: Distance d of every possible label y from every observed class λ, `[L, K]`.

    Returns:
        Costs `[..., L]`, in squared units of the distances, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If an argument is not floating point.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> distances = jnp.abs(jnp.arange(3.0)[:, None] - jnp.array([0.0, 2.0]))
        >>> print(f"{frechet_costs(jnp.array([0.5, 0.5]), distances)[1]:.4f}")
        1.0000

    Source:
        Roberts, Li, Adila, Cromp, Huang, Zhao, Sala, "Geometry-Aware Adaptation for Pretrained Models", 2023.
    """
    probabilities = floating("frechet_costs", "probabilities", probabilities)
    return _costs("frechet_costs", "probabilities", probabilities, distances)


def frechet_mean(
    probabilities: Float[ArrayLike, "*batch observed"], distances: Float[ArrayLike, "labels observed"]
) -> Integer[Array, "*batch"]:
    r"""The possible label nearest to the predicted distribution in mean square: Loki's prediction.

    $$
    \operatorname{argmin}_{y} \sum_k p_k\, d(y, \lambda_k)^2
    $$

    With distance 1 between all classes it is the most probable class. It may be a label that was never observed. Train
    it with `frechet_loss`.

    Args:
        probabilities: Probabilities p of the K observed classes `[..., K]`.
        distances: Distance d of every possible label y from every observed class λ, `[L, K]`.

    Returns:
        Label ids `[...]` below L; of equal labels the first.

    Raises:
        TypeError: If an argument is not floating point.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> distances = jnp.abs(jnp.arange(3.0)[:, None] - jnp.array([0.0, 2.0]))
        >>> print(frechet_mean(jnp.array([0.5, 0.5]), distances))
        1

    Source:
        Roberts, Li, Adila, Cromp, Huang, Zhao, Sala, "Geometry-Aware Adaptation for Pretrained Models", 2023.
    """
    probabilities = floating("frechet_mean", "probabilities", probabilities)
    return jnp.argmin(_costs("frechet_mean", "probabilities", probabilities, distances), axis=-1)


def frechet_loss(
    logits: Float[ArrayLike, "*batch observed"],
    labels: Integer[ArrayLike, "*batch"] | Real[ArrayLike, "*batch labels"] | Bool[ArrayLike, "*batch labels"],
    distances: Float[ArrayLike, "labels observed"],
    *,
    temperature: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy of a softmax over negative expected squared distances: fine-tuning with labels in a metric space.

    $$
    -\sum_y q_y \log \operatorname{softmax}_y\Big( -\tfrac1T \sum_k p_k\, d(y, \lambda_k)^2 \Big), \quad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    Args:
        logits: Unnormalised log probabilities of the K observed classes `[..., K]`.
        labels: Ids of possible labels `[...]`, below L, or probabilities q (one-hot included) `[..., L]`.
        distances: Distance d of every possible label y from every observed class λ, `[L, K]`.
        temperature: Temperature T, in squared units of the distances, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a label id is out of range.

    Raises:
        TypeError: If logits or distances are not floating point, label ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `temperature` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> distances = jnp.abs(jnp.arange(3.0)[:, None] - jnp.array([0.0, 2.0]))
        >>> print(f"{frechet_loss(jnp.array([[0.0, 0.0]]), jnp.array([1]), distances)[0]:.4f}")
        0.5514

    Source:
        Roberts, Li, Adila, Cromp, Huang, Zhao, Sala, "Geometry-Aware Adaptation for Pretrained Models", 2023.
    """
    name = "frechet_loss"
    logits = floating(name, "logits", logits)
    check_classes(name, "logits", logits, "[..., K]")
    kept = mask(name, where, logits.shape[:-1])
    scores = clean(logits, kept).astype(compute_dtype(logits))
    shifted = jnp.exp(scores - lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    costs = _costs(name, "logits", shifted / jnp.sum(shifted, axis=-1, keepdims=True), distances)
    temperature = hyperparameter(name, "temperature", temperature, costs.dtype, 0, open_low=True)
    targets = class_labels(name, labels, costs.shape, costs.dtype, kept)
    return finish(expected_penalty(-costs / temperature, targets, jnp.negative), kept, targets.valid)


def _costs(function: str, name: str, probabilities: Array, distances: ArrayLike) -> Array:
    """Expected squared distances, with errors in the caller's name."""
    metric = floating(function, "distances", distances)
    check_classes(function, name, probabilities, "[..., K]")
    if metric.ndim != 2 or metric.shape[-1] != probabilities.shape[-1] or metric.size == 0:
        raise ValueError(
            f"{function}: distances must have shape [L, {probabilities.shape[-1]}] with L > 0, got {describe(metric)}"
        )
    dtype = compute_dtype(probabilities, metric)
    squared = metric.astype(dtype) ** 2
    return jnp.tensordot(probabilities.astype(dtype), squared, axes=(-1, -1), precision=lax.Precision.HIGHEST)
