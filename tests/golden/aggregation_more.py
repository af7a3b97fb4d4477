"""Golden aggregates of torchjd: `python tests/golden/aggregation_more.py` with quadprog, cvxpy and clarabel.

The gradients are those of `aggregation.npz`. torchjd's MGDA is Frank-Wolfe, run here until it stands still.
"""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from torchjd.aggregation import IMTLG, MGDA, AlignedMTL, CAGrad, ConFIG, DualProj

HERE = pathlib.Path(__file__)


def aggregators(tasks: int) -> dict[str, object]:
    """torchjd's, by the names of the arrays; the preferred ones prefer the later tasks."""
    preference = torch.linspace(1.0, 2.0, tasks, dtype=torch.float64)
    return {
        "mgda": MGDA(epsilon=1e-12, max_iters=20_000),
        "dualproj": DualProj(),
        "dualproj_preferring": DualProj(preference),
        "imtl_g": IMTLG(),
        "aligned_mtl": AlignedMTL(),
        "aligned_mtl_preferring": AlignedMTL(preference),
        "aligned_mtl_median": AlignedMTL(scale_mode="median"),
        "aligned_mtl_rmse": AlignedMTL(scale_mode="rmse"),
        "config": ConFIG(),
        "config_preferring": ConFIG(preference),
        "cagrad_0.5": CAGrad(c=0.5),
        "cagrad_2": CAGrad(c=2.0),
    }


def main() -> None:
    """Write aggregation_more.npz beside this file."""
    named = ("torchjd", "torch", "quadprog", "cvxpy", "clarabel")
    peer = ", ".join(f"{name} {version(name)}" for name in named)
    arrays = {"peer": np.array(peer)}
    with np.load(HERE.with_name("aggregation.npz")) as gradients:
        for case in sorted({name.split("/")[0] for name in gradients.files if "/" in name}):
            matrix = torch.as_tensor(gradients[f"{case}/jacobian"])
            for name, aggregator in aggregators(len(matrix)).items():
                arrays[f"{case}/{name}"] = aggregator(matrix).numpy()
    np.savez_compressed(HERE.with_suffix(".npz"), **arrays)
    print(peer)


if __name__ == "__main__":
    main()
