"""Golden training of a wide network: `python tests/golden/maximal_update.py` with mup and torch.

A network of one input, two hidden and one output layer, four times as wide as its base. mup divides the readout's input
by the growth of the width, so the effective weights of the last layer are the stored ones divided by it.
"""

import pathlib
from importlib.metadata import version

import mup
import numpy as np
import torch

BASE, WIDTH, STEPS, RATE = 8, 32, 10, 1e-2


class Network(torch.nn.Module):
    """tanh layers and mup's readout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = torch.nn.Linear(3, width)
        self.hidden = torch.nn.Linear(width, width)
        self.output = mup.MuReadout(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 3] to [B, 2]."""
        return self.output(torch.tanh(self.hidden(torch.tanh(self.input(x)))))


def effective(network: Network) -> dict[str, np.ndarray]:
    """Kernels [in, out] and biases as a plain network without multipliers would have them."""
    found = {}
    for name in ("input", "hidden", "output"):
        layer = getattr(network, name)
        growth = layer.width_mult() if name == "output" else 1
        found[f"{name}/kernel"] = layer.weight.detach().numpy().T.copy() / growth
        found[f"{name}/bias"] = layer.bias.detach().numpy().copy()
    return found


def train(make) -> dict[str, np.ndarray]:
    """Effective parameters before and after STEPS steps of least squares on one batch."""
    torch.manual_seed(0)
    network = mup.set_base_shapes(Network(WIDTH), Network(BASE), delta=Network(2 * BASE))
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(16, 3, generator=generator), torch.randn(16, 2, generator=generator)
    before, optimizer = effective(network), make(network.parameters())
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.mean((network(x) - y) ** 2).backward()
        optimizer.step()
    after = effective(network)
    first, last = (
        {f"{when} {name}": value for name, value in values.items()}
        for when, values in (("before", before), ("after", after))
    )
    return {**first, **last, "x": x.numpy(), "y": y.numpy()}


def main() -> None:
    """Write maximal_update.npz beside this file."""
    torch.set_default_dtype(torch.float64)
    # Adam's eps is added to gradients whose scale the readout's multiplier changes: too small to matter here.
    cases = {
        "adam": lambda p: mup.MuAdam(p, lr=RATE, eps=1e-30),
        "adamw": lambda p: mup.MuAdamW(p, lr=RATE, eps=1e-30, weight_decay=0.1),
        "sgd": lambda p: mup.MuSGD(p, lr=RATE),
    }
    peer = f"mup {version('mup')}, torch {version('torch')}"
    print(peer)
    arrays = {f"{case} {name}": value for case, make in cases.items() for name, value in train(make).items()}
    np.savez(pathlib.Path(__file__).with_suffix(".npz"), peer=peer, **arrays)


if __name__ == "__main__":
    main()
