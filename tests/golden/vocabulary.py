"""Golden losses of linear heads and their gradients, in float64.

    python tests/golden/vocabulary.py

where torch (2.15, for its `linear_cross_entropy`) and pytorch-metric-learning are installed. Writes vocabulary.npz
beside this file: arrays named `case/part`, gradients `case/grad_*`, and the peers under `peers`.
"""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses, reducers

ROWS, WIDTH, CLASSES = 7, 5, 11
GOLDEN: dict[str, np.ndarray] = {}


def normal(*shape: int) -> torch.Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def record(case: str, function, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
    """Store the inputs, the loss of `function(*inputs, labels)` and the gradients of its sum."""
    leaves = [value.clone().requires_grad_() for value in inputs.values()]
    loss = function(*leaves, labels)
    loss.sum().backward()
    for name, value in (inputs | {"labels": labels}).items():
        GOLDEN[f"{case}/{name}"] = value.numpy()
    GOLDEN[f"{case}/loss"] = loss.detach().numpy()
    for name, leaf in zip(inputs, leaves, strict=True):
        GOLDEN[f"{case}/grad_{name}"] = leaf.grad.numpy()


def cross_entropy() -> None:
    """Torch's own linear cross-entropy, and its cross-entropy of capped logits with a z-penalty."""
    inputs = {"features": 2 * normal(ROWS, WIDTH), "weights": normal(CLASSES, WIDTH), "bias": normal(CLASSES)}
    ids, soft = torch.randint(0, CLASSES, (ROWS,)), torch.softmax(2 * normal(ROWS, CLASSES), dim=-1)
    ignored = torch.where(torch.arange(ROWS) % 3 == 0, -100, ids)

    def linear(**keywords):
        return lambda x, w, b, y: F.linear_cross_entropy(x, w, y, linear_bias=b, **keywords)

    def capped(x, w, b, y):
        logits = 3 * torch.tanh(F.linear(x, w, b) / 3)
        return F.cross_entropy(logits, y) + 1e-2 * (torch.logsumexp(logits, dim=-1) ** 2).mean()

    record("mean", linear(), inputs, ids)
    record("none_smoothed", linear(reduction="none", label_smoothing=0.1), inputs, ids)
    record("sum_soft_smoothed", linear(reduction="sum", label_smoothing=0.1), inputs, soft)
    record("mean_ignored", linear(ignore_index=-100), inputs, ignored)
    record("mean_capped", capped, inputs, ids)


def margin() -> None:
    """ArcFace and CosFace of pytorch-metric-learning, features opposite to their class included."""
    labels = torch.arange(ROWS) % 4
    weights = normal(4, WIDTH)
    features = normal(ROWS, WIDTH)
    features[:2] = -weights[labels[:2]] + 0.05 * normal(2, WIDTH)  # the angle plus the margin passes pi

    def loss_of(kind, margin):
        function = kind(num_classes=4, embedding_size=WIDTH, margin=margin, scale=64)
        function.reducer = reducers.DoNothingReducer()
        function.cast_types = lambda dtype, device: None

        def loss(features, weights, labels):
            del function.W
            function.W = weights.T
            return function(features, labels)["loss"]["losses"]

        return loss

    inputs = {"features": features, "weights": weights}
    record("arcface", loss_of(losses.ArcFaceLoss, np.degrees(0.5)), inputs, labels)
    record("cosface", loss_of(losses.CosFaceLoss, 0.35), inputs, labels)


def main() -> None:
    """Write the file."""
    torch.manual_seed(0)
    cross_entropy()
    margin()
    peers = [f"{name} {version(name)}" for name in ("torch", "pytorch-metric-learning")]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)


if __name__ == "__main__":
    main()
