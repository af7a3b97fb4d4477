"""Boxes, adversarial games, metric learning, images, diagnostics, and the newer losses of segmentation."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives import (
    CLASS_EDGES,
    CLASSES,
    HARD,
    IMAGES,
    PER_CLASS,
    PROBABLE_EDGES,
    SATURATED,
    SEGMENTATION,
    VIEWS,
    Generator,
    classes_and_labels,
    draw_ids,
    draw_logits,
    draw_probable_pixels,
    draw_weighted_pixels,
    scalar,
    whole_images,
    with_weights_of,
)
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives


def draw_boxes(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    corners, sizes = generator.normal(size=(2, *batch, 2)), 0.5 + 2 * generator.random(size=(2, *batch, 2))
    boxes = np.concatenate([corners, corners + sizes], axis=-1)
    return {"predictions": boxes[0], "targets": boxes[1]}


UNIT = np.tile([0.0, 0.0, 1.0, 1.0], (4, 1))
BOXES: dict[str, Any] = {
    "arguments": draw_boxes,
    "differentiable": ("predictions", "targets"),
    "masked": ("predictions", "targets"),
    "integers": True,
    "degenerate": {
        "points": {"predictions": np.zeros((4, 4)), "targets": np.zeros((4, 4))},
        "apart, without area": {"predictions": np.zeros((4, 4)), "targets": np.full((4, 4), 2.0)},
        "equal": {"predictions": UNIT, "targets": UNIT},
        "segments": {"predictions": UNIT * [1, 1, 1, 0], "targets": UNIT * [1, 1, 0, 1]},
        "far away": {"predictions": 1e4 + UNIT, "targets": -1e4 - UNIT[:, ::-1]},
        "no boxes": {"predictions": np.ones((0, 4)), "targets": np.ones((0, 4))},
    },
    "faults": (
        Fault({"predictions": np.ones((4, 4), np.int32)}, TypeError),
        Fault({"predictions": np.ones((4, 3), np.float32)}, ValueError),
    ),
}


def draw_scores(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"scores": 2.0 * generator.normal(size=batch)}


def draw_judged_scores(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_scores(generator, batch), "real": generator.integers(0, 2, batch).astype(float)}


SCORES = np.array([1e4, -1e4, 0.0, 1e4])
GENERATOR: dict[str, Any] = {
    "arguments": draw_scores,
    "differentiable": ("scores",),
    "masked": ("scores",),
    "degenerate": {"sure": {"scores": SCORES}, "nothing": {"scores": np.zeros(0)}},
}
DISCRIMINATOR: dict[str, Any] = {
    "arguments": draw_judged_scores,
    "differentiable": ("scores",),
    "masked": ("scores", "real"),
    "degenerate": {
        "sure": {"scores": SCORES, "real": np.array([1.0, 1.0, 0.0, 0.0])},
        "smoothed": {"scores": SCORES, "real": np.full(4, 0.9)},
    },
}


def critic(examples: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sin(examples) + examples**2, axis=-1)


CRITIC_FAULTS = (
    Fault({"critic": 1.0}, TypeError),
    Fault({"critic": functools.partial(jnp.multiply, 2.0)}, ValueError),
)


def draw_examples(name: str) -> Callable[[Generator, Shape], Mapping[str, Any]]:
    return lambda generator, batch: {name: generator.normal(size=(*batch, 3))}


def draw_example_pairs(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "real_examples": generator.normal(size=(*batch, 3)),
        "generated_examples": generator.normal(size=(*batch, 3)),
    }


def draw_labelled(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"embeddings": generator.normal(size=(*batch, 3)), "labels": draw_ids(generator, batch)}


METRIC: dict[str, Any] = {
    "arguments": draw_labelled,
    "batches": ((6,),),
    "differentiable": ("embeddings",),
    "masked": ("embeddings", "labels"),
    "coupled": True,
    "smooth": 1,
    "degenerate": {
        "equal rows": {"embeddings": np.ones((6, 3))},
        "zero vectors": {"embeddings": np.zeros((6, 3))},
        "far away": {"embeddings": 1e4 + np.eye(6, 3)},
        "one label": {"labels": np.zeros(6, np.int32)},
        "no positives": {"labels": np.arange(6, dtype=np.int32)},
        "one example": {"embeddings": np.ones((1, 3)), "labels": np.zeros(1, np.int32)},
        "no examples": {"embeddings": np.ones((0, 3)), "labels": np.zeros(0, np.int32)},
    },
    "faults": (
        Fault({"embeddings": np.ones(6, np.float32)}, ValueError),
        Fault({"labels": np.ones(6, np.float32)}, TypeError),
    ),
}


def draw_centred(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_labelled(generator, batch), "centers": generator.normal(size=(CLASSES, 3))}


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


def draw_images(*space: int, names: tuple[str, ...] = ("predictions", "targets")) -> Callable[..., Mapping[str, Any]]:
    return lambda generator, batch: {name: generator.random((*batch, *space)) for name in names}


IMAGE_PAIRS: dict[str, Any] = {
    "batches": ((2,), ()),
    "differentiable": ("predictions", "targets"),
    "masked": ("predictions", "targets"),
    "integers": True,
    "smooth": 1,
}
IMAGE_FAULTS = (
    Fault({"predictions": lambda x: jnp.ones(x.shape, jnp.int32)}, TypeError),
    Fault({"predictions": np.ones((2, 3), np.float32)}, ValueError),
)


def draw_classified(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": draw_logits(generator, batch), "labels": draw_ids(generator, batch)}


MEASURE: dict[str, Any] = {
    "arguments": draw_classified,
    "differentiable": ("predictions",),
    "masked": ("predictions", "labels"),
    "integers": True,
    "smooth": 0,
    "degenerate": {
        "saturated": {"predictions": SATURATED, "labels": HARD},
        "equal scores": {"predictions": np.zeros((4, CLASSES))},
        "single class": {"predictions": np.ones((4, 1)), "labels": np.zeros(4, np.int32)},
        "empty batch": {"predictions": np.ones((0, CLASSES)), "labels": np.zeros(0, np.int32)},
        "a class switched off": {"predictions": np.array([[0.0, 1.0, -np.inf]] * 4)},
    },
    "faults": (
        Fault({"predictions": np.float32(1.0)}, ValueError),
        Fault({"labels": lambda ids: ids.astype(np.float32)}, TypeError),
        Fault({"predictions": lambda x: x.astype(np.complex64)}, TypeError),
    ),
}
COUNTED: dict[str, Any] = {**MEASURE, "shape": scalar, "coupled": True, "batches": ((4,), (2, 3))}
AVERAGED: dict[str, Any] = {
    **COUNTED,
    "options": {"average": "macro"},
    "faults": (*MEASURE["faults"], Fault({"average": "mean"}, ValueError)),
}


def draw_ranking(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"scores": generator.normal(size=batch), "labels": generator.integers(0, 2, batch).astype(float)}


def draw_detections(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    """Objects, and detections around them; the first object of an image need not be found, the last is padding."""
    objects = (batch[0], 3)
    truth, found = draw_boxes(generator, objects)["targets"], generator.integers(0, 2, batch)
    near = np.take_along_axis(truth, found[..., None], axis=1) + 0.1 * generator.normal(size=(*batch, 4))
    places = np.broadcast_to(np.arange(3), objects)
    return {
        "boxes": np.sort(near.reshape(*batch, 2, 2), axis=-2).reshape(*batch, 4),
        "scores": generator.normal(size=batch),
        "classes": generator.integers(0, CLASSES, batch, np.int32),
        "true_boxes": truth,
        "true_classes": generator.integers(0, CLASSES, objects, np.int32),
        "ignored": places == 0,
        "true_where": places < 2,
        "iou_thresholds": np.array([0.5, 0.75]),
    }


DETECTIONS: dict[str, Any] = {
    "function": objectives.mean_average_precision,
    "arguments": draw_detections,
    "differentiable": ("boxes", "scores"),
    "batches": ((2, 4), (1, 2)),
    "masked": ("boxes", "scores", "classes"),
    "ids": "classes",
    "classes": CLASSES,
    "probabilities": False,
    "integers": True,
    "smooth": 0,
    "removable": False,  # detections lie in images
    "elsewhere": ("axis_name",),
}
NO_DETECTIONS = {
    name: np.zeros((2, 0, *more), kind)
    for name, more, kind in (("boxes", (4,), float), ("scores", (), float), ("classes", (), np.int32))
}
NO_OBJECTS = {
    name: np.zeros((2, 0, *more), kind)
    for name, more, kind in (
        ("true_boxes", (4,), float),
        ("true_classes", (), np.int32),
        ("ignored", (), bool),
        ("true_where", (), bool),
    )
}
NO_IMAGES = {
    name: np.zeros((0, *np.shape(x)[1:]), x.dtype)
    for name, x in draw_detections(np.random.default_rng(0), (2, 4)).items()
    if name != "iou_thresholds"
}

CASES = [
    *(
        Objective(name=function.__name__, function=function, smooth=smooth, **BOXES)
        for function, smooth in (
            (objectives.iou_loss, 1),
            (objectives.giou_loss, 1),
            (objectives.diou_loss, 1),
            (objectives.ciou_loss, 0),  # its trade-off is a constant to the gradient
        )
    ),
    Objective(
        name="eiou_loss",
        function=objectives.eiou_loss,
        hyperparameters={"gamma": (0.5, 0.0)},  # at the last value derivatives are checked: a weight is a constant
        refused={"gamma": (-0.1,)},
        smooth=1,
        **BOXES,
    ),
    Objective(
        name="siou_loss",
        function=objectives.siou_loss,
        hyperparameters={"theta": (2.0, 4.0)},
        refused={"theta": (0.5,)},
        smooth=1,
        **BOXES,
    ),
    Objective(
        name="box_iou",
        function=objectives.box_iou,
        arguments=lambda generator, batch: {
            "boxes_a": draw_boxes(generator, (*batch, 2))["predictions"],
            "boxes_b": draw_boxes(generator, (*batch, 3))["targets"],
        },
        differentiable=("boxes_a", "boxes_b"),
        batches=((), (2,)),
        shape=lambda batch: (*batch, 2, 3),
        smooth=1,
        degenerate={"points": {"boxes_a": np.zeros((2, 4)), "boxes_b": np.zeros((3, 4))}},
        faults=(
            Fault({"boxes_a": np.ones((2, 3), np.float32)}, ValueError),
            Fault({"boxes_b": np.ones((1, 3, 4), np.float32)}, ValueError),
        ),
    ),
    *(
        Objective(name=function.__name__, function=function, **DISCRIMINATOR, **settings)
        for function, settings in (
            (objectives.minimax_discriminator_loss, {}),
            (objectives.hinge_discriminator_loss, {"smooth": 1}),
            (objectives.wasserstein_critic_loss, {}),
            (
                objectives.least_squares_discriminator_loss,
                {"hyperparameters": {"real_score": (1.0, 0.9), "generated_score": (-1.0, 0.0)}},
            ),
        )
    ),
    *(
        Objective(name=function.__name__, function=function, **GENERATOR, **settings)
        for function, settings in (
            (objectives.minimax_generator_loss, {}),
            (objectives.non_saturating_generator_loss, {}),
            (objectives.wasserstein_generator_loss, {}),
            (objectives.least_squares_generator_loss, {"hyperparameters": {"real_score": (0.0, 1.0)}}),
        )
    ),
    Objective(
        name="gradient_penalty",
        function=objectives.gradient_penalty,
        arguments=draw_example_pairs,
        batches=((4,), (2,)),
        differentiable=("real_examples", "generated_examples"),
        masked=("real_examples", "generated_examples"),
        options={"critic": critic, "key": jax.random.key(0)},
        hyperparameters={"weight": (0.0, 10.0), "norm": (0.0, 1.0)},
        refused={"weight": (-1.0,), "norm": (-1.0,)},
        degenerate={"no gradient": {"real_examples": np.zeros((4, 3)), "generated_examples": np.zeros((4, 3))}},
        faults=(*CRITIC_FAULTS, Fault({"key": 0}, TypeError)),
        smooth=1,
        removable=False,  # the places between the pairs are drawn for the whole batch
    ),
    Objective(
        name="r1_penalty",
        function=objectives.r1_penalty,
        arguments=draw_examples("examples"),
        batches=((4,), (2,)),
        differentiable=("examples",),
        masked=("examples",),
        options={"critic": critic},
        hyperparameters={"weight": (0.0, 10.0)},
        refused={"weight": (-1.0,)},
        degenerate={"far away": {"examples": np.full((4, 3), 1e3)}},
        faults=(*CRITIC_FAULTS, Fault({"examples": np.float32(1.0)}, ValueError)),
        smooth=1,
    ),
    Objective(
        name="simsiam_loss",
        function=objectives.simsiam_loss,
        arguments=lambda generator, batch: {
            "predictions": generator.normal(size=(*batch, 3)),
            "targets": generator.normal(size=(*batch, 3)),
        },
        differentiable=("predictions",),
        masked=("predictions", "targets"),
        degenerate={
            "zero vectors": {"predictions": np.zeros((4, 3)), "targets": np.zeros((4, 3))},
            "equal": {"predictions": np.ones((4, 3)), "targets": np.ones((4, 3))},
            "opposite": {"predictions": 1e4 * np.ones((4, 3)), "targets": -np.ones((4, 3))},
        },
        faults=(Fault({"targets": np.ones((4, 3), np.int32)}, TypeError),),
    ),
    Objective(
        name="info_nce_loss",
        function=objectives.info_nce_loss,
        hyperparameters={"temperature": (0.1, 1.0)},
        refused={"temperature": (0.0, -1.0)},
        **VIEWS,
    ),
    Objective(
        name="contrastive_loss",
        function=objectives.contrastive_loss,
        hyperparameters={"margin": (0.5, 3.0)},
        refused={"margin": (0.0, -1.0)},
        **METRIC,
    ),
    *(
        Objective(
            name=f"triplet_loss[{mining}]",
            function=objectives.triplet_loss,
            options={"mining": mining, "squared": mining == "semi_hard"},
            hyperparameters={"margin": (0.0, 0.7)},
            refused={"margin": (-1.0,)},
            **{**METRIC, "faults": (*METRIC["faults"], Fault({"mining": "soft"}, ValueError))},
        )
        for mining in ("all", "hard", "semi_hard")
    ),
    Objective(
        name="n_pair_loss",
        function=objectives.n_pair_loss,
        **{
            **METRIC,
            "arguments": lambda generator, batch: {
                "anchors": generator.normal(size=(*batch, 3)),
                "positives": generator.normal(size=(*batch, 3)),
                "labels": draw_ids(generator, batch),
            },
            "differentiable": ("anchors", "positives"),
            "masked": ("anchors", "positives", "labels"),
            "degenerate": {
                "far away": {"anchors": 1e4 * np.eye(6, 3), "positives": -100.0 * np.eye(6, 3)},
                "zero vectors": {"anchors": np.zeros((6, 3)), "positives": np.zeros((6, 3))},
                "one label": {"labels": np.zeros(6, np.int32)},
                "no pairs": {
                    "anchors": np.ones((0, 3)),
                    "positives": np.ones((0, 3)),
                    "labels": np.zeros(0, np.int32),
                },
            },
            "faults": (
                Fault({"anchors": np.ones(6, np.float32)}, ValueError),
                Fault({"labels": np.ones(6, np.float32)}, TypeError),
            ),
        },
    ),
    Objective(
        name="circle_loss",
        function=objectives.circle_loss,
        hyperparameters={"margin": (0.0, 0.4), "scale": (1.0, 80.0)},
        refused={"margin": (-0.1, 1.1), "scale": (0.0,)},
        **{**METRIC, "smooth": 0},  # its weights are constants to the gradient
    ),
    Objective(
        name="multi_similarity_loss",
        function=objectives.multi_similarity_loss,
        hyperparameters={
            "alpha": (1.0, 2.0),
            "beta": (10.0, 50.0),
            "threshold": (0.0, 0.5),
            "mining_margin": (-0.1, 0.1),
        },
        refused={"alpha": (0.0,), "beta": (0.0,)},
        **METRIC,
    ),
    Objective(
        name="center_loss",
        function=objectives.center_loss,
        arguments=draw_centred,
        differentiable=("embeddings",),
        masked=("embeddings", "labels"),
        ids="labels",
        classes=CLASSES,
        probabilities=False,
        degenerate={
            "at the centres": {"embeddings": np.zeros((4, 3)), "centers": np.zeros((CLASSES, 3))},
            "no examples": {"embeddings": np.zeros((0, 3)), "labels": np.zeros(0, np.int32)},
        },
        faults=(
            Fault({"labels": np.ones((4, CLASSES))}, TypeError),
            Fault({"centers": np.ones((CLASSES, 2), np.float32)}, ValueError),
        ),
    ),
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
    Objective(
        name="structural_similarity",
        function=objectives.structural_similarity,
        arguments=draw_images(11, 12, 1),
        hyperparameters={"data_range": (255.0, 1.0)},
        refused={"data_range": (0.0, -1.0)},
        degenerate={
            "black": {"predictions": np.zeros((2, 11, 11, 1)), "targets": np.zeros((2, 11, 11, 1))},
            "equal": {"predictions": np.ones((2, 11, 11, 1)), "targets": np.ones((2, 11, 11, 1))},
        },
        faults=(*IMAGE_FAULTS, Fault({"predictions": np.ones((2, 5, 5, 1), np.float32)}, (TypeError, ValueError), ())),
        **IMAGE_PAIRS,
    ),
    Objective(
        name="photometric_loss",
        function=objectives.photometric_loss,
        arguments=draw_images(2),
        hyperparameters={"alpha": (0.0, 1.0, 0.85)},
        refused={"alpha": (-0.1, 1.1)},
        degenerate={"equal": {"predictions": np.ones((2, 3, 4, 2)), "targets": np.ones((2, 3, 4, 2))}},
        faults=IMAGE_FAULTS,
        removable=False,  # pixels are neighbours
        **{**IMAGE_PAIRS, "batches": ((2, 3, 4), (3, 2))},
    ),
    Objective(
        name="disparity_smoothness_loss",
        function=objectives.disparity_smoothness_loss,
        arguments=lambda generator, batch: {
            "disparities": generator.random((*batch, 3, 4)),
            "images": generator.random((*batch, 3, 4, 2)),
        },
        batches=((2,), ()),
        differentiable=("disparities",),
        masked=("disparities", "images"),
        degenerate={
            "flat": {"disparities": np.ones((2, 3, 4))},
            "one pixel": {"disparities": np.ones((2, 1, 1)), "images": np.ones((2, 1, 1, 1))},
        },
        faults=(Fault({"disparities": np.ones(2, np.float32)}, ValueError),),
        smooth=1,
    ),
    Objective(
        name="silog_loss",
        function=objectives.silog_loss,
        arguments=lambda generator, batch: {
            "predictions": 0.5 + generator.random(batch),
            "targets": 0.5 + generator.random(batch),
        },
        batches=((2, 3, 4), (2, 3)),
        differentiable=("predictions", "targets"),
        masked=("predictions", "targets"),
        integers=True,
        shape=lambda batch: batch[:-2],
        hyperparameters={"variance_focus": (0.0, 1.0, 0.85)},
        refused={"variance_focus": (-0.1, 1.1)},
        degenerate={
            "equal": {"predictions": np.ones((2, 3, 4)), "targets": np.ones((2, 3, 4))},
            "far": {"predictions": np.full((2, 3, 4), 1e4), "targets": np.full((2, 3, 4), 1e-4)},
        },
        faults=(Fault({"predictions": lambda x: jnp.ones(x.shape, jnp.int32)}, TypeError),),
        removable=False,  # an image does not stay one without some of its pixels
    ),
    Objective(
        name="total_variation",
        function=objectives.total_variation,
        arguments=draw_images(3, 4, 2, names=("images",)),
        batches=((2,), ()),
        differentiable=("images",),
        masked=("images",),
        degenerate={"flat": {"images": np.ones((2, 3, 4, 1))}, "one pixel": {"images": np.ones((2, 1, 1, 1))}},
        faults=(Fault({"images": np.ones(2, np.float32)}, ValueError),),
        smooth=1,
    ),
    Objective(
        name="peak_signal_noise_ratio",
        function=objectives.peak_signal_noise_ratio,
        arguments=draw_images(2, 3, 1),
        hyperparameters={"data_range": (255.0, 1.0)},
        refused={"data_range": (0.0, -1.0)},
        faults=IMAGE_FAULTS,
        **IMAGE_PAIRS,
    ),
    Objective(name="accuracy", function=objectives.accuracy, ids="labels", classes=CLASSES, **MEASURE),
    Objective(
        name="top_k_accuracy",
        function=objectives.top_k_accuracy,
        options={"k": 2},
        ids="labels",
        classes=CLASSES,
        **{**MEASURE, "faults": (*MEASURE["faults"], Fault({"k": 0}, ValueError), Fault({"k": 1.5}, TypeError))},
    ),
    Objective(
        name="confusion_matrix",
        function=objectives.confusion_matrix,
        **{**COUNTED, "shape": lambda batch: (CLASSES, CLASSES)},
    ),
    Objective(name="precision", function=objectives.precision, **AVERAGED),
    Objective(name="recall", function=objectives.recall, **AVERAGED),
    Objective(
        name="f_beta_score",
        function=objectives.f_beta_score,
        hyperparameters={"beta": (0.0, 0.5, 2.0)},
        refused={"beta": (-1.0,)},
        **AVERAGED,
    ),
    Objective(name="mean_iou", function=objectives.mean_iou, **COUNTED),
    Objective(name="matthews_correlation", function=objectives.matthews_correlation, **COUNTED),
    Objective(
        name="mean_average_precision",
        shape=scalar,
        options={"num_classes": CLASSES, "max_detections": 2, "average": "macro"},
        degenerate={
            "equal scores": {"scores": np.zeros((2, 4))},
            "points": {"boxes": np.zeros((2, 4, 4)), "true_boxes": np.zeros((2, 3, 4))},
            "no detections": NO_DETECTIONS,
            "no objects": NO_OBJECTS,
            "neither": {**NO_DETECTIONS, **NO_OBJECTS},
            "no images": NO_IMAGES,
        },
        faults=(
            Fault({"boxes": np.ones((2, 4, 3), np.float32)}, ValueError),
            Fault({"true_boxes": np.ones((2, 3, 3), np.float32)}, ValueError),
            Fault({"classes": np.ones((2, 4), np.float32)}, TypeError),
            Fault({"true_classes": np.ones((2, 2), np.int32)}, ValueError),
            Fault({"true_where": np.ones((2, 2), bool)}, ValueError),
            Fault({"ignored": np.ones((2, 3), np.int32)}, TypeError),
            Fault({"iou_thresholds": np.ones((0,), np.float32)}, ValueError),
            Fault({"num_classes": 0}, ValueError),
            Fault({"max_detections": 0}, ValueError),
            Fault({"interpolation": "12-point"}, ValueError),
            Fault({"matching": "kitti"}, ValueError),
            Fault({"average": "micro"}, ValueError),
        ),
        **{**DETECTIONS, "elsewhere": ("axis_name", "interpolation", "matching")},
    ),
    Objective(
        name="mean_average_precision[voc]",
        shape=scalar,
        options={"num_classes": CLASSES, "interpolation": "all-point", "matching": "voc", "axis_name": None},
        **{**DETECTIONS, "elsewhere": ("average", "max_detections")},
    ),
    Objective(
        name="average_precision",
        function=objectives.average_precision,
        **{
            **COUNTED,
            "arguments": draw_ranking,
            "batches": ((6,),),
            "differentiable": ("scores",),
            "masked": ("scores", "labels"),
            "degenerate": {
                "equal scores": {"scores": np.zeros(6)},
                "no positives": {"labels": np.zeros(6)},
                "no examples": {"scores": np.zeros(0), "labels": np.zeros(0)},
            },
            "faults": (Fault({"scores": np.float32(1.0)}, ValueError),),
        },
    ),
    Objective(
        name="perplexity",
        function=objectives.perplexity,
        arguments=classes_and_labels(),
        shape=scalar,
        coupled=True,
        smooth=1,
        batches=((4,), (2, 3)),
        **{**PER_CLASS, "degenerate": {n: c for n, c in CLASS_EDGES.items() if "saturated" not in n}},
    ),
    Objective(
        name="inception_score",
        function=objectives.inception_score,
        arguments=lambda generator, batch: {"logits": draw_logits(generator, batch)},
        batches=((4,),),
        differentiable=("logits",),
        masked=("logits",),
        shape=scalar,
        coupled=True,
        smooth=1,
        degenerate={
            "saturated": {"logits": SATURATED},
            "equal": {"logits": np.zeros((4, CLASSES))},
            "no examples": {"logits": np.zeros((0, CLASSES))},
        },
        faults=(Fault({"logits": np.ones(CLASSES, np.float32)}, ValueError),),
    ),
]

FUNCTIONS = [
    Function(
        name="update_centers",
        function=objectives.update_centers,
        traced=lambda generator: {
            **draw_centred(generator, (4,)),
            "rate": np.float32(0.5),
            "where": np.array([True, False, True, True]),
        },
        static={"axis_name": None},
        shape=(CLASSES, 3),
        refused={"rate": (-0.1, 1.1)},
        faults=(Fault({"centers": np.ones((CLASSES, 2), np.float32)}, ValueError),),
    ),
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
    Function(
        name="frechet_distance",
        function=objectives.frechet_distance,
        traced=lambda generator: {
            "features_a": generator.normal(size=(5, 3)),
            "features_b": 2.0 + generator.normal(size=(6, 3)),
            "where_a": np.array([True] * 4 + [False]),
            "where_b": np.array([True] * 5 + [False]),
        },
        faults=(
            Fault({"features_a": np.ones((5, 3), np.int32)}, TypeError),
            Fault({"features_a": np.ones((1, 3), np.float32)}, ValueError),
            Fault({"features_b": np.ones((5, 2), np.float32)}, ValueError),
            Fault({"where_a": np.ones(5, np.float32)}, TypeError),
            Fault({"where_b": np.ones(7, bool)}, ValueError),
        ),
    ),
    Function(
        name="bleu_score",
        function=objectives.bleu_score,
        traced=lambda generator: {
            "candidates": generator.integers(0, 3, (2, 5), np.int32),
            "references": generator.integers(0, 3, (2, 2, 4), np.int32),
            "candidate_lengths": np.array([5, 4], np.int32),
            "reference_lengths": np.array([[4, 3], [4, 0]], np.int32),
        },
        static={"max_order": 2, "axis_name": None},
        faults=(
            Fault({"candidates": np.ones((2, 5), np.float32)}, TypeError),
            Fault({"references": np.ones((2, 5), np.int32)}, ValueError),
            Fault({"candidate_lengths": np.ones(3, np.int32)}, ValueError),
            Fault({"max_order": 0}, ValueError),
            Fault({"max_order": 1.5}, TypeError),
        ),
    ),
]
