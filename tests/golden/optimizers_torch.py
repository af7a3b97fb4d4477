"""Golden trajectories of PyTorch and pytorch-optimizer: `python tests/golden/optimizers_torch.py` where they are."""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from pytorch_optimizer import AdEMAMix, Lion

STEPS, RATE = 200, 1e-2


def trajectory(make, start: torch.Tensor, gradients: torch.Tensor) -> np.ndarray:
    """Parameters after each of STEPS steps; the gradient of step t is gradients[t] + 0.1 * parameters."""
    x = torch.nn.Parameter(start.clone())
    optimizer = make([x])
    path = []
    for gradient in gradients:
        x.grad = gradient + 0.1 * x.detach()
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return np.stack(path)


def main() -> None:
    """Write optimizers_torch.npz beside this file."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, dtype=torch.float64, generator=generator)
    gradients = torch.randn(STEPS, 5, dtype=torch.float64, generator=generator)
    optim = torch.optim
    cases = {
        "adam": lambda x: optim.Adam(x, lr=RATE),
        "adam_l2": lambda x: optim.Adam(x, lr=RATE, weight_decay=0.1),
        "adamw": lambda x: optim.AdamW(x, lr=RATE, betas=(0.85, 0.99), eps=1e-6, weight_decay=0.1),
        "adamax": lambda x: optim.Adamax(x, lr=RATE),
        "sgdw": lambda x: optim.SGD(x, lr=RATE, momentum=0.9),
        "sgdw_nesterov": lambda x: optim.SGD(x, lr=RATE, momentum=0.9, nesterov=True),
        "ademamix": lambda x: AdEMAMix(x, lr=RATE, weight_decay=0.1, weight_decouple=True),
        "ademamix_warm": lambda x: AdEMAMix(x, lr=RATE, betas=(0.9, 0.999, 0.999), alpha=5.0, t_alpha_beta3=150),
        "lion": lambda x: Lion(x, lr=RATE, betas=(0.9, 0.99), weight_decay=0.1, weight_decouple=True),
    }
    peer = f"torch {version('torch')}, pytorch-optimizer {version('pytorch_optimizer')}"
    print(peer)
    paths = {name: trajectory(make, start, gradients)[[0, 1, 9, 149, STEPS - 1]] for name, make in cases.items()}
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        start=start.numpy(),
        gradients=gradients.numpy(),
        kept_steps=np.array([0, 1, 9, 149, STEPS - 1]),
        **paths,
    )


if __name__ == "__main__":
    main()
