"""Golden losses and gradients of public implementations in torch.

    python tests/golden/objectives.py path/to/JDTLosses path/to/grow-crystals

where torch, pytorch-metric-learning, lightly, monai and segmentation-models-pytorch are installed; the two paths are
clones of github.com/zifuwanggg/JDTLosses and github.com/KindXiaoming/grow-crystals, which are no packages. Writes
objectives.npz beside this file: arrays named `case/part`, gradients `case/grad_*`, and the peers under `peers`.
"""

import ast
import importlib.util
import pathlib
import subprocess
import sys
from importlib.metadata import version

import lightly.loss
import monai.losses
import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses, reducers
from segmentation_models_pytorch.losses import _functional as smp_functional

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


def classification() -> None:
    """Cross-entropy and Huber of torch, focal losses of segmentation-models-pytorch."""
    logits, ids = 3 * normal(6, 5), torch.randint(0, 5, (6,))
    probabilities = torch.softmax(normal(6, 5), dim=-1)

    def cross_entropy(x, y):
        return F.cross_entropy(x, y, reduction="none", label_smoothing=0.1)

    record("cross_entropy_ids", cross_entropy, {"logits": logits}, {"labels": ids})
    record("cross_entropy_probabilities", cross_entropy, {"logits": logits}, {"labels": probabilities})

    def softmax_focal(x, y):
        return smp_functional.softmax_focal_loss_with_logits(x, y, gamma=1.5, reduction="none")

    def sigmoid_focal(x, y):
        return smp_functional.focal_loss_with_logits(x, y, gamma=2.0, alpha=0.25, reduction="none")

    record("focal", softmax_focal, {"logits": logits}, {"labels": ids})
    record("sigmoid_focal", sigmoid_focal, {"logits": logits}, {"labels": torch.randint(0, 2, (6, 5))})
    errors = {"predictions": 2 * normal(12), "targets": normal(12)}
    record("huber", lambda p, t: F.huber_loss(p, t, reduction="none", delta=0.7), errors)


def margin() -> None:
    """ArcFace and sub-centre ArcFace of pytorch-metric-learning, embeddings opposite to their class included."""

    def loss_of(kind, **keywords):
        function = kind(num_classes=5, embedding_size=4, margin=np.degrees(0.5), scale=64, **keywords)
        function.reducer = reducers.DoNothingReducer()

        def loss(embeddings, weights, labels):
            del function.W
            function.W = weights.reshape(-1, 4).T
            function.cast_types = lambda dtype, device: None
            return function(embeddings, labels)["loss"]["losses"]

        return loss

    labels = torch.arange(7) % 5
    weights = normal(5, 4)
    embeddings = normal(7, 4)
    embeddings[:2] = -weights[labels[:2]] + 0.05 * normal(2, 4)  # the angle plus the margin passes pi
    inputs = {"embeddings": embeddings, "weights": weights}
    record("arcface", loss_of(losses.ArcFaceLoss), inputs, {"labels": labels})
    inputs = {"embeddings": embeddings, "weights": normal(5, 3, 4)}
    record("subcenter_arcface", loss_of(losses.SubCenterArcFaceLoss, sub_centers=3), inputs, {"labels": labels})


def self_supervised() -> None:
    """Barlow Twins of lightly."""
    view = normal(16, 6)
    inputs = {"embeddings_a": view, "embeddings_b": view + 0.5 * normal(16, 6)}
    record("barlow_twins", lightly.loss.BarlowTwinsLoss(lambda_param=5e-3), inputs)


def segmentation(jdt) -> None:
    """Dice, Tversky and Jaccard losses of MONAI, segmentation-models-pytorch and JDTLosses; [B, H, W, C]."""
    logits, soft = 2 * normal(3, 4, 5, 3), torch.softmax(normal(3, 4, 5, 3), dim=-1)
    ids = torch.randint(0, 3, (3, 4, 5))
    one_hot = F.one_hot(ids, 3).double()
    kept = torch.rand(3, 4, 5) > 0.3
    rare = ids.clone()
    rare[rare == 2] = 0
    rare[0, 0, 0] = 2  # class 2 is absent from two images

    def peer(function):
        def loss(x, y, *rest):
            y = y.movedim(-1, 1) if y.ndim == x.ndim else y
            return function(x.movedim(-1, 1), y, *rest)

        return loss

    def per_image(**keywords):
        function = monai.losses.DiceLoss(softmax=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0, **keywords)
        return peer(lambda x, y: function(x, y).reshape(x.shape[0], -1).mean(dim=1))

    tversky = monai.losses.TverskyLoss(
        softmax=True, alpha=0.3, beta=0.7, smooth_nr=1.0, smooth_dr=1.0, reduction="none"
    )
    inputs = {"predictions": logits}
    record("dice_monai", per_image(), inputs, {"labels": one_hot})
    record("dice_monai_foreground", per_image(include_background=False), inputs, {"labels": one_hot})
    record("dice_semimetric_monai", per_image(soft_label=True), inputs, {"labels": soft})
    record("tversky_monai", peer(lambda x, y: tversky(x, y).flatten(1).mean(dim=1)), inputs, {"labels": one_hot})
    dice, jaccard = smp.losses.DiceLoss("multiclass", smooth=0.5), smp.losses.JaccardLoss("multiclass", smooth=0.5)
    record("dice_smp", peer(dice), inputs, {"labels": ids})
    record("jaccard_smp", peer(jaccard), inputs, {"labels": ids})
    weights = [0.5, 1.0, 2.0]
    record("jdt_hard", peer(jdt()), inputs, {"labels": rare})
    record("jdt_hard_image", peer(jdt(mIoUD=0.0, mIoUI=1.0)), inputs, {"labels": rare})
    record("jdt_soft", peer(jdt(class_weights=weights)), inputs, {"labels": soft})
    record("jdt_soft_dice", peer(jdt(alpha=0.5, beta=0.5)), inputs, {"labels": soft})
    record("jdt_masked", peer(jdt(smooth=0.1)), inputs, {"labels": ids, "where": kept})


def harmonic(layer_class) -> None:
    """The distance layer of the harmonic loss's authors, whose exponent is that of the squared distance."""

    def loss(x, w, y):
        layer = layer_class(x.shape[-1], w.shape[0], n=1.5, eps=1e-4)
        del layer.weight
        layer.weight = w
        powers = layer(x)
        return -torch.log((powers / powers.sum(dim=1, keepdim=True))[torch.arange(len(y)), y])

    record("harmonic", loss, {"embeddings": normal(6, 4), "weights": normal(5, 4)}, {"labels": torch.arange(6) % 5})


def clone(path: pathlib.Path) -> str:
    """Name and commit of a clone."""
    commit = subprocess.run(["git", "-C", path, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    return f"{path.name} {commit.strip()}"


def main(jdt_path: pathlib.Path, crystals_path: pathlib.Path) -> None:
    """Write objectives.npz beside this file."""
    torch.manual_seed(0)
    spec = importlib.util.spec_from_file_location("jdt_loss", jdt_path / "losses" / "jdt_loss.py")
    jdt_module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(jdt_module)
    source = (crystals_path / "src" / "utils" / "model.py").read_text()
    layer = next(node for node in ast.parse(source).body if getattr(node, "name", "") == "DistLayer")
    namespace = {"torch": torch}
    exec(compile(ast.Module([layer], []), "model.py", "exec"), namespace)  # the module itself imports plotting

    classification()
    margin()
    self_supervised()
    segmentation(jdt_module.JDTLoss)
    harmonic(namespace["DistLayer"])
    packages = ["torch", "pytorch-metric-learning", "lightly", "monai", "segmentation-models-pytorch"]
    peers = [f"{name} {version(name)}" for name in packages] + [clone(jdt_path), clone(crystals_path)]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)


if __name__ == "__main__":
    main(*(pathlib.Path(argument).resolve() for argument in sys.argv[1:]))
