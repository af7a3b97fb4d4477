"""Golden losses and gradients of public implementations of classification and multi-label losses.

    python tests/golden/classification.py

where torch, timm, entmax, scikit-learn and SciPy are installed. Writes classification.npz beside this file: arrays
named `case/part`, gradients `case/grad_*`, and the peers under `peers`. The cases `ensloss` and `loki` are a line or
two of their authors' formulas, of github.com/statmlben/ensLoss at fd37682 and github.com/SprocketLab/loki at 7b010d8,
which are no packages, written again in torch.
"""

import pathlib
from importlib.metadata import version

import entmax
import numpy as np
import sklearn.linear_model
import sklearn.metrics
import timm.loss
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist

GOLDEN: dict[str, np.ndarray] = {}


def normal(*shape: int) -> torch.Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def record(case: str, function, inputs: dict[str, torch.Tensor], constants: dict[str, torch.Tensor] | None = None):
    """Store the inputs, the loss of `function(*inputs, *constants)` and the gradients of a weighted sum of it."""
    constants = constants or {}
    leaves = [value.clone().requires_grad_() for value in inputs.values()]
    loss = function(*leaves, *constants.values())
    (loss * torch.linspace(1, 2, loss.numel(), dtype=torch.float64).reshape(loss.shape)).sum().backward()
    for name, value in (inputs | constants).items():
        GOLDEN[f"{case}/{name}"] = value.numpy()
    GOLDEN[f"{case}/loss"] = loss.detach().numpy()
    for name, leaf in zip(inputs, leaves, strict=True):
        GOLDEN[f"{case}/grad_{name}"] = leaf.grad.numpy()


def of_torch() -> None:
    """Weighted and binary cross-entropy, KL divergence and multi-margin loss of torch."""
    logits, ids = 3 * normal(6, 5), torch.randint(0, 5, (6,))
    weights = torch.rand(5, dtype=torch.float64) + 0.5

    def weighted(x, y, w):
        return F.cross_entropy(x, y, weight=w, reduction="none", label_smoothing=0.1)

    record("weighted", weighted, {"logits": logits}, {"labels": ids, "class_weights": weights})
    soft = torch.softmax(normal(6, 5), dim=-1)
    record("weighted_soft", weighted, {"logits": logits}, {"labels": soft, "class_weights": weights})

    def binary(x, y, w):
        return F.binary_cross_entropy_with_logits(x, y, pos_weight=w, reduction="none")

    y = torch.rand(6, 5, dtype=torch.float64)
    record("binary", binary, {"logits": logits}, {"labels": y, "positive_weight": weights})
    record(
        "kl",
        lambda x, q: F.kl_div(F.log_softmax(x, -1), q, reduction="none").sum(-1),
        {"logits": logits},
        {"labels": soft},
    )
    record(
        "weston_watkins",
        lambda x, y: 5 * F.multi_margin_loss(x, y, margin=0.7, reduction="none"),
        {"logits": logits},
        {"labels": ids},
    )


def of_entmax() -> None:
    """Maps and losses of entmax."""
    logits, ids = 1.5 * normal(6, 5), torch.randint(0, 5, (6,))
    record("sparsemax", lambda x: entmax.sparsemax(x, dim=-1), {"logits": logits})
    record("entmax15", lambda x: entmax.entmax15(x, dim=-1), {"logits": logits})
    record(
        "entmax_bisect",
        lambda x, a: entmax.entmax_bisect(x, a, dim=-1, n_iter=80),
        {"logits": logits, "alpha": torch.tensor(1.2, dtype=torch.float64)},
    )
    record("sparsemax_loss", entmax.SparsemaxLoss(reduction="none"), {"logits": logits}, {"labels": ids})
    record("entmax15_loss", entmax.Entmax15Loss(reduction="none"), {"logits": logits}, {"labels": ids})
    record(
        "entmax_loss",
        entmax.EntmaxBisectLoss(alpha=1.7, n_iter=80, reduction="none"),
        {"logits": logits},
        {"labels": ids},
    )


def of_timm() -> None:
    """Multi-label losses of timm, which computes them in float32 unless told otherwise."""
    torch.Tensor.float, kept = torch.Tensor.double, torch.Tensor.float
    logits, labels = 2 * normal(6, 4), torch.randint(0, 2, (6, 4)).double()
    labels[:, 0], labels[1] = 0, 0  # a label and an example without positives
    asymmetric = timm.loss.AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05, reduction="none")
    record("asymmetric", asymmetric, {"logits": logits}, {"labels": labels})
    constant = timm.loss.AsymmetricLossMultiLabel(
        gamma_neg=3, gamma_pos=2, clip=0.1, disable_torch_grad_focal_loss=True, reduction="none"
    )
    record("asymmetric_constant", constant, {"logits": logits}, {"labels": labels})
    single = timm.loss.AsymmetricLossSingleLabel(gamma_pos=1, gamma_neg=4, eps=0.1, reduction="none")
    record("asymmetric_single", single, {"logits": logits}, {"labels": torch.randint(0, 4, (6,))})
    record("two_way", timm.loss.TwoWayLoss(tp=4.0, tn=1.5), {"logits": logits}, {"labels": labels})
    record(
        "zlpr",
        lambda x, y: torch.stack([timm.loss.ZlprLoss()(a[None], b[None]) for a, b in zip(x, y)]),
        {"logits": logits},
        {"labels": labels},
    )
    torch.Tensor.float = kept


def of_scikit_learn() -> None:
    """Hinge and modified Huber losses and macro-AUC, with ties, of scikit-learn."""
    scores, labels = np.round(2 * normal(30, 3).numpy(), 1), torch.randint(0, 2, (30, 3)).numpy()
    GOLDEN["macro_auc/scores"], GOLDEN["macro_auc/labels"] = scores, labels
    GOLDEN["macro_auc/loss"] = np.array(sklearn.metrics.roc_auc_score(labels, scores, average="macro"))
    ids = torch.randint(0, 4, (12,)).numpy()
    logits = 2 * normal(12, 4).numpy()
    GOLDEN["crammer_singer/logits"], GOLDEN["crammer_singer/labels"] = logits, ids
    GOLDEN["crammer_singer/loss"] = np.array(
        [sklearn.metrics.hinge_loss([i], x[None], labels=[0, 1, 2, 3]) for i, x in zip(ids, logits)]
    )
    signs, margins = 2 * labels[:, 0] - 1, 2 * normal(30).numpy()
    GOLDEN["hinge/logits"], GOLDEN["hinge/labels"] = margins, labels[:, 0]
    # One example at a time by its weight: scikit-learn takes both classes from the labels it is given.
    GOLDEN["hinge/loss"] = np.array(
        [sklearn.metrics.hinge_loss(signs, margins, sample_weight=weights) for weights in np.eye(30)]
    )


def of_scipy() -> None:
    """Distances of SciPy, for harmonic logits."""
    x, w, root = normal(5, 4).numpy(), normal(3, 4).numpy(), normal(4, 4).numpy()
    precision = root @ root.T
    names = {"bray_curtis": "braycurtis", "manhattan": "cityblock"}
    kinds = ["euclidean", "cosine", "manhattan", "chebyshev", "canberra", "bray_curtis"]
    GOLDEN["distances/x"], GOLDEN["distances/w"], GOLDEN["distances/precision"] = x, w, precision
    for kind in kinds:
        GOLDEN[f"distances/{kind}"] = cdist(x, w, names.get(kind, kind))
    GOLDEN["distances/minkowski"] = cdist(x, w, "minkowski", p=2.5)
    GOLDEN["distances/mahalanobis"] = cdist(x, w, "mahalanobis", VI=precision)


def of_authors() -> None:
    """The arithmetic of EnsLoss and of Loki, as the authors' code has it."""
    scores, labels, draws = 2 * normal(8), torch.randint(0, 2, (8,)), normal(8)

    def ensloss(output, target, z, lam=0.5):
        s = output * (2.0 * target - 1.0)
        slopes = -(torch.where(1 + lam * z > 0, 1 + lam * z, 0.0) ** (1 / lam))
        slopes = torch.clamp(torch.sort(slopes)[0], min=-1.0)
        g = torch.zeros(8, dtype=torch.float64)
        g[torch.sort(s)[1]] = slopes
        with torch.no_grad():
            g[s > 1] *= 1 / s[s > 1]
        return (g.detach() - 1e-6) * s

    record("ensloss", ensloss, {"logits": scores}, {"labels": labels, "draws": draws})
    distances = torch.rand(6, 4, dtype=torch.float64) * 2

    def loki(x, y, d):
        return F.cross_entropy(-torch.softmax(x, -1) @ (d.T**2), y, reduction="none")

    record("loki", loki, {"logits": normal(5, 4)}, {"labels": torch.randint(0, 6, (5,)), "distances": distances})


def main() -> None:
    """Write classification.npz beside this file."""
    torch.manual_seed(0)
    for part in (of_torch, of_entmax, of_timm, of_scikit_learn, of_scipy, of_authors):
        part()
    peers = [f"{name} {version(name)}" for name in ("torch", "entmax", "timm", "scikit-learn", "scipy")]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)


if __name__ == "__main__":
    main()
