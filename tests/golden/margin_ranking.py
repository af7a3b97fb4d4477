"""Golden losses and gradients of public implementations of the margin losses and of ranking.

    python tests/golden/margin_ranking.py path/to/clones

where torch, pytorch-metric-learning, diffsort, scikit-learn and rax are installed; the folder holds clones of what is
no package, each named as on GitHub: mk-minchul/AdaFace, zhongyy/SFace, ntuaislab/BRONet, Jung-Jun-Uk/UNPG,
allegro/allRank and jungtaekkim/error-free-differentiable-swap-functions as `AdaFace`, `SFace` and so on. MagFace,
CurricularFace, SphereFace-R and the elastic margins are written out here from the authors' code. Writes
margin_ranking.npz beside this file: arrays named `case/part`, gradients `case/grad_*`, and the peers under `peers`.
"""

import ast
import functools
import math
import pathlib
import subprocess
import sys
from importlib.metadata import version
from typing import Union

import diffsort
import numpy as np
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses, reducers
from sklearn.metrics import ndcg_score, roc_auc_score

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


def source(path: pathlib.Path, *names: str, **namespace) -> dict:
    """What the top-level definitions of a file define, without its imports."""
    nodes = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", None) in names]
    namespace = {"torch": torch, "nn": torch.nn, "F": F, "math": math, "np": np, **namespace}
    namespace |= {"Module": torch.nn.Module, "Parameter": torch.nn.Parameter, "xavier_normal_": lambda w, **_: w}
    exec(compile(ast.Module(nodes, []), str(path), "exec"), namespace)
    return namespace


def cosine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return F.normalize(x) @ F.normalize(w).T


def entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def margins(clones: pathlib.Path) -> None:
    """CosFace, ArcFace and SphereFace of pytorch-metric-learning, the rest of their authors."""
    labels = torch.arange(7) % 5
    x, w = normal(7, 4), normal(5, 4)
    x[:2] = -w[labels[:2]] + 0.2 * normal(2, 4)  # far from their class
    inputs, constants = {"embeddings": x, "weights": w}, {"labels": labels}

    def peer(kind, **keywords):
        function = kind(num_classes=5, embedding_size=4, **keywords)
        function.reducer = reducers.DoNothingReducer()

        def loss(embeddings, weights, labels):
            del function.W
            function.W = weights.T
            function.cast_types = lambda dtype, device: None
            return function(embeddings, labels)["loss"]["losses"]

        return loss

    record("cosface", peer(losses.CosFaceLoss, margin=0.35, scale=64), inputs, constants)
    sphereface = losses.SphereFaceLoss(num_classes=5, embedding_size=4)
    for name in ("n_range", "margin_choose_n", "cos_powers", "alternating"):
        assert name in vars(sphereface)
    record("sphereface", peer(losses.SphereFaceLoss, margin=4, scale=1), inputs, constants)

    def sphereface_r(x, w, y):
        cos = cosine(x, w)
        with torch.no_grad():
            angle = torch.acos(cos)
            angle.scatter_(1, y.view(-1, 1), 1.5, reduce="multiply")
            shift = torch.cos(angle.clamp_(0, math.pi)) - cos
        return entropy(30.0 * (cos + shift), y)

    record("sphereface_r", sphereface_r, inputs, constants)

    head = source(clones / "AdaFace" / "head.py", "AdaFace", "l2_norm")["AdaFace"]
    longer = {"embeddings": x * torch.linspace(2, 30, 7, dtype=torch.float64)[:, None], "weights": w}
    after = {}

    def adaface(x, w, y):
        layer = head(4, 5, m=0.4, h=0.333, s=64.0, t_alpha=0.01)
        layer.batch_mean, layer.batch_std = torch.tensor(30.0).double(), torch.tensor(8.0).double()
        del layer.kernel
        layer.kernel = w.T
        norms = x.norm(dim=1, keepdim=True)
        logits = layer(x / norms, norms, y)
        after["statistics"] = torch.stack([layer.batch_mean, layer.batch_std])
        return entropy(logits, y)

    record("adaface", adaface, longer, constants)
    GOLDEN["adaface/after"] = after["statistics"].numpy()

    def magface(x, w, y):  # MagLinear and MagLoss
        low, high, short, long = 0.45, 0.8, 10.0, 110.0
        norm = x.norm(dim=1, keepdim=True).clamp(short, long)
        margin = (high - low) / (long - short) * (norm - short) + low
        cos = cosine(x, w)
        sin = torch.sqrt(1.0 - cos**2)
        moved = cos * torch.cos(margin) - sin * torch.sin(margin)
        moved = torch.where(cos > torch.cos(math.pi - margin), moved, cos - torch.sin(math.pi - margin) * margin)
        one_hot = F.one_hot(y, 5).double()
        return entropy(64.0 * (one_hot * moved + (1 - one_hot) * cos), y) + 35.0 * (norm / long**2 + 1 / norm)[:, 0]

    record("magface", magface, longer, constants)

    def curricularface(x, w, y):
        cos, margin, t = cosine(x, w), 0.5, 0.3
        target = cos.gather(1, y.view(-1, 1))
        moved = target * math.cos(margin) - torch.sqrt(1.0 - target**2) * math.sin(margin)
        hard = cos > moved
        final = torch.where(target > math.cos(math.pi - margin), moved, target - math.sin(math.pi - margin) * margin)
        with torch.no_grad():
            t = target.mean() * 0.01 + 0.99 * t
        after["curriculum"] = t
        cos = torch.where(hard, cos * (t + cos), cos)
        return entropy(64.0 * cos.scatter(1, y.view(-1, 1), final), y)

    record("curricularface", curricularface, inputs, constants)
    GOLDEN["curricularface/after"] = after["curriculum"].numpy()

    sface_class = source(clones / "SFace" / "SFace_torch" / "head" / "metrics.py", "SFaceLoss")["SFaceLoss"]

    def sface(x, w, y):
        def one(row, label):
            layer = sface_class(4, 5, None)
            del layer.weight
            layer.weight = w
            return layer(row[None], label[None])[1]

        return torch.stack([one(row, label) for row, label in zip(x, y)])

    torch.set_default_dtype(torch.float64)
    record("sface", sface, inputs, constants)
    torch.set_default_dtype(torch.float32)

    build = source(
        clones / "UNPG" / "recognition" / "models" / "build.py",
        "box_and_whisker_algorithm",
        "convert_label_to_similarity",
    )

    def unpg(x, w, y):
        logits = cosine(x, w) - 0.4 * F.one_hot(y, 5).double()  # of integers: 0.4 in float32
        _, negatives = build["convert_label_to_similarity"](F.normalize(x), y)
        kept = build["box_and_whisker_algorithm"](negatives, wisk=0.1)
        assert 0 < len(kept) < len(negatives)
        return entropy(64.0 * torch.cat([logits, kept.expand(len(y), -1)], dim=1), y)

    record("unpg", unpg, inputs, constants)


def lipschitz(clones: pathlib.Path) -> None:
    """Logit annealing and EMMA of BRONet."""
    module = source(
        clones / "BRONet" / "bronet" / "models" / "margin_layer.py",
        "_logit_annealing_loss",
        "logit_annealing_loss",
        "emma_loss",
        Union=Union,
        Tensor=torch.Tensor,
    )
    z, h, y = 2 * normal(6, 5), normal(5, 3), torch.arange(6) % 5
    kind = module["_logit_annealing_loss"]
    annealed = kind(gamma=5.0, num_classes=5, offset=2.0, temperature=0.75)
    rows = lambda z, y: torch.stack([annealed(row[None].clone(), label[None]) for row, label in zip(z, y)])
    record("logit_annealing", rows, {"logits": z}, {"labels": y})

    def emma(z, h, y):  # the loss's own logits
        gaps = z - z.gather(dim=1, index=y.reshape(-1, 1))
        margin = (h[y].unsqueeze(1) - h.unsqueeze(0)).norm(dim=-1) * 1.3
        share = (-gaps / (margin * 0.7).clip(1e-8)).clip(0.01, 1)
        return gaps + share.detach() * 0.7 * margin

    record("emma", lambda z, h, y: entropy(emma(z, h, y), y), {"logits": z, "head": h}, {"labels": y})

    class Model(torch.nn.Module):
        """Gives the logits, and the weights of the head."""

        def __init__(self):
            super().__init__()
            self.head = self

        def get_weight(self):
            return h

        def forward(self, x):
            return z

    theirs = module["emma_loss"](Model(), None, y, 0.7, 1.3)[1]
    np.testing.assert_allclose(theirs, emma(z, h, y))


def ranking(clones: pathlib.Path) -> None:
    """diffsort, allRank, and the error-free networks of their authors; metrics of scikit-learn."""
    eight, five = normal(2, 8), normal(2, 5)
    error_free = clones / "error-free-differentiable-swap-functions" / "error_free_dsf"
    exact = source(error_free / "functional.py", "execute_sort", "s_best", SORTING_NETWORK_TYPE=list)["execute_sort"]
    weigh = torch.linspace(1, 2, 8, dtype=torch.float64)
    for network, x in (("bitonic", eight), ("odd_even", five)):
        tables = diffsort.get_sorting_network(network, x.shape[1], "cpu")
        w = torch.outer(weigh[: x.shape[1]], weigh[: x.shape[1]] ** 2)
        for swap in ("cauchy", "reciprocal", "optimal", "logistic"):

            def soft(x, tables=tables, swap=swap, w=w):
                ordered, columns = diffsort.functional.execute_sort(tables, x, steepness=3.0, distribution=swap)
                return torch.cat([ordered * w[0], (columns.transpose(1, 2) * w).flatten(1)], dim=1)

            record(f"network_{network}_{swap}", soft, {"values": x})

        def hard(x, tables=tables, w=w):
            ordered, columns = exact(tables, x, steepness=3.0, distribution="cauchy", use_ste=True)
            return torch.cat([ordered * w[0], (columns.transpose(1, 2) * w).flatten(1)], dim=1)

        record(f"network_{network}_error_free", hard, {"values": x})

        def supervised(x, y, tables=tables):
            columns = diffsort.functional.execute_sort(tables, x, steepness=3.0, distribution="cauchy")[1]
            truth = F.one_hot(torch.argsort(y, dim=-1)).transpose(-2, -1).double()
            return F.binary_cross_entropy(columns, truth, reduction="none").mean(dim=(1, 2))

        record(f"diffsort_{network}", supervised, {"predictions": x}, {"targets": normal(*x.shape)})

    folder = clones / "allRank" / "allrank" / "models"
    shared = {"DEFAULT_EPS": 1e-10, "PADDED_Y_VALUE": -1, "get_torch_device": lambda: torch.device("cpu")}
    utils = source(folder / "losses" / "loss_utils.py", "sinkhorn_scaling", "deterministic_neural_sort", **shared)
    metric = source(folder / "metrics.py", "dcg", "__apply_mask_and_get_true_sorted_by_preds", **shared)
    # All iterations, as ours; the tolerance would stop after some.
    scaling = functools.partial(utils["sinkhorn_scaling"])
    shared |= {"deterministic_neural_sort": utils["deterministic_neural_sort"], "stochastic_neural_sort": None}
    shared |= {"sinkhorn_scaling": lambda mat, mask, tol, max_iter: scaling(mat, mask, tol=0.0, max_iter=max_iter)}
    neural = source(
        folder / "losses" / "neuralNDCG.py", "neuralNDCG", "neuralNDCG_transposed", dcg=metric["dcg"], **shared
    )
    scores = normal(4, 6)
    relevance = torch.randint(0, 4, (4, 6)).double()
    relevance[:, 0] = 2.0
    relevance[1, 4:] = relevance[2, 5:] = -1.0  # padding
    one = functools.partial(utils["deterministic_neural_sort"], tau=0.7, mask=torch.zeros(4, 6, dtype=torch.bool))
    record("neural_sort", lambda s: one(s[..., None].float()) * weigh[:6], {"scores": scores})
    for case, function in (("neural_ndcg", "neuralNDCG"), ("neural_ndcg_transposed", "neuralNDCG_transposed")):

        def rows(s, y, function=function):
            of = functools.partial(neural[function], temperature=0.7, k=3)
            return torch.stack([of(row[None].float(), grades[None].float()) for row, grades in zip(s, y)])

        record(case, rows, {"scores": scores}, {"relevance": relevance})
    gains = 2 ** relevance[:1].numpy() - 1
    GOLDEN["ndcg/scores"], GOLDEN["ndcg/relevance"] = scores[0].numpy(), relevance[0].numpy()
    GOLDEN["ndcg/value"] = np.array([ndcg_score(gains, scores[:1].numpy(), k=k) for k in (2, 6)])

    s, y = torch.round(normal(40) * 4) / 4, torch.randint(0, 2, (40,))  # with ties

    def mann_whitney(s, y):
        return F.softplus(-(s[y == 1][:, None] - s[y == 0])).mean()

    record("mann_whitney", mann_whitney, {"scores": s}, {"labels": y})
    GOLDEN["mann_whitney/auc"] = np.array(roc_auc_score(y.numpy(), s.numpy()))


def clone(path: pathlib.Path) -> str:
    """Name and commit of a clone."""
    commit = subprocess.run(["git", "-C", path, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    return f"{path.name} {commit.strip()}"


def main(clones: pathlib.Path) -> None:
    """Write margin_ranking.npz beside this file."""
    torch.manual_seed(0)
    margins(clones)
    lipschitz(clones)
    ranking(clones)
    packages = ["torch", "pytorch-metric-learning", "diffsort", "scikit-learn"]
    peers = [f"{name} {version(name)}" for name in packages] + [clone(path) for path in sorted(clones.iterdir())]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve())
