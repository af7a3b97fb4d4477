"""One training update, gradients in and parameters out, ours beside optax's."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import optimizers
from benchmarks.harness import Entry, Peer, Program, nbytes

TREES = {
    "one-leaf": ((20 * 1024, 1024), 1),
    "20x1024x1024": ((1024, 1024), 20),
    "1000x32x32": ((32, 32), 1000),
}
# Of methods that work on whole matrices, or keep several of them.
SMALLER_TREES = {"20x256x256": ((256, 256), 20), "1x32x32": ((32, 32), 1)}
QUICK_TREES = {
    "one-leaf": ((64, 32), 1),
    "20x1024x1024": ((8, 8), 4),
    "1000x32x32": ((4, 4), 8),
    "20x256x256": ((4, 4), 2),
    "1x32x32": ((4, 4), 1),
}


def parameters_and_gradients(tree: str) -> Callable[[bool], tuple[Any, Any]]:
    """A builder of two trees of normal numbers."""

    def arrays(quick: bool) -> tuple[Any, Any]:
        shape, leaves = (QUICK_TREES if quick else TREES | SMALLER_TREES)[tree]
        random = np.random.default_rng(0)
        normal = [jnp.array(random.standard_normal(shape, np.float32)) for _ in range(2 * leaves)]
        return normal[:leaves], normal[leaves:]

    return arrays


def update_program(transformation: Callable[[], optax.GradientTransformation]) -> Callable[..., Program]:
    """The program `(params, state) -> (params, state)` from the gradients, as a train step would hold it."""

    def program(params: Any, gradients: Any) -> Program:
        tx = transformation()

        def update(carry: tuple[Any, Any], gradients: Any) -> tuple[Any, Any]:
            params, state = carry
            updates, state = tx.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        return Program(update, (gradients,), carry=(params, tx.init(params)))

    return program


def entries(
    name: str, build: Callable[[Any], optax.GradientTransformation], *, words: int, goal: float, peer: Any = optax
) -> list[Entry]:
    """One entry for each tree, `build` taking the package (ours or the peer's) to the same transformation.

    `goal` holds where memory is the limit; of many small leaves ours may cost no more than the peer.
    """
    return [
        Entry(
            name=f"{name}/{tree}",
            arrays=parameters_and_gradients(tree),
            ours=update_program(lambda: build(optimizers)),
            peer=Peer(f"{peer.__name__}.{name}", "optax", update_program(lambda: build(peer))),
            moved=lambda params, gradients: words * nbytes(params),
            goal=1.05 if tree == "1000x32x32" else goal,
            temp_free=True,
            result=lambda carry: carry[0],
        )
        for tree in TREES
    ]


# Words: gradient, parameter and moments are read; parameter and moments are written. Clipping has to read the whole
# gradient once more before the rest can begin.
ENTRIES = [
    *entries("adamw", lambda package: package.adamw(1e-3, weight_decay=1e-2), words=7, goal=1.05),
    *entries(
        "ademamix",
        lambda package: package.ademamix(1e-3, b3=0.9999, alpha=5.0, weight_decay=1e-2),
        words=9,
        goal=1.05,
        peer=optax.contrib,
    ),
    *entries("lion", lambda package: package.lion(1e-4, weight_decay=1e-2), words=5, goal=0.5),
    *entries(
        "clip+adamw",
        lambda package: optax.chain(package.clip_by_global_norm(1.0), package.adamw(1e-3, weight_decay=1e-2)),
        words=8,
        goal=0.7,
    ),
]
