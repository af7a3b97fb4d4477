"""Golden trajectories of second-order methods: `python tests/golden/second_order.py Sophia SANIA grad-norm-smooth`.

Needs pytorch-optimizer, and clones of the authors' repositories of Sophia (Liuhong99/Sophia), SANIA (fxrshed/SANIA) and
gradient-normalised smoothness (epfml/grad-norm-smooth), whose folders are the three arguments.
"""

import pathlib
import sys
from importlib.metadata import version

import numpy as np
import torch
from pytorch_optimizer import AdaHessian, SophiaH

STEPS, RATE, PERIOD, BATCH = 50, 0.05, 3, 7


def quartic(x: torch.Tensor, curvature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient and diagonal Hessian of sum(a x^2 / 2 + x^4 / 4)."""
    return curvature * x + x**3, curvature + 3 * x**2


def with_diagonal(make, period, start, curvature, noise) -> dict[str, np.ndarray]:
    """A path of an optimizer of pytorch-optimizer, which is told the exact diagonal at every `period`-th step."""
    leaves = [torch.nn.Parameter(x.clone()) for x in start]
    optimizer, path = make(leaves), []
    for step in range(STEPS):
        diagonal = []
        for x, a, n in zip(leaves, curvature, noise, strict=True):
            gradient, second = quartic(x.detach(), a)
            x.grad = gradient + n[step]
            diagonal.append(second)
        optimizer.step(hessian=diagonal if step % period == 0 else None)
        path.append(torch.cat([x.detach().reshape(-1) for x in leaves]).numpy().copy())
    return np.stack(path)


def sophia_g(make, start, curvature, noise) -> np.ndarray:
    """A path of the authors' Sophia-G; the gradient at sampled labels is 0.3 + x^2, and h renewed before the step."""
    leaves = [torch.nn.Parameter(x.clone()) for x in start]
    optimizer, path = make(leaves), []
    for step in range(STEPS):
        if step % PERIOD == 0:
            for x in leaves:
                x.grad = 0.3 + x.detach() ** 2
            optimizer.update_hessian()
        for x, a, n in zip(leaves, curvature, noise, strict=True):
            x.grad = quartic(x.detach(), a)[0] + n[step]
        optimizer.step(bs=BATCH)
        path.append(torch.cat([x.detach().reshape(-1) for x in leaves]).numpy().copy())
    return np.stack(path)


def sania(make, inputs, targets) -> np.ndarray:
    """A path of the authors' SANIA on the mean square of a linear model's errors, weights and bias apart."""
    weights = torch.nn.Parameter(torch.zeros(inputs.shape[1], dtype=torch.float64))
    bias = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer, path = make([weights, bias]), []
    for _ in range(STEPS):

        def closure():
            optimizer.zero_grad()
            loss = 0.5 * torch.mean((inputs @ weights + bias - targets) ** 2)
            loss.backward()
            return loss

        optimizer.step(closure)
        path.append(np.append(weights.detach().numpy(), bias.item()))
    return np.stack(path)


def gradient_normalized(folder: str) -> dict[str, np.ndarray]:
    """Points and radii of the authors' Algorithm 1 on Rosenbrock's function, with the exact Hessian."""
    sys.path.insert(0, str(pathlib.Path(folder) / "src"))
    from methods import grad_norm_smooth
    from oracles import RosenbrockOracle

    # eps is added to gamma by the code, not by the paper.
    _, status, history = grad_norm_smooth(RosenbrockOracle(), np.array([-1.2, 1.0]), n_iters=40, gamma_0=0.5, eps=0.0)
    print("gradient-normalised smoothness:", status)
    return {"gns_path": np.stack(history["x_k"]), "gns_gamma": np.array(history["gamma_k"])}


def main(sophia_folder: str, sania_folder: str, smooth_folder: str) -> None:
    """Write second_order.npz beside this file."""
    sys.path[:0] = [sophia_folder, sania_folder]
    from SANIA.sania_adagrad_sqr import SANIA_AdagradSQR
    from SANIA.sania_adam_sqr import SANIA_AdamSQR
    from sophia import SophiaG

    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 2), (4,), ())

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    start = [normal(*shape) for shape in shapes]
    curvature = [torch.exp(normal(*shape)) for shape in shapes]
    noise = [0.1 * normal(STEPS, *shape) for shape in shapes]
    inputs = normal(8, 4)
    targets = inputs @ normal(4) - 0.5 + 0.1 * normal(8)
    ada = {"lr": RATE, "betas": (0.8, 0.95), "eps": 1e-4}
    h = {"lr": RATE, "betas": (0.9, 0.95), "p": 0.5, "eps": 1e-6}
    g = {"lr": RATE, "betas": (0.9, 0.95), "rho": 0.4}
    peer = f"pytorch-optimizer {version('pytorch_optimizer')}, torch {version('torch')}"
    print(peer)
    problem = (start, curvature, noise)
    paths = {
        "adahessian": with_diagonal(lambda x: AdaHessian(x, **ada), 1, *problem),
        "adahessian_decay": with_diagonal(lambda x: AdaHessian(x, weight_decay=0.2, **ada), 1, *problem),
        "adahessian_power": with_diagonal(lambda x: AdaHessian(x, hessian_power=0.6, **ada), 1, *problem),
        "sophia_h": with_diagonal(lambda x: SophiaH(x, update_period=PERIOD, **h), PERIOD, *problem),
        "sophia_h_decay": with_diagonal(
            lambda x: SophiaH(x, update_period=PERIOD, weight_decay=0.2, **h), PERIOD, *problem
        ),
        "sophia_g": sophia_g(lambda x: SophiaG(x, weight_decay=0.0, **g), *problem),
        "sophia_g_decay": sophia_g(lambda x: SophiaG(x, weight_decay=0.2, **g), *problem),
        "sania_adam": sania(lambda x: SANIA_AdamSQR(x, betas=(0.9, 0.9), eps=1e-3), inputs, targets),
        "sania_adagrad": sania(lambda x: SANIA_AdagradSQR(x, eps=1e-3), inputs, targets),
    }
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        start=torch.cat([x.reshape(-1) for x in start]).numpy(),
        curvature=torch.cat([x.reshape(-1) for x in curvature]).numpy(),
        noise=torch.cat([x.reshape(STEPS, -1) for x in noise], dim=1).numpy(),
        inputs=inputs.numpy(),
        targets=targets.numpy(),
        **paths,
        **gradient_normalized(smooth_folder),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
