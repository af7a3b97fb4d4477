"""Golden trajectories of wrappers: `python tests/golden/wrappers.py` where torch and the peers named below are.

pytorch-optimizer (GrokFast's filters, OrthoGrad, MARS, Grams), timm (AdamW with `caution`), schedulefree (the authors'
schedule-free learning), torch.optim.swa_utils, and bitsandbytes (block-wise 8-bit code books).
"""

import pathlib
from importlib.metadata import version

import bitsandbytes.functional as bnb
import numpy as np
import schedulefree
import torch
from pytorch_optimizer import MARS, Grams, OrthoGrad
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema, gradfilter_ma
from timm.optim.adamw import AdamWLegacy
from torch.optim.swa_utils import AveragedModel

STEPS, RATE, SHAPES = 50, 1e-2, {"matrix": (4, 3), "vector": (5,)}
KEPT = [0, 1, 9, STEPS - 1]


def parameters(start: dict[str, torch.Tensor]) -> torch.nn.ParameterDict:
    """A module with copies of the parameters."""
    return torch.nn.ParameterDict({name: torch.nn.Parameter(x.clone()) for name, x in start.items()})


def set_gradients(model: torch.nn.ParameterDict, gradients: dict[str, torch.Tensor], t: int) -> None:
    """The gradient of step t is gradients[t] + 0.1 * parameters."""
    for name, x in model.items():
        x.grad = gradients[name][t] + 0.1 * x.detach()


def flat(model: torch.nn.ParameterDict) -> np.ndarray:
    """All parameters in the order of SHAPES."""
    return np.concatenate([model[name].detach().numpy().ravel() for name in SHAPES])


def trajectory(make, start, gradients, modify=lambda model, memory: memory) -> np.ndarray:
    """Parameters after the steps KEPT; `modify` sees the gradients before each step."""
    model, path, memory = parameters(start), [], None
    optimizer = make(list(model.parameters()))
    for t in range(STEPS):
        set_gradients(model, gradients, t)
        memory = modify(model, memory)
        optimizer.step()
        path.append(flat(model))
    return np.stack(path)[KEPT]


def schedule_free(make, start, gradients) -> tuple[np.ndarray, np.ndarray]:
    """Parameters that train after the steps KEPT, and those to evaluate at the end."""
    model, path = parameters(start), []
    optimizer = make(list(model.parameters()))
    optimizer.train()
    for t in range(STEPS):
        set_gradients(model, gradients, t)
        optimizer.step()
        path.append(flat(model))
    optimizer.eval()
    return np.stack(path)[KEPT], flat(model)


def swa(start, gradients, begin: int, period: int) -> np.ndarray:
    """The average that torch's recipe keeps of SGD's iterates."""
    model = parameters(start)
    optimizer, average = torch.optim.SGD(model.parameters(), lr=RATE), AveragedModel(model)
    for t in range(STEPS):
        set_gradients(model, gradients, t)
        optimizer.step()
        if t + 1 > begin and (t + 1 - begin) % period == 0:
            average.update_parameters(model)
    return flat(average.module)


def codes(x: torch.Tensor, *, signed: bool, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales of a vector, block by block."""
    code = bnb.create_dynamic_map(signed=signed)
    quantized, state = bnb.quantize_blockwise(x, code=code, blocksize=block)
    return quantized.numpy(), state.absmax.numpy()


def main() -> None:
    """Write wrappers.npz beside this file."""
    generator = torch.Generator().manual_seed(0)
    start = {n: torch.randn(s, dtype=torch.float64, generator=generator) for n, s in SHAPES.items()}
    gradients = {n: torch.randn(STEPS, *s, dtype=torch.float64, generator=generator) for n, s in SHAPES.items()}
    adam = lambda x: torch.optim.Adam(x, lr=RATE)
    mars = {"lr": RATE, "betas": (0.95, 0.99), "gamma": 0.025, "eps": 0.0, "optimize_1d": True}
    arrays = {
        "cautious": trajectory(
            lambda x: AdamWLegacy(x, lr=RATE, weight_decay=0.1, caution=True, foreach=False), start, gradients
        ),
        "cautious_no_decay": trajectory(
            lambda x: AdamWLegacy(x, lr=RATE, weight_decay=0.0, caution=True, foreach=False), start, gradients
        ),
        "grams": trajectory(lambda x: Grams(x, lr=RATE, eps=1e-6, weight_decay=0.1), start, gradients),
        "grams_no_decay": trajectory(lambda x: Grams(x, lr=RATE, eps=1e-6), start, gradients),
        "mars_adamw": trajectory(lambda x: MARS(x, weight_decay=0.1, mars_type="adamw", **mars), start, gradients),
        "mars_lion": trajectory(lambda x: MARS(x, weight_decay=0.0, mars_type="lion", **mars), start, gradients),
        "orthograd": trajectory(lambda x: OrthoGrad(torch.optim.Adam(x, lr=RATE)), start, gradients),
        "grokfast_ema": trajectory(adam, start, gradients, lambda m, g: gradfilter_ema(m, g, alpha=0.9, lamb=2.0)),
        **{
            f"grokfast_ma_{kind}_{warm}": trajectory(
                adam,
                start,
                gradients,
                lambda m, g, kind=kind, warm=warm: gradfilter_ma(
                    m, g, window_size=7, lamb=5.0, filter_type=kind, warmup=warm
                ),
            )
            for kind in ("mean", "sum")
            for warm in (True, False)
        },
        "swa": swa(start, gradients, 10, 5),
        "polyak": swa(start, gradients, 0, 1),
    }
    for name, make in {
        "schedule_free_sgd": lambda x: schedulefree.SGDScheduleFree(x, lr=0.1, momentum=0.9),
        "schedule_free_sgd_warm": lambda x: schedulefree.SGDScheduleFree(
            x, lr=0.1, momentum=0.8, weight_decay=0.1, warmup_steps=20
        ),
        "schedule_free_adamw": lambda x: schedulefree.AdamWScheduleFree(
            x, lr=RATE, betas=(0.9, 0.99), weight_decay=0.1, warmup_steps=20, foreach=False
        ),
    }.items():
        arrays[name], arrays[f"{name}_evaluated"] = schedule_free(make, start, gradients)
    numbers = torch.randn(600, generator=generator) * 10 ** (3 * torch.rand(600, generator=generator) - 3)
    arrays["numbers"] = numbers.numpy()
    arrays["signed_codes"], arrays["signed_scales"] = codes(numbers, signed=True, block=256)
    arrays["unsigned_codes"], arrays["unsigned_scales"] = codes(numbers**2, signed=False, block=256)
    for signed in (True, False):
        arrays[f"{'' if signed else 'un'}signed_book"] = bnb.create_dynamic_map(signed=signed).numpy()
    packages = ("torch", "pytorch_optimizer", "timm", "schedulefree", "bitsandbytes")
    peer = ", ".join(f"{name} {version(name)}" for name in packages)
    print(peer)
    np.savez(
        pathlib.Path(__file__).with_suffix(".npz"),
        peer=peer,
        kept_steps=np.array(KEPT),
        **{f"start_{n}": x.numpy() for n, x in start.items()},
        **{f"gradients_{n}": x.numpy() for n, x in gradients.items()},
        **arrays,
    )


if __name__ == "__main__":
    main()
