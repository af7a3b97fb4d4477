"""Wrappers beside optax's own, or beside the chain that they go around."""

from collections.abc import Callable

import optax

import optimizers
from benchmarks.entries.optimizers import TREES, entries, parameters_and_gradients, update_program
from benchmarks.harness import Entry, Peer, nbytes


def averaged() -> optax.GradientTransformation:
    """AdamW with an average of its iterates."""
    return optax.chain(optimizers.adamw(1e-3, weight_decay=1e-2), optimizers.parameter_ema(0.999))


def coded() -> optax.GradientTransformation:
    """AdamW with its moments in eight bits."""
    return optimizers.quantize_state(optimizers.adamw(1e-3, weight_decay=1e-2))


def beside_adamw(
    name: str, ours: Callable[[], optax.GradientTransformation], *, words: int, goal: float
) -> list[Entry]:
    """One entry for each tree, beside optax's AdamW alone: what the wrapper costs."""
    return [
        Entry(
            name=f"{name}/{tree}",
            arrays=parameters_and_gradients(tree),
            ours=update_program(ours),
            peer=Peer("optax.adamw", "optax", update_program(lambda: optax.adamw(1e-3, weight_decay=1e-2))),
            moved=lambda params, gradients: words * nbytes(params),
            goal=goal,
        )
        for tree in TREES
    ]


ENTRIES = [
    *entries(
        "schedule_free_adamw",
        lambda package: package.schedule_free_adamw(1e-3, weight_decay=1e-2),
        words=7,
        goal=1.05,
        peer=optax.contrib,
    ),
    *beside_adamw("adamw+parameter_ema", averaged, words=9, goal=1.4),
    # Coding is bound by arithmetic on a CPU.
    *beside_adamw("quantize_state(adamw)", coded, words=4, goal=12.0),
]
