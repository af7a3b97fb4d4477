"""What losses of class probabilities share: log probabilities with classes switched off, and sums over them."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax

from objectives._inputs import Labels, compute_dtype, is_class, pick
from objectives._typing import Array

Penalty: TypeAlias = Callable[[Array], Array]


class Classes(NamedTuple):
    """The log probabilities of classes, of which those with a logit of -inf are switched off.

    Attributes:
        log_p: `[..., C]`, -inf (a constant, without gradient) where a class is switched off.
        possible: `[..., C]`, False there.
        scores: The logits in the compute dtype.
        log_total: What the logits exceed their log probabilities by, `[...]`.
    """

    log_p: Array
    possible: Array
    scores: Array
    log_total: Array

    def expected(self, labels: Labels, penalty: Penalty) -> Array:
        """Σ_c q_c penalty(log p_c)."""
        if labels.are_ids:
            picked = pick(self.scores, labels.values)
            off = jnp.isneginf(picked)
            return penalty(jnp.where(off, -jnp.inf, jnp.where(off, 0, picked) - self.log_total))
        return self.expected_values(labels, penalty(self.log_p))

    def expected_values(self, labels: Labels, values: Array) -> Array:
        """Σ_c q_c values_c, where a class without label and probability counts for nothing."""
        if labels.are_ids:
            return jnp.sum(jnp.where(is_class(labels.values, values.shape[-1]), values, 0), axis=-1)
        counted = self.possible | (labels.values != 0)
        return jnp.sum(jnp.where(counted, labels.values * jnp.where(counted, values, 0), 0), axis=-1)

    def total(self, penalty: Penalty) -> Array:
        """Σ_c penalty(log p_c) over the classes that are possible."""
        log_p = jnp.where(self.possible, self.log_p, 0)
        return jnp.sum(jnp.where(self.possible, penalty(log_p), 0), axis=-1)

    def probabilities(self) -> Array:
        """The probabilities, 0 where a class is switched off."""
        return jnp.exp(self.log_p)


def log_softmax(logits: Array) -> Classes:
    """The log probabilities of logits, in the compute dtype."""
    scores = logits.astype(compute_dtype(logits))
    possible = ~jnp.isneginf(scores)
    peak = lax.stop_gradient(jnp.max(scores, axis=-1))
    peak = jnp.where(jnp.isneginf(peak), 0, peak)
    shifted = jnp.where(possible, scores, peak[..., None]) - peak[..., None]
    total = jnp.sum(jnp.where(possible, jnp.exp(shifted), 0), axis=-1)
    log_total = jnp.log(jnp.where(total == 0, 1, total))
    log_p = jnp.where(possible, shifted - log_total[..., None], -jnp.inf)
    return Classes(log_p, possible, scores, peak + log_total)
