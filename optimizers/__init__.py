"""Gradient rules, aggregators, Optax transformations, and the train step that joins them.

| where | what |
|---|---|
| `gradients/` | how to differentiate: `backprop`, `accumulate`, `per_task`, `sam` |
| `aggregation/` | many gradients to one: `pcgrad`, `upgrad` |
| `adaptive.py` | Adam and its family: `adam`, `adamw`, `adamax`, `ademamix`, `sgdw` and their parts |
| `sign.py` | sign momentum: `lion` |
| `clipping.py` | `clip_by_global_norm` |
| `training.py` | `TrainState`, `make_train_step` |

Everything is an ordinary JAX or Optax object and works without the rest.
"""

from optimizers.gradients import GradientRule, accumulate, backprop, per_task, sam
from optimizers.training import TrainState, make_train_step

__all__ = [
    "GradientRule",
    "TrainState",
    "accumulate",
    "backprop",
    "make_train_step",
    "per_task",
    "sam",
]
