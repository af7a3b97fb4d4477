"""Golden aggregates: `python tests/golden/aggregation_gramian.py` with torchjd, ecos, scipy and conflictfree.

Bloop is that of https://github.com/apple/ml-bloop, whose folder `src` has to be on the path. The gradients are those of
`aggregation.npz`; the methods with a state see them with factors that change from update to update.
"""

import itertools
import pathlib
import warnings
from importlib.metadata import version
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
from bloop.optim import bloop_direction, init_bloop
from conflictfree.momentum_operator import PseudoMomentumOperator
from torchjd.aggregation import (
    PCD,
    CRMOGMWeighting,
    ExcessMTLWeighting,
    FairGrad,
    KrumWeighting,
    MGDAWeighting,
    MoDoWeighting,
    NashMTL,
    SDMGradWeighting,
)

HERE = pathlib.Path(__file__)
UPDATES = 4


def trajectory(matrix: np.ndarray) -> np.ndarray:
    """Gradients `[UPDATES, T, P]` of several updates: the rows are scaled and turned a little."""
    random = np.random.default_rng(len(matrix))
    scales = random.uniform(0.5, 2.0, (UPDATES, len(matrix), 1))
    return scales * matrix + 0.3 * random.standard_normal((UPDATES, *matrix.shape)) * np.abs(matrix).mean()


def krum(gramian: torch.Tensor, byzantine: int, selected: int) -> torch.Tensor:
    """torchjd's Krum adds up distances; without its square root, their squares as the paper does."""
    with mock.patch("torch.sqrt", lambda x: x):
        return KrumWeighting(byzantine, selected)(gramian)


def momentum_config(gradients: np.ndarray) -> np.ndarray:
    """The updates of M-ConFIG on gradients `[K, P]` of losses that take turns, two of them."""
    operator = PseudoMomentumOperator(num_vectors=2)
    return np.stack([operator.calculate_gradient(k % 2, torch.as_tensor(g)).numpy() for k, g in enumerate(gradients)])


def bloop(gradients: np.ndarray) -> np.ndarray:
    """The directions of Bloop on gradients `[K, T, P]`, whose average begins with the first main gradient."""
    state = init_bloop(jax.random.key(0), jnp.asarray(gradients[0, 0]), ema=0.3, lbda=0.5)
    directions = []
    for main, *auxiliary in gradients:
        direction, state = bloop_direction(jnp.asarray(main), jnp.asarray(sum(auxiliary)), state, eps=0.0)
        directions.append(np.asarray(direction))
    return np.stack(directions)


def of_one_update(matrix: torch.Tensor) -> dict[str, torch.Tensor]:
    """Aggregates of gradients `[T, P]`, and the weights of Krum."""
    tasks = len(matrix)
    found = {f"fairgrad_{alpha:g}": FairGrad(alpha)(matrix) for alpha in (0.5, 1.0, 2.0)}
    found["nash_mtl"] = NashMTL(tasks)(matrix)
    found["nash_mtl_unbounded"] = NashMTL(tasks, max_norm=0.0)(matrix)
    found["pcd"] = PCD()(matrix)
    if tasks >= 4:
        for byzantine, selected in ((0, 1), (1, 1), (2, 3)):
            found[f"krum_{byzantine}_{selected}"] = krum(matrix @ matrix.T, byzantine, selected)
    return found


def of_several_updates(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Weights `[K, T]`, or the aggregates `[K, P]` of PCD and Nash-MTL."""
    tasks = matrices.shape[1]
    takes_gramian = {
        "cr_mogm": CRMOGMWeighting(MGDAWeighting(epsilon=1e-12, max_iters=20_000), alpha=0.7),
        "modo": MoDoWeighting(),
        "sdmgrad": SDMGradWeighting(),
        "sdmgrad_preferring": SDMGradWeighting(1.0, 0.9, 7, 0.6, torch.linspace(1, 2, tasks, dtype=torch.float64)),
    }
    takes_matrix = {
        "excess_mtl": ExcessMTLWeighting(n_warmup_steps=1),
        "excess_mtl_warm": ExcessMTLWeighting(0.3, n_warmup_steps=2),
        "pcd": PCD(tau=0.1, beta=0.9),
        "nash_mtl_every_2": NashMTL(tasks, max_norm=0.5, update_weights_every=2),
    }
    rows = [torch.as_tensor(matrix) for matrix in matrices]
    found = {name: [call(j @ j.T) for j in rows] for name, call in takes_gramian.items()}
    found |= {name: [call(j) for j in rows] for name, call in takes_matrix.items()}
    across = MoDoWeighting(gamma=0.02, rho=0.3)
    found["modo_across"] = [across(j @ k.T) for j, k in itertools.pairwise(rows)]
    across = SDMGradWeighting()
    found["sdmgrad_across"] = [across(j @ k.T) for j, k in itertools.pairwise(rows)]
    return {name: torch.stack(list(rows)).numpy() for name, rows in found.items()}


def main() -> None:
    """Write aggregation_gramian.npz beside this file."""
    warnings.simplefilter("ignore")
    jax.config.update("jax_enable_x64", True)
    torch.set_default_dtype(torch.float64)
    named = ("torchjd", "torch", "cvxpy", "ecos", "scipy", "conflictfree")
    peer = ", ".join(f"{name} {version(name)}" for name in named) + ", ml-bloop c4626c6"
    arrays = {"peer": np.array(peer)}
    with np.load(HERE.with_name("aggregation.npz")) as gradients:
        for case in sorted({name.split("/")[0] for name in gradients.files if "/" in name}):
            matrix = gradients[f"{case}/jacobian"]
            for name, array in of_one_update(torch.as_tensor(matrix)).items():
                arrays[f"{case}/{name}"] = array.numpy()
            if case in {"conflicting_2x4", "conflicting_3x5", "dependent_3x5", "scaled_10x40"}:
                matrices = trajectory(matrix)
                arrays[f"{case}/trajectory"] = matrices
                for name, array in of_several_updates(matrices).items():
                    arrays[f"{case}/trajectory_{name}"] = array
                arrays[f"{case}/trajectory_bloop"] = bloop(matrices)
                arrays[f"{case}/trajectory_m_config"] = momentum_config(matrices[:, :2].reshape(2 * UPDATES, -1))
    np.savez_compressed(HERE.with_suffix(".npz"), **arrays)
    print(peer)


if __name__ == "__main__":
    main()
