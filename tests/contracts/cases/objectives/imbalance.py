"""Cases of the losses for rare classes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    CLASS_EDGES,
    CLASS_FAULTS,
    CLASSES,
    FEATURES,
    PER_CLASS,
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

COUNTS = np.array([50.0, 7.0, 2.0])
TOO_MANY = np.ones(CLASSES + 1)


def of_classes(*names: str, **more: Any) -> dict[str, Any]:
    """Settings of a loss with one number a class under some names: edges have as many as classes."""
    edges = {
        edge: {**changes, **{name: np.ones(np.shape(changes["logits"])[-1]) for name in names}}
        for edge, changes in CLASS_EDGES.items()
    }
    faults = (*CLASS_FAULTS, *(Fault({name: TOO_MANY}, ValueError) for name in names))
    return {**PER_CLASS, "degenerate": edges, "faults": faults, **more}


def of_ids(*names: str, **more: Any) -> dict[str, Any]:
    """The same where labels are class ids alone."""
    settings = of_classes(*names, **more)
    edges = {edge: changes for edge, changes in settings["degenerate"].items() if "probabilities" not in edge}
    faults = (*settings["faults"], Fault({"labels": lambda ids: jnp.ones((*ids.shape, CLASSES))}, ValueError))
    return {**settings, "probabilities": False, "degenerate": edges, "faults": faults}


def draw_boxes(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    foreground = generator.random(batch) < 0.5
    foreground.reshape(-1)[:1] = True
    return {
        **classes_and_labels(frequencies=FREQUENCIES)(generator, batch),
        "foreground": np.asarray(foreground),
    }


FREQUENCIES = np.array([0.9, 0.1, 5e-4])
STATE = objectives.EqualizationState(jnp.array([8.0, 1.0, 0.0]), jnp.array([4.0, 9.0, 0.0]))
SUPPRESSION: dict[str, Any] = {
    "hyperparameters": {"gamma": (0.0, 12.0), "mu": (0.0, 0.8), "alpha": (0.0, 4.0)},
    "refused": {"gamma": (-1.0,), "alpha": (-1.0,)},
}


def draw_queries(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    pairs = generator.random((*batch, 6)) < 0.5
    pairs[..., 3:] = True
    return {
        "queries": generator.normal(size=(*batch, FEATURES)),
        "labels": draw_ids(generator, batch),
        "keys": generator.normal(size=(6, FEATURES)),
        "key_labels": np.array([0, 1, 2, 0, 1, 2], np.int32),
        "class_counts": COUNTS,
        "pairs": pairs,
        "key_where": np.arange(6) != 1,
    }


WEIGHTS: dict[str, Any] = {"traced": lambda generator: {"class_counts": COUNTS.astype(np.float32)}, "shape": (CLASSES,)}
RECORDED = {
    "logits": np.ones((4, CLASSES), np.float32),
    "labels": np.array([0, 1, 2, 2], np.int32),
    "where": np.array([True, True, True, False]),
}


CASES = [
    Objective(
        name="adjusted_softmax_loss",
        function=objectives.adjusted_softmax_loss,
        arguments=classes_and_labels(
            scale=[1.0, 0.8, 0.5], shift=[0.0, -1.0, -2.0], margin=[0.1, 0.2, 0.5], class_weights=[0.5, 1.0, 2.0]
        ),
        **of_classes("scale", "shift", "margin", "class_weights"),
    ),
    Objective(
        name="balanced_softmax_loss",
        function=objectives.balanced_softmax_loss,
        arguments=classes_and_labels(class_counts=COUNTS),
        **of_classes("class_counts"),
    ),
    Objective(
        name="logit_adjusted_loss",
        function=objectives.logit_adjusted_loss,
        arguments=classes_and_labels(class_counts=COUNTS),
        hyperparameters={"tau": (0.0, 1.0)},
        refused={"tau": (-1.0,)},
        **of_classes("class_counts"),
    ),
    Objective(
        name="cdt_loss",
        function=objectives.cdt_loss,
        arguments=classes_and_labels(class_counts=COUNTS),
        hyperparameters={"gamma": (0.0, 0.3)},
        refused={"gamma": (-1.0,)},
        **of_classes("class_counts"),
    ),
    Objective(
        name="vs_loss",
        function=objectives.vs_loss,
        arguments=classes_and_labels(class_counts=COUNTS, class_weights=[0.5, 1.0, 2.0]),
        hyperparameters={"gamma": (0.0, 0.3), "tau": (0.0, 1.0)},
        refused={"gamma": (-1.0,), "tau": (-1.0,)},
        **of_classes("class_counts", "class_weights"),
    ),
    Objective(
        name="ldam_loss",
        function=objectives.ldam_loss,
        arguments=classes_and_labels(class_counts=COUNTS, class_weights=[0.5, 1.0, 2.0]),
        hyperparameters={"max_margin": (0.0, 0.5), "scale": (1.0, 30.0)},
        refused={"max_margin": (-1.0,), "scale": (0.0, -1.0)},
        **of_classes("class_counts", "class_weights"),
    ),
    Objective(
        name="post_hoc_logits",
        function=objectives.post_hoc_logits,
        arguments=lambda generator, batch: {"logits": draw_logits(generator, batch), "class_counts": COUNTS},
        differentiable=("logits",),
        shape=lambda batch: (*batch, CLASSES),
        hyperparameters={"tau": (0.0, 1.0), "gamma": (0.0, 0.5)},
        refused={"tau": (-1.0,), "gamma": (-1.0,)},
        degenerate={"saturated": {"logits": np.array([[1e4, -1e4, 0.0]])}},
        faults=(Fault({"logits": np.float32(1.0)}, ValueError), Fault({"class_counts": TOO_MANY}, ValueError)),
    ),
    # The gradient leaves the weights out, which finite differences would see: smooth=0.
    Objective(
        name="seesaw_loss",
        function=objectives.seesaw_loss,
        arguments=classes_and_labels(class_counts=COUNTS),
        hyperparameters={"mitigation": (0.0, 0.8), "compensation": (0.0, 2.0), "epsilon": (1e-2, 1.0)},
        refused={"mitigation": (-1.0,), "compensation": (-1.0,), "epsilon": (0.0, 2.0)},
        smooth=0,
        **of_ids("class_counts"),
    ),
    # Draws depend on the shape of the batch.
    Objective(
        name="softmax_equalization_loss",
        function=objectives.softmax_equalization_loss,
        arguments=classes_and_labels(frequencies=FREQUENCIES),
        options={"key": jax.random.key(0)},
        hyperparameters={"threshold": (0.0, 0.2), "probability": (0.0, 1.0, 0.5)},
        refused={"threshold": (-1.0, 2.0), "probability": (-0.1, 1.1)},
        removable=False,
        **of_ids("frequencies"),
    ),
    Objective(
        name="equalization_loss",
        function=objectives.equalization_loss,
        arguments=draw_boxes,
        hyperparameters={"threshold": (0.0, 0.2)},
        refused={"threshold": (-1.0, 2.0)},
        **{
            **of_classes("frequencies"),
            "masked": ("logits", "labels", "foreground"),
            "degenerate": {
                name: {**changes, "foreground": np.ones(len(changes["logits"]), bool)}
                for name, changes in of_classes("frequencies")["degenerate"].items()
            },
        },
    ),
    Objective(
        name="equalization_v2_loss",
        function=objectives.equalization_v2_loss,
        arguments=classes_and_labels(),
        options={"state": STATE},
        **{
            **PER_CLASS,
            "degenerate": {n: c for n, c in CLASS_EDGES.items() if "single" not in n},
            "faults": (*CLASS_FAULTS, Fault({"state": objectives.equalization_state(CLASSES + 1)}, ValueError)),
        },
        **SUPPRESSION,
    ),
    Objective(
        name="influence_balanced_loss",
        function=objectives.influence_balanced_loss,
        arguments=lambda generator, batch: {
            **classes_and_labels(class_weights=[0.5, 1.0, 2.0])(generator, batch),
            "features": generator.normal(size=(*batch, FEATURES)),
            "alpha": np.asarray(1.0),
            "epsilon": np.asarray(0.1),
        },
        hyperparameters={"alpha": (0.5, 10.0), "epsilon": (1e-3, 1.0)},
        refused={"alpha": (0.0, -1.0), "epsilon": (0.0, -1.0)},
        smooth=1,
        **{
            **of_classes("class_weights"),
            "differentiable": ("logits", "features"),
            "masked": ("logits", "labels", "features"),
            "degenerate": {
                **{
                    name: {**changes, "features": np.ones((len(changes["logits"]), FEATURES))}
                    for name, changes in of_classes("class_weights")["degenerate"].items()
                },
                "zero features": {"features": np.zeros((4, FEATURES))},
            },
        },
    ),
    Objective(
        name="class_mean_log_loss",
        function=objectives.class_mean_log_loss,
        arguments=classes_and_labels(class_weights=[0.5, 1.0, 2.0]),
        shape=scalar,
        coupled=True,
        **of_classes("class_weights"),
    ),
    *(
        Objective(
            name=f"density_normalized_edge_loss[{normalize}]",
            function=objectives.density_normalized_edge_loss,
            arguments=classes_and_labels(),
            options={"normalize": normalize},
            shape=scalar,
            coupled=True,
            hyperparameters={"alpha": (0.0, 2.0), "beta": (0.0, 0.5)},
            refused={"alpha": (-1.0,), "beta": (-1.0,)},
            **of_ids(),
        )
        for normalize in ("foreground", "group")
    ),
    Objective(
        name="gaussian_mixture_likelihood_loss",
        function=objectives.gaussian_mixture_likelihood_loss,
        arguments=draw_queries,
        differentiable=("queries", "keys"),
        masked=("queries", "labels", "pairs"),
        ids="labels",
        classes=CLASSES,
        hyperparameters={"temperature": (0.07, 1.0)},
        refused={"temperature": (0.0, -1.0)},
        degenerate={
            "zero queries": {"queries": np.zeros((4, FEATURES))},
            "zero keys": {"keys": np.zeros((6, FEATURES))},
            "equal keys": {"keys": np.ones((6, FEATURES))},
            "far away": {"queries": 1e4 * np.ones((4, FEATURES))},
        },
        faults=(
            Fault({"keys": np.ones((6, FEATURES + 1), np.float32)}, ValueError),
            Fault({"key_labels": np.zeros(5, np.int32)}, ValueError),
            Fault({"key_labels": np.zeros(6, np.float32)}, TypeError),
            Fault({"key_where": np.ones(5, bool)}, ValueError),
            Fault({"pairs": lambda pairs: pairs.astype(np.float32)}, TypeError),
            Fault({"class_counts": np.float32(1.0)}, ValueError),
        ),
    ),
]

FUNCTIONS = [
    Function(
        name="class_balanced_weights",
        function=objectives.class_balanced_weights,
        static={"beta": 0.99},
        refused={"beta": (-0.1, 1.1)},
        faults=(Fault({"class_counts": np.ones((2, 2))}, ValueError), Fault({"class_counts": np.ones(0)}, ValueError)),
        **WEIGHTS,
    ),
    Function(
        name="inverse_frequency_weights",
        function=objectives.inverse_frequency_weights,
        static={"power": 0.5},
        refused={"power": (-0.1,)},
        **WEIGHTS,
    ),
    Function(
        name="deferred_class_weights",
        function=objectives.deferred_class_weights,
        traced=lambda generator: {"class_weights": generator.random(3).astype(np.float32), "step": np.int32(3)},
        static={"start": 2},
        shape=(3,),
        faults=(Fault({"class_weights": np.ones((2, 2))}, ValueError),),
    ),
    Function(
        name="max_norm_projection",
        function=objectives.max_norm_projection,
        traced=lambda generator: {"weights": generator.normal(size=(3, 4)).astype(np.float32)},
        static={"radius": 1.0},
        shape=(3, 4),
        differentiable=("weights",),
        refused={"radius": (0.0, -1.0)},
        faults=(Fault({"weights": np.ones(3, np.float32)}, ValueError),),
    ),
    Function(
        name="accumulate_class_counts",
        function=objectives.accumulate_class_counts,
        traced=lambda generator: {
            "class_counts": generator.random(CLASSES).astype(np.float32),
            "labels": draw_ids(generator, (4,)),
            "where": generator.random(4) < 0.5,
        },
        static={"axis_name": None},
        shape=(CLASSES,),
        faults=(Fault({"labels": np.ones(4, np.float32)}, ValueError), Fault({"where": np.ones(3, bool)}, ValueError)),
    ),
    Function(
        name="equalization_state",
        function=objectives.equalization_state,
        traced=lambda generator: RECORDED,
        static={"classes": CLASSES},
        use=lambda function, given: objectives.record_equalization(
            function(given["classes"]), given["logits"], given["labels"], where=given["where"]
        ),
        shapes=((CLASSES,), (CLASSES,)),
        faults=(Fault({"classes": 0}, ValueError), Fault({"classes": 2.5}, TypeError)),
    ),
    Function(
        name="record_equalization",
        function=objectives.record_equalization,
        traced=lambda generator: {**RECORDED, "logits": draw_logits(generator, (4,)).astype(np.float32)},
        static={"state": STATE, "gamma": 12.0, "mu": 0.8, "alpha": 4.0, "axis_name": None},
        shapes=((CLASSES,), (CLASSES,)),
        refused={"gamma": (-1.0,), "alpha": (-1.0,)},
        faults=(Fault({"state": objectives.equalization_state(CLASSES + 1)}, ValueError),),
    ),
]

TYPES = [
    Type(name="EqualizationState", type=objectives.EqualizationState),
]
