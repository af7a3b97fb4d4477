"""Golden trajectories of the sharpness-aware methods: `python tests/golden/sharpness.py GAM AMP-Regularizer AWP`.

Needs pytorch-optimizer, and clones of the authors' repositories of GAM (xxgege/GAM), AMP (hiyouga/AMP-Regularizer) and
AWP (csdongxian/AWP), whose folders are the three arguments.
"""

import argparse
import copy
import pathlib
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import torch
from pytorch_optimizer import GSAM, SAM, WSAM

STEPS, RATE = 20, 0.05


class Quartic(torch.nn.Module):
    """x'Hx/2 + sum(x^4)/4, with x in one or two parameters."""

    def __init__(self, hessian: torch.Tensor, start: torch.Tensor, split: int | None = None) -> None:
        super().__init__()
        pieces = [start] if split is None else [start[:split], start[split:]]
        self.pieces = torch.nn.ParameterList([torch.nn.Parameter(piece.clone()) for piece in pieces])
        self.hessian = hessian

    def x(self) -> torch.Tensor:
        return torch.cat(list(self.pieces))

    def forward(self, _: object = None) -> torch.Tensor:
        x = self.x()
        return 0.5 * x @ self.hessian @ x + 0.25 * (x**4).sum()


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


def closed(make, model: Quartic) -> np.ndarray:
    """The path of an optimizer `make(model)` whose step takes a closure giving the loss."""
    optimizer, path = make(model), []

    def closure():
        model.zero_grad()
        loss = model()
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)
        path.append(model.x().detach().numpy().copy())
    return np.stack(path)


def constant(value: float) -> SimpleNamespace:
    """A schedule, as GSAM and GAM want one for each radius."""
    return SimpleNamespace(step=lambda: value)


def gsam(model: Quartic) -> np.ndarray:
    sgd = torch.optim.SGD(model.parameters(), lr=RATE)
    return batched(GSAM(model.parameters(), sgd, model, constant(0.3), alpha=0.4), model)


def gam(model: Quartic, beta: float) -> np.ndarray:
    from gam.gam import GAM

    betas = SimpleNamespace(grad_beta_1=1.0, grad_beta_2=-beta, grad_beta_3=beta, grad_gamma=0.3)
    sgd = torch.optim.SGD(model.parameters(), lr=RATE)
    return batched(GAM(model.parameters(), sgd, model, constant(0.1), constant(0.2), args=betas), model)


def batched(optimizer: torch.optim.Optimizer, model: Quartic) -> np.ndarray:
    """The path of an optimizer that is given model, loss and batch before each step."""
    path = []
    for _ in range(STEPS):
        optimizer.set_closure(lambda output, target: output, None, None)
        optimizer.step()
        path.append(model.x().detach().numpy().copy())
    return np.stack(path)


def wsam(model: Quartic) -> np.ndarray:
    """Coupled WSAM: (1 - a) g + a g_perturbed with a = gamma / (1 - gamma), here 2/3."""
    return closed(
        lambda m: WSAM(m, m.parameters(), torch.optim.SGD, rho=0.3, gamma=0.4, decouple=False, lr=RATE), model
    )


def amp(model: Quartic, steps: int) -> np.ndarray:
    from amp import AMP

    def make(m: Quartic):
        optimizer = AMP(m.parameters(), lr=RATE, epsilon=0.5, inner_lr=0.3, inner_iter=steps)
        step = optimizer.step
        optimizer.step = lambda closure: step(lambda: (torch.zeros(()), closure()))
        return optimizer

    return closed(make, model)


def awp(generator: torch.Generator) -> dict[str, np.ndarray]:
    """A two-layer network on a fixed batch: inputs, labels, first weights, and the weights after each step."""
    from utils_awp import AdvWeightPerturb

    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
    x, y = draw(8, 3), torch.arange(8) % 3
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(draw(*parameter.shape))
    flat = lambda: torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().copy()
    start, path, proxy = flat(), [], copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    adversary = AdvWeightPerturb(model, proxy, torch.optim.SGD(proxy.parameters(), lr=0.01), gamma=0.05)
    for _ in range(STEPS):
        perturbation = adversary.calc_awp(x, y)
        adversary.perturb(perturbation)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        adversary.restore(perturbation)
        path.append(flat())
    return {"awp_inputs": x.numpy(), "awp_labels": y.numpy(), "awp_start": start, "awp": np.stack(path)}


def main() -> None:
    """Write sharpness.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("gam", "amp", "awp"):
        parser.add_argument(name, type=pathlib.Path, help="folder of the clone")
    clones = parser.parse_args()
    sys.path[:0] = [str(clones.gam), str(clones.amp), str(clones.awp / "AT_AWP")]
    commit = lambda clone: subprocess.run(
        ["git", "-C", str(clone), "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    hessian, start = root @ root.T / 6, torch.randn(6, dtype=torch.float64, generator=generator)
    peer = (
        f"pytorch-optimizer {version('pytorch_optimizer')}, torch {version('torch')}, xxgege/GAM {commit(clones.gam)}, "
        f"hiyouga/AMP-Regularizer {commit(clones.amp)}, csdongxian/AWP {commit(clones.awp)}"
    )
    print(peer)
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        hessian=hessian.numpy(),
        start=start.numpy(),
        sam=trajectory(False, 0.05, hessian, start),
        asam=trajectory(True, 0.5, hessian, start),
        gsam=gsam(Quartic(hessian, start)),
        gam=gam(Quartic(hessian, start), 1.0),
        gam_half=gam(Quartic(hessian, start), 0.5),
        wsam=wsam(Quartic(hessian, start)),
        amp=amp(Quartic(hessian, start), 1),
        amp_per_leaf=amp(Quartic(hessian, start, split=4), 3),
        **awp(generator),
    )


if __name__ == "__main__":
    main()
