"""Cases of the soft confusion counts, and of the losses of shapes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import (
    CLASSES,
    SATURATED,
    Generator,
    draw_ids,
    draw_logits,
    scalar,
)
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives


def draw_pixels(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": draw_logits(generator, batch), "labels": draw_ids(generator, batch)}


def draw_probable_pixels(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    predictions = np.exp(draw_logits(generator, batch))
    predictions /= predictions.sum(axis=-1, keepdims=True)
    return {"predictions": predictions, "labels": draw_ids(generator, batch)}


def draw_weighted_pixels(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_pixels(generator, batch), "class_weights": np.array([0.5, 1.0, 2.0])}


def whole_images(batch: Shape) -> Shape:
    return batch[:1]


IMAGES = (4, 5)
SEGMENTATION: dict[str, Any] = {
    "arguments": draw_pixels,
    "batches": (IMAGES, (2, 3, 2), (4,)),
    "differentiable": ("predictions",),
    "masked": ("predictions", "labels"),
    "ids": "labels",
    "classes": CLASSES,
    "degenerate": {
        "saturated": {"predictions": np.stack([SATURATED] * 5, axis=1)},
        "equal logits": {"predictions": np.zeros((*IMAGES, CLASSES))},
        "one class present": {"labels": np.zeros(IMAGES, np.int32)},
        "no pixels": {"predictions": np.zeros((4, 0, CLASSES)), "labels": np.zeros((4, 0), np.int32)},
        "binary, empty positives": {"predictions": np.ones((*IMAGES, 1)), "labels": np.zeros(IMAGES, np.int32)},
        "binary, no negatives": {"predictions": np.ones((*IMAGES, 1)), "labels": np.ones(IMAGES, np.int32)},
    },
    "hyperparameters": {"smooth": (0.0, 1.0)},
    "refused": {"smooth": (-1.0,)},
    "faults": (
        Fault({"predictions": np.ones(CLASSES, np.float32)}, ValueError),
        Fault({"classes": "some"}, ValueError),
        Fault({"per": "pixel"}, ValueError),
        Fault({"class_weights": np.ones(CLASSES + 1)}, ValueError),
        Fault({"per": "image", "axis_name": "data"}, ValueError),
    ),
    "smooth": 1,
}
OPTIONS = ("apply_softmax", "class_weights", "ignore_background", "classes", "per", "axis_name")
PROBABLE_EDGES = {
    "exact": {"predictions": np.eye(CLASSES)[np.ones(IMAGES, int)], "labels": np.ones(IMAGES, np.int32)},
    "all wrong": {"predictions": np.eye(CLASSES)[np.zeros(IMAGES, int)], "labels": np.ones(IMAGES, np.int32)},
    "nothing predicted": {"predictions": np.zeros((*IMAGES, CLASSES))},
}


def segmentation(function: Callable[..., Any], **weights: tuple[float, ...]) -> list[Objective]:
    """Per image with whole images masked, over the dataset with pixels masked, from logits and from probabilities."""
    name = function.__name__
    settings = {
        **SEGMENTATION,
        "function": function,
        "hyperparameters": {**SEGMENTATION["hyperparameters"], **weights},
        "refused": {**SEGMENTATION["refused"], **dict.fromkeys(weights, (-1.0,))},
    }
    others = {option: OPTIONS[: OPTIONS.index(option)] + OPTIONS[OPTIONS.index(option) + 1 :] for option in OPTIONS}
    return [
        Objective(
            name=name,
            elsewhere=others["per"],
            options={"per": "image"},
            **{**settings, "shape": whole_images, "mask_shape": whole_images},
        ),
        Objective(
            name=f"{name}[dataset]",
            options={"per": "dataset", "classes": "present", "ignore_background": True},
            elsewhere=("apply_softmax",),
            coupled=True,
            **{
                **settings,
                "arguments": draw_weighted_pixels,
                "shape": scalar,
                "degenerate": {n: with_weights_of(c) for n, c in SEGMENTATION["degenerate"].items()},
            },
        ),
        Objective(
            name=f"{name}[probabilities]",
            options={"apply_softmax": False, "per": "dataset", "classes": "all"},
            elsewhere=("class_weights", "ignore_background"),
            coupled=True,
            **{
                **settings,
                "arguments": draw_probable_pixels,
                "shape": scalar,
                "degenerate": PROBABLE_EDGES,
            },
        ),
    ]


def with_weights_of(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """One weight for each class of the changed predictions."""
    return {**changes, "class_weights": np.ones(np.shape(changes.get("predictions", np.ones(CLASSES)))[-1])}


PIXELS: dict[str, Any] = {
    **SEGMENTATION,
    "options": {"per": "dataset", "apply_softmax": True},
    "shape": scalar,
    "coupled": True,
    "faults": (
        Fault({"predictions": np.ones(CLASSES, np.float32)}, ValueError),
        Fault({"per": "pixel"}, ValueError),
        Fault({"per": "image", "axis_name": "data"}, ValueError),
    ),
}


def overlap(function: Callable[..., Any], **hyperparameters: tuple[float, ...]) -> Objective:
    """Over the dataset, weighted classes without the background, from logits."""
    return Objective(
        name=function.__name__,
        function=function,
        **{
            **SEGMENTATION,
            "arguments": draw_weighted_pixels,
            "shape": scalar,
            "coupled": True,
            "options": {"per": "dataset", "apply_softmax": True, "classes": "present", "ignore_background": True},
            "hyperparameters": {**SEGMENTATION["hyperparameters"], **hyperparameters},
            "refused": {**SEGMENTATION["refused"], **dict.fromkeys(hyperparameters, (-1.0,))},
            "degenerate": {n: with_weights_of(c) for n, c in SEGMENTATION["degenerate"].items()},
        },
    )


def draw_foreground(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": generator.normal(size=batch), "labels": generator.integers(0, 2, batch, np.int32)}


def draw_distances(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": draw_logits(generator, batch), "distance_maps": draw_logits(generator, batch)}


CASES = [
    *segmentation(objectives.dice_loss, alpha=(0.0, 0.3), beta=(0.0, 0.7)),
    *segmentation(objectives.jaccard_metric_loss, alpha=(0.0, 1.0), beta=(0.0, 1.0)),
    *segmentation(objectives.dice_semimetric_loss),
    overlap(objectives.tversky_loss, alpha=(0.0, 0.3), beta=(0.0, 0.7)),
    overlap(objectives.focal_tversky_loss, gamma=(0.5, 4 / 3), alpha=(0.0, 0.3), beta=(0.0, 0.7)),
    overlap(objectives.log_cosh_dice_loss),
    Objective(
        name="generalized_dice_loss",
        function=objectives.generalized_dice_loss,
        **{
            **PIXELS,
            "options": {**PIXELS["options"], "weighting": "square"},
            "faults": (*PIXELS["faults"], Fault({"weighting": "cube"}, ValueError)),
        },
    ),
    Objective(
        name="combo_loss",
        function=objectives.combo_loss,
        **{
            **PIXELS,
            "options": {"per": "dataset"},
            "hyperparameters": {"mixture": (0.0, 0.5), "recall_weight": (0.0, 1.0, 0.4), "smooth": (0.5, 1.0)},
            "refused": {"mixture": (-0.1, 1.1), "recall_weight": (-0.1, 1.1), "smooth": (-1.0,)},
        },
    ),
    Objective(
        name="lovasz_softmax_loss",
        function=objectives.lovasz_softmax_loss,
        **{
            **PIXELS,
            "arguments": draw_probable_pixels,
            "options": {"per": "dataset", "apply_softmax": False, "classes": "present"},
            "hyperparameters": {},
            "refused": {},
            "probabilities": False,
            "degenerate": {
                **PROBABLE_EDGES,
                "no pixels": {"predictions": np.zeros((4, 0, CLASSES)), "labels": np.zeros((4, 0), np.int32)},
            },
            "faults": (
                *PIXELS["faults"],
                Fault({"classes": "some"}, ValueError),
                Fault({"labels": np.ones((*IMAGES, CLASSES), np.float32)}, TypeError),
            ),
        },
    ),
    Objective(
        name="lovasz_hinge_loss",
        function=objectives.lovasz_hinge_loss,
        **{
            **PIXELS,
            "arguments": draw_foreground,
            "options": {"per": "dataset"},
            "hyperparameters": {},
            "refused": {},
            "classes": 2,
            "probabilities": False,
            "degenerate": {
                "all right": {"predictions": np.full(IMAGES, 1e4), "labels": np.ones(IMAGES, np.int32)},
                "all wrong": {"predictions": np.full(IMAGES, 1e4), "labels": np.zeros(IMAGES, np.int32)},
                "no pixels": {"predictions": np.zeros((4, 0)), "labels": np.zeros((4, 0), np.int32)},
            },
            "faults": (Fault({"per": "pixel"}, ValueError), Fault({"per": "image", "axis_name": "data"}, ValueError)),
        },
    ),
    Objective(
        name="boundary_loss",
        function=objectives.boundary_loss,
        arguments=draw_distances,
        batches=(IMAGES, (2, 3, 2), (4,)),
        differentiable=("predictions",),
        masked=("predictions", "distance_maps"),
        shape=whole_images,
        mask_shape=whole_images,
        options={"apply_softmax": True, "ignore_background": True},
        degenerate={
            "saturated": {"predictions": np.stack([SATURATED] * 5, axis=1)},
            "binary": {"predictions": np.ones((*IMAGES, 1)), "distance_maps": np.ones((*IMAGES, 1))},
            "no pixels": {"predictions": np.zeros((4, 0, CLASSES)), "distance_maps": np.zeros((4, 0, CLASSES))},
        },
        faults=(Fault({"predictions": np.ones(CLASSES, np.float32)}, ValueError),),
    ),
]

FUNCTIONS = [
    Function(
        name="signed_distance_map",
        function=objectives.signed_distance_map,
        traced=lambda generator: {"labels": draw_ids(generator, (2, 3, 4))},
        static={"classes": CLASSES},
        shape=(2, 3, 4, CLASSES),
        faults=(
            Fault({"classes": 0}, ValueError),
            Fault({"classes": 2.0}, TypeError),
            Fault({"labels": np.ones((2, 3), np.float32)}, TypeError),
            Fault({"labels": np.ones(2, np.int32)}, ValueError),
        ),
    ),
]
