"""One example case, or several, for every public name: a file a room, found by being there and collected here by kind.

A file holds the lists of the kinds that its room has: `CASES` in `objectives/`; `TRANSFORMATIONS`, `RULES`,
`AGGREGATORS` and `TRAIN_STEPS` in `optimizers/`; `FUNCTIONS` and `TYPES` in both. For transformations there are two
lists more: `OPTAX_SUITE`, what Optax's own contract suite runs, and `TRAINED`, what has to find the minima of its four
problems in our train step.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


def _files(package: str) -> tuple[ModuleType, ...]:
    folder = import_module(f"{__name__}.{package}")
    return tuple(import_module(f"{folder.__name__}.{module.name}") for module in iter_modules(folder.__path__))


OBJECTIVES = _files("objectives")
OPTIMIZERS = _files("optimizers")


def every(kind: str, modules: tuple[ModuleType, ...] = OPTIMIZERS) -> list[Any]:
    """The cases of one kind from all files that have it."""
    return [case for module in modules for case in getattr(module, kind, [])]
