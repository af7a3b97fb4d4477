"""Aggregation of task gradients alone, `[T, ...]` in and `[...]` out; beside torchjd's where that is installed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optimizers
from benchmarks.harness import Entry, Peer, Program, nbytes

SHAPES = {"4-tasks/5x1024x1024": (4, (1024, 1024), 5), "16-tasks/256x256": (16, (256, 256), 1)}
QUICK_SHAPES = {"4-tasks/5x1024x1024": (4, (8, 8), 2), "16-tasks/256x256": (16, (4, 4), 1)}


def task_gradients(shape: str) -> Callable[[bool], tuple[list[jax.Array]]]:
    """A builder of stacked gradients, normal numbers: nearly orthogonal, and about half the pairs conflict."""

    def arrays(quick: bool) -> tuple[list[jax.Array]]:
        tasks, leaf, leaves = (QUICK_SHAPES if quick else SHAPES)[shape]
        random = np.random.default_rng(0)
        return ([jnp.array(random.standard_normal((tasks, *leaf), np.float32)) for _ in range(leaves)],)

    return arrays


def aggregate_program(aggregator: Callable[[], optax.GradientTransformation]) -> Callable[..., Program]:
    """The program `gradients [T, ...] -> gradient [...]`."""

    def program(gradients: list[jax.Array]) -> Program:
        tx = aggregator()
        return Program(lambda stacked: tx.update(stacked, tx.init(stacked))[0], (gradients,))

    return program


def torchjd_program(name: str) -> Callable[..., Program]:
    """torchjd's aggregator of the same gradients as one matrix `[T, all parameters]`, its only form."""

    def program(gradients: list[jax.Array]) -> Program:
        torch, aggregation = import_module("torch"), import_module("torchjd.aggregation")
        flat = np.concatenate([np.asarray(leaf).reshape(leaf.shape[0], -1) for leaf in gradients], axis=1)
        return Program(getattr(aggregation, name)(), (torch.from_numpy(flat),), jit=False)

    return program


def flattened(gradient: Any) -> np.ndarray:
    """All leaves (or torch's one vector) as one array."""
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(gradient)])


def entries(name: str, aggregator: Callable[[], Any], peer: str, *, same: bool = True) -> list[Entry]:
    """One entry for each shape; the gradients are read for their Gramian and again for the sum, which is written."""
    return [
        Entry(
            name=f"{name}/{shape}",
            arrays=task_gradients(shape),
            ours=aggregate_program(aggregator),
            peer=Peer(f"torchjd.{peer}", "torchjd", torchjd_program(peer)),
            moved=lambda gradients: 2 * nbytes(gradients) + nbytes([leaf[0] for leaf in gradients]),
            temp_free=True,
            result=flattened if same else None,
        )
        for shape in SHAPES
    ]


ENTRIES = [
    *entries("upgrad", lambda: optimizers.upgrad(), "UPGrad"),
    *entries("pcgrad", lambda: optimizers.pcgrad(), "PCGrad", same=False),  # torchjd draws its task order
]
