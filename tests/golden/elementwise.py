"""Golden trajectories of PyTorch, pytorch-optimizer and the authors of DOT.

`python tests/golden/elementwise.py path/to/dot.py` where the first two are installed; dot.py is
mdistiller/engine/dot.py of github.com/megvii-research/mdistiller.
"""

import pathlib
import re
import sys
from importlib.metadata import version

import numpy as np
import torch
from pytorch_optimizer import AdaBelief, Adan, DiffGrad, SignSGD

STEPS, RATE = 50, 1e-2


def trajectory(make, start: torch.Tensor, gradients: torch.Tensor) -> np.ndarray:
    """Parameters after each step; the gradient of step t is gradients[t] + 0.1 * parameters."""
    x = torch.nn.Parameter(start.clone())
    optimizer = make([x])
    path = []
    for gradient in gradients:
        x.grad = gradient + 0.1 * x.detach()
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return np.stack(path)


def distillation(path: str, start: torch.Tensor, gradients: torch.Tensor, others: torch.Tensor, **keywords):
    """The same for the authors' trainer, the other gradient being others[t]."""
    text = pathlib.Path(path).read_text()
    text = re.sub(r"import torch.optim._functional as F\n|, required", "", text)  # unused, and gone from PyTorch
    namespace = {"required": object()}
    exec(compile(text, path, "exec"), namespace)
    x = torch.nn.Parameter(start.clone())
    optimizer = namespace["DistillationOrientedTrainer"]([x], lr=RATE, **keywords)
    kept = []
    for gradient, other in zip(gradients, others, strict=True):
        x.grad = other.clone()
        optimizer.step_kd()
        x.grad = gradient + 0.1 * x.detach()
        optimizer.step()
        kept.append(x.detach().numpy().copy())
    return np.stack(kept)


def main() -> None:
    """Write elementwise.npz beside this file."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, dtype=torch.float64, generator=generator)
    gradients, others = torch.randn(2, STEPS, 5, dtype=torch.float64, generator=generator)
    cases = {
        "amsgrad": lambda x: torch.optim.Adam(x, lr=RATE, amsgrad=True),
        "adabelief": lambda x: AdaBelief(x, lr=RATE, eps=1e-8),
        "adan": lambda x: Adan(x, lr=RATE),
        "adan_decay": lambda x: Adan(x, lr=RATE, weight_decay=0.1, weight_decouple=True),
        "diffgrad": lambda x: DiffGrad(x, lr=RATE, eps=0.0),
        "signum": lambda x: SignSGD(x, lr=RATE, momentum=0.9),
        "signum_decay": lambda x: SignSGD(x, lr=RATE, momentum=0.9, weight_decay=0.1),
    }
    peer = f"torch {version('torch')}, pytorch-optimizer {version('pytorch_optimizer')}, megvii-research/mdistiller"
    print(peer)
    paths = {name: trajectory(make, start, gradients) for name, make in cases.items()}
    for name, decay in (("distillation", 0.0), ("distillation_decay", 0.1)):
        keywords = {"momentum": 0.825, "momentum_kd": 0.975, "weight_decay": decay}
        paths[name] = distillation(sys.argv[1], start, gradients, others, **keywords)
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        start=start.numpy(),
        gradients=gradients.numpy(),
        others=others.numpy(),
        **paths,
    )


if __name__ == "__main__":
    main()
