"""Present labels against absent ones: of an example, of a label over the batch, or both ways."""

import jax
import jax.numpy as jnp

from objectives._batch import all_sum
from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._log_domain import log_sum_exp
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real, Scalar
from objectives.multilabel._batch import read_batch, safe_mean


def zlpr_loss(
    logits: Float[ArrayLike, "*batch labels"],
    labels: Real[ArrayLike, "*batch labels"] | Bool[ArrayLike, "*batch labels"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""ZLPR: every present label above 0 and above every absent one, and those below 0: softmax for many labels.

    $$
    \log\Big( 1 + \sum_{c \text{ absent}} e^{f_c} \Big) + \log\Big( 1 + \sum_{c \text{ present}} e^{-f_c} \Big)
    $$

    A label is predicted where its logit is above 0. A label between 0 and 1 is in both sums, with that weight.

    Args:
        logits: Scores f `[..., L]`.
        labels: 0 or 1, boolean, or weights in [0, 1], of the shape of `logits`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a label lies outside [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{zlpr_loss(jnp.array([[0.0, 0.0, 0.0]]), jnp.array([[1, 0, 0]]))[0]:.4f}")
        1.7918

    Source:
        Su, Zhu, Murtadha, Pan, Wen, Liu, "ZLPR: A Novel Loss for Multi-label Classification", 2022.
    """
    name = "zlpr_loss"
    scores, targets = floating(name, "logits", logits), real(name, "labels", labels)
    check_rank(name, "logits", scores, 1, "[..., L]")
    check_same_shape(name, "labels", targets, "logits", scores)
    kept, dtype = mask(name, where, scores.shape[:-1]), compute_dtype(scores)
    scores, present = clean(scores, kept).astype(dtype), clean(targets, kept).astype(dtype)
    valid = jnp.all((present >= 0) & (present <= 1), axis=-1)

    def above_zero(values: Array, weights: Array) -> Array:  # log(1 + Σ w e^v)
        some = weights > 0
        values = jnp.where(some, values + jnp.log(jnp.where(some, weights, 1)), -jnp.inf)
        return jax.nn.logsumexp(
            jnp.concatenate([values, jnp.zeros_like(values, shape=(*values.shape[:-1], 1))], -1), -1
        )

    return finish(above_zero(scores, 1 - present) + above_zero(-scores, present), kept, valid)


def two_way_loss(
    logits: Float[ArrayLike, "batch labels"],
    labels: Real[ArrayLike, "batch labels"] | Bool[ArrayLike, "batch labels"],
    *,
    positive_temperature: Scalar = 4.0,
    negative_temperature: Scalar = 1.0,
    where: Bool[ArrayLike, "batch labels"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Two-way loss: the hardest present against the hardest absent, among an example's labels and a label's examples.

    $$
    \operatorname{mean}\, \mathrm{softplus}\Big( T_- \log \sum_{\text{absent}} e^{f / T_-} + T_+ \log
    \sum_{\text{present}} e^{-f / T_+} \Big)
    $$

    once over the examples that have a label, with sums over labels, and once over the labels that have an example, with
    sums over the batch; the two means are added.

    Args:
        logits: Scores f `[N, L]`.
        labels: 0 or 1, or boolean, of the shape of `logits`.
        positive_temperature: Temperature T₊ of the soft minimum over present labels, positive.
        negative_temperature: Temperature T₋ of the soft maximum over absent ones, positive.
        where: Boolean mask `[N, L]`; a masked entry is neither present nor absent and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        A scalar, float32 (float64 for float64 logits); 0 where nothing is present, NaN if a label is neither 0 nor 1.

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match or a temperature is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{two_way_loss(jnp.array([[1.0, -1.0]]), jnp.array([[1, 0]]), positive_temperature=1.0):.4f}")
        0.1269

    Source:
        Kobayashi, "Two-Way Multi-Label Loss", 2023.
    """
    name = "two_way_loss"
    batch = read_batch(name, logits, labels, where, axis_name)
    hot = hyperparameter(name, "positive_temperature", positive_temperature, batch.scores.dtype, 0, open_low=True)
    cold = hyperparameter(name, "negative_temperature", negative_temperature, batch.scores.dtype, 0, open_low=True)

    def contrast(axis: int, across: AxisName) -> tuple[Array, Array]:
        least = hot * log_sum_exp(-batch.scores / hot, axis, where=batch.present, axis_name=across)
        most = cold * log_sum_exp(batch.scores / cold, axis, where=batch.absent, axis_name=across)
        some, other = jnp.isfinite(least), jnp.isfinite(most)
        both = some & other
        return jax.nn.softplus(jnp.where(both, least + most, -jnp.inf)), some

    by_example, examples = contrast(1, None)
    by_label, counted = contrast(0, axis_name)
    total, number = all_sum((jnp.sum(jnp.where(examples, by_example, 0)), jnp.sum(examples)), axis_name)
    losses = safe_mean(total, number) + safe_mean(jnp.sum(jnp.where(counted, by_label, 0)), jnp.sum(counted))
    return losses + batch.poison
