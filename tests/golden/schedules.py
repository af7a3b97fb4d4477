"""Golden schedules: `python tests/golden/schedules.py` with torch, pytorch-optimizer and scipy.

On the path: `cosine_power_annealing.py` of https://github.com/ahundt/sharpDARTS (folder `cnn`), and `find_schedule.py`
of https://github.com/facebookresearch/adaptive_scheduling.
"""

import pathlib
import warnings
from importlib.metadata import version

import numpy as np
import torch
from cosine_power_annealing import cosine_power_annealing
from find_schedule import find_closed_form_schedule
from pytorch_optimizer.lr_scheduler.rex import REXScheduler
from pytorch_optimizer.lr_scheduler.wsd import get_wsd_schedule
from scipy.ndimage import median_filter
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, OneCycleLR

STEPS = 40


def rates(make) -> dict[str, np.ndarray]:
    """Learning rate and momentum that each of STEPS steps finds."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3, momentum=0.9)
    scheduler = make(optimizer)
    found = []
    for _ in range(STEPS):
        group = optimizer.param_groups[0]
        found.append((group["lr"], group["momentum"]))
        scheduler.step()
    return dict(zip(("lr", "momentum"), np.array(found).T, strict=True))


def rex() -> np.ndarray:
    """pytorch-optimizer's REX, whose `step` returns the rate of this step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = REXScheduler(optimizer, total_steps=30, max_lr=0.3, min_lr=0.01)
    scheduler.step_t = 0  # torch's constructor has made a step of its own, so that its users never see the peak
    return np.array([scheduler.step() for _ in range(STEPS)])


def refined(norms: np.ndarray, smoothing: float, mode: str) -> np.ndarray:
    """The authors' closed form behind the filter of their README."""
    width = 2 * (int(smoothing * len(norms)) // 2) + 1
    padded = np.pad(norms, (0, 2 * width), mode="reflect")
    smooth = median_filter(padded, size=width, mode="nearest")[: len(norms)]
    sizes = find_closed_form_schedule(smooth, weights=None if mode == "sgd" else 1 / smooth)
    return sizes / sizes.max()


def main() -> None:
    """Write schedules.npz beside this file."""
    warnings.simplefilter("ignore")
    one_cycle = rates(
        lambda o: OneCycleLR(
            o,
            max_lr=0.3,
            total_steps=STEPS + 1,
            pct_start=0.4,
            anneal_strategy="linear",
            three_phase=True,
            div_factor=10.0,
            final_div_factor=100.0,
        )
    )
    random = np.random.default_rng(0)
    norms = np.exp(0.3 * random.standard_normal(60)) * np.linspace(3.0, 1.0, 60)
    cooldowns = ("1-sqrt", "linear", "cosine", "1-square")
    arrays = {
        "one_cycle": one_cycle["lr"],
        "one_cycle_momentum": one_cycle["momentum"],
        "restarts": rates(lambda o: CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2, eta_min=0.01))["lr"],
        "equal_restarts": rates(lambda o: CosineAnnealingWarmRestarts(o, T_0=7, T_mult=1, eta_min=0.01))["lr"],
        "rex": rex(),
        **{f"wsd {c}": rates(lambda o, c=c: get_wsd_schedule(o, 5, 12, 20, cooldown_type=c))["lr"] for c in cooldowns},
        "wsd floor": rates(lambda o: get_wsd_schedule(o, 5, 12, 20, min_lr_ratio=0.1, cooldown_type="cosine"))["lr"],
        **{
            f"cosine_power {p}": cosine_power_annealing(
                np.arange(31), max_lr=0.3, min_lr=0.01, exponent_order=p, max_epoch=30
            )
            for p in (1, 2, 10)
        },
        "norms": norms,
        **{f"refined {mode} {s}": refined(norms, s, mode) for mode in ("sgd", "adam") for s in (0.0, 0.1, 0.5)},
    }
    names = ("torch", "pytorch_optimizer", "scipy")
    peer = (
        ", ".join(f"{name} {version(name)}" for name in names) + ", sharpDARTS and adaptive_scheduling at their heads"
    )
    print(peer)
    np.savez(pathlib.Path(__file__).with_suffix(".npz"), peer=peer, **arrays)


if __name__ == "__main__":
    main()
