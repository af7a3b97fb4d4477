"""Classes that have an order: levels, grades, ages.

- `steps`: K - 1 binary decisions, "is the level above k?": CORAL and CORN, and the probabilities behind their logits
- `thresholds`: a latent score between thresholds: cumulative links (proportional odds, probit, proportional hazards)
- `distances`: soft labels by distance (SORD), the earth mover's distance; the squared one is
  `ranked_probability_score`
"""

from objectives.ordinal.distances import earth_movers_distance_loss, soft_ordinal_labels
from objectives.ordinal.steps import coral_loss, coral_probabilities, corn_loss, corn_probabilities
from objectives.ordinal.thresholds import cumulative_link_loss, cumulative_link_probabilities, ordered_thresholds

__all__ = [
    "coral_loss",
    "coral_probabilities",
    "corn_loss",
    "corn_probabilities",
    "cumulative_link_loss",
    "cumulative_link_probabilities",
    "earth_movers_distance_loss",
    "ordered_thresholds",
    "soft_ordinal_labels",
]
