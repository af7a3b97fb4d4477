"""Learning from labels that may be wrong.

- `normalized`: normalised losses, reverse and symmetric cross-entropy, active-passive sums, bootstrapping: a member is
  a penalty of the label's log probability
- `corrections`: forward and backward correction by a transition matrix, its estimate from anchor points, peer loss
- `robust`: label-distributionally robust losses (LDR, ALDR), the bi-tempered logistic loss
- `selection`: self-paced weights and losses, co-teaching's small losses
- `memory`: numbers kept for every example, early-learning regularisation
- `annotators`: several annotators an example, with a confusion matrix of each

Adding a member: a new normalised loss is `normalized_loss` with its penalty, as for the generalised cross-entropy

    def normalized_generalized_cross_entropy_loss(logits, labels, *, q=0.7, where=None):
        return normalized_loss(logits, labels, penalty=lambda log_p: -jnp.expm1(q * log_p) / q, where=where)
"""

from objectives.noisy_labels.annotators import (
    annotator_bandwidth_prior,
    annotator_cross_entropy_loss,
    annotator_similarity_weights,
    diagonal_confusion_logits,
    prior_confusion_logits,
)
from objectives.noisy_labels.corrections import (
    anchor_transition_matrix,
    backward_correction_loss,
    forward_correction_loss,
    peer_loss,
)
from objectives.noisy_labels.memory import (
    ExampleMemory,
    early_learning_regularizer,
    early_learning_targets,
    example_memory,
    recall_examples,
    record_examples,
)
from objectives.noisy_labels.normalized import (
    active_passive_loss,
    hard_bootstrapping_loss,
    normalized_cross_entropy_loss,
    normalized_focal_loss,
    normalized_loss,
    normalized_mae_loss,
    reverse_cross_entropy_loss,
    soft_bootstrapping_loss,
    symmetric_cross_entropy_loss,
)
from objectives.noisy_labels.robust import (
    aldr_kl_loss,
    aldr_temperatures,
    bi_tempered_logistic_loss,
    ldr_kl_loss,
    tempered_softmax,
)
from objectives.noisy_labels.selection import self_paced_loss, self_paced_weights, small_loss_weights

__all__ = [
    "ExampleMemory",
    "active_passive_loss",
    "aldr_kl_loss",
    "aldr_temperatures",
    "anchor_transition_matrix",
    "annotator_bandwidth_prior",
    "annotator_cross_entropy_loss",
    "annotator_similarity_weights",
    "backward_correction_loss",
    "bi_tempered_logistic_loss",
    "diagonal_confusion_logits",
    "early_learning_regularizer",
    "early_learning_targets",
    "example_memory",
    "forward_correction_loss",
    "hard_bootstrapping_loss",
    "ldr_kl_loss",
    "normalized_cross_entropy_loss",
    "normalized_focal_loss",
    "normalized_loss",
    "normalized_mae_loss",
    "peer_loss",
    "prior_confusion_logits",
    "recall_examples",
    "record_examples",
    "reverse_cross_entropy_loss",
    "self_paced_loss",
    "self_paced_weights",
    "small_loss_weights",
    "soft_bootstrapping_loss",
    "symmetric_cross_entropy_loss",
    "tempered_softmax",
]
