"""Aggregation of task gradients alone, `[T, ...]` in and `[...]` out; beside torchjd's where that is installed."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optimizers
from benchmarks.harness import Entry, Peer, Program, nbytes

PARAMETERS = (("1e4", (100, 100), 1), ("1e5", (100, 250), 4), ("1e6", (500, 500), 4), ("1e7", (1000, 1000), 10))
# Tasks, the shape of a leaf, the number of leaves; the name counts the parameters.
SHAPES = {
    f"{tasks}-tasks/{name}": (tasks, leaf, leaves)
    for name, leaf, leaves in PARAMETERS
    for tasks in (2, 8, 32)
    if (tasks, name) != (32, "1e7")  # 1.3 GB a side
}
QUICK_SHAPES = {name: (tasks, (4, 4), min(leaves, 2)) for name, (tasks, _, leaves) in SHAPES.items()}
MANY = ("1e6", "1e7")  # parameters of which the Jacobian takes longer to read than the weights to find


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


def entries(
    name: str,
    aggregator: Callable[[], Any],
    peer: str,
    *,
    same: bool = True,
    shapes: Iterable[str] = ("8-tasks/1e5", "8-tasks/1e6"),
) -> list[Entry]:
    """One entry for each shape; the gradients are read for their Gramian and again for the sum, which is written."""
    return [
        Entry(
            name=f"{name}/{shape}",
            arrays=task_gradients(shape),
            ours=aggregate_program(aggregator),
            peer=Peer(f"torchjd.{peer}", "torchjd", torchjd_program(peer)),
            moved=lambda gradients: 2 * nbytes(gradients) + nbytes([leaf[0] for leaf in gradients]),
            goal=1.5 if shape.endswith(MANY) else 1.0,
            temp_free=shape.endswith(MANY),
            result=flattened if same else None,
        )
        for shape in shapes
    ]


ENTRIES = [
    *entries("upgrad", lambda: optimizers.upgrad(), "UPGrad", shapes=SHAPES),
    *entries("pcgrad", lambda: optimizers.pcgrad(), "PCGrad", same=False, shapes=SHAPES),  # torchjd draws its order
    *entries("mgda", lambda: optimizers.mgda(), "MGDA"),
    *entries("cagrad", lambda: optimizers.cagrad(), "CAGrad"),
    *entries("dualproj", lambda: optimizers.dualproj(), "DualProj"),
    *entries("imtl_g", lambda: optimizers.imtl_g(), "IMTLG"),
    *entries("config", lambda: optimizers.config(), "ConFIG"),
    *entries("aligned_mtl", lambda: optimizers.aligned_mtl(), "AlignedMTL"),
]
