"""One example case, or several, for every public name: a file a room, collected here by kind.

A file holds the lists of the kinds that its room has: `TRANSFORMATIONS`, `RULES`, `AGGREGATORS`, `FUNCTIONS`, `TYPES`,
`TRAIN_STEPS`, and `CASES` for objectives. For transformations there are two lists more: `OPTAX_SUITE`, what Optax's own
contract suite runs, and `TRAINED`, what has to find the minima of its four problems in our train step.
"""

from types import ModuleType
from typing import Any

from contracts.cases import (
    aggregation,
    coordinates,
    estimators,
    examples,
    expectations,
    gradients,
    gramian,
    layers,
    matrix,
    objectives,
    particles,
    robust_estimation,
    scalarization,
    transformations,
)

OBJECTIVES = (objectives, scalarization, expectations, robust_estimation)
OPTIMIZERS = (
    transformations,
    gradients,
    estimators,
    examples,
    aggregation,
    gramian,
    coordinates,
    particles,
    layers,
    matrix,
)


def every(kind: str, modules: tuple[ModuleType, ...] = OPTIMIZERS) -> list[Any]:
    """The cases of one kind from all files that have it."""
    return [case for module in modules for case in getattr(module, kind, [])]
