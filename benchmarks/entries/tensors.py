"""Updates in which a norm of each tensor comes before its first element, ours beside optax's."""

from dataclasses import replace

from benchmarks.entries.optimizers import entries

# Words: gradient, parameter and moments are read, parameter and moments are written; what the norm is of is read again,
# from the one temporary that it needs.
ENTRIES = [
    replace(entry, temp_free=False)
    for entry in (
        *entries("lamb", lambda package: package.lamb(1e-3, weight_decay=1e-2), words=10, goal=0.7),
        *entries("lars", lambda package: package.lars(1e-1, weight_decay=1e-2), words=8, goal=0.5),
        *entries("adafactor", lambda package: package.adafactor(1e-2), words=5, goal=0.7),
    )
]
