"""Golden trajectories of pytorch-optimizer: `python tests/golden/tensors.py` where that and PyTorch are."""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from pytorch_optimizer import CAME, AdamMini, FAdam, Gravity, StableAdamW

STEPS, RATE = 50, 1e-2
KEPT = [0, 1, 9, 29, STEPS - 1]
SHAPES = {"matrix": (3, 4), "vector": (5,), "batch": (2, 3, 2)}
# AdamMini tells blocks apart by the names of a model's parameters: elements, heads, and one block for each of the rest.
WIDE = {"momentum_dtype": torch.float64, "fim_dtype": torch.float64}
NAMED = {"embed": (3, 4), "q_proj": (4, 4), "mlp": (2, 4)}


def numbers(shapes, generator):
    """Start and gradients of each parameter, the gradients of different scales."""
    start = {name: torch.randn(shape, dtype=torch.float64, generator=generator) for name, shape in shapes.items()}
    gradients = {
        name: torch.randn(STEPS, *shape, dtype=torch.float64, generator=generator)
        * 10.0 ** (2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1)
        for name, shape in shapes.items()
    }
    return start, gradients


def trajectory(make, start, gradients, after=lambda optimizer, params: None):
    """Parameters at the steps of KEPT; the gradient of step t is gradients[t] + 0.1 * parameters."""
    params = {name: torch.nn.Parameter(x.clone()) for name, x in start.items()}
    optimizer = make(params)
    after(optimizer, params)
    path = {name: [] for name in params}
    for step in range(STEPS):
        for name, x in params.items():
            x.grad = (gradients[name][step] + 0.1 * x.detach()).to(x.dtype)
        optimizer.step()
        for name, x in params.items():
            path[name].append(x.detach().numpy().copy())
    return {name: np.stack(each)[KEPT] for name, each in path.items()}


class Named(torch.nn.Module):
    """A model that is nothing but its named parameters."""

    def __init__(self, params):
        super().__init__()
        for name, x in params.items():
            child = torch.nn.Module()
            child.weight = x
            self.add_module(name, child)


def mini(params):
    return AdamMini(Named(params), lr=RATE, betas=(0.9, 0.99), weight_decay=0.1, num_embeds=4, num_heads=2)


def main() -> None:
    """Write tensors.npz beside this file."""
    generator = torch.Generator().manual_seed(0)
    start, gradients = numbers(SHAPES, generator)
    velocity = {name: 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=generator) for name, x in start.items()}

    def set_velocity(optimizer, params):
        for group in optimizer.param_groups:
            for x in params.values():
                x.grad = torch.zeros_like(x)
            optimizer.init_group(group)
        for name, x in params.items():
            optimizer.state[x]["v"].copy_(velocity[name])

    cases = {
        "fadam": lambda x: FAdam(x.values(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.1, **WIDE),
        "fadam_p": lambda x: FAdam(x.values(), lr=RATE, weight_decay=0, p=0.3, eps=1e-2, eps_2=0.1, clip=0.5, **WIDE),
        "stable_adamw": lambda x: StableAdamW(x.values(), lr=RATE, betas=(0.8, 0.9), weight_decay=0.1),
        "stable_adamw_no_decay": lambda x: StableAdamW(x.values(), lr=RATE, eps=1e-3, weight_decay=0.0),
        "came": lambda x: CAME(x.values(), lr=1e-3, betas=(0.9, 0.99, 0.999), weight_decay=0.1),
        "came_no_decay": lambda x: CAME(x.values(), lr=1e-3, clip_threshold=0.5, eps2=1e-4),
    }
    arrays = {}
    for name, make in cases.items():
        for leaf, path in trajectory(make, start, gradients).items():
            arrays[f"{name}/{leaf}"] = path
    gravity = lambda x: Gravity(x.values(), lr=0.1, alpha=0.01, beta=0.9)
    for leaf, path in trajectory(gravity, start, gradients, set_velocity).items():
        arrays[f"gravity/{leaf}"] = path
    named = numbers(NAMED, generator)
    for leaf, path in trajectory(mini, *named).items():
        arrays[f"adam_mini/{leaf}"] = path
    for kind, tree in (("start", start), ("gradients", gradients), ("velocity", velocity)):
        arrays.update({f"{kind}/{leaf}": x.numpy() for leaf, x in tree.items()})
    for kind, tree in zip(("named_start", "named_gradients"), named, strict=True):
        arrays.update({f"{kind}/{leaf}": x.numpy() for leaf, x in tree.items()})
    peer = f"torch {version('torch')}, pytorch-optimizer {version('pytorch_optimizer')}"
    print(peer)
    np.savez(pathlib.Path(__file__).with_suffix(".npz"), peer=peer, kept_steps=np.array(KEPT), **arrays)


if __name__ == "__main__":
    main()
