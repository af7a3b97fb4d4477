"""Methods on manifolds beside optax's in flat space, where they are the same: what the frame costs."""

import optax

import optimizers
from benchmarks.entries.optimizers import TREES, parameters_and_gradients, update_program
from benchmarks.harness import Entry, Peer, nbytes

FLAT = optimizers.euclidean()

# Words: gradient, parameter and moments are read; parameter and moments are written.
ENTRIES = [
    Entry(
        name=f"riemannian_{name}-flat/{tree}",
        arrays=parameters_and_gradients(tree),
        ours=update_program(ours),
        peer=Peer(f"optax.{name}", "optax", update_program(peer)),
        moved=lambda params, gradients, words=words: words * nbytes(params),
        goal=1.05,
        temp_free=True,
        result=lambda carry: carry[0],
    )
    for name, words, ours, peer in (
        ("adam", 7, lambda: optimizers.riemannian_adam(1e-3, FLAT), lambda: optax.adam(1e-3)),
        ("sgd", 5, lambda: optimizers.riemannian_sgd(1e-3, FLAT, 0.9), lambda: optax.sgd(1e-3, 0.9)),
    )
    for tree in TREES
]
