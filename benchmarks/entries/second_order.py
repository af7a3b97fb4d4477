"""Sophia's update, gradients in and parameters out, beside Optax's; the estimate of the Hessian is given."""

import dataclasses
from typing import Any

import optax

from benchmarks.entries.optimizers import entries


def build(package: Any) -> optax.GradientTransformation:
    """Sophia whose diagonal is the gradient, so that the update itself is measured."""
    transformation: optax.GradientTransformation = package.sophia(
        1e-3, weight_decay=1e-2, hessian_diagonal_fn=optax.identity(), update_interval=1
    )
    return transformation


# Words: gradient, parameter and both averages are read; parameter and both averages are written. Optax's form divides
# by the diagonal of the step before, which costs a copy of it.
ENTRIES = [
    dataclasses.replace(entry, temp_free=False)
    for entry in entries("sophia", build, words=7, goal=1.05, peer=optax.contrib)
]
