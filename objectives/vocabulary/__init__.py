"""Large vocabularies: softmax losses from features and the weights of a linear head, never holding `[N, V]` logits.

- `softmax`: cross-entropy (smoothing, z-penalty, capped logits), PolyLoss, focal loss, and any penalty of log p
- `margin`: ArcFace, CosFace, and any margin on the angle

One equation: a loss is φ(log p_y) + ψ(log Z, mean logit), of three numbers of a row of logits, which chunks of rows and
tiles of classes (or shards of them, `vocabulary_axis`) give one after the other; the derivative by the logits follows
from those of φ and ψ. With `reduction="mean"` or `"sum"` the gradients of features and weights are made while the
logits of a chunk are at hand: three products with the weights in all, nothing twice. Losses per example know only in
the backward pass what they are multiplied by, and make the logits again then: four products.

A member is its φ. In five lines, with a parameter that may be traced:

    def linear_generalized_cross_entropy(features, weights, labels, *, q=0.7, **options):
        def penalty(log_p):
            return -jnp.expm1(q * log_p) / q

        return linear_softmax_loss(features, weights, labels, penalty=penalty, **options)

In a train step, where `embeddings` are shared with the input and `kernel` would be given with `class_axis=1`:

    def loss_fn(params, batch, key):
        hidden = model.apply(params, batch["tokens"])
        return linear_cross_entropy(
            hidden, params["embeddings"], batch["next"], reduction="mean", z_penalty=1e-4, where=batch["real"]
        ), {}
"""

from objectives.vocabulary.margin import linear_arcface_loss, linear_cosface_loss, linear_margin_softmax_loss
from objectives.vocabulary.softmax import (
    linear_cross_entropy,
    linear_focal_loss,
    linear_poly_loss,
    linear_softmax_loss,
)

__all__ = [
    "linear_arcface_loss",
    "linear_cosface_loss",
    "linear_cross_entropy",
    "linear_focal_loss",
    "linear_margin_softmax_loss",
    "linear_poly_loss",
    "linear_softmax_loss",
]
