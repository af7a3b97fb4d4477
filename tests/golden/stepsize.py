"""Golden trajectories of MoMo: `python tests/golden/stepsize.py` with torch.

On the path: the folder `momo` of https://github.com/fabian-sp/MoMo. A trajectory is that of least squares of a matrix
and a vector on one example a step, from a common start.
"""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from momo.momo import Momo
from momo.momo_adam import MomoAdam

STEPS = 50
KEPT = [0, 1, 9, 24, STEPS - 1]


def trajectory(
    make, inputs: torch.Tensor, targets: torch.Tensor, start: tuple[torch.Tensor, ...]
) -> dict[str, np.ndarray]:
    """Parameters, and the lower bound where it is estimated, after the steps KEPT."""
    matrix, vector = (torch.nn.Parameter(x.clone()) for x in start)
    optimizer = make([matrix, vector])
    found = []
    for x, y in zip(inputs, targets, strict=True):
        optimizer.zero_grad()
        loss = 0.5 * torch.sum((matrix @ x + vector - y) ** 2) + 0.3
        loss.backward()
        optimizer.step(loss=loss)
        found.append((matrix.detach().numpy().copy(), vector.detach().numpy().copy(), float(optimizer.lb)))
    kept = [found[step] for step in KEPT]
    return dict(zip(("matrix", "vector", "lb"), (np.stack([k[i] for k in kept]) for i in range(3)), strict=True))


CASES = {
    "momo": lambda p: Momo(p, lr=1.0),
    "momo small": lambda p: Momo(p, lr=0.02, beta=0.8),
    "momo decay": lambda p: Momo(p, lr=1.0, weight_decay=0.1, lb=0.2),
    "momo corrected": lambda p: Momo(p, lr=0.5, bias_correction=True, lb=0.3),
    "momo adapted": lambda p: Momo(p, lr=1.0, weight_decay=0.05, use_fstar=True),
    "momo corrected adapted": lambda p: Momo(p, lr=2.0, bias_correction=True, weight_decay=0.05, use_fstar=True),
    "momo_adam": lambda p: MomoAdam(p, lr=1.0),
    "momo_adam small": lambda p: MomoAdam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-3),
    "momo_adam decay": lambda p: MomoAdam(p, lr=0.3, weight_decay=0.1, lb=0.2),
    "momo_adam adapted": lambda p: MomoAdam(p, lr=1.0, weight_decay=0.05, use_fstar=True),
}


def main() -> None:
    """Write stepsize.npz beside this file."""
    torch.set_default_dtype(torch.float64)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, generator=generator), torch.randn(3, generator=generator)
    inputs, targets = torch.randn(STEPS, 4, generator=generator), torch.randn(STEPS, 3, generator=generator)
    peer = f"MoMo at 7be52f22, torch {version('torch')}"
    print(peer)
    arrays = {
        f"{name} {part}": values
        for name, make in CASES.items()
        for part, values in trajectory(make, inputs, targets, start).items()
    }
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        start_matrix=start[0].numpy(),
        start_vector=start[1].numpy(),
        inputs=inputs.numpy(),
        targets=targets.numpy(),
        kept_steps=np.array(KEPT),
        **arrays,
    )


if __name__ == "__main__":
    main()
