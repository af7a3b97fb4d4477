"""Write regression.npz: losses and gradients of public implementations, in float64, for tests/objectives.

Versions of the peers are stored beside the numbers. Three peers are repositories without a package:

    pip install torch scikit-learn tslearn numba hl-gauss-pytorch
    git clone https://github.com/jonbarron/robust_loss_pytorch
    git clone https://github.com/vincent-leguen/DILATE
    git clone https://github.com/CVMILab-CUK/Signal_Dice_Similarity_Coefficient
    python regression.py robust_loss_pytorch DILATE Signal_Dice_Similarity_Coefficient
"""

import pathlib
import subprocess
import sys
import types
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F
from hl_gauss_pytorch.hl_gauss import HLGaussLoss
from sklearn import metrics
from tslearn.metrics import SquaredEuclidean, dtw, soft_dtw, soft_dtw_alignment

GOLDEN: dict[str, np.ndarray] = {}


def normal(*shape: int) -> torch.Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def record(case: str, function, inputs: dict[str, torch.Tensor], constants: dict[str, torch.Tensor] | None = None):
    """Store the inputs, the loss of `function(*inputs, *constants)` and the gradients of its sum."""
    constants = constants or {}
    leaves = [value.clone().requires_grad_() for value in inputs.values()]
    loss = function(*leaves, *constants.values())
    loss.sum().backward()
    for name, value in (inputs | constants).items():
        GOLDEN[f"{case}/{name}"] = value.numpy()
    GOLDEN[f"{case}/loss"] = loss.detach().numpy()
    for name, leaf in zip(inputs, leaves, strict=True):
        GOLDEN[f"{case}/grad_{name}"] = leaf.grad.numpy()


def entries(lossfun) -> None:
    """Smooth L1 of torch, the general robust loss of its author."""
    pair = {"predictions": 3 * normal(12), "targets": normal(12)}
    record("smooth_l1", lambda p, t: F.smooth_l1_loss(p, t, reduction="none", beta=0.7), pair)
    for alpha in (-np.inf, -2.0, 0.0, 0.5, 1.0, 2.0):
        shape, scale = (torch.tensor([x], dtype=torch.float64) for x in (alpha, 0.8))
        record(f"general_robust_{alpha}", lambda p, t, a=shape, c=scale: lossfun(p - t, a, c), pair)


def scores() -> None:
    """Metrics of scikit-learn, for two outputs each."""
    generator = np.random.default_rng(0)
    targets, predictions = 0.2 + generator.random((9, 2)), 0.2 + generator.random((9, 2))
    GOLDEN["scores/predictions"], GOLDEN["scores/targets"] = predictions.T, targets.T
    for name, keywords in (
        ("mean_squared_error", {}),
        ("mean_absolute_error", {}),
        ("mean_squared_log_error", {}),
        ("mean_absolute_percentage_error", {}),
        ("mean_pinball_loss", {"alpha": 0.3}),
        ("root_mean_squared_error", {}),
        ("root_mean_squared_log_error", {}),
        ("r2_score", {}),
        ("d2_absolute_error_score", {}),
    ):
        score = getattr(metrics, name)(targets, predictions, multioutput="raw_values", **keywords)
        GOLDEN[f"scores/{name}"] = np.asarray(score)


def histograms() -> None:
    """The HL-Gauss loss of hl-gauss-pytorch, whose edges and probabilities are rounded to float32."""
    loss = HLGaussLoss(-2.0, 3.0, num_bins=7, sigma_to_bin_ratio=0.75, clamp_to_range=False).double()
    logits, targets = normal(8, 7), normal(8)
    edges = loss.support.double()
    record(
        "hl_gauss",
        lambda x, y, e: loss(x, y, reduction="none"),
        {"logits": logits},
        {"targets": targets, "bin_edges": edges},
    )


def alignments() -> None:
    """Soft-DTW and DTW of tslearn, with gradients."""
    generator = np.random.default_rng(1)
    pairs = [(generator.normal(size=(6, 2)), generator.normal(size=(4, 2))) for _ in range(3)]
    values = {"loss": [], "alignment": [], "grad_predictions": []}
    for x, y in pairs:
        distances = SquaredEuclidean(x, y)
        path, value = soft_dtw_alignment(x, y, gamma=0.3)
        assert abs(value - soft_dtw(x, y, gamma=0.3)) < 1e-12
        values["loss"].append(value)
        values["alignment"].append(path)
        values["grad_predictions"].append(distances.jacobian_product(path))
    for name, value in values.items():
        GOLDEN[f"soft_dtw/{name}"] = np.stack(value)
    GOLDEN["soft_dtw/dtw"] = np.array([dtw(x, y) ** 2 for x, y in pairs])
    GOLDEN["soft_dtw/predictions"], GOLDEN["soft_dtw/targets"] = map(np.stack, zip(*pairs, strict=True))


def dilate(folder: pathlib.Path) -> None:
    """DILATE of its authors, whose mean over the batch is that of our losses; numbers are made float64."""
    modules = {}
    for name in ("soft_dtw", "path_soft_dtw", "dilate_loss"):
        source = (folder / "loss" / f"{name}.py").read_text()
        source = source.replace("FloatTensor", "DoubleTensor").replace("from . import", "import")
        module = modules[name] = types.ModuleType(name)
        sys.modules[name] = module
        exec(compile(source.replace("@jit(nopython = True)", ""), f"{name}.py", "exec"), module.__dict__)
    pair = {"predictions": normal(3, 6, 1), "targets": normal(3, 6, 1)}

    def loss(part):
        return lambda p, t: modules["dilate_loss"].dilate_loss(p, t, 0.3, 0.1, "cpu")[part]

    torch.set_default_dtype(torch.float64)
    record("dilate", loss(0), pair)
    record("temporal_distortion", loss(2), pair)
    torch.set_default_dtype(torch.float32)


def signals(folder: pathlib.Path) -> None:
    """The signal Dice coefficient of its authors (over a whole batch) and their weighting of two losses."""
    source = (folder / "SimMTM_Classification" / "code" / "metrics.py").read_text()
    namespace: dict = {}
    exec(compile(source, "metrics.py", "exec"), namespace)
    source = (folder / "SimMTM_Classification" / "code" / "loss.py").read_text()
    start = source.index("class AutomaticWeightedLoss")
    exec(compile(source[start : source.index("class ContrastiveWeight")], "loss.py", "exec"), namespace)
    torch.set_default_dtype(torch.float64)  # their Heaviside function takes its default
    pair = {"predictions": normal(10), "targets": normal(10)}
    record("sdsc", lambda p, t: 1 - namespace["SignalDice"]()(p, t), pair)
    record("sdsc_soft", lambda p, t: 1 - namespace["SignalDice"](alpha=3.0)(p, t), pair)

    def hybrid(p, t, scales):
        weigh = namespace["AutomaticWeightedLoss"](2)
        del weigh.params
        weigh.params = scales
        return weigh(1 - namespace["SignalDice"]()(p, t), F.mse_loss(p, t))

    record("sdsc_hybrid", hybrid, pair | {"scales": torch.tensor([0.7, 1.4])})
    torch.set_default_dtype(torch.float32)


def clone(path: pathlib.Path) -> str:
    """Name and commit of a clone."""
    commit = subprocess.run(["git", "-C", path, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    return f"{path.name} {commit.strip()}"


def main(robust: pathlib.Path, dilate_path: pathlib.Path, signal: pathlib.Path) -> None:
    """Write regression.npz beside this file."""
    torch.manual_seed(0)
    util = types.ModuleType("util")
    exec((robust / "robust_loss_pytorch" / "util.py").read_text(), util.__dict__)
    source = (robust / "robust_loss_pytorch" / "general.py").read_text()
    general: dict = {"util": util}
    exec(compile(source.replace("from robust_loss_pytorch import util", ""), "general.py", "exec"), general)
    entries(general["lossfun"])
    scores()
    histograms()
    alignments()
    dilate(dilate_path)
    signals(signal)
    peers = [f"{name} {version(name)}" for name in ("torch", "scikit-learn", "tslearn", "hl-gauss-pytorch")]
    peers += [clone(path) for path in (robust, dilate_path, signal)]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)


if __name__ == "__main__":
    main(*(pathlib.Path(argument).resolve() for argument in sys.argv[1:]))
