"""Golden arrays of the sharpness-aware methods with a memory: `python tests/golden/sharpness_stateful.py RWP`.

Needs pytorch-optimizer, and a clone of the authors' repository of RWP (ChaojianYu/Robust-Weight-Perturbation), whose
folder is the argument.
"""

import argparse
import copy
import pathlib
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_optimizer import FriendlySAM, LookSAM

STEPS, RATE = 20, 0.05


def closed(make, hessian: torch.Tensor, start: torch.Tensor, noise: torch.Tensor) -> np.ndarray:
    """Parameters after each step of SGD inside `make` on x'Hx/2 + sum(x^4)/4 + n_t'x: a gradient with noise."""
    x = torch.nn.Parameter(start.clone())
    optimizer, path = make([x]), []
    for n in noise:

        def closure(n=n):
            optimizer.zero_grad()
            loss = 0.5 * x @ hessian @ x + 0.25 * (x**4).sum() + n @ x
            loss.backward()
            return loss

        closure()
        optimizer.step(closure)
        path.append(x.detach().numpy().copy())
    return np.stack(path)


def rwp(generator: torch.Generator, highest: float) -> dict[str, np.ndarray]:
    """A two-layer network on a fixed batch: inputs, labels, first weights, and the weights after each step."""
    from utils_rwp import RobustWeightPerturb

    torch.Tensor.cuda = lambda tensor: tensor  # their code is for the GPU and float32
    torch.cuda.FloatTensor = torch.DoubleTensor
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
    x, y = draw(8, 3), torch.arange(8) % 3
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(draw(*parameter.shape))
    flat = lambda: torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().copy()
    start, path, low = flat(), [], []
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    proxies = copy.deepcopy(model), copy.deepcopy(model)
    adversary = RobustWeightPerturb(model, *proxies, torch.optim.SGD(proxies[1].parameters(), lr=0.01), gamma=0.3)
    count = lambda: int((F.cross_entropy(model(x), y, reduction="none") < highest).sum())
    for _ in range(STEPS):
        before = count()
        perturbation = adversary.calc_awp(x, y, highest)
        adversary.perturb(perturbation)
        low.append((before, count()))
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        adversary.restore(perturbation)
        path.append(flat())
    print("examples below the highest loss before and after each perturbation:", low)
    return {"rwp_inputs": x.numpy(), "rwp_labels": y.numpy(), "rwp_start": start, "rwp": np.stack(path)}


def trajectory_loss(generator: torch.Generator) -> dict[str, np.ndarray]:
    """The divergence from the past logits as SAF_train.py writes it, without its mean, and its gradient."""
    logits = torch.randn(6, 4, dtype=torch.float64, generator=generator).mul(4).requires_grad_()
    past = torch.randn(6, 4, dtype=torch.float64, generator=generator).mul(4)
    losses = F.kl_div(F.softmax(logits / 5, -1).log(), F.softmax(past / 5, -1), reduction="none").sum(-1) * 5**2
    losses.sum().backward()
    return {
        "saf_logits": logits.detach().numpy(),
        "saf_past": past.numpy(),
        "saf": losses.detach().numpy(),
        "saf_gradient": logits.grad.numpy(),
    }


def main() -> None:
    """Write sharpness_stateful.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rwp", type=pathlib.Path, help="folder of the clone")
    clone = parser.parse_args().rwp
    sys.path.insert(0, str(clone / "AT_AWP_RWP"))
    commit = subprocess.run(
        ["git", "-C", str(clone), "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    peer = (
        f"pytorch-optimizer {version('pytorch_optimizer')}, torch {version('torch')}, "
        f"ChaojianYu/Robust-Weight-Perturbation {commit}"
    )
    print(peer)
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    hessian, start = root @ root.T / 6, torch.randn(6, dtype=torch.float64, generator=generator)
    noise = torch.randn(STEPS, 6, dtype=torch.float64, generator=generator)
    problem, sgd = (hessian, start, noise), torch.optim.SGD
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        hessian=hessian.numpy(),
        start=start.numpy(),
        noise=noise.numpy(),
        looksam=closed(lambda x: LookSAM(x, sgd, rho=0.3, k=3, alpha=0.7, lr=RATE), *problem),
        friendly_sam=closed(lambda x: FriendlySAM(x, sgd, rho=0.3, sigma=1.0, lmbda=0.9, lr=RATE), *problem),
        friendly_sam_half=closed(lambda x: FriendlySAM(x, sgd, rho=0.3, sigma=0.5, lmbda=0.6, lr=RATE), *problem),
        **rwp(generator, 1.5),
        **trajectory_loss(generator),
    )


if __name__ == "__main__":
    main()
