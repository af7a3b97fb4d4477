"""One example case, or several, for every public name of `objectives`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective, Shape

import objectives

Generator = np.random.Generator
CLASSES = 3
FEATURES = 4


def draw_logits(generator: Generator, batch: Shape) -> np.ndarray:
    return 2.0 * generator.normal(size=(*batch, CLASSES))


def draw_ids(generator: Generator, batch: Shape) -> np.ndarray:
    return generator.integers(0, CLASSES, batch, np.int32)


def classes_and_labels(**more: Any) -> Callable[[Generator, Shape], Mapping[str, Any]]:
    return lambda generator, batch: {
        "logits": draw_logits(generator, batch),
        "labels": draw_ids(generator, batch),
        **{name: np.asarray(value) for name, value in more.items()},
    }


SATURATED = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]])
HARD = np.eye(CLASSES)[[0, 0, 1, 2]]
CLASS_EDGES = {
    "saturated": {"logits": SATURATED, "labels": np.array([0, 0, 1, 2], np.int32)},
    "saturated, probabilities": {"logits": SATURATED, "labels": HARD},
    "equal logits": {"logits": np.zeros((4, CLASSES))},
    "single class": {"logits": np.ones((4, 1)), "labels": np.zeros(4, np.int32)},
    "single class, probabilities": {"logits": np.ones((4, 1)), "labels": np.ones((4, 1))},
    "empty batch": {"logits": np.ones((0, CLASSES)), "labels": np.zeros(0, np.int32)},
}
CLASS_FAULTS = (
    Fault({"logits": np.float32(1.0)}, ValueError),
    Fault({"labels": lambda ids: ids.astype(np.float32)}, TypeError),
    Fault({"labels": lambda ids: jnp.ones((*ids.shape, CLASSES + 1))}, ValueError),
    Fault({"labels": lambda ids: ids.astype(np.complex64)}, TypeError),
)
PER_CLASS: dict[str, Any] = {
    "differentiable": ("logits",),
    "masked": ("logits", "labels"),
    "ids": "labels",
    "classes": CLASSES,
    "degenerate": CLASS_EDGES,
    "faults": CLASS_FAULTS,
}


def with_class_weights(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """A single class has a single weight."""
    return {**changes, "alpha": np.ones(np.shape(changes["logits"])[-1])}


def draw_binary(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"logits": 2.0 * generator.normal(size=batch), "labels": generator.integers(0, 2, batch).astype(float)}


PER_BINARY: dict[str, Any] = {
    "arguments": draw_binary,
    "differentiable": ("logits",),
    "masked": ("logits", "labels"),
    "degenerate": {
        "saturated": {"logits": np.array([1e4, -1e4, 1e4, -1e4]), "labels": np.array([1.0, 1.0, 0.0, 0.0])},
        "zeros": {"logits": np.zeros(4)},
        "between the classes": {"labels": np.full(4, 0.5)},
    },
}


def draw_centres(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "embeddings": generator.normal(size=(*batch, FEATURES)),
        "weights": generator.normal(size=(CLASSES, FEATURES)),
    }


def draw_centres_and_labels(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_centres(generator, batch), "labels": draw_ids(generator, batch)}


CENTRE_EDGES = {
    "zero embeddings": {"embeddings": np.zeros((4, FEATURES))},
    "everything zero": {"embeddings": np.zeros((4, FEATURES)), "weights": np.zeros((CLASSES, FEATURES))},
    "at the centres": {"embeddings": np.eye(FEATURES), "weights": np.eye(FEATURES)[:CLASSES]},
    "opposite the centres": {"embeddings": -np.eye(FEATURES), "weights": np.eye(FEATURES)[:CLASSES]},
    "far away": {"embeddings": 1e4 * np.ones((4, FEATURES))},
    "single class": {"weights": np.ones((1, FEATURES))},
}
CENTRE_FAULTS = (
    Fault({"weights": np.ones((CLASSES, FEATURES + 1), np.float32)}, ValueError),
    Fault({"weights": np.ones(FEATURES, np.float32)}, ValueError),
    Fault({"embeddings": np.float32(1.0)}, ValueError),
)
HARMONIC: dict[str, Any] = {
    "hyperparameters": {"exponent": (1.5, 3.0), "epsilon": (1e-6, 1e-2)},
    "elsewhere": ("distance", "order", "precision"),
    "refused": {"exponent": (0.0, -1.0), "epsilon": (0.0, -1.0)},
    "faults": CENTRE_FAULTS,
}


MARGIN_EDGES = {**CENTRE_EDGES, "single class": {"weights": np.ones((1, FEATURES)), "labels": np.zeros(4, np.int32)}}
MARGIN: dict[str, Any] = {
    "arguments": draw_centres_and_labels,
    "differentiable": ("embeddings", "weights"),
    "masked": ("embeddings", "labels"),
    "ids": "labels",
    "classes": CLASSES,
    "degenerate": MARGIN_EDGES,
    "hyperparameters": {"scale": (4.0, 64.0), "margin": (0.0, 0.5, 3.0)},
    "refused": {"scale": (0.0, -1.0), "margin": (-0.1, 3.2)},
    "faults": CENTRE_FAULTS,
}


def draw_subcentres_and_labels(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    weights = generator.normal(size=(CLASSES, 2, FEATURES))
    return {**draw_centres_and_labels(generator, batch), "weights": weights}


SUBCENTRE_EDGES = {
    name: {n: np.stack([x, x], axis=1) if n == "weights" else x for n, x in changes.items()}
    for name, changes in MARGIN_EDGES.items()
}


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


def scalar(batch: Shape) -> Shape:
    return ()


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


def draw_views(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    first = generator.normal(size=(*batch, 3))
    return {"embeddings_a": first, "embeddings_b": first + 0.5 * generator.normal(size=first.shape)}


VIEWS: dict[str, Any] = {
    "arguments": draw_views,
    "batches": ((6,),),
    "differentiable": ("embeddings_a", "embeddings_b"),
    "masked": ("embeddings_a", "embeddings_b"),
    "coupled": True,
    "degenerate": {
        "constant features": {"embeddings_a": np.ones((6, 3))},
        "zero vectors": {"embeddings_a": np.zeros((6, 3)), "embeddings_b": np.zeros((6, 3))},
        "equal views": {"embeddings_a": np.eye(6, 3), "embeddings_b": np.eye(6, 3)},
        "far from zero": {"embeddings_a": 1e4 + np.eye(6, 3)},
        "one example": {"embeddings_a": np.ones((1, 3)), "embeddings_b": np.ones((1, 3))},
        "no examples": {"embeddings_a": np.ones((0, 3)), "embeddings_b": np.ones((0, 3))},
    },
    "faults": (
        Fault({"embeddings_a": np.ones(6, np.float32)}, ValueError),
        Fault({"embeddings_b": np.ones((6, 3, 1), np.float32)}, ValueError),
    ),
}


def draw_regression(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": 2.0 * generator.normal(size=batch), "targets": generator.normal(size=batch)}


REGRESSION: dict[str, Any] = {
    "arguments": draw_regression,
    "differentiable": ("predictions", "targets"),
    "masked": ("predictions", "targets"),
    "integers": True,
    "hyperparameters": {"delta": (0.1, 1.0, 10.0)},
    "refused": {"delta": (0.0, -1.0)},
    "degenerate": {
        "no error": {"predictions": np.ones(4), "targets": np.ones(4)},
        "large errors": {"predictions": np.array([1e4, -1e4, 1e4, 0.0]), "targets": np.array([0.0, 0.0, -1e4, 1e4])},
        "at the bend": {"predictions": np.array([1.0, -1.0, 2.0, 0.0]), "targets": np.array([0.0, 0.0, 1.0, 1.0])},
    },
    "faults": (Fault({"predictions": np.ones(4, np.int32)}, TypeError),),
}


def draw_values(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"values": generator.normal(size=batch), "weights": generator.random(batch)}


REDUCTION: dict[str, Any] = {
    "arguments": draw_values,
    "differentiable": ("values", "weights"),
    "shape": lambda batch: (),
    "masked": ("values", "weights"),
    "integers": True,
    "degenerate": {"nothing": {"values": np.zeros(0), "weights": np.zeros(0)}, "no weight": {"weights": np.zeros(4)}},
    "source": False,
}

CASES: list[Objective] = [
    Objective(
        name="softmax_cross_entropy",
        function=objectives.softmax_cross_entropy,
        arguments=classes_and_labels(),
        hyperparameters={"label_smoothing": (0.0, 0.1, 1.0)},
        refused={"label_smoothing": (-0.1, 1.1)},
        elsewhere=("class_weights",),
        **{
            **PER_CLASS,
            "degenerate": {
                **CLASS_EDGES,
                "a class switched off": {
                    "logits": np.array([[0.0, 1.0, -np.inf]] * 4),
                    "labels": np.array([0, 1, 0, 1], np.int32),
                },
            },
        },
    ),
    Objective(
        name="poly_loss",
        function=objectives.poly_loss,
        arguments=classes_and_labels(),
        hyperparameters={"epsilon": (-1.0, 0.0, 2.0)},
        refused={"epsilon": (-1.5,)},
        **PER_CLASS,
    ),
    Objective(
        name="poly_n_loss",
        function=objectives.poly_n_loss,
        arguments=classes_and_labels(epsilons=[1.0, -0.5]),
        **{**PER_CLASS, "faults": (*CLASS_FAULTS, Fault({"epsilons": [-1.5, 0.0]}, ValueError))},
    ),
    Objective(
        name="focal_loss",
        function=objectives.focal_loss,
        arguments=classes_and_labels(alpha=[0.5, 1.0, 2.0]),
        hyperparameters={"gamma": (0.0, 0.5, 2.0)},
        refused={"gamma": (-0.5,)},
        **{
            **PER_CLASS,
            "degenerate": {name: with_class_weights(changes) for name, changes in CLASS_EDGES.items()},
            "faults": (*CLASS_FAULTS, Fault({"alpha": np.ones(CLASSES + 1)}, ValueError)),
        },
    ),
    Objective(
        name="sigmoid_focal_loss",
        function=objectives.sigmoid_focal_loss,
        hyperparameters={"gamma": (0.0, 0.5, 2.0), "alpha": (0.0, 0.25, 1.0)},
        refused={"gamma": (-0.5,), "alpha": (-0.1, 1.1)},
        **PER_BINARY,
    ),
    Objective(
        name="poly_focal_loss",
        function=objectives.poly_focal_loss,
        hyperparameters={"gamma": (0.0, 0.5, 2.0), "alpha": (0.0, 0.25, 1.0), "epsilon": (-1.0, 0.0, 2.0)},
        refused={"gamma": (-0.5,), "alpha": (-0.1, 1.1), "epsilon": (-1.5,)},
        **PER_BINARY,
    ),
    Objective(
        name="squentropy_loss",
        function=objectives.squentropy_loss,
        arguments=classes_and_labels(),
        **PER_CLASS,
    ),
    Objective(
        name="harmonic_loss",
        function=objectives.harmonic_loss,
        arguments=draw_centres_and_labels,
        differentiable=("embeddings", "weights"),
        masked=("embeddings", "labels"),
        ids="labels",
        classes=CLASSES,
        degenerate=MARGIN_EDGES,
        **HARMONIC,
    ),
    Objective(
        name="harmonic_logits",
        function=objectives.harmonic_logits,
        arguments=draw_centres,
        differentiable=("embeddings", "weights"),
        shape=lambda batch: (*batch, CLASSES),
        degenerate=CENTRE_EDGES,
        **HARMONIC,
    ),
    *(
        Objective(name="arcface_loss" + suffix, function=objectives.arcface_loss, **MARGIN, **settings)
        for suffix, settings in (
            ("", {"elsewhere": ("easy_margin",)}),
            ("[easy_margin]", {"options": {"easy_margin": True}}),
        )
    ),
    Objective(
        name="subcenter_arcface_loss",
        function=objectives.subcenter_arcface_loss,
        options={"easy_margin": False},
        **{
            **MARGIN,
            "arguments": draw_subcentres_and_labels,
            "degenerate": SUBCENTRE_EDGES,
            "faults": (Fault({"weights": np.ones((CLASSES, FEATURES), np.float32)}, ValueError),),
        },
    ),
    Objective(
        name="margin_softmax_loss",
        function=objectives.margin_softmax_loss,
        options={"margin": lambda cosine: cosine - 0.35},
        **{
            **MARGIN,
            "hyperparameters": {"scale": (4.0, 64.0)},
            "refused": {"scale": (0.0, -1.0)},
            "faults": (*CENTRE_FAULTS, Fault({"margin": 0.35}, TypeError)),
        },
    ),
    *segmentation(objectives.dice_loss, alpha=(0.0, 0.3), beta=(0.0, 0.7)),
    *segmentation(objectives.jaccard_metric_loss, alpha=(0.0, 1.0), beta=(0.0, 1.0)),
    *segmentation(objectives.dice_semimetric_loss),
    Objective(
        name="cross_correlation_matrix",
        function=objectives.cross_correlation_matrix,
        shape=lambda batch: (3, 3),
        hyperparameters={"epsilon": (1e-5, 0.1)},
        refused={"epsilon": (0.0, -1.0)},
        **VIEWS,
    ),
    Objective(
        name="barlow_twins_loss",
        function=objectives.barlow_twins_loss,
        shape=scalar,
        hyperparameters={"epsilon": (1e-5, 0.1), "redundancy_weight": (0.0, 5e-3, 1.0)},
        refused={"epsilon": (0.0, -1.0), "redundancy_weight": (-1.0,)},
        **{
            **VIEWS,
            "faults": (
                *VIEWS["faults"],
                Fault({"embeddings_b": np.ones((6, 4), np.float32)}, ValueError),
            ),
        },
    ),
    Objective(
        name="distillation_loss",
        function=objectives.distillation_loss,
        arguments=lambda generator, batch: {
            "logits": draw_logits(generator, batch),
            "teacher_logits": draw_logits(generator, batch),
        },
        differentiable=("logits",),
        masked=("logits", "teacher_logits"),
        hyperparameters={"temperature": (1.0, 5.0)},
        refused={"temperature": (0.0, -1.0)},
        degenerate={
            "saturated": {"logits": SATURATED, "teacher_logits": -SATURATED},
            "a saturated teacher": {"teacher_logits": SATURATED},
            "equal logits": {"logits": np.zeros((4, CLASSES)), "teacher_logits": np.zeros((4, CLASSES))},
            "single class": {"logits": np.ones((4, 1)), "teacher_logits": np.zeros((4, 1))},
            "empty batch": {"logits": np.ones((0, CLASSES)), "teacher_logits": np.ones((0, CLASSES))},
        },
        faults=(
            Fault({"logits": np.float32(1.0)}, ValueError),
            Fault({"teacher_logits": np.ones((4, CLASSES), np.int32)}, TypeError),
        ),
    ),
    Objective(name="huber_loss", function=objectives.huber_loss, smooth=1, **REGRESSION),
    Objective(name="pseudo_huber_loss", function=objectives.pseudo_huber_loss, **REGRESSION),
    Objective(name="reduce_sum", function=objectives.reduce_sum, elsewhere=("axis",), **REDUCTION),
    Objective(name="reduce_mean", function=objectives.reduce_mean, elsewhere=("axis",), **REDUCTION),
    *(
        Objective(
            name=f"{function.__name__}[axis=-1]",
            function=function,
            options={"axis": -1},
            batches=((4,), (2, 3)),
            **{**REDUCTION, "shape": lambda batch: batch[:-1]},
        )
        for function in (objectives.reduce_sum, objectives.reduce_mean)
    ),
]


def recalled(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Two epochs of a record, whichever of its functions is under test, and what the second remembers of the first."""
    memory = call(objectives.logits_memory, MEMORY)
    memory = objectives.record_logits(memory, arguments["ids"], arguments["logits"], 0)
    return objectives.recall_logits(memory, arguments["ids"], arguments["epoch"] * 0 + 1)[0]


MEMORY: dict[str, Any] = {"examples": 4, "classes": CLASSES, "delay": 1, "dtype": jnp.float32}
RECORD: dict[str, Any] = {
    "use": recalled,
    "traced": lambda generator: {
        "ids": generator.permutation(4)[:2].astype(np.int32),
        "logits": generator.normal(size=(2, CLASSES)),
        "epoch": np.int32(3),
    },
    "shape": (2, CLASSES),
}
FUNCTIONS = [
    Function(
        name="logits_memory",
        function=objectives.logits_memory,
        static=MEMORY,
        faults=(
            Fault({"examples": 0}, ValueError),
            Fault({"classes": 2.5}, TypeError),
            Fault({"delay": True}, TypeError),
            Fault({"dtype": jnp.int32}, TypeError),
        ),
        **RECORD,
    ),
    *(
        Function(
            name=function.__name__,
            function=function,
            static={"memory": objectives.logits_memory(**MEMORY)},
            faults=(
                Fault({"ids": lambda ids: ids.astype(jnp.float32)}, TypeError),
                Fault({"epoch": jnp.zeros(2, jnp.int32)}, ValueError),
            ),
            **RECORD,
        )
        for function in (objectives.record_logits, objectives.recall_logits)
    ),
]
TYPES = [Type(name="LogitsMemory", type=objectives.LogitsMemory)]
