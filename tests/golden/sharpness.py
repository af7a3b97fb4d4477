"""Golden SAM and ASAM trajectories of pytorch-optimizer: `python tests/golden/sharpness.py` where it is installed."""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from pytorch_optimizer import SAM

STEPS, RATE = 20, 0.05


def trajectory(adaptive: bool, rho: float, hessian: torch.Tensor, start: torch.Tensor) -> np.ndarray:
    """Parameters after each of STEPS steps of SGD inside SAM on x'Hx/2 + sum(x^4)/4."""
    x = torch.nn.Parameter(start.clone())
    optimizer = SAM([x], torch.optim.SGD, rho=rho, adaptive=adaptive, lr=RATE)
    path = []
    for _ in range(STEPS):

        def closure():
            optimizer.zero_grad()
            loss = 0.5 * x @ hessian @ x + 0.25 * (x**4).sum()
            loss.backward()
            return loss

        closure()
        optimizer.step(closure)
        path.append(x.detach().numpy().copy())
    return np.stack(path)


def main() -> None:
    """Write sharpness.npz beside this file."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    hessian, start = root @ root.T / 6, torch.randn(6, dtype=torch.float64, generator=generator)
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=f"pytorch-optimizer {version('pytorch_optimizer')}, torch {version('torch')}",
        hessian=hessian.numpy(),
        start=start.numpy(),
        sam=trajectory(False, 0.05, hessian, start),
        asam=trajectory(True, 0.5, hessian, start),
    )


if __name__ == "__main__":
    main()
