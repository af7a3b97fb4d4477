"""Many gradients to one: optax transformations from stacked task gradients `[T, ...]` to one gradient `[...]`.

`optimizers.per_task` makes the stacked gradients; an aggregator is the first link of the chain:
`optax.chain(upgrad(), adamw(1e-3))`. It is a weighting of the Gramian of the task gradients, a function
`[T, T] -> [T]` that is public too.

| file | what |
|---|---|
| `pcgrad.py` | `pcgrad`, `pcgrad_weights`: conflicting gradients made orthogonal pair by pair, and summed |
| `upgrad.py` | `upgrad`, `upgrad_weights`: the mean of the gradients, each projected onto the dual cone of all |
| `_dual_cone.py` | `dual_cone_projection_weights`: that projection, an exact quadratic program |
| `_gramian.py` | the Gramian of a tree, the weighted sum of its tasks, and a transformation from a weighting |
"""

from optimizers.aggregation._dual_cone import dual_cone_projection_weights
from optimizers.aggregation.pcgrad import PCGradState, pcgrad, pcgrad_weights
from optimizers.aggregation.upgrad import upgrad, upgrad_weights

__all__ = [
    "PCGradState",
    "dual_cone_projection_weights",
    "pcgrad",
    "pcgrad_weights",
    "upgrad",
    "upgrad_weights",
]
