"""The equation that the softmax losses share: the expected penalty of the label's log probability."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    Labels,
    check_classes,
    class_labels,
    clean,
    compute_dtype,
    floating,
    mask,
    pick,
)
from objectives._typing import Array, ArrayLike


def read(
    function: str, logits: ArrayLike, labels: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Labels, Array | None]:
    """Checked and cleaned logits (in their own dtype), labels and mask."""
    logits = floating(function, "logits", logits)
    check_classes(function, "logits", logits)
    kept = mask(function, where, logits.shape[:-1])
    return clean(logits, kept), class_labels(function, labels, logits.shape, compute_dtype(logits), kept), kept


def expected_penalty(
    logits: Array, labels: Labels, penalty: Callable[[Array], Array], class_weights: Array | None = None
) -> Array:
    """Σ_c q_c w_c penalty(log p_c): the one equation of the softmax losses."""
    scores = logits.astype(compute_dtype(logits))
    peak = lax.stop_gradient(jnp.max(scores, axis=-1))
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    log_total = jnp.log(jnp.sum(jnp.exp(scores - peak[..., None]), axis=-1))
    if labels.are_ids:
        losses = penalty(pick(scores, labels.values) - peak - log_total)
        return losses if class_weights is None else losses * class_weights[labels.values]
    impossible = (labels.values == 0) & jnp.isneginf(scores)  # 0 times inf is 0 here
    penalties = penalty(jnp.where(impossible, 0, scores - peak[..., None] - log_total[..., None]))
    weights = labels.values if class_weights is None else labels.values * class_weights
    return jnp.sum(weights * penalties, axis=-1)
