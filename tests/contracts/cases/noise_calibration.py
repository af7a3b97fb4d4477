"""Cases of the losses for noisy labels, the losses for calibration and the calibration diagnostics."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives import (
    CLASS_EDGES,
    CLASS_FAULTS,
    CLASSES,
    FEATURES,
    PER_CLASS,
    SATURATED,
    Generator,
    classes_and_labels,
    draw_ids,
    draw_logits,
    scalar,
)
from contracts.common import Fault
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective, Shape

import objectives

OFF = -np.inf
# A class switched off, whose labels are elsewhere.
SWITCHED_OFF = {
    "a class switched off": {
        "logits": np.array([[1.0, 0.0, OFF], [OFF, 2.0, 1.0], [0.0, 1.0, OFF], [0.5, OFF, 0.5]]),
        "labels": np.array([0, 1, 1, 2], np.int32),
    },
    "switched off, probabilities": {
        "logits": np.array([[1.0, 0.0, OFF], [OFF, 2.0, 1.0], [0.0, 1.0, OFF], [0.5, OFF, 0.5]]),
        "labels": np.array([[0.7, 0.3, 0.0], [0.0, 0.2, 0.8], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]),
    },
}
EDGES = {**CLASS_EDGES, **SWITCHED_OFF}
PER = {**PER_CLASS, "degenerate": EDGES}


def by_class(name: str, function: Callable[..., Any], **settings: Any) -> Objective:
    return Objective(name=name, function=function, **{"arguments": classes_and_labels(), **PER, **settings})


def with_of_classes(edges: Mapping[str, Any], name: str, make: Callable[[int], Any]) -> dict[str, Any]:
    """The edges, with an argument made for as many classes as their logits have."""
    return {edge: {**changes, name: make(np.shape(changes["logits"])[-1])} for edge, changes in edges.items()}


def noise(classes: int) -> np.ndarray:
    return 0.7 * np.eye(classes) + 0.3 / classes


NOISE_FAULTS = (
    *CLASS_FAULTS,
    Fault({"transition": np.ones((CLASSES, CLASSES + 1), np.float32)}, ValueError),
    Fault({"transition": np.ones(CLASSES, np.float32)}, ValueError),
)
# Backward correction spreads the label over all classes: an impossible one costs infinitely much.
CORRECTED: dict[str, Any] = {
    "arguments": classes_and_labels(transition=noise(CLASSES)),
    **PER,
    "differentiable": ("logits", "transition"),
    "faults": NOISE_FAULTS,
}


def draw_losses(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"losses": generator.gamma(1.0, size=batch)}


def draw_paced(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_losses(generator, batch), "threshold": np.asarray(0.9)}


def draw_paced_and_annotated(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_paced(generator, batch), "annotated": generator.random(batch) < 0.3}


def draw_mixture(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_paced(generator, batch), "lower": np.asarray(0.3)}


LOSS_EDGES = {
    "no losses": {"losses": np.zeros(4)},
    "large losses": {"losses": np.array([1e4, 6e4, np.inf, 0.0])},
    "no examples": {"losses": np.zeros(0)},
}
PACED: dict[str, Any] = {
    "differentiable": ("losses",),
    "masked": ("losses",),
    "degenerate": LOSS_EDGES,
    "smooth": 1,
}
PACES: dict[str, dict[str, Any]] = {
    "hard": {
        "arguments": draw_paced_and_annotated,
        "masked": ("losses", "annotated"),
        "hyperparameters": {"threshold": (0.5, 1.5)},
        "refused": {"threshold": (0.0, -1.0)},
        "elsewhere": ("lower",),
        "degenerate": {
            edge: {**changes, "annotated": np.zeros(np.shape(changes["losses"]), bool)}
            for edge, changes in LOSS_EDGES.items()
        },
        "faults": (
            Fault({"annotated": np.ones(4, np.float32)}, TypeError),
            Fault({"regularizer": "soft"}, ValueError),
            Fault({"lower": 0.1}, ValueError),
        ),
    },
    "log": {
        "arguments": draw_paced,
        "hyperparameters": {"threshold": (0.5, 0.9)},
        "refused": {"threshold": (0.0, 1.5)},
        "elsewhere": ("lower", "annotated"),
    },
    "mixture": {
        "arguments": draw_mixture,
        "hyperparameters": {"threshold": (1.0, 2.0), "lower": (0.1, 0.5)},
        "refused": {"threshold": (0.0, -1.0), "lower": (0.0, -1.0)},
        "elsewhere": ("annotated",),
        "faults": (Fault({"threshold": 1.0, "lower": 2.0}, ValueError, ("lower",)),),
    },
}


def paced(function: Callable[..., Any], *kinds: str, **settings: Any) -> list[Objective]:
    return [
        Objective(
            name=f"{function.__name__}[{kind}]",
            function=function,
            options={"regularizer": kind},
            **{**PACED, **PACES[kind], **settings},
        )
        for kind in kinds
    ]


def draw_temperatures(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"logits": draw_logits(generator, batch), "temperatures": generator.uniform(0.5, 1.0, size=batch)}


def draw_adaptive(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    drawn = draw_temperatures(generator, batch)
    return {"logits": drawn["logits"], "labels": draw_ids(generator, batch), "temperatures": drawn["temperatures"]}


def with_temperatures(edges: Mapping[str, Any]) -> dict[str, Any]:
    return {
        edge: {**changes, "temperatures": np.ones(np.shape(changes["logits"])[:-1])} for edge, changes in edges.items()
    }


ADAPTED: dict[str, Any] = {
    "hyperparameters": {"base_temperature": (0.7, 1.0), "alpha": (1.5, 2.0)},
    "refused": {"base_temperature": (0.0, -1.0), "alpha": (1.0, 0.5)},
}


def draw_targets(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"logits": draw_logits(generator, batch), "targets": 0.9 * generator.dirichlet(np.ones(CLASSES), batch)}


TARGETS: dict[str, Any] = {
    "arguments": draw_targets,
    "differentiable": ("logits",),
    "masked": ("logits", "targets"),
    "degenerate": {
        "saturated, sure targets": {"logits": SATURATED, "targets": np.eye(CLASSES)[[0, 1, 2, 0]]},
        "no targets yet": {"targets": np.zeros((4, CLASSES))},
        "single class": {"logits": np.ones((4, 1)), "targets": np.ones((4, 1))},
        "a class switched off": {"logits": np.array([[1.0, 0.0, OFF]] * 4)},
        "empty batch": {"logits": np.ones((0, CLASSES)), "targets": np.ones((0, CLASSES))},
    },
    "faults": (
        Fault({"logits": np.float32(1.0)}, ValueError),
        Fault({"targets": np.ones((4, CLASSES), np.int32)}, TypeError),
    ),
}
ANNOTATORS = 2


def asked(batch: Shape) -> Shape:
    return (*batch, ANNOTATORS)


def draw_annotated(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": draw_logits(generator, batch),
        "confusion_logits": generator.normal(size=(*asked(batch), CLASSES, CLASSES)),
        "labels": draw_ids(generator, asked(batch)),
    }


SQUARE = np.array([[1e4, -1e4, 0.0], [0.0, 1e4, -1e4], [-1e4, 1e4, 1e4]])
BATCH_COUPLED: dict[str, Any] = {
    **PER,
    "arguments": classes_and_labels(),
    "shape": scalar,
    "coupled": True,
}
MEASURED: dict[str, Any] = {
    **BATCH_COUPLED,
    "differentiable": ("logits",),
    "smooth": 0,
    "batches": ((6,), (2, 3), ()),
    "degenerate": {
        **EDGES,
        "no examples": {"logits": np.ones((0, CLASSES)), "labels": np.zeros(0, np.int32)},
    },
}
MEASURED["degenerate"] = {  # their batch is that of the edges
    edge: {"labels": np.zeros(np.shape(changes["logits"])[:-1], np.int32), **changes}
    for edge, changes in MEASURED["degenerate"].items()
}
BIN_FAULTS = (
    *CLASS_FAULTS,
    Fault({"num_bins": 0}, ValueError),
    Fault({"num_bins": 2.0}, TypeError),
    Fault({"binning": "fixed"}, ValueError),
    Fault({"norm": "l3"}, ValueError),
)


def draw_hardness(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "embeddings": generator.normal(size=(*batch, FEATURES)),
        "weights": generator.normal(size=(CLASSES, FEATURES)),
        "labels": draw_ids(generator, batch),
    }


def draw_groups(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "probabilities": generator.uniform(size=batch),
        "outcomes": generator.integers(0, 2, batch).astype(float),
        "groups": generator.integers(0, 2, (*batch, 2)).astype(float),
    }


GROUPS: dict[str, Any] = {
    "arguments": draw_groups,
    "batches": ((6,),),
    "differentiable": ("probabilities",),
    "masked": ("probabilities", "outcomes", "groups"),
    "coupled": True,
    "smooth": 0,
    "degenerate": {
        "certain": {"probabilities": np.ones(6), "outcomes": np.ones(6)},
        "no examples": {"probabilities": np.ones(0), "outcomes": np.ones(0), "groups": np.ones((0, 2))},
    },
    "faults": (Fault({"groups": np.ones((7, 2), np.float32)}, ValueError),),
}


def draw_forecasts(generator: Generator) -> Mapping[str, Any]:
    # A thirty-second is exact in all dtypes: forecasts on the border of a bin stay there.
    return {
        "probabilities": (generator.integers(0, 33, 12) / 32).astype(np.float32),
        "outcomes": generator.integers(0, 2, 12).astype(np.float32),
        "where": generator.random(12) < 0.8,
    }


FORECAST_FAULTS = (
    Fault({"outcomes": jnp.ones(3)}, ValueError),
    Fault({"probabilities": jnp.ones(12, jnp.int32)}, TypeError),
    Fault({"num_bins": 0}, ValueError),
    Fault({"binning": "fixed"}, ValueError),
)

CASES = [
    by_class(
        "normalized_loss",
        objectives.normalized_loss,
        options={"penalty": lambda log_p: jnp.expm1(log_p) ** 2},
        faults=(*CLASS_FAULTS, Fault({"penalty": 1.0}, TypeError)),
    ),
    by_class("normalized_cross_entropy_loss", objectives.normalized_cross_entropy_loss),
    by_class(
        "normalized_focal_loss",
        objectives.normalized_focal_loss,
        hyperparameters={"gamma": (0.0, 0.5)},
        refused={"gamma": (-1.0,)},
    ),
    by_class("normalized_mae_loss", objectives.normalized_mae_loss),
    by_class(
        "reverse_cross_entropy_loss",
        objectives.reverse_cross_entropy_loss,
        hyperparameters={"log_zero": (-9.0, -4.0)},
        refused={"log_zero": (1.0,)},
    ),
    by_class(
        "symmetric_cross_entropy_loss",
        objectives.symmetric_cross_entropy_loss,
        hyperparameters={"alpha": (0.0, 0.1), "beta": (0.0, 1.0), "log_zero": (-9.0, -4.0)},
        refused={"alpha": (-1.0,), "beta": (-1.0,), "log_zero": (1.0,)},
    ),
    *(
        by_class(
            f"active_passive_loss[{active}+{passive}]",
            objectives.active_passive_loss,
            options={"active": active, "passive": passive},
            hyperparameters={"alpha": (0.0, 1.0), "beta": (0.0, 1.0), "gamma": (0.5, 2.0), "log_zero": (-9.0, -4.0)},
            refused={"alpha": (-1.0,), "beta": (-1.0,), "gamma": (-1.0,), "log_zero": (1.0,)},
            faults=(*CLASS_FAULTS, Fault({"active": "mae"}, ValueError), Fault({"passive": "ce"}, ValueError)),
        )
        for active, passive in (("nfl", "rce"), ("ce", "nmae"))
    ),
    by_class(
        "soft_bootstrapping_loss",
        objectives.soft_bootstrapping_loss,
        hyperparameters={"beta": (0.0, 0.95)},
        refused={"beta": (-0.1, 1.1)},
    ),
    by_class(
        "hard_bootstrapping_loss",
        objectives.hard_bootstrapping_loss,
        hyperparameters={"beta": (0.0, 0.8)},
        refused={"beta": (-0.1, 1.1)},
    ),
    Objective(
        name="forward_correction_loss",
        function=objectives.forward_correction_loss,
        **{**CORRECTED, "degenerate": with_of_classes(EDGES, "transition", noise)},
    ),
    Objective(
        name="backward_correction_loss",
        function=objectives.backward_correction_loss,
        **{**CORRECTED, "degenerate": with_of_classes(CLASS_EDGES, "transition", noise)},
    ),
    Objective(
        name="anchor_transition_matrix",
        function=objectives.anchor_transition_matrix,
        arguments=lambda generator, batch: {"logits": draw_logits(generator, batch)},
        differentiable=("logits",),
        masked=("logits",),
        shape=lambda batch: (CLASSES, CLASSES),
        coupled=True,
        smooth=0,
        hyperparameters={"quantile": (0.5, 1.0)},
        refused={"quantile": (-0.1, 1.1)},
        degenerate={
            "saturated": {"logits": SATURATED},
            "equal logits": {"logits": np.zeros((4, CLASSES))},
            "single class": {"logits": np.ones((4, 1))},
        },
        faults=(Fault({"logits": np.ones((0, CLASSES), np.float32)}, ValueError),),
    ),
    by_class(
        "peer_loss",
        objectives.peer_loss,
        arguments=classes_and_labels(class_prior=np.array([0.5, 0.3, 0.2])),
        degenerate=with_of_classes(CLASS_EDGES, "class_prior", lambda classes: np.ones(classes) / classes),
        hyperparameters={"alpha": (0.0, 1.0)},
        refused={"alpha": (-1.0,)},
        faults=(*CLASS_FAULTS, Fault({"class_prior": np.ones(CLASSES + 1, np.float32)}, ValueError)),
    ),
    by_class(
        "ldr_kl_loss",
        objectives.ldr_kl_loss,
        hyperparameters={"temperature": (0.1, 1.0), "margin": (0.0, 1.0)},
        refused={"temperature": (0.0, -1.0), "margin": (-1.0,)},
    ),
    by_class(
        "aldr_kl_loss",
        objectives.aldr_kl_loss,
        arguments=draw_adaptive,
        masked=("logits", "labels", "temperatures"),
        degenerate=with_temperatures(EDGES),
        hyperparameters={**ADAPTED["hyperparameters"], "margin": (0.0, 1.0)},
        refused={**ADAPTED["refused"], "margin": (-1.0,)},
        faults=(*CLASS_FAULTS, Fault({"temperatures": np.ones(3, np.float32)}, ValueError)),
    ),
    Objective(
        name="aldr_temperatures",
        function=objectives.aldr_temperatures,
        arguments=draw_temperatures,
        differentiable=("logits",),
        masked=("logits", "temperatures"),
        smooth=0,
        degenerate=with_temperatures(
            {
                "saturated": {"logits": SATURATED},
                "single class": {"logits": np.ones((4, 1))},
                "empty batch": {"logits": np.ones((0, CLASSES))},
                "a class switched off": {"logits": np.array([[1.0, 0.0, OFF]] * 4)},
            }
        ),
        faults=(Fault({"temperatures": np.ones(3, np.float32)}, ValueError),),
        **ADAPTED,
    ),
    Objective(
        name="tempered_softmax",
        function=objectives.tempered_softmax,
        arguments=lambda generator, batch: {"logits": draw_logits(generator, batch)},
        differentiable=("logits",),
        shape=lambda batch: (*batch, CLASSES),
        hyperparameters={"temperature": (1.0, 1.2, 2.5)},
        refused={"temperature": (0.9,)},
        degenerate={
            "saturated": {"logits": SATURATED},
            "single class": {"logits": np.ones((4, 1))},
            "a class switched off": {"logits": np.array([[1.0, 0.0, OFF]] * 4)},
            "empty batch": {"logits": np.ones((0, CLASSES))},
        },
        faults=(Fault({"logits": np.float32(1.0)}, ValueError),),
    ),
    by_class(
        "bi_tempered_logistic_loss",
        objectives.bi_tempered_logistic_loss,
        hyperparameters={"t1": (0.0, 1.0, 0.8), "t2": (1.0, 2.5, 1.2)},
        refused={"t1": (-0.1, 1.1), "t2": (0.9,)},
    ),
    Objective(
        name="annotator_cross_entropy_loss",
        function=objectives.annotator_cross_entropy_loss,
        arguments=draw_annotated,
        differentiable=("logits", "confusion_logits"),
        shape=asked,
        mask_shape=asked,
        masked=("confusion_logits", "labels"),
        removable=False,  # the class logits belong to all annotators of an example
        ids="labels",
        classes=CLASSES,
        degenerate={
            "saturated": {"logits": SATURATED, "confusion_logits": np.broadcast_to(SQUARE, (4, 2, 3, 3))},
            "one confusion for all": {"confusion_logits": np.zeros((2, 3, 3))},
            "single class": {
                "logits": np.ones((4, 1)),
                "confusion_logits": np.ones((4, 2, 1, 1)),
                "labels": np.zeros((4, 2), np.int32),
            },
        },
        faults=(
            Fault({"logits": np.float32(1.0)}, ValueError),
            Fault({"confusion_logits": np.ones((4, 2, 3, 4), np.float32)}, ValueError),
            Fault({"confusion_logits": np.ones((3, 3), np.float32)}, ValueError),
        ),
    ),
    Objective(
        name="annotator_similarity_weights",
        function=objectives.annotator_similarity_weights,
        arguments=lambda generator, batch: {
            "embeddings": generator.normal(size=(*batch, 2)),
            "gamma": np.asarray(1.0),
        },
        differentiable=("embeddings",),
        batches=((3,),),
        smooth=0,
        hyperparameters={"gamma": (0.0, 1.0)},
        refused={"gamma": (-1.0,)},
        degenerate={"copies": {"embeddings": np.ones((3, 2))}, "one": {"embeddings": np.ones((1, 2))}},
        faults=(Fault({"embeddings": np.ones(3, np.float32)}, ValueError),),
    ),
    Objective(
        name="annotator_bandwidth_prior",
        function=objectives.annotator_bandwidth_prior,
        arguments=lambda generator, batch: {"gamma": generator.gamma(2.0, size=batch)},
        differentiable=("gamma",),
        hyperparameters={"alpha": (0.5, 1.25), "beta": (0.25, 2.0)},
        refused={"alpha": (0.0, -1.0), "beta": (0.0, -1.0)},
    ),
    Objective(
        name="diagonal_confusion_logits",
        function=objectives.diagonal_confusion_logits,
        arguments=lambda generator, batch: {"accuracy_logits": generator.normal(size=(*batch, CLASSES))},
        differentiable=("accuracy_logits",),
        shape=lambda batch: (*batch, CLASSES, CLASSES),
        faults=(Fault({"accuracy_logits": np.ones((4, 1), np.float32)}, ValueError),),
    ),
    *paced(objectives.self_paced_weights, "hard", "mixture", smooth=0),
    *paced(objectives.self_paced_loss, "hard", "log", "mixture"),
    Objective(
        name="small_loss_weights",
        function=objectives.small_loss_weights,
        arguments=draw_losses,
        differentiable=("losses",),
        masked=("losses",),
        coupled=True,
        smooth=0,
        hyperparameters={"keep": (0.5, 1.0)},
        refused={"keep": (-0.1, 1.1)},
        degenerate=LOSS_EDGES,
    ),
    Objective(
        name="early_learning_targets",
        function=objectives.early_learning_targets,
        shape=lambda batch: (*batch, CLASSES),
        smooth=0,
        removable=False,  # returns a row for every example
        hyperparameters={"momentum": (0.0, 0.7)},
        refused={"momentum": (-0.1, 1.1)},
        **TARGETS,
    ),
    Objective(name="early_learning_regularizer", function=objectives.early_learning_regularizer, **TARGETS),
    by_class(
        "dual_focal_loss",
        objectives.dual_focal_loss,
        hyperparameters={"gamma": (0.0, 5.0)},
        refused={"gamma": (-1.0,)},
    ),
    by_class(
        "sample_dependent_focal_loss",
        objectives.sample_dependent_focal_loss,
        hyperparameters={"gamma": (0.0, 3.0), "hard_gamma": (2.0, 5.0), "threshold": (0.1, 0.2)},
        refused={"gamma": (-1.0,), "hard_gamma": (-1.0,), "threshold": (-0.1, 1.1)},
    ),
    by_class(
        "mbls_loss",
        objectives.mbls_loss,
        hyperparameters={"alpha": (0.0, 0.1), "margin": (0.0, 1.0)},
        refused={"alpha": (-1.0,), "margin": (-1.0,)},
        smooth=1,
    ),
    by_class(
        "acls_loss",
        objectives.acls_loss,
        hyperparameters={
            "alpha": (0.0, 0.1),
            "positive_weight": (0.0, 1.0),
            "negative_weight": (0.0, 0.1),
            "margin": (10.0, 1.0),
        },
        refused=dict.fromkeys(("alpha", "positive_weight", "negative_weight", "margin"), (-1.0,)),
        smooth=0,  # the largest logit is a constant for the other logits' gradient
    ),
    by_class("correctness_aware_loss", objectives.correctness_aware_loss),
    Objective(
        name="mmce_loss",
        function=objectives.mmce_loss,
        hyperparameters={"bandwidth": (0.1, 0.4)},
        refused={"bandwidth": (0.0, -1.0)},
        smooth=1,
        **BATCH_COUPLED,
    ),
    Objective(
        name="soft_binned_calibration_error",
        function=objectives.soft_binned_calibration_error,
        options={"num_bins": 3},
        hyperparameters={"temperature": (0.005, 0.1)},
        refused={"temperature": (0.0, -1.0)},
        **{**BATCH_COUPLED, "faults": (*CLASS_FAULTS, *BIN_FAULTS[-4:-2])},
    ),
    *(
        Objective(
            name=f"{function.__name__}[{binning}]",
            function=function,
            options={"num_bins": 4, "binning": binning, "norm": norm},
            **{**MEASURED, "shape": shape, "faults": BIN_FAULTS, "ids": ids},
        )
        for function, binning, norm, shape, ids in (
            (objectives.expected_calibration_error, "uniform", "max", scalar, "labels"),
            (objectives.expected_calibration_error, "equal_mass", "l2", scalar, "labels"),
            # An id out of range spoils all classes, not a first entry of the result.
            (objectives.classwise_calibration_error, "equal_mass", "l1", lambda batch: (CLASSES,), None),
        )
    ),
    Objective(
        name="fit_temperature",
        function=objectives.fit_temperature,
        options={"bounds": (0.1, 10.0)},
        **{**MEASURED, "faults": (*CLASS_FAULTS, Fault({"bounds": (1.0, 0.5)}, ValueError))},
    ),
    Objective(
        name="angular_visual_hardness",
        function=objectives.angular_visual_hardness,
        arguments=draw_hardness,
        differentiable=("embeddings", "weights"),
        masked=("embeddings", "labels"),
        ids="labels",
        classes=CLASSES,
        smooth=0,
        degenerate={
            "zero embeddings": {"embeddings": np.zeros((4, FEATURES))},
            "at the weights": {"embeddings": np.eye(FEATURES), "weights": np.eye(FEATURES)[:CLASSES]},
            "far away": {"embeddings": 6e4 * np.ones((4, FEATURES))},
            "single class": {"weights": np.ones((1, FEATURES)), "labels": np.zeros(4, np.int32)},
        },
        faults=(
            Fault({"weights": np.ones((CLASSES, FEATURES + 1), np.float32)}, ValueError),
            Fault({"embeddings": np.float32(1.0)}, ValueError),
        ),
    ),
    Objective(
        name="multicalibration_error",
        function=objectives.multicalibration_error,
        shape=lambda batch: (2, 3),
        options={"num_bins": 3},
        **{**GROUPS, "faults": (*GROUPS["faults"], Fault({"num_bins": 0}, ValueError))},
    ),
    Objective(
        name="multiaccuracy_error",
        function=objectives.multiaccuracy_error,
        shape=lambda batch: (2,),
        **GROUPS,
    ),
    Objective(
        name="omniprediction",
        function=objectives.omniprediction,
        arguments=lambda generator, batch: {
            "probabilities": generator.uniform(size=batch),
            "actions": np.array([0.0, 0.5, 1.0]),
            "losses": np.array([[0.0, 4.0], [0.5, 0.5], [1.0, 0.0]]),
            "costs": generator.normal(size=(*batch, 3)),
        },
        differentiable=("probabilities",),
        masked=("probabilities", "costs"),
        smooth=0,
        degenerate={"certain": {"probabilities": np.array([0.0, 1.0, 0.0, 1.0])}},
        faults=(
            Fault({"losses": np.ones((2, 2), np.float32)}, ValueError),
            Fault({"actions": np.float32(1.0)}, ValueError),
            Fault({"costs": np.ones((4, 2), np.float32)}, ValueError),
        ),
    ),
]


def remembered(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What a record holds of an epoch, whichever of its functions is under test."""
    memory = objectives.example_memory(**MEMORY)
    memory = objectives.record_examples(memory, arguments["ids"], arguments["values"])
    return objectives.recall_examples(memory, arguments["ids"])


MEMORY: dict[str, Any] = {"examples": 4, "shape": (CLASSES,), "fill": 0.5, "dtype": jnp.float32}
RECORD: dict[str, Any] = {
    "use": remembered,
    "traced": lambda generator: {
        "ids": generator.permutation(4)[:2].astype(np.int32),
        "values": generator.normal(size=(2, CLASSES)).astype(np.float32),
    },
    "shape": (2, CLASSES),
}
FUNCTIONS = [
    Function(
        name="example_memory",
        function=objectives.example_memory,
        static=MEMORY,
        faults=(
            Fault({"examples": 0}, ValueError),
            Fault({"examples": 2.5}, TypeError),
            Fault({"dtype": jnp.int32}, TypeError),
        ),
        **RECORD,
    ),
    Function(
        name="record_examples",
        function=objectives.record_examples,
        static={"memory": objectives.example_memory(**MEMORY)},
        faults=(
            Fault({"ids": lambda ids: ids.astype(jnp.float32)}, TypeError),
            Fault({"values": jnp.zeros((2, 2))}, ValueError),
        ),
        **RECORD,
    ),
    Function(
        name="recall_examples",
        function=objectives.recall_examples,
        static={"memory": objectives.example_memory(**MEMORY)},
        faults=(Fault({"ids": lambda ids: ids.astype(jnp.float32)}, TypeError),),
        **RECORD,
    ),
    Function(
        name="prior_confusion_logits",
        function=objectives.prior_confusion_logits,
        traced=lambda generator: {"accuracy": np.float32(0.7)},
        static={"classes": 3},
        shape=(3, 3),
        refused={"accuracy": (0.0, 1.0)},
        faults=(Fault({"classes": 1}, ValueError), Fault({"classes": 2.0}, TypeError)),
    ),
    *(
        Function(
            name=f"{function.__name__}[{binning}]",
            function=function,
            traced=draw_forecasts,
            static={"num_bins": 4, "binning": binning, "axis_name": None},
            shapes=shapes,
            faults=FORECAST_FAULTS,
        )
        for function, binning, shapes in (
            (objectives.reliability_diagram, "uniform", ((4,),) * 3),
            (objectives.brier_decomposition, "equal_mass", ((),) * 5),
        )
    ),
]
TYPES = [
    Type(name=name, type=getattr(objectives, name))
    for name in ("ExampleMemory", "CalibrationBins", "BrierDecomposition")
]
