"""Golden values and gradients of public implementations in torch: boxes, metric learning, segmentation, images.

    python tests/golden/survey.py

where torch, torchvision, pytorch-metric-learning, monai, kornia, torchmetrics, lightly and info-nce-pytorch are
installed. Writes survey.npz beside this file: arrays named `case/part`, gradients of the sum `case/grad_*`, and the
peers under `peers`.
"""

import pathlib
from importlib.metadata import version

import info_nce
import kornia.losses
import lightly.loss
import monai.losses
import numpy as np
import torch
import torch.nn.functional as F
import torchmetrics.functional.image as tmi
import torchmetrics.functional.text as tmt
import torchvision.ops
from pytorch_metric_learning import distances, losses, miners, reducers
from torchmetrics.image.fid import _compute_fid

GOLDEN: dict[str, np.ndarray] = {}


def normal(*shape: int) -> torch.Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def record(case: str, function, inputs: dict[str, torch.Tensor], constants: dict[str, torch.Tensor] | None = None):
    """Store the inputs, the loss of `function(*inputs, *constants)` and the gradients of its sum."""
    constants = constants or {}
    leaves = [value.clone().requires_grad_() for value in inputs.values()]
    loss = function(*leaves, *constants.values())
    if loss.requires_grad:
        loss.sum().backward()
    for name, value in (inputs | constants).items():
        GOLDEN[f"{case}/{name}"] = value.numpy()
    GOLDEN[f"{case}/loss"] = loss.detach().numpy()
    for name, leaf in zip(inputs, leaves, strict=True):
        if leaf.grad is not None:
            GOLDEN[f"{case}/grad_{name}"] = leaf.grad.numpy()


def boxes() -> None:
    """The box losses of torchvision, without what it adds to denominators."""
    corners, sizes = normal(2, 12, 2), 0.3 + 2 * torch.rand(2, 12, 2, dtype=torch.float64)
    both = torch.cat([corners, corners + sizes], dim=-1)
    inputs = {"predictions": both[0], "targets": both[1]}
    record("giou", lambda p, t: torchvision.ops.generalized_box_iou_loss(p, t, eps=0.0), inputs)
    record("diou", lambda p, t: torchvision.ops.distance_box_iou_loss(p, t, eps=0.0), inputs)
    record("ciou", lambda p, t: torchvision.ops.complete_box_iou_loss(p, t, eps=0.0), inputs)
    record("iou", lambda p, t: 1 - torchvision.ops.box_iou(p, t).diagonal(), inputs)
    record("box_iou", torchvision.ops.box_iou, {"boxes_a": both[0], "boxes_b": both[1][:5]})


def views() -> None:
    """Binary cross-entropy, SimSiam's cosine of lightly, InfoNCE of info-nce-pytorch."""
    scores, real = 3 * normal(8), torch.rand(8, dtype=torch.float64)
    record(
        "minimax",
        lambda s, r: F.binary_cross_entropy_with_logits(s, r, reduction="none"),
        {"scores": scores},
        {"real": real},
    )
    p, z = normal(6, 4), normal(6, 4)
    cosine = lightly.loss.NegativeCosineSimilarity()
    record(
        "simsiam",
        lambda p, z: torch.stack([cosine(a[None], b[None]) for a, b in zip(p, z)]),
        {"predictions": p},
        {"targets": z},
    )
    info = info_nce.InfoNCE(temperature=0.3, reduction="none")
    record("info_nce", info, {"embeddings_a": p, "embeddings_b": p + z})


def per_anchor(kind, mining=None):
    """A loss of pytorch-metric-learning for every anchor: of triplets their sum, and how many there are."""
    kind.reducer = reducers.DoNothingReducer()

    def loss(embeddings, labels):
        found = kind(embeddings, labels, None if mining is None else mining(embeddings, labels))["loss"]
        if found["reduction_type"] == "element":
            values, at = found["losses"].flatten(), found["indices"].flatten()
        else:
            values, at = found["losses"], found["indices"][0]
        return torch.zeros(len(labels), dtype=values.dtype).index_add(0, at, values)

    return loss


def metric_learning() -> None:
    """Triplet, N-pair, circle and multi-similarity losses of pytorch-metric-learning."""
    labels = torch.tensor([0, 1, 2, 0, 1, 0, 3, 2, 1, 0])
    embeddings = normal(10, 4)
    inputs, constants = {"embeddings": embeddings}, {"labels": labels}
    plain = distances.LpDistance(normalize_embeddings=False)
    squares = distances.LpDistance(normalize_embeddings=False, power=2)
    record("triplet_all_sum", per_anchor(losses.TripletMarginLoss(0.7, distance=plain)), inputs, constants)
    hard = miners.BatchHardMiner(distance=plain)
    record("triplet_hard", per_anchor(losses.TripletMarginLoss(0.7, distance=plain), hard), inputs, constants)
    hard = miners.BatchHardMiner(distance=squares)
    triplets = losses.TripletMarginLoss(0.7, distance=squares)
    record("triplet_hard_squared", per_anchor(triplets, hard), inputs, constants)
    circle = losses.CircleLoss(m=0.4, gamma=80)
    record("circle", per_anchor(circle), inputs, constants)
    every = losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)
    record("multi_similarity_all", per_anchor(every), inputs, constants)
    mined = miners.MultiSimilarityMiner(epsilon=0.1)
    record("multi_similarity", per_anchor(every, mined), inputs, constants)
    n_pairs = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    n_pairs.reducer = reducers.DoNothingReducer()

    def n_pair(anchors, positives, labels):
        together = n_pairs(torch.cat([anchors, positives]), torch.cat([labels, labels]))["loss"]
        return together["losses"]

    constants = {"labels": torch.arange(5)}
    record("n_pair", n_pair, {"anchors": embeddings[:5], "positives": embeddings[5:]}, constants)


def segmentation() -> None:
    """Tversky and generalised Dice losses of MONAI, Lovász losses of kornia; [B, H, W, C]."""
    logits, ids = 2 * normal(3, 4, 5, 3), torch.randint(0, 3, (3, 4, 5))
    ids[0][ids[0] == 2] = 0  # a class is absent from an image
    one_hot = F.one_hot(ids, 3).double()
    inputs = {"predictions": logits}

    def peer(function):
        def loss(x, y):
            y = y.movedim(-1, 1) if y.ndim == x.ndim else y
            return function(x.movedim(-1, 1), y)

        return loss

    tversky = monai.losses.TverskyLoss(
        softmax=True, alpha=0.3, beta=0.7, smooth_nr=1.0, smooth_dr=1.0, reduction="none"
    )
    record("tversky", peer(lambda x, y: tversky(x, y).flatten(1).mean(dim=1)), inputs, {"labels": one_hot})
    for weighting in ("square", "simple", "uniform"):
        dice = monai.losses.GeneralizedDiceLoss(
            softmax=True, w_type=weighting, smooth_nr=1e-5, smooth_dr=1e-5, reduction="none"
        )
        function = peer(lambda x, y, dice=dice: dice(x, y).flatten(1).mean(dim=1))
        record(f"generalized_dice_{weighting}", function, inputs, {"labels": one_hot})
    every = ids.clone()
    every[:, 0, :3] = torch.arange(3)  # kornia's mean runs over all classes
    lovasz = peer(lambda x, y: torch.stack([kornia.losses.lovasz_softmax_loss(a[None], b[None]) for a, b in zip(x, y)]))
    record("lovasz_softmax", lovasz, inputs, {"labels": every})
    record(
        "lovasz_hinge",
        lambda x, y: torch.stack([kornia.losses.lovasz_hinge_loss(a[None, None], b[None]) for a, b in zip(x, y)]),
        {"predictions": logits[..., 0]},
        {"labels": (ids == 0).long()},
    )


def images() -> None:
    """SSIM, PSNR and total variation of torchmetrics, smoothness of kornia; [B, H, W, C]."""
    x = torch.rand(2, 13, 15, 2, dtype=torch.float64)
    y = (x + 0.2 * normal(2, 13, 15, 2)).clamp(0, 1)
    first = {"predictions": x, "targets": y}

    def channels_first(function):
        return lambda *arrays: function(*(a.movedim(-1, 1) for a in arrays))

    def ssim(a, b):
        _, windows = tmi.structural_similarity_index_measure(
            a, b, data_range=1.0, reduction="none", return_full_image=True
        )
        return windows[..., 5:-5, 5:-5].mean((1, 2, 3))  # without those that it reflects at the edges

    def psnr(a, b):
        return tmi.peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))

    record("ssim", channels_first(ssim), first)
    record("psnr", channels_first(psnr), first)
    variation = channels_first(lambda a: tmi.total_variation(a, reduction="none"))
    record("total_variation", variation, {"images": x})

    def smooth(d, image):
        pairs = zip(d[:, None], image.movedim(-1, 1))
        return torch.stack([kornia.losses.inverse_depth_smoothness_loss(a[None], b[None]) for a, b in pairs])

    record("smoothness", smooth, {"disparities": y[..., 0]}, {"images": x})


def generation() -> None:
    """Fréchet distance and BLEU of torchmetrics."""
    a, b = normal(12, 4), 1 + 2 * normal(9, 4)
    moments = [m for x in (a, b) for m in (x.mean(0), torch.cov(x.T))]
    record("frechet", lambda *_: _compute_fid(*moments), {"features_a": a, "features_b": b})
    words, lengths = torch.randint(0, 4, (5, 9)), torch.tensor([9, 7, 8, 5, 9])
    others, other_lengths = torch.randint(0, 4, (5, 2, 8)), torch.tensor([[8, 7], [6, 8], [7, 7], [4, 8], [8, 8]])
    others[:, 0, :5] = words[:, 2:7]

    def sentence(row, length):
        return " ".join(f"w{word}" for word in row[:length].tolist())

    candidates = [sentence(*pair) for pair in zip(words, lengths.tolist())]
    references = [[sentence(*pair) for pair in zip(*row)] for row in zip(others, other_lengths.tolist())]
    constants = {
        "candidates": words,
        "references": others,
        "candidate_lengths": lengths,
        "reference_lengths": other_lengths,
    }
    for order in (2, 4):
        score = tmt.bleu_score(candidates, references, n_gram=order)
        record(f"bleu_{order}", lambda *_, score=score: score, {}, constants)


def main() -> None:
    """Write survey.npz beside this file."""
    torch.manual_seed(0)
    for part in (boxes, views, metric_learning, segmentation, images, generation):
        part()
    packages = ["torch", "torchvision", "pytorch-metric-learning", "monai", "kornia", "torchmetrics", "lightly"]
    peers = [f"{name} {version(name)}" for name in [*packages, "info-nce-pytorch"]]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)


if __name__ == "__main__":
    main()
