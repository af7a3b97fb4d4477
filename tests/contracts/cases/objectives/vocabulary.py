"""Cases of the losses of features and weights."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    CLASSES,
    FEATURES,
    Generator,
    draw_ids,
    scalar,
)
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

import objectives


def draw(*, bias: bool, columns: bool = False, weighted: bool = False) -> Callable[[Generator, Shape], Mapping]:
    def arguments(generator: Generator, batch: Shape) -> Mapping[str, Any]:
        weights = generator.normal(size=(CLASSES, FEATURES))
        return {
            "features": generator.normal(size=(*batch, FEATURES)),
            "weights": weights.T if columns else weights,
            "labels": draw_ids(generator, batch),
            **({"bias": generator.normal(size=CLASSES)} if bias else {}),
            **({"example_weights": 0.5 + generator.random(batch)} if weighted else {}),
        }

    return arguments


def edges(*, bias: bool, columns: bool = False, weighted: bool = False) -> dict[str, dict[str, Any]]:
    eye = np.eye(FEATURES)[:CLASSES]
    one = {"weights": np.ones((1, FEATURES)), "labels": np.zeros(4, np.int32), **({"bias": np.ones(1)} if bias else {})}
    changes: dict[str, dict[str, Any]] = {
        "zero features": {"features": np.zeros((4, FEATURES))},
        "everything zero": {"features": np.zeros((4, FEATURES)), "weights": np.zeros((CLASSES, FEATURES))},
        "saturated": {"features": 1e4 * np.eye(4, FEATURES), "weights": eye},
        "saturated, the other way": {"features": -1e4 * np.eye(4, FEATURES), "weights": eye},
        "single class": one,
        "empty batch": {"features": np.ones((0, FEATURES)), "labels": np.zeros(0, np.int32)},
    }
    if bias:
        off = {"bias": np.array([0.0, 1.0, -np.inf]), "labels": np.array([0, 1, 0, 1], np.int32)}
        changes["a class switched off"] = off
        changes["a class switched off, probabilities"] = {**off, "labels": np.eye(CLASSES)[off["labels"]]}
    for change in changes.values():
        if columns and "weights" in change:
            change["weights"] = change["weights"].T
    if weighted:
        changes["empty batch"]["example_weights"] = np.ones(0)
        changes["no weight"] = {"example_weights": np.zeros(4)}
    return changes


FAULTS = (
    Fault({"weights": np.ones((CLASSES, FEATURES + 1), np.float32)}, ValueError),
    Fault({"weights": np.ones((0, FEATURES), np.float32)}, ValueError),
    Fault({"weights": np.ones(FEATURES, np.float32)}, ValueError),
    Fault({"features": np.float32(1.0)}, ValueError),
    Fault({"labels": lambda ids: ids.astype(np.float32)}, TypeError),
    Fault({"labels": lambda ids: jnp.ones((*ids.shape, CLASSES + 1))}, ValueError),
    Fault({"reduction": "median"}, ValueError),
    Fault({"reduction": "none", "axis_name": "data"}, ValueError, ("axis_name",)),
    Fault({"class_axis": 2}, ValueError),
    Fault({"row_chunk": 0}, ValueError),
    Fault({"class_chunk": 1.5}, TypeError),
)
WITH_BIAS = (Fault({"bias": np.ones(CLASSES + 1, np.float32)}, ValueError),)
LOGITS: dict[str, Any] = {"z_penalty": (0.0, 0.1), "soft_cap": (2.0, 30.0)}
NOT_LOGITS: dict[str, Any] = {"z_penalty": (-1.0,), "soft_cap": (0.0, -1.0)}
EVERY = ("reduction", "example_weights", "class_axis", "vocabulary_axis", "axis_name")


def per_example(function: Callable[..., Any], **more: Any) -> Objective:
    settings: dict[str, Any] = {
        "name": function.__name__,
        "arguments": draw(bias=True),
        "differentiable": ("features", "weights", "bias"),
        "masked": ("features", "labels"),
        "ids": "labels",
        "classes": CLASSES,
        "degenerate": edges(bias=True),
        "faults": (*FAULTS, *WITH_BIAS),
        "options": {"row_chunk": 3, "class_chunk": 2},
        "elsewhere": EVERY,
        "smooth": 0,  # no forward mode; reverse mode is checked in tests/objectives/test_vocabulary.py
    }
    return Objective(function=function, **{**settings, **more})


def reduced(function: Callable[..., Any], bias: bool = True, elsewhere: tuple[str, ...] = (), **more: Any) -> Objective:
    drawn = {"bias": bias, "columns": True, "weighted": True}
    settings: dict[str, Any] = {
        "name": f"{function.__name__}[mean]",
        "arguments": draw(**drawn),
        "differentiable": ("features", "weights", *(["bias"] if bias else [])),
        "shape": scalar,
        "masked": ("features", "labels", "example_weights"),
        "degenerate": edges(**drawn),
        "coupled": True,
        "options": {
            "reduction": "mean",
            "class_axis": 1,
            "row_chunk": 3,
            "class_chunk": 2,
            "vocabulary_axis": None,
            **more.pop("options", {}),
        },
        "faults": (),
        "elsewhere": elsewhere,
    }
    return per_example(function, **{**settings, **more})


MARGIN: dict[str, Any] = {
    "bias": False,
    "probabilities": False,
    "hyperparameters": {"scale": (4.0, 64.0), "margin": (0.0, 0.5)},
    "refused": {"scale": (0.0, -1.0), "margin": (-0.1,)},
}


CASES = [
    per_example(
        objectives.linear_cross_entropy,
        hyperparameters={**LOGITS, "label_smoothing": (0.0, 0.1, 1.0)},
        refused={**NOT_LOGITS, "label_smoothing": (-0.1, 1.1)},
    ),
    reduced(
        objectives.linear_cross_entropy,
        options={"label_smoothing": 0.1},
        hyperparameters=LOGITS,
        degenerate={n: c for n, c in edges(bias=True, columns=True, weighted=True).items() if "off" not in n},
    ),
    reduced(
        objectives.linear_softmax_loss,
        options={"penalty": lambda log_p: -jnp.expm1(0.7 * log_p) / 0.7},
        hyperparameters=LOGITS,
        faults=(Fault({"penalty": "a string"}, TypeError),),
    ),
    reduced(
        objectives.linear_poly_loss,
        hyperparameters={**LOGITS, "epsilon": (-1.0, 0.0, 2.0)},
        refused={"epsilon": (-1.5,)},
    ),
    reduced(
        objectives.linear_focal_loss,
        hyperparameters={**LOGITS, "gamma": (0.0, 0.5, 2.0)},
        refused={"gamma": (-1.0,)},
    ),
    reduced(
        objectives.linear_margin_softmax_loss,
        options={"margin": lambda cosine: cosine - 0.35},
        **{**MARGIN, "hyperparameters": {"scale": (4.0, 64.0)}, "refused": {"scale": (0.0,)}},
        faults=(
            Fault({"margin": "a string"}, TypeError),
            Fault({"labels": lambda ids: jnp.ones((*ids.shape, CLASSES))}, ValueError),
        ),
    ),
    reduced(objectives.linear_arcface_loss, **MARGIN),
    reduced(objectives.linear_cosface_loss, **MARGIN),
]
