"""Golden weights and aggregates of torchjd: `python tests/golden/aggregation.py` where torchjd and quadprog are.

PCGrad visits the tasks in orders drawn by `torch.randperm`; they are recorded beside the weights.
"""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from torchjd.aggregation import PCGradWeighting, UPGrad, UPGradWeighting


def jacobians() -> dict[str, np.ndarray]:
    """Gradients `[T, P]`: the example of torchjd, and random ones: conflicting, dependent, or of different scales."""
    random = np.random.default_rng(0)
    cases = {"example": np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])}
    for tasks, size in ((2, 4), (3, 5), (10, 6), (10, 40)):
        plain = random.standard_normal((tasks, size))
        name = f"{tasks}x{size}"
        cases[f"random_{name}"] = plain
        cases[f"conflicting_{name}"] = plain - 0.9 * plain.mean(axis=0)
        cases[f"scaled_{name}"] = plain * 10.0 ** random.uniform(-2, 2, (tasks, 1))
        dependent = plain.copy()
        dependent[-1] = -2.0 * dependent[0]
        cases[f"dependent_{name}"] = dependent
    return cases


def pcgrad(gramian: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """PCGrad's weights and the orders `[T, T]` that gave them."""
    orders, draw = [], torch.randperm

    def recorded(size: int) -> torch.Tensor:
        orders.append(draw(size))
        return orders[-1]

    torch.randperm = recorded
    try:
        weights = PCGradWeighting()(gramian)
    finally:
        torch.randperm = draw
    return weights.numpy(), torch.stack(orders).numpy()


def main() -> None:
    """Write aggregation.npz beside this file."""
    torch.manual_seed(0)
    peer = f"torchjd {version('torchjd')}, torch {version('torch')}, quadprog {version('quadprog')}"
    arrays = {"peer": np.array(peer)}
    for name, jacobian in jacobians().items():
        matrix = torch.as_tensor(jacobian)
        gramian = matrix @ matrix.T
        preference = torch.linspace(1.0, 2.0, len(matrix), dtype=matrix.dtype)
        arrays[f"{name}/jacobian"] = jacobian
        arrays[f"{name}/upgrad"] = UPGrad()(matrix).numpy()
        arrays[f"{name}/upgrad_weights"] = UPGradWeighting()(gramian).numpy()
        arrays[f"{name}/upgrad_preferring"] = UPGradWeighting(preference)(gramian).numpy()
        arrays[f"{name}/pcgrad_weights"], arrays[f"{name}/orders"] = pcgrad(gramian)
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), **arrays)
    print(peer)


if __name__ == "__main__":
    main()
