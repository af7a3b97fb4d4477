"""The benchmarks, one file a topic; each file lists its own in `ENTRIES`, and a new file is found by being here."""

from importlib import import_module
from pkgutil import iter_modules

from benchmarks.harness import Entry


def catalogue() -> dict[str, tuple[Entry, ...]]:
    """All entries by topic (the file's name)."""
    return {
        module.name: tuple(import_module(f"{__name__}.{module.name}").ENTRIES)
        for module in iter_modules(__path__)
        if not module.name.startswith("_")
    }
