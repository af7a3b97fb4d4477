"""Muon, gradients in and parameters out, ours beside optax's, on many leaves and on few."""

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers

import optimizers
from benchmarks.entries.optimizers import TREES, parameters_and_gradients, update_program
from benchmarks.harness import Entry, Peer, nbytes


def every_matrix(params: Any) -> Any:
    """Optax's rule for what Muon takes."""
    return jax.tree.map(lambda p: MuonDimensionNumbers(), params)


# Words: parameter, gradient and momentum are read, parameter and momentum written; the iteration works on copies.
ENTRIES = [
    Entry(
        name=f"muon/{tree}",
        arrays=parameters_and_gradients(tree),
        ours=update_program(lambda: optimizers.muon(0.02, muon_weight_dimension_numbers=every_matrix)),
        peer=Peer("optax.contrib.muon", "optax", update_program(lambda: optax.contrib.muon(0.02))),
        moved=lambda params, gradients: 5 * nbytes(params),
        goal=1.05,
        temp_free=False,
        result=lambda carry: carry[0],
    )
    for tree in TREES
]
