"""Golden values of layers: `python tests/golden/layers.py ReSTE differentiable_ransac biotorch dfa`, four folders.

They are clones of DravenALG/ReSTE, weitong8591/differentiable_ransac, jsalbert/biotorch and
lightonai/dfa-scales-to-modern-deep-learning: the authors' code (BioTorch is a library), which is not packaged.
"""

import importlib.util
import pathlib
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType, SimpleNamespace

import numpy as np
import torch

HERE = pathlib.Path(__file__)


def load(path: pathlib.Path, **imported: ModuleType) -> ModuleType:
    """A module by its file, with stand-ins for what it imports and does not need (`__` for a dot)."""
    sys.modules.update({name.replace("__", "."): module for name, module in imported.items()})
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradients(output: torch.Tensor, cotangent: torch.Tensor, **leaves: torch.Tensor) -> dict[str, np.ndarray]:
    output.backward(cotangent)
    return {f"d_{name}": leaf.grad.numpy() for name, leaf in leaves.items()}


def reste(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The authors' backward pass on both sides of all thresholds, for some powers and clippings."""
    arguments = ModuleType("arguments")
    arguments.args = SimpleNamespace()
    file = folder / "model" / "binary_module" / "binarized_modules.py"
    binary = load(file, utils=ModuleType("utils"), utils__arguments=arguments).Binary_ReSTE
    powers, clips = [1.0, 1.7, 3.0], [1.5, 1.0, 1.5]
    positive = np.array([0.01, 0.05, 0.0999, 0.1001, 0.2, 0.5, 0.9999, 1.0001, 1.4999, 1.5001, 4.0])
    x = np.concatenate([-positive[::-1], positive])
    rows = []
    for power, clip in zip(powers, clips):
        leaf = torch.tensor(x, requires_grad=True)
        binary.apply(leaf, torch.tensor(clip), torch.tensor(power)).backward(torch.ones_like(leaf))
        rows.append(leaf.grad.numpy())
    return {"x": x, "o": np.array(powers), "t": np.array(clips), "dx": np.stack(rows)}


def feedback_alignment(folder: pathlib.Path, random: np.random.Generator) -> dict[str, np.ndarray]:
    linear = load(folder / "biotorch" / "autograd" / "fa" / "linear.py").LinearGrad
    arrays = {"x": (4, 3), "w": (5, 3), "feedback": (5, 3), "b": (5,), "cotangent": (4, 5)}
    arrays = {name: random.normal(size=shape) for name, shape in arrays.items()}
    x, w, b = (torch.tensor(arrays[name], requires_grad=True) for name in ("x", "w", "b"))
    y = linear.apply(x, w, torch.tensor(arrays["feedback"]), b, None)
    arrays["y"] = y.detach().numpy()
    return {**arrays, **gradients(y, torch.tensor(arrays["cotangent"]), x=x, w=w, b=b)}


def direct_feedback(folder: pathlib.Path, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Three tanh layers of widths 5, 4 and 2, with one feedback matrix for both hidden ones."""
    peer = load(folder / "TinyDFA" / "tinydfa" / "light_dfa.py")
    shapes = {"x": (6, 3), "w1": (3, 5), "w2": (5, 4), "w3": (4, 2), "feedback": (2, 5), "cotangent": (6, 2)}
    arrays = {name: random.normal(size=shape) for name, shape in shapes.items()}
    points = [peer.DFALayer(), peer.DFALayer()]
    network = peer.DFA(points)
    network.feedback_matrix, network.initialized = torch.tensor(arrays["feedback"]), True
    network.rp_device = torch.device("cpu")
    w1, w2, w3 = (torch.tensor(arrays[name], requires_grad=True) for name in ("w1", "w2", "w3"))
    h1 = points[0](torch.tanh(torch.tensor(arrays["x"]) @ w1))
    h2 = points[1](torch.tanh(h1 @ w2))
    return {**arrays, **gradients(network(h2 @ w3), torch.tensor(arrays["cotangent"]), w1=w1, w2=w2, w3=w3)}


def sampler(folder: pathlib.Path, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Three samples of 4 of 9 points, with noise that is stored."""
    empty = {"estimators": ModuleType("estimators"), "loss": ModuleType("loss")}
    names = ("fundamental_matrix_estimator", "essential_matrix_estimator_stewenius")
    empty |= {f"estimators__{name}": ModuleType(name) for name in names}
    peer = load(folder / "samplers" / "gumbel_sampler.py", **empty)
    logits = torch.tensor(random.normal(size=9), requires_grad=True)
    noise, cotangent = random.gumbel(size=(3, 9)), random.normal(size=(3, 9))
    sampling = peer.GumbelSoftmaxSampler(3, 4, tau=0.7, device="cpu", data_type=torch.float64)
    sampling.gumbel_dist = SimpleNamespace(sample=lambda shape: torch.tensor(noise))
    mask, _ = sampling.sample(logits)
    found = gradients(mask, torch.tensor(cotangent), logits=logits)
    arrays = {"noise": noise, "cotangent": cotangent, "mask": mask.detach().numpy().round(12)}
    return {"logits": logits.detach().numpy(), **arrays, **found}


def msac(folder: pathlib.Path, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Scores of five fundamental matrices, and the Sampson residuals that they are of."""
    peer = load(folder / "scorings" / "msac_score.py").MSACScore(device="cpu")
    matches, models = random.normal(size=(20, 4)), random.normal(size=(5, 3, 3))
    first, second = (np.concatenate([matches[:, i : i + 2], np.ones((20, 1))], axis=1) for i in (0, 2))
    lines, other_lines = first @ models.transpose(0, 2, 1), second @ models
    normals = (lines[..., :2] ** 2).sum(-1) + (other_lines[..., :2] ** 2).sum(-1)
    squared = (other_lines * first).sum(-1) ** 2 / normals
    scores, _ = peer.score(torch.tensor(matches), torch.tensor(models), threshold=0.1)
    return {"squared_residuals": squared, "threshold": np.array(0.15), "scores": scores.numpy()}


def main(*folders: pathlib.Path) -> None:
    """Write layers.npz beside this file."""
    random = np.random.default_rng(0)
    reste_folder, ransac, biotorch, dfa = folders
    cases = {
        "reste": reste(reste_folder),
        "feedback_alignment": feedback_alignment(biotorch, random),
        "direct_feedback": direct_feedback(dfa, random),
        "sampler": sampler(ransac, random),
        "msac": msac(ransac, random),
    }
    revision = ["git", "rev-parse", "--short", "HEAD"]
    commits = [subprocess.check_output(revision, cwd=folder, text=True).strip() for folder in folders]
    peer = f"torch {version('torch')}, " + ", ".join(f"{f.name} {commit}" for f, commit in zip(folders, commits))
    arrays = {f"{case}/{name}": array for case, values in cases.items() for name, array in values.items()}
    np.savez_compressed(HERE.with_suffix(".npz"), peer=np.array(peer), **arrays)
    print(peer)


if __name__ == "__main__":
    main(*(pathlib.Path(argument).resolve() for argument in sys.argv[1:]))
