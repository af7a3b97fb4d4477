"""Golden trajectories of matrix optimizers: `python tests/golden/matrix.py` where PyTorch and pytorch-optimizer are.

The peers iterate in bfloat16 and decompose in float32; here they are made to use float64, their only change. Matrices
are theirs, [out, in]. Nesterov's average is left out: Optax, whose average we share, corrects the bias of momentum and
gradient apart.
"""

import functools
import inspect
import pathlib
import textwrap
from importlib.metadata import version

import numpy as np
import pytorch_optimizer.optimizer.muon.adamuon as adamuon_file
import pytorch_optimizer.optimizer.muon.normuon as normuon_file
import pytorch_optimizer.optimizer.soap as soap_file
import torch
from pytorch_optimizer import SOAP, AdaMuon, NorMuon, Shampoo
from torch.optim import _muon

STEPS, RATE = 50, 0.05
KEPT = [0, 1, 9, STEPS - 1]
SHAPES = {"square": (4, 4), "wide": (3, 6), "tall": (5, 2)}


def in_float64() -> None:
    """Replace bfloat16 in the peers' Newton-Schulz iterations, and float32 in SOAP's QR decomposition."""
    source = inspect.getsource(_muon._zeropower_via_newtonschulz).replace("bfloat16", "float64")
    exec(source, vars(_muon))
    source = textwrap.dedent(inspect.getsource(SOAP.get_orthogonal_matrix_qr)).replace("float32", "float64")
    exec(source, vars(soap_file))
    SOAP.get_orthogonal_matrix_qr = soap_file.get_orthogonal_matrix_qr
    for module in (adamuon_file, normuon_file):
        iterate = module.zero_power_via_newton_schulz_5
        module.zero_power_via_newton_schulz_5 = functools.partial(iterate, dtype=torch.float64)


def trajectory(make, start: torch.Tensor, gradients: torch.Tensor) -> np.ndarray:
    """Parameters after the kept steps; the gradient of step t is gradients[t] + 0.1 * parameters."""
    x = torch.nn.Parameter(start.clone())
    optimizer = make([x])
    path = []
    for gradient in gradients:
        x.grad = gradient + 0.1 * x.detach()
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return np.stack(path)[KEPT]


def grouped(cls, **settings):
    """A pytorch-optimizer class that wants its parameters in groups."""
    return lambda x: cls([{"params": x, "use_muon": True, **settings}], foreach=False)


def main() -> None:
    """Write matrix.npz beside this file."""
    in_float64()
    generator = torch.Generator().manual_seed(0)
    muon = {"lr": RATE, "momentum": 0.9, "nesterov": False}
    basis = {"precondition_frequency": 4, "max_precondition_dim": 5}
    cases = {
        "muon": lambda x: torch.optim.Muon(x, **muon, weight_decay=0.0),
        "muon_rms": lambda x: torch.optim.Muon(x, **muon, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        "adamuon": grouped(
            AdaMuon, lr=RATE, betas=(0.9, 0.95), eps=0.0, weight_decay=0.0, use_adjusted_lr=True, ns_steps=5
        ),
        "adamuon_decay": grouped(
            AdaMuon, lr=RATE, betas=(0.9, 0.95), eps=0.0, weight_decay=0.1, use_adjusted_lr=True, ns_steps=5
        ),
        "shampoo": lambda x: Shampoo(x, lr=RATE, matrix_eps=1e-6),
        "soap": lambda x: SOAP(x, lr=RATE, eps=1e-15, weight_decay=0.0, **basis),
        "soap_betas": lambda x: SOAP(
            x, lr=RATE, eps=1e-15, betas=(0.9, 0.99), shampoo_beta=0.8, weight_decay=0.0, **basis
        ),
        "normuon": grouped(
            NorMuon, **muon, beta2=0.95, eps=0.0, weight_decay=0.1, update_scale="match_rms", use_adjusted_lr=False
        ),
    }
    arrays = {}
    for shape_name, shape in SHAPES.items():
        start = torch.randn(*shape, dtype=torch.float64, generator=generator)
        gradients = torch.randn(STEPS, *shape, dtype=torch.float64, generator=generator)
        arrays[f"{shape_name}_start"], arrays[f"{shape_name}_gradients"] = start.numpy(), gradients.numpy()
        for name, make in cases.items():
            arrays[f"{shape_name}_{name}"] = trajectory(make, start, gradients)
    peer = f"torch {version('torch')}, pytorch-optimizer {version('pytorch_optimizer')}"
    print(peer)
    np.savez_compressed(
        pathlib.Path(__file__).with_suffix(".npz"), peer=peer, kept_steps=np.array(KEPT), rate=RATE, **arrays
    )


if __name__ == "__main__":
    main()
