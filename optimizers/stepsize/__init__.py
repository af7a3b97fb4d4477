"""Step sizes that the loss or the gradient's norm decides, step by step.

| where | what |
|---|---|
| `momo.py` | the step that a model of the loss asks for, up to the learning rate: `momo`, `momo_adam` |
| `normalized.py` | gradients divided by a power of their norm: `scale_by_beta_normalized_gradient`, |
| | `beta_normalized_sgd`, `normalized_spider` |
| `implicit.py` | implicit updates of follow-the-regularised-leader: `generalized_implicit_ftrl` |
"""

from optimizers.stepsize.implicit import generalized_implicit_ftrl
from optimizers.stepsize.momo import momo, momo_adam
from optimizers.stepsize.normalized import (
    beta_normalized_sgd,
    normalized_spider,
    scale_by_beta_normalized_gradient,
)

__all__ = [
    "beta_normalized_sgd",
    "generalized_implicit_ftrl",
    "momo",
    "momo_adam",
    "normalized_spider",
    "scale_by_beta_normalized_gradient",
]
