"""Golden scalarizations and balanced trajectories of torchjd: `python tests/golden/scalarization.py` with torchjd.

The trajectories are gradient descent on two tasks, full batch, with the tasks weighed by FAMO and by DWA.
"""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from torchjd.scalarization import COSMOS, DWA, FAMO, IMTLL, PBI, STCH, UW, GeometricMean

HERE = pathlib.Path(__file__)
LOSSES = torch.tensor([0.7, 2.5, 0.02, 1.3], dtype=torch.float64)
PREFERENCE = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
IDEAL = torch.tensor([0.1, -0.2, 0.01, 0.0], dtype=torch.float64)
PARAMETERS = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
CENTRES = torch.tensor([[1.0, 0.0], [-2.0, 3.0]], dtype=torch.float64)
CURVATURES = torch.tensor([[1.0, 4.0], [10.0, 2.0]], dtype=torch.float64)
STEPS = 12
EPOCH = 3


def scalarizers() -> dict[str, torch.nn.Module]:
    """torchjd's, by the names of the arrays."""
    uncertainty, scales = UW(4).double(), IMTLL(4).double()
    uncertainty.log_var.data, scales.log_scale.data = PARAMETERS.clone(), PARAMETERS.clone()
    return {
        "geometric_mean": GeometricMean(),
        "smooth_chebyshev": STCH(0.1, PREFERENCE, IDEAL),
        "pbi": PBI(5.0, PREFERENCE, IDEAL),
        "cosmos": COSMOS(2.0, PREFERENCE),
        "uncertainty": uncertainty,
        "imtl_l": scales,
    }


def task_losses(params: torch.Tensor) -> torch.Tensor:
    """Two parabolas, above 0.1 and 0.2."""
    return (CURVATURES * (params - CENTRES) ** 2).sum(dim=1) + torch.tensor([0.1, 0.2], dtype=torch.float64)


def descend(scalarizer: torch.nn.Module, after: object) -> np.ndarray:
    """The parameters of each step of gradient descent; `after(number of the step, params)` follows each step."""
    params = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    path = []
    for number in range(STEPS):
        (gradient,) = torch.autograd.grad(scalarizer(task_losses(params)), params)
        params = (params - 0.02 * gradient).detach().requires_grad_()
        after(number, params)
        path.append(params.detach().numpy().copy())
    return np.stack(path)


def main() -> None:
    """Write scalarization.npz beside this file."""
    peer = ", ".join(f"{name} {version(name)}" for name in ("torchjd", "torch"))
    arrays = {"peer": np.array(peer)}
    constants = {"losses": LOSSES, "preference": PREFERENCE, "ideal": IDEAL, "parameters": PARAMETERS}
    constants |= {"centres": CENTRES, "curvatures": CURVATURES}
    arrays |= {name: constant.numpy() for name, constant in constants.items()}
    for name, scalarizer in scalarizers().items():
        losses = LOSSES.clone().requires_grad_()
        value = scalarizer(losses)
        inputs = [losses, *scalarizer.parameters()]
        for argument, gradient in zip(("losses", "parameters"), torch.autograd.grad(value, inputs)):
            arrays[f"{name}/grad_{argument}"] = gradient.numpy()
        arrays[f"{name}/value"] = value.detach().numpy()

    lowest = torch.tensor([0.05, 0.0], dtype=torch.float64)
    for name, settings in {"famo": {}, "famo_settings": {"lr": 0.1, "weight_decay": 0.5, "min_losses": lowest}}.items():
        famo = FAMO(2, **settings).double()
        arrays[name] = descend(famo, lambda number, params, famo=famo: famo.update(task_losses(params)))
    dwa = DWA(temperature=0.5)
    arrays["dwa"] = descend(dwa, lambda number, params: dwa.step() if number % EPOCH == EPOCH - 1 else None)
    np.savez_compressed(HERE.with_suffix(".npz"), **arrays)
    print(peer)


if __name__ == "__main__":
    main()
