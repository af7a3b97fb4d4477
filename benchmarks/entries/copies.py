"""Copies, measured as everything else: what "× copy" would be beside another yardstick than the harness's.

The bytes are those of AdamW's update of the large trees. Divide a method's "× copy" by that of the copy you mean.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.entries.optimizers import QUICK_TREES, TREES
from benchmarks.harness import Entry, Program, nbytes

WORDS = 7


def arrays(quick: bool) -> tuple[list[jax.Array]]:
    """Leaves that hold half of the bytes moved; the other half is where they go."""
    shape, leaves = (QUICK_TREES if quick else TREES)["20x1024x1024"]
    return ([jnp.array(np.ones(shape, np.float32)) for _ in range(leaves * WORDS // 2)],)


def memcpy(leaves: list[jax.Array]) -> Program:
    """NumPy's copy, on one core, to memory that is in use: what `memcpy` does."""
    source = np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])
    target = source.copy()
    return Program(lambda: np.copyto(target, source), jit=False)


def fresh(leaves: list[jax.Array]) -> Program:
    """XLA's copy of each leaf to memory that it allocates at every call."""
    return Program(lambda leaves: [jnp.copy(leaf) for leaf in leaves], (leaves,))


ENTRIES = [
    Entry(name=f"copy/{name}", arrays=arrays, ours=ours, moved=lambda leaves: 2 * nbytes(leaves))
    for name, ours in (("memcpy", memcpy), ("jnp.copy", fresh))
]
