"""Golden updates of torchjd, LibMTL and PyTorch: `python tests/golden/aggregation_coordinate.py`, LibMTL importable.

LibMTL's wheel has no MoCo and no DB-MTL yet: put a checkout of its main branch (here of 14 May 2025) on PYTHONPATH. Its
package imports a trainer and datasets, which are passed over. Random orders and draws are recorded beside the results.
"""

import functools
import importlib.util
import pathlib
import random
import sys
import types
from importlib.metadata import version

import numpy as np
import torch
from torchjd.aggregation import GradDrop, GradVacWeighting, TrimmedMean

HERE = pathlib.Path(__file__)
TASKS, SIZE, STEPS = 3, 5, 4


@functools.cache
def weightings() -> types.ModuleType:
    """`LibMTL.weighting` without the rest of LibMTL."""
    package = types.ModuleType("LibMTL")
    package.__path__ = list(importlib.util.find_spec("LibMTL").submodule_search_locations)
    sys.modules["LibMTL"] = package
    return importlib.import_module("LibMTL.weighting")


class Shared(torch.nn.Module):
    """What LibMTL's trainer gives a weighting: tasks of one shared parameter vector."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.ParameterList([torch.zeros(2), torch.zeros(SIZE - 2)])
        self.task_num, self.device, self.rep_grad = TASKS, "cpu", False

    def get_share_params(self):
        return self.parts

    def zero_grad_share_params(self):
        for part in self.parts:
            part.grad = torch.zeros_like(part)


def quadratics(generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses `|A_t x - b_t|^2 / 2` of three tasks, of different sizes and with conflicting gradients."""
    matrices = generator.standard_normal((TASKS, 4, SIZE)) * np.array([1.0, 3.0, 0.2])[:, None, None]
    return torch.as_tensor(matrices), torch.as_tensor(generator.standard_normal((TASKS, 4)))


def trajectory(name: str, **settings: float) -> dict[str, np.ndarray]:
    """Points, losses and gradients of a few steps, and what LibMTL's weighting makes of them."""
    kind = getattr(weightings(), name)
    weighting = type(name, (Shared, kind), {"__init__": lambda self: Shared.__init__(self)})()
    weighting.init_param()
    generator = np.random.default_rng(3)
    matrices, targets = quadratics(generator)
    found = {"losses": [], "gradients": [], "updates": []}
    with RecordedShuffles() as orders:
        for _ in range(STEPS):
            point = torch.as_tensor(generator.standard_normal(SIZE))
            weighting.parts[0].data, weighting.parts[1].data = point[:2], point[2:]
            x = torch.cat(list(weighting.parts))
            losses = 0.5 * ((matrices @ x - targets) ** 2).sum(-1)
            rows = [torch.cat(torch.autograd.grad(loss, list(weighting.parts), retain_graph=True)) for loss in losses]
            weighting.zero_grad_share_params()
            weighting.backward(losses, **settings)
            found["losses"].append(losses.detach().numpy())
            found["gradients"].append(torch.stack(rows).numpy())
            found["updates"].append(torch.cat([part.grad for part in weighting.parts]).detach().numpy())
    arrays = {key: np.stack(value) for key, value in found.items()}
    if orders:
        complete = [[*order, task % TASKS] for task, order in enumerate(orders)]
        arrays["orders"] = np.array(complete).reshape(STEPS, TASKS, TASKS)
    return arrays


class RecordedShuffles:
    """The results of `random.shuffle` within the block."""

    def __enter__(self):
        self.orders, self.shuffle = [], random.shuffle

        def recorded(values):
            self.shuffle(values)
            self.orders.append(list(values))

        random.shuffle = recorded
        return self.orders

    def __exit__(self, *_):
        random.shuffle = self.shuffle


def gradvac() -> dict[str, np.ndarray]:
    """torchjd's weights and moving averages over several updates, with the orders that gave them."""
    generator = np.random.default_rng(4)
    weighting, orders, draw = GradVacWeighting(beta=0.5, eps=0.0), [], torch.randperm

    def recorded(size: int) -> torch.Tensor:
        orders.append(draw(size).numpy())
        return torch.as_tensor(orders[-1])

    found = {"gradients": [], "weights": [], "targets": []}
    torch.randperm = recorded
    for shift in (0.0, 1.0, 2.0, -0.3, 0.5, 0.0):
        gradients = generator.standard_normal((4, 6)) + shift * np.ones(6)
        found["gradients"].append(gradients)
        matrix = torch.as_tensor(gradients)
        found["weights"].append(weighting(matrix @ matrix.T).numpy())
        found["targets"].append(weighting._phi_t.numpy().copy())
    torch.randperm = draw
    complete = [[*np.delete(np.arange(4), i % 4)[order], i % 4] for i, order in enumerate(orders)]
    return {key: np.stack(value) for key, value in found.items()} | {"orders": np.array(complete).reshape(6, 4, 4)}


def gradnorm() -> dict[str, np.ndarray]:
    """The paper's Algorithm 1, its loss of the weights differentiated by PyTorch."""
    generator = np.random.default_rng(5)
    matrices, targets = quadratics(generator)
    weights, first = torch.ones(TASKS), None
    found = {"losses": [], "gradients": [], "weights": []}
    for _ in range(STEPS):
        x = torch.as_tensor(generator.standard_normal(SIZE)).requires_grad_()
        losses = 0.5 * ((matrices @ x - targets) ** 2).sum(-1)
        first = losses.detach() if first is None else first
        w = weights.clone().requires_grad_()
        norms = []
        for t in range(TASKS):
            (gradient,) = torch.autograd.grad(w[t] * losses[t], x, create_graph=True)
            norms.append(gradient.norm())
        norms = torch.stack(norms)
        left = losses.detach() / first
        aims = (norms.mean() * (left / left.mean()) ** 1.5).detach()
        (slope,) = torch.autograd.grad((norms - aims).abs().sum(), w)
        found["losses"].append(losses.detach().numpy())
        found["gradients"].append(
            torch.stack([torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in losses]).numpy()
        )
        found["weights"].append(weights.numpy())
        weights = (w - 0.002 * slope).detach()
        weights = weights * TASKS / weights.sum()
    return {key: np.stack(value) for key, value in found.items()}


def graddrop() -> dict[str, np.ndarray]:
    """torchjd's result with the draws that gave it."""
    found, rand = {}, torch.rand
    with np.load(HERE.with_name("aggregation.npz")) as gradients:
        for case in ("example", "conflicting_3x5", "random_10x40"):
            matrix = torch.as_tensor(gradients[f"{case}/jacobian"])
            leak = torch.linspace(0.0, 1.0, len(matrix))
            draws = rand(matrix.shape[1])
            torch.rand = lambda *_, draws=draws, **__: draws
            found[f"{case}/draws"] = draws.numpy()
            found[f"{case}/plain"] = GradDrop()(matrix).numpy()
            found[f"{case}/leaking"] = GradDrop(leak=leak)(matrix).numpy()
            found[f"{case}/squared"] = GradDrop(f=torch.square)(matrix).numpy()
            torch.rand = rand
    return found


def trimmed_mean() -> dict[str, np.ndarray]:
    """torchjd's, by the gradients and the number left out at each end."""
    with np.load(HERE.with_name("aggregation.npz")) as gradients:
        return {
            f"{case}/{left_out}": TrimmedMean(left_out)(torch.as_tensor(gradients[f"{case}/jacobian"])).numpy()
            for case, left_out in (("random_3x5", 1), ("random_10x6", 1), ("scaled_10x40", 3), ("random_10x6", 4))
        }


def main() -> None:
    """Write aggregation_coordinate.npz beside this file."""
    torch.manual_seed(0)
    random.seed(0)
    torch.set_default_dtype(torch.float64)
    peer = f"torchjd {version('torchjd')}, torch {version('torch')}, LibMTL main of 2025-05-14 (4336804)"
    groups = {
        "gradvac": gradvac(),
        "gradnorm": gradnorm(),
        "graddrop": graddrop(),
        "trimmed_mean": trimmed_mean(),
        "gradvac_per_leaf": trajectory("GradVac", GradVac_beta=0.5, GradVac_group_type=2),
        "moco": trajectory(
            "MoCo", MoCo_beta=0.5, MoCo_beta_sigma=0.5, MoCo_gamma=0.1, MoCo_gamma_sigma=0.5, MoCo_rho=0.2
        ),
        "db_mtl": trajectory("DB_MTL", DB_beta=0.9, DB_beta_sigma=0.5),
    }
    arrays = {f"{group}/{name}": array for group, found in groups.items() for name, array in found.items()}
    np.savez_compressed(HERE.with_suffix(".npz"), peer=np.array(peer), **arrays)
    print(peer)


if __name__ == "__main__":
    main()
