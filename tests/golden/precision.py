"""Golden loss scales of jmp and PyTorch: `python tests/golden/precision.py` where they are installed."""

import pathlib
from importlib.metadata import version

import jax.numpy as jnp
import jmp
import numpy as np
import torch

INITIAL, PERIOD, STEPS = 64.0, 5, 200


def jmp_scales(finite: np.ndarray) -> np.ndarray:
    """The scale after each step, no smaller than 1."""
    scale, path = jmp.DynamicLossScale(jnp.float32(INITIAL), period=PERIOD), []
    for each in finite:
        scale = scale.adjust(jnp.asarray(each))
        path.append(float(scale.loss_scale))
    return np.array(path)


def torch_scales(finite: np.ndarray) -> np.ndarray:
    """The same of the GradScaler, which has no smallest scale."""
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    scaler, path = torch.amp.GradScaler("cpu", init_scale=INITIAL, growth_interval=PERIOD), []
    for each in finite:
        optimizer.zero_grad()
        scaler.scale(parameter * (1.0 if each else float("inf"))).backward()
        scaler.step(optimizer)
        scaler.update()
        path.append(scaler.get_scale())
    return np.array(path)


def main() -> None:
    """Write precision.npz beside this file."""
    peer = f"jmp {version('jmp')}, torch {version('torch')}"
    print(peer)
    random = np.random.default_rng(0)
    # One in ten overflows, and for a while all do.
    finite = (random.random(STEPS) > 0.1) & ~((np.arange(STEPS) > 80) & (np.arange(STEPS) < 95))
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        finite=finite,
        jmp=jmp_scales(finite),
        torch=torch_scales(finite),
    )


if __name__ == "__main__":
    main()
