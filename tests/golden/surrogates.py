"""Golden values and gradients of box losses, retrieval, Barron's distribution, and of average precision of detections.

    python tests/golden/surrogates.py CLONES

where torch, torchmetrics, pycocotools and mmdet are installed, and the folder CLONES holds the repositories that
`CLONED` names. Writes surrogates.npz beside this file: arrays named `case/part`, gradients of the sum `case/grad_*`,
and the peers under `peers`.
"""

import ast
import contextlib
import importlib.util
import io
import math
import pathlib
import sys
import types
from importlib.metadata import version

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision

GOLDEN: dict[str, np.ndarray] = {}
CLONED = {
    "YOLOv6": "github.com/meituan/YOLOv6 at e86a483",
    "yoloair": "github.com/iscyy/yoloair at 29a8465",
    "Smooth_AP": "github.com/Andrew-Brown1/Smooth_AP at 59927ec",
    "RecallatK_surrogate": "github.com/yash0307/RecallatK_surrogate at ed05202",
    "robust_loss_pytorch": "github.com/jonbarron/robust_loss_pytorch at 9831f1d",
}
PORT = {
    ".cuda()": "",
    "torch.zeros(1)": "torch.zeros(1, dtype=torch.float64)",
    "np.arange(0, 1 + 1e-3, 0.1)": "np.arange(11) / 10",  # 0.3 is 0.30000000000000004 otherwise, and out of reach
}
CLASSES = 3


def normal(*shape: int) -> torch.Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def record(case, function, inputs, constants=None):
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


def source(path: pathlib.Path, *names: str) -> types.SimpleNamespace:
    """What some definitions of a file define, without its imports, on the CPU and in float64."""
    text = path.read_text()
    for old, new in PORT.items():
        text = text.replace(old, new)
    nodes = [node for node in ast.parse(text).body if getattr(node, "name", None) in names]
    namespace = {"torch": torch, "math": math, "np": np}
    exec(compile(ast.Module(nodes, []), str(path), "exec"), namespace)
    return types.SimpleNamespace(**namespace)


def boxes(clones: pathlib.Path) -> None:
    """SIoU of YOLOv6 and EIoU of YOLOAir, without what they add to denominators."""
    corners, sizes = normal(2, 12, 2), 0.3 + 2 * torch.rand(2, 12, 2, dtype=torch.float64)
    both = torch.cat([corners, corners + sizes], dim=-1)
    inputs = {"predictions": both[0], "targets": both[1]}
    yolo = source(clones / "YOLOv6/yolov6/utils/figure_iou.py", "IOUloss")
    siou = yolo.IOUloss(box_format="xyxy", iou_type="siou", eps=0.0)
    record("siou", lambda p, t: siou(p.T, t), inputs)
    air = source(clones / "yoloair/utils/metrics.py", "bbox_iou")
    record("eiou", lambda p, t: 1 - air.bbox_iou(p.T, t, EIoU=True, eps=0.0), inputs)


def retrieval(clones: pathlib.Path) -> None:
    """Smooth-AP and the surrogate of recall at k, of embeddings of equally large classes."""
    groups, size = 4, 3
    embeddings = torch.nn.functional.normalize(normal(groups * size, 5))
    smooth = source(clones / "Smooth_AP/src/losses.py", "SmoothAP", "sigmoid", "compute_aff")
    record("smooth_ap", smooth.SmoothAP(0.1, groups * size, groups, 5), {"embeddings": embeddings})
    recall = source(clones / "RecallatK_surrogate/src/losses.py", "RecallatK", "sigmoid")
    criterion = recall.RecallatK(0.1, groups * size, groups, 5, [1, 2, 4], [0.5, 0.5, 0.5], 0)
    record(
        "recall_at_k",
        lambda x: torch.stack([criterion(x, query) for query in range(len(x))]).sum(),
        {"embeddings": embeddings},
    )


def barron(clones: pathlib.Path) -> None:
    """The author's distribution, whose log partition function is a spline with an error of 1e-6."""
    path = clones / "robust_loss_pytorch/robust_loss_pytorch"
    resources = types.ModuleType("pkg_resources")
    resources.resource_stream = lambda _, name: (path / name).open("rb")
    package = types.ModuleType("robust_loss_pytorch")
    sys.modules |= {"pkg_resources": resources, "robust_loss_pytorch": package}
    for name in ("util", "cubic_spline", "general", "distribution"):
        spec = importlib.util.spec_from_file_location(f"robust_loss_pytorch.{name}", path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        setattr(package, name, module)
        spec.loader.exec_module(module)
    distribution = package.distribution.Distribution()

    def nll(location, log_scale, shape_logit, targets):
        alpha, scale = 2 * torch.sigmoid(shape_logit), torch.exp(log_scale)
        return distribution.nllfun(targets - location, alpha, scale)

    inputs = {"location": normal(12), "log_scale": normal(12), "shape_logit": 2 * normal(12)}
    record("barron", nll, inputs, {"targets": 3 * normal(12)})


def detections(generator: np.random.Generator, images: int, objects: int, found: int) -> dict[str, np.ndarray]:
    """True boxes, and detections of which most are near one of them; some have equal scores."""
    corners = generator.uniform(0, 60, (images, objects, 2))
    truth = np.concatenate([corners, corners + generator.uniform(5, 40, (images, objects, 2))], axis=-1)
    true_classes = generator.integers(0, CLASSES - 1, (images, objects))  # the last class has none
    of = generator.integers(0, objects, (images, found))
    boxes = np.take_along_axis(truth, of[..., None], axis=1) + generator.normal(0, 3, (images, found, 4))
    boxes = np.concatenate([np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])], -1)
    guess = np.where(generator.random(of.shape) < 0.8, np.take_along_axis(true_classes, of, 1), CLASSES - 1)
    return {
        "boxes": boxes,
        "scores": np.round(generator.random((images, found)), 2),
        "classes": guess,
        "true_boxes": truth,
        "true_classes": true_classes,
        "ignored": generator.random((images, objects)) < 0.2,
        "where": generator.random((images, found)) < 0.9,
        "true_where": generator.random((images, objects)) < 0.8,
    }


def coco_precision(data: dict[str, np.ndarray], most: int) -> np.ndarray:
    """pycocotools' average precisions [C, T], at levels of recall rounded to nearest."""
    annotations, results = [], []
    for image, (kept, true_kept) in enumerate(zip(data["where"], data["true_where"])):
        for place in np.flatnonzero(true_kept):
            x1, y1, x2, y2 = data["true_boxes"][image, place]
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            crowd = int(data["ignored"][image, place])
            kind = int(data["true_classes"][image, place])
            of = {"image_id": image, "category_id": kind, "iscrowd": crowd, "id": len(annotations) + 1}
            annotations.append(of | box)
        for place in np.flatnonzero(kept):
            x1, y1, x2, y2 = data["boxes"][image, place]
            kind, score = int(data["classes"][image, place]), float(data["scores"][image, place])
            results.append({"image_id": image, "category_id": kind, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    truth = COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = {
            "images": [{"id": image} for image in range(len(data["where"]))],
            "categories": [{"id": kind} for kind in range(CLASSES)],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.recThrs = np.arange(101) / 100
        evaluation.params.maxDets = [most]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0].mean(axis=1).T
    return np.where(precision < 0, np.nan, precision)


def torchmetrics_map(data: dict[str, np.ndarray]) -> float:
    metric = MeanAveragePrecision(rec_thresholds=(np.arange(101) / 100).tolist())
    for image, (kept, true_kept) in enumerate(zip(data["where"], data["true_where"])):
        taken = {name: torch.tensor(data[name][image][kept]) for name in ("boxes", "scores", "classes")}
        there = {name: torch.tensor(data[name][image][true_kept]) for name in ("true_boxes", "true_classes", "ignored")}
        metric.update(
            [{"boxes": taken["boxes"], "scores": taken["scores"], "labels": taken["classes"]}],
            [
                {
                    "boxes": there["true_boxes"],
                    "labels": there["true_classes"],
                    "iscrowd": there["ignored"].long(),
                }
            ],
        )
    return float(metric.compute()["map"])


def voc_precision(data: dict[str, np.ndarray], threshold: float) -> dict[str, np.ndarray]:
    """mmdet's average precisions [C] with PASCAL VOC's matching."""
    root = pathlib.Path(importlib.util.find_spec("mmdet").submodule_search_locations[0]) / "evaluation/functional"
    overlaps = source(root / "bbox_overlaps.py", "bbox_overlaps").bbox_overlaps
    voc = source(root / "mean_ap.py", "average_precision", "tpfp_default")
    voc.tpfp_default.__globals__["bbox_overlaps"] = overlaps
    result = {"all-point": [], "11-point": []}
    for kind in range(CLASSES):
        ranked, total = [], 0
        for image in range(len(data["where"])):
            mine = data["where"][image] & (data["classes"][image] == kind)
            order = np.flatnonzero(mine)[np.argsort(-data["scores"][image][mine], kind="stable")]
            dets = np.concatenate([data["boxes"][image][order], data["scores"][image][order][:, None]], axis=1)
            true = data["true_where"][image] & (data["true_classes"][image] == kind)
            hard = true & data["ignored"][image]
            truth = data["true_boxes"][image]
            tp, fp = voc.tpfp_default(dets, truth[true & ~hard], truth[hard], threshold)
            ranked += list(zip(-dets[:, 4], tp[0], fp[0]))
            total += (true & ~hard).sum()
        ranked = np.array(sorted(ranked, key=lambda row: row[0])).reshape(-1, 3)
        tp, fp = np.cumsum(ranked[:, 1]), np.cumsum(ranked[:, 2])
        recalls, precisions = tp / max(total, 1), tp / np.maximum(tp + fp, np.finfo(float).eps)
        for mode, name in (("area", "all-point"), ("11points", "11-point")):
            value = voc.average_precision(recalls, precisions, mode) if total else np.nan
            result[name].append(float(np.squeeze(value)))
    return {name: np.array(values) for name, values in result.items()}


def average_precision() -> None:
    """Detections for which many levels of recall are reached exactly, and some with few objects."""
    generator = np.random.default_rng(0)
    for case, shape, most in (("coco", (12, 5, 9), 100), ("coco_few", (5, 3, 6), 2)):
        data = detections(generator, *shape)
        GOLDEN.update({f"{case}/{name}": value for name, value in data.items()})
        GOLDEN[f"{case}/max_detections"] = np.array(most)
        GOLDEN[f"{case}/coco"] = coco_precision(data, most)
        if most == 100:
            GOLDEN[f"{case}/torchmetrics"] = np.array(torchmetrics_map(data))
            for name, values in voc_precision(data, 0.5).items():
                GOLDEN[f"{case}/{name}"] = values


if __name__ == "__main__":
    torch.manual_seed(0)
    clones = pathlib.Path(sys.argv[1])
    for part in (boxes, retrieval, barron):
        part(clones)
    average_precision()
    peers = [f"{name} {version(name)}" for name in ("torch", "torchmetrics", "pycocotools", "mmdet")]
    peers += list(CLONED.values())
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)
