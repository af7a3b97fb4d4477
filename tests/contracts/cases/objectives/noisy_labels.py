"""Cases of the losses for labels that may be wrong."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    CLASS_EDGES,
    CLASS_FAULTS,
    CLASSES,
    EDGES,
    NEVER,
    PER,
    SATURATED,
    Generator,
    by_class,
    classes_and_labels,
    draw_ids,
    draw_logits,
)
from contracts.common import Fault
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective, Shape

import objectives


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
        "a class switched off": {"logits": np.array([[1.0, 0.0, NEVER]] * 4)},
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
                "a class switched off": {"logits": np.array([[1.0, 0.0, NEVER]] * 4)},
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
            "a class switched off": {"logits": np.array([[1.0, 0.0, NEVER]] * 4)},
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
]

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
]

TYPES = [
    Type(name="ExampleMemory", type=objectives.ExampleMemory),
]
