"""One example case, or several, for every public name: a file a room, collected here by kind.

A file holds the lists of the kinds that its room has: `TRANSFORMATIONS`, `RULES`, `AGGREGATORS`, `FUNCTIONS`, `TYPES`,
`TRAIN_STEPS`, and `CASES` for objectives. For transformations there are two lists more: `OPTAX_SUITE`, what Optax's own
contract suite runs, and `TRAINED`, what has to find the minima of its four problems in our train step. A new file is
found by being here; one about objectives is named below.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

_OF_OBJECTIVES = {
    "classification",
    "expectations",
    "imbalance",
    "likelihoods",
    "margin_ranking",
    "matrix_sensing",
    "noise_calibration",
    "objectives",
    "recurrent",
    "regression",
    "robust_estimation",
    "scalarization",
    "survey",
    "vocabulary",
}
_FILES = {module.name: import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)}

OBJECTIVES = tuple(file for name, file in _FILES.items() if name in _OF_OBJECTIVES)
OPTIMIZERS = tuple(file for name, file in _FILES.items() if name not in _OF_OBJECTIVES)


def every(kind: str, modules: tuple[ModuleType, ...] = OPTIMIZERS) -> list[Any]:
    """The cases of one kind from all files that have it."""
    return [case for module in modules for case in getattr(module, kind, [])]
