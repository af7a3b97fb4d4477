"""Arguments, edges and faults that the cases of several rooms share."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

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
MARGIN_EDGES = {**CENTRE_EDGES, "single class": {"weights": np.ones((1, FEATURES)), "labels": np.zeros(4, np.int32)}}


def scalar(batch: Shape) -> Shape:
    return ()


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
OFF = {"logits": np.array([[0.0, 1.0, -np.inf]] * 4), "labels": np.array([0, 1, 0, 1], np.int32)}
WITH_OFF = {**CLASS_EDGES, "a class switched off": OFF}


def per_class(function: Callable[..., jax.Array], **settings: Any) -> Objective:
    settings = {"arguments": classes_and_labels(), **PER_CLASS, "degenerate": WITH_OFF, **settings}
    return Objective(name=settings.pop("name", function.__name__), function=function, **settings)


FINITE = {name: changes for name, changes in CLASS_EDGES.items() if name != "a class switched off"}


def draw_multilabel(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    labels = generator.integers(0, 2, batch).astype(float)
    if len(labels) > 1:  # every label has a positive and a negative
        labels[0], labels[-1] = 1.0, 0.0
    return {"logits": 2.0 * generator.normal(size=batch), "labels": labels}


def draw_scores(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    drawn = draw_multilabel(generator, batch)
    return {"scores": drawn["logits"], "labels": drawn["labels"]}


def multilabel_edges(name: str) -> Mapping[str, Mapping[str, Any]]:
    return {
        "saturated": {name: 1e4 * np.where(np.arange(18).reshape(6, 3) % 3 == 0, 1.0, -1.0)},
        "equal": {name: np.zeros((6, 3))},
        "no positives": {"labels": np.zeros((6, 3))},
        "no negatives": {"labels": np.ones((6, 3))},
        "one example": {name: np.ones((1, 3)), "labels": np.ones((1, 3))},
        "no examples": {name: np.ones((0, 3)), "labels": np.ones((0, 3))},
    }


COUPLED: dict[str, Any] = {
    "arguments": draw_scores,
    "differentiable": ("scores",),
    "batches": ((6, 3),),
    "shape": scalar,
    "masked": ("scores", "labels"),
    "removable": False,
    "coupled": True,
    "degenerate": multilabel_edges("scores"),
    "faults": (Fault({"scores": np.ones(6, np.float32)}, ValueError),),
}


def draw_epoch(generator: Generator) -> Mapping[str, Any]:
    return {"logits": draw_logits(generator, (4,)), "labels": draw_ids(generator, (4,))}


Draw = Callable[[Generator, Shape], np.ndarray]
PARTS = 3
DIM = 2
FAR = 1e4


def normal(generator: Generator, batch: Shape) -> np.ndarray:
    return 0.7 * generator.normal(size=batch)


def positive(generator: Generator, batch: Shape) -> np.ndarray:
    return np.exp(normal(generator, batch))


def trailing(*shape: int) -> Draw:
    return lambda generator, batch: normal(generator, (*batch, *shape))


def per_entry(
    function: Callable[..., Any],
    parameters: Mapping[str, Draw],
    others: Mapping[str, Draw],
    edges: Mapping[str, Mapping[str, Any]],
    label: str = "",
    **more: Any,
) -> Objective:
    """A case of arguments of one batch; in the edges a number stands for four of them."""

    def draw(generator: Generator, batch: Shape) -> Mapping[str, Any]:
        return {name: each(generator, batch) for name, each in {**parameters, **others}.items()}

    return Objective(
        name=function.__name__ + label,
        function=function,
        arguments=draw,
        differentiable=tuple(parameters),
        masked=(*parameters, *others),
        degenerate={
            name: {n: np.full(4, x) if np.ndim(x) == 0 else np.asarray(x, np.float64) for n, x in changes.items()}
            for name, changes in edges.items()
        },
        **more,
    )


LINE = {"targets": normal}
LOCATION_SCALE: dict[str, Draw] = {"location": normal, "log_scale": normal}
LOCATION_EDGES = {
    "far away": {"location": FAR},
    "exact": {"location": 1.0, "targets": 1.0},
    "exact, of no scale": {"location": 1.0, "targets": 1.0, "log_scale": -FAR},
    "wide": {"log_scale": 9.0},
}
TIES = {"events": np.array([1, 1, 0, 1, 1, 1], np.int32), "times": np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])}


def draw_survival(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "log_hazards": normal(generator, batch),
        "times": generator.integers(0, 4, batch).astype(float),
        "events": generator.integers(0, 2, batch, np.int32),
    }


SOME = np.array([True, True, False, True, True])
NEVER = -np.inf
# A class switched off, whose labels are elsewhere.
SWITCHED_OFF = {
    "a class switched off": {
        "logits": np.array([[1.0, 0.0, NEVER], [NEVER, 2.0, 1.0], [0.0, 1.0, NEVER], [0.5, NEVER, 0.5]]),
        "labels": np.array([0, 1, 1, 2], np.int32),
    },
    "switched off, probabilities": {
        "logits": np.array([[1.0, 0.0, NEVER], [NEVER, 2.0, 1.0], [0.0, 1.0, NEVER], [0.5, NEVER, 0.5]]),
        "labels": np.array([[0.7, 0.3, 0.0], [0.0, 0.2, 0.8], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]),
    },
}
EDGES = {**CLASS_EDGES, **SWITCHED_OFF}
PER = {**PER_CLASS, "degenerate": EDGES}


def by_class(name: str, function: Callable[..., Any], **settings: Any) -> Objective:
    return Objective(name=name, function=function, **{"arguments": classes_and_labels(), **PER, **settings})


BATCH_COUPLED: dict[str, Any] = {
    **PER,
    "arguments": classes_and_labels(),
    "shape": scalar,
    "coupled": True,
}
BIN_FAULTS = (
    *CLASS_FAULTS,
    Fault({"num_bins": 0}, ValueError),
    Fault({"num_bins": 2.0}, TypeError),
    Fault({"binning": "fixed"}, ValueError),
    Fault({"norm": "l3"}, ValueError),
)
PER_ENTRY: dict[str, Any] = {**REGRESSION, "hyperparameters": {}, "refused": {}}
POSITIVE = (0.0, -1.0)


def entrywise(function: Callable[..., Any], *, smooth: int = 1, **changes: Any) -> Objective:
    """A separable loss of predictions and targets; `changes` replaces what the residual losses have in common."""
    return Objective(name=function.__name__, function=function, smooth=smooth, **{**PER_ENTRY, **changes})


def draw_positive(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": 0.5 + generator.random(batch), "targets": 0.5 + generator.random(batch)}


FLAT = {"zeros": {"predictions": np.zeros(4), "targets": np.zeros(4)}, "a zero target": {"targets": np.zeros(4)}}
# Errors of whole rows.
ROWS: dict[str, Any] = {
    "arguments": draw_positive,
    "batches": ((4,), (2, 3)),
    "shape": lambda batch: batch[:-1],
    "differentiable": ("predictions", "targets"),
    "masked": ("predictions", "targets"),
    "integers": True,
    "coupled": True,
    "degenerate": {
        "no error": {"predictions": np.ones(4), "targets": np.ones(4)},
        "equal targets": {"predictions": np.arange(4.0), "targets": np.full(4, 0.1)},
        "zeros": {"predictions": np.zeros(4), "targets": np.zeros(4)},
        "large": {"predictions": np.full(4, 1e2), "targets": np.arange(4.0)},
        "one entry": {"predictions": np.ones(1), "targets": np.zeros(1)},
        "no entries": {"predictions": np.zeros(0), "targets": np.zeros(0)},
    },
    "faults": (
        Fault({"predictions": np.float32(1.0), "targets": np.float32(1.0)}, ValueError, ("predictions", "[..., N]")),
    ),
}


def draw_boxes(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    corners, sizes = generator.normal(size=(2, *batch, 2)), 0.5 + 2 * generator.random(size=(2, *batch, 2))
    boxes = np.concatenate([corners, corners + sizes], axis=-1)
    return {"predictions": boxes[0], "targets": boxes[1]}


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
