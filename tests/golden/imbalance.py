"""Golden losses and gradients of public implementations in torch, for imbalanced data.

    python tests/golden/imbalance.py path/to/clones

where torch and mmdet (--no-deps: only a source file is read) are installed; the folder holds clones of
github.com/val-iisc/Saddle-LongTail, kaidic/LDAM-DRW, jiawei-ren/BalancedMetaSoftmax-Classification, pseulki/IB-Loss,
tztztztztz/eqlv2, bluecdm/Long-tailed-recognition, yilei-wu/imbalanced-regression and bknyaz/sgg, which are no packages.
Only the named definitions are run, in float64 on the CPU and without their reductions. Writes imbalance.npz beside this
file: arrays named `case/part`, gradients `case/grad_*`, and the peers under `peers`.
"""

import ast
import functools
import pathlib
import subprocess
import sys
from importlib.metadata import distribution, version
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

GOLDEN: dict[str, np.ndarray] = {}
COUNTS = [500, 60, 9, 2]
PORT = {
    "torch.cuda.FloatTensor": "torch.DoubleTensor",
    "torch.FloatTensor": "torch.DoubleTensor",
    "torch.uint8": "torch.bool",
    ".float()": ".double()",
    "target, weight=self.weight)": "target, weight=self.weight, reduction='none')",
    "@LOSSES.register_module()": "",
    "return loss.mean()": "return loss",
    "torch.sum(cls_loss * weight) / self.n_i": "torch.sum(cls_loss * weight, dim=1)",
    "torch.sum(cls_loss * eql_w) / self.n_i": "torch.sum(cls_loss * eql_w, dim=1)",
    "torch.arange(102)": "torch.arange(5)",
    "return - loss.mean()": "return - loss",
}


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


def definitions(path: pathlib.Path, *names: str, **more) -> SimpleNamespace:
    """Run some definitions of a source file, and nothing else of it."""
    source = path.read_text()
    for old, new in PORT.items():
        source = source.replace(old, new)
    nodes = [node for node in ast.parse(source).body if getattr(node, "name", "") in names]
    for node in ast.walk(ast.Module(nodes, [])):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
    namespace = {"torch": torch, "nn": nn, "F": F, "np": np, **more}
    exec(compile(ast.Module(nodes, []), str(path), "exec"), namespace)
    return SimpleNamespace(**{name: namespace[name] for name in names})


def adjustments(root: pathlib.Path) -> None:
    """VS, LDAM, balanced softmax, influence-balanced."""
    logits, labels = 2 * normal(7, 4), torch.arange(7) % 4
    weights = torch.tensor([0.2, 0.5, 1.0, 2.3], dtype=torch.float64)
    inputs, constants = {"logits": logits}, {"labels": labels}
    vs = definitions(root / "Saddle-LongTail" / "losses.py", "VSLoss").VSLoss(
        COUNTS, gamma=0.3, tau=1.2, weight=weights
    )
    record("vs", vs, inputs, constants)
    ldam = definitions(root / "LDAM-DRW" / "losses.py", "LDAMLoss").LDAMLoss(COUNTS, max_m=0.5, s=10, weight=weights)
    record("ldam", ldam, {"logits": torch.tanh(logits)}, constants)
    balanced = definitions(
        root / "BalancedMetaSoftmax-Classification" / "loss" / "BalancedSoftmaxLoss.py", "balanced_softmax_loss"
    ).balanced_softmax_loss
    record("balanced_softmax", lambda x, y: balanced(y, x, torch.tensor(COUNTS), "none"), inputs, constants)
    influence = definitions(root / "IB-Loss" / "losses.py", "ib_loss", "IBLoss", num_classes=4).IBLoss(weights, 1000.0)
    record(
        "influence_balanced",
        lambda x, h, y: influence(x, y, h.abs().sum(dim=1)),
        {"logits": logits, "features": normal(7, 3)},
        constants,
    )
    importance = torch.tensor(5.0, dtype=torch.float64)
    record(
        "cost_sensitive",
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none", pos_weight=importance),
        {"logits": logits},
        {"labels": torch.randint(0, 2, (7, 4)).double()},
    )


def rivals(root: pathlib.Path, mmdet: pathlib.Path) -> None:
    """Seesaw, equalisation losses."""
    logits, labels = 2 * normal(7, 4), torch.arange(7) % 4
    seesaw = definitions(
        mmdet / "seesaw_loss.py", "seesaw_ce_loss", weight_reduce_loss=lambda loss, **rest: loss
    ).seesaw_ce_loss
    counts = torch.tensor([500.0, 60.0, 9.0, 0.0], dtype=torch.float64)
    record("seesaw", lambda x, y: seesaw(x, y, None, counts, 4, 0.8, 2.0, 1e-2), {"logits": logits}, {"labels": labels})
    losses = root / "eqlv2" / "mmdet" / "models" / "losses"
    frequencies = torch.tensor([0.5, 0.1, 1e-3, 5e-4], dtype=torch.float64)
    kind = definitions(losses / "eql.py", "EQL", get_image_count_frequency=lambda version: frequencies.tolist()).EQL()
    boxes = torch.tensor([0, 1, 2, 3, 4, 4, 2])  # 4 is background
    record("equalization", kind, {"logits": logits}, {"labels": boxes})

    logger = SimpleNamespace(info=lambda text: None)
    distributed = SimpleNamespace(all_reduce=lambda array: None)
    second = definitions(
        losses / "eqlv2.py", "EQLv2", partial=functools.partial, get_root_logger=lambda: logger, dist=distributed
    ).EQLv2(num_classes=3)
    for step in range(3):  # the last of the four channels is that of background
        batch = 2 * normal(7, 4)
        record(f"equalization_v2_{step}", second, {"logits": batch}, {"labels": torch.randint(0, 4, (7,))})
        GOLDEN[f"equalization_v2_{step}/state_positive"] = second.pos_grad.numpy().copy()
        GOLDEN[f"equalization_v2_{step}/state_negative"] = second.neg_grad.numpy().copy()


def features(root: pathlib.Path) -> None:
    """Gaussian mixture likelihood; the trace of labels; edges of scene graphs."""
    likelihood = definitions(root / "Long-tailed-recognition" / "losses.py", "GMLLoss").GMLLoss
    holder = SimpleNamespace(num_classes=4)
    query, keys = F.normalize(normal(5, 3), dim=1), F.normalize(normal(8, 3), dim=1)
    labels, key_labels = torch.arange(5) % 4, torch.arange(8) % 4
    seen = torch.rand(5, 8) > 0.3
    seen[:, :4] = True
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)

    def gml(q, k, y, ky, mask):
        # the authors' features have length 1, which gradients in all directions presuppose here
        similarity = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / 0.1
        return F.cross_entropy(
            likelihood.get_logS_x_y(holder, similarity, mask.double(), ky) + prior.log(), y, reduction="none"
        )

    inputs = {"queries": query, "keys": keys}
    record("gml", gml, inputs, {"labels": labels, "key_labels": key_labels, "pairs": seen})

    names = ("uniformity_loss", "smooth_loss", "regression_contrastive_loss", "compute_cross_entropy")
    trace = definitions(root / "imbalanced-regression" / "agedb-dir" / "dfr.py", *names)
    surrogates = {"surrogates": normal(5, 3)}
    record("enveloping", trace.uniformity_loss, surrogates, {"points": normal(20, 3)})
    record("homogeneity", trace.smooth_loss, surrogates)
    for weighted in (False, True):
        record(
            f"contrastive_{weighted}",
            lambda x, y, s, use=weighted: trace.regression_contrastive_loss(x, y, s, 0.1, use),
            {"features": normal(6, 3)},
            {"labels": torch.arange(6) % 5, "surrogates": normal(5, 3)},
        )
    edges = definitions(root / "sgg" / "lib" / "losses.py", "edge_losses", CE=F.cross_entropy).edge_losses
    for kind in ("dnorm", "dnorm-fgbg"):
        record(
            f"edges_{kind}",
            lambda x, y, kind=kind: edges(x, y, kind, loss_weights=(0.7, 0.4, 1))["rel_loss"],
            {"logits": normal(9, 4)},
            {"labels": torch.tensor([0, 0, 1, 2, 0, 3, 0, 0, 0])},
        )


def clone(path: pathlib.Path) -> str:
    """Name and commit of a clone."""
    commit = subprocess.run(["git", "-C", path, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    return f"{path.name} {commit.strip()}"


def main(root: pathlib.Path) -> None:
    """Write imbalance.npz beside this file."""
    torch.manual_seed(0)
    mmdet = pathlib.Path(distribution("mmdet").locate_file("mmdet/models/losses"))
    adjustments(root)
    rivals(root, mmdet)
    features(root)
    peers = [f"{name} {version(name)}" for name in ("torch", "mmdet")]
    peers += [clone(path) for path in sorted(root.iterdir()) if path.is_dir()]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve())
