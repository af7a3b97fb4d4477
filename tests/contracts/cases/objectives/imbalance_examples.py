"""Cases of the losses for rare values and examples, and of what is decided about rare classes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    CLASS_EDGES,
    CLASSES,
    FEATURES,
    PER_BINARY,
    Generator,
    draw_binary,
    draw_ids,
    draw_logits,
    draw_regression,
    scalar,
)
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective, Shape

import objectives

TOO_MANY = np.ones(CLASSES + 1)


def draw_weighted(*names: str) -> Any:
    return lambda generator, batch: {
        **draw_regression(generator, batch),
        **{name: generator.random(batch) for name in names},
    }


REGRESSION: dict[str, Any] = {
    "differentiable": ("predictions",),
    "shape": scalar,
    "coupled": True,
    "degenerate": {
        "equal predictions": {"predictions": np.ones(4)},
        "equal targets": {"targets": np.ones(4)},
        "far away": {"predictions": np.array([1e4, -1e4, 1e4, 0.0])},
        "rising": {"predictions": np.arange(4.0), "targets": np.arange(4.0)},
    },
}


def draw_surrogates(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"surrogates": generator.normal(size=(*batch, FEATURES))}


def draw_labelled_features(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "features": generator.normal(size=(*batch, FEATURES)),
        "labels": draw_ids(generator, batch),
        "surrogates": generator.normal(size=(CLASSES, FEATURES)),
    }


SURROGATES: dict[str, Any] = {"batches": ((5,),), "shape": scalar, "masked": ("surrogates",)}
SURROGATE_EDGES = {
    "zero": {"surrogates": np.zeros((5, FEATURES))},
    "all alike": {"surrogates": np.ones((5, FEATURES))},
    "a single label": {"surrogates": np.ones((1, FEATURES))},
    "no label": {"surrogates": np.ones((0, FEATURES))},
}


def draw_images(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "detection_logits": 2.0 * generator.normal(size=(*batch, 2, 3)),
        "detection_labels": generator.integers(0, 2, (*batch, 2, 3)).astype(float),
        "segmentation_logits": 2.0 * generator.normal(size=(*batch, 3, 4)),
        "segmentation_labels": generator.integers(0, 2, (*batch, 3, 4)).astype(float),
        "spatial_weights": generator.random((*batch, 2, 3)),
    }


def draw_particles(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": draw_logits(generator, (2, *batch)),
        "labels": draw_ids(generator, batch),
        "utility": -np.tri(CLASSES, k=-1),
        "class_weights": np.array([0.5, 1.0, 1.5]),
    }


PARTICLE_EDGES = {
    name: {
        "logits": np.stack([changes["logits"]] * 2),
        **{key: value for key, value in changes.items() if key != "logits"},
        "utility": np.zeros((np.shape(changes["logits"])[-1],) * 2),
        "class_weights": np.ones(np.shape(changes["logits"])[-1]),
    }
    for name, changes in CLASS_EDGES.items()
}


def integers_of(function: Any, arguments: Mapping[str, Any]) -> jax.Array:
    return call(function, arguments).astype(jnp.float32)


CASES = [
    Objective(
        name="likelihood_weighted_loss",
        function=objectives.likelihood_weighted_loss,
        arguments=lambda generator, batch: {
            "losses": generator.normal(size=batch),
            "likelihood": generator.random(batch),
        },
        differentiable=("losses",),
        masked=("losses", "likelihood"),
        hyperparameters={"eta": (0.0, 0.3), "gamma": (0.0, 5.0)},
        refused={"eta": (-1.0,), "gamma": (-1.0,)},
        degenerate={"certain": {"likelihood": np.ones(4)}, "never": {"likelihood": np.zeros(4)}},
    ),
    Objective(
        name="cost_sensitive_binary_loss",
        function=objectives.cost_sensitive_binary_loss,
        hyperparameters={"fn_weight": (0.0, 5.0), "fp_weight": (0.0, 0.5)},
        refused={"fn_weight": (-1.0,), "fp_weight": (-1.0,)},
        **PER_BINARY,
    ),
    *(
        Objective(
            name=f"anyloss{suffix}",
            function=objectives.anyloss,
            shape=scalar,
            coupled=True,
            hyperparameters={"scale": (1.0, 73.0), "beta": (0.5, 2.0)},
            refused={"scale": (0.0, -1.0), "beta": (0.0, -1.0)},
            faults=(Fault({"metric": "precision"}, ValueError),),
            **settings,
            **{
                **PER_BINARY,
                "degenerate": {
                    **PER_BINARY["degenerate"],
                    "no positives": {"labels": np.zeros(4)},
                    "no negatives": {"labels": np.ones(4)},
                    "nothing": {"logits": np.zeros(0), "labels": np.zeros(0)},
                },
            },
        )
        for suffix, settings in (
            ("", {"elsewhere": ("metric", "apply_sigmoid")}),
            ("[g_mean of probabilities]", {"options": {"metric": "g_mean", "apply_sigmoid": False}}),
        )
    ),
    Objective(
        name="correlation_loss",
        function=objectives.correlation_loss,
        arguments=draw_weighted("weights"),
        masked=("predictions", "targets", "weights"),
        hyperparameters={"epsilon": (0.0, 1e-7)},
        refused={"epsilon": (-1.0,)},
        **REGRESSION,
    ),
    Objective(
        name="cisir_loss",
        function=objectives.cisir_loss,
        arguments=draw_weighted("mse_weights", "correlation_weights"),
        masked=("predictions", "targets", "mse_weights", "correlation_weights"),
        hyperparameters={"correlation_strength": (0.0, 1.0), "epsilon": (0.0, 1e-7)},
        refused={"correlation_strength": (-1.0,), "epsilon": (-1.0,)},
        **{**REGRESSION, "degenerate": {n: c for n, c in REGRESSION["degenerate"].items() if n != "far away"}},
    ),
    Objective(
        name="enveloping_loss",
        function=objectives.enveloping_loss,
        arguments=lambda generator, batch: {
            **draw_surrogates(generator, batch),
            "points": generator.normal(size=(7, FEATURES)),
        },
        differentiable=("surrogates", "points"),
        degenerate={**SURROGATE_EDGES, "no points": {"points": np.ones((0, FEATURES))}},
        faults=(
            Fault({"points": np.ones((7, FEATURES + 1), np.float32)}, ValueError),
            Fault({"surrogates": np.ones(FEATURES, np.float32)}, ValueError),
        ),
        smooth=1,
        **SURROGATES,
    ),
    Objective(
        name="homogeneity_loss",
        function=objectives.homogeneity_loss,
        arguments=draw_surrogates,
        differentiable=("surrogates",),
        hyperparameters={"variance_weight": (0.0, 0.1)},
        refused={"variance_weight": (-1.0,)},
        degenerate=SURROGATE_EDGES,
        faults=(Fault({"surrogates": np.ones(FEATURES, np.float32)}, ValueError),),
        **SURROGATES,
    ),
    Objective(
        name="surrogate_contrastive_loss",
        function=objectives.surrogate_contrastive_loss,
        arguments=draw_labelled_features,
        differentiable=("features", "surrogates"),
        masked=("features", "labels"),
        ids="labels",
        classes=CLASSES,
        probabilities=False,
        options={"distance_weighted": True},
        hyperparameters={"temperature": (0.1, 1.0)},
        refused={"temperature": (0.0, -1.0)},
        degenerate={
            "zero": {"features": np.zeros((4, FEATURES))},
            "all alike": {"surrogates": np.ones((CLASSES, FEATURES))},
        },
        faults=(
            Fault({"surrogates": np.ones((CLASSES, FEATURES + 1), np.float32)}, ValueError),
            Fault({"surrogates": np.ones((0, FEATURES), np.float32)}, ValueError),
            Fault({"features": np.float32(1.0)}, ValueError),
        ),
    ),
    Objective(
        name="refined_generalized_focal_loss",
        function=objectives.refined_generalized_focal_loss,
        arguments=draw_images,
        differentiable=("detection_logits", "segmentation_logits"),
        batches=((3,),),
        masked=(
            "detection_logits",
            "detection_labels",
            "segmentation_logits",
            "segmentation_labels",
            "spatial_weights",
        ),
        hyperparameters={
            "alpha": (0.0, 0.25),
            "gamma": (0.0, 2.0),
            "detection_weight": (0.0, 1.0),
            "segmentation_weight": (0.0, 1.0),
            "smoothness_weight": (0.0, 0.1),
        },
        refused={
            "alpha": (-1.0,),
            "gamma": (-1.0,),
            "detection_weight": (-1.0,),
            "segmentation_weight": (-1.0,),
            "smoothness_weight": (-1.0,),
        },
        degenerate={
            "saturated": {"detection_logits": np.full((3, 2, 3), 1e4)},
            "right": {"detection_logits": np.full((3, 2, 3), -1e4), "detection_labels": np.zeros((3, 2, 3))},
            "flat": {"segmentation_logits": np.full((3, 3, 4), 1e4)},
        },
        faults=(Fault({"detection_logits": np.ones(3, np.float32)}, ValueError),),
    ),
    Objective(
        name="laplacian_smoothness",
        function=objectives.laplacian_smoothness,
        arguments=lambda generator, batch: {"logits": generator.normal(size=(*batch, 3, 4))},
        differentiable=("logits",),
        batches=((3,),),
        masked=("logits",),
        degenerate={
            "flat": {"logits": np.ones((3, 3, 4))},
            "a line": {"logits": np.ones((3, 1, 4))},
            "no pixels": {"logits": np.ones((3, 0, 4))},
        },
        faults=(Fault({"logits": np.ones(3, np.float32)}, ValueError),),
    ),
    # The mask cannot reach the logits, whose first axis is that of the particles.
    Objective(
        name="decision_theoretic_loss",
        function=objectives.decision_theoretic_loss,
        arguments=draw_particles,
        differentiable=("logits",),
        masked=("labels",),
        removable=False,
        ids="labels",
        classes=CLASSES,
        hyperparameters={"alpha": (0.5, 1.0)},
        refused={"alpha": (0.0, -1.0)},
        degenerate=PARTICLE_EDGES,
        faults=(
            Fault({"logits": np.ones(3, np.float32)}, ValueError),
            Fault({"logits": np.ones((0, 4, CLASSES), np.float32)}, ValueError),
            Fault({"utility": np.ones(CLASSES)}, ValueError),
            Fault({"class_weights": TOO_MANY}, ValueError),
        ),
    ),
]

FUNCTIONS = [
    Function(
        name="k_means",
        function=objectives.k_means,
        traced=lambda generator: {
            "features": generator.normal(size=(6, 2)).astype(np.float32),
            "where": np.array([True, False, True, True, True, True]),
        },
        static={"clusters": 2, "key": jax.random.key(0), "iterations": 5},
        # the assignments are integers
        use=lambda function, arguments: [x.astype(np.float32) for x in call(function, arguments)],
        shapes=((2, 2), (6,), ()),
        faults=(
            Fault({"features": np.ones(6, np.float32)}),
            Fault({"features": np.ones((6, 2), np.int32)}, TypeError),
            Fault({"key": 0}, TypeError),
            Fault({"clusters": 0}),
            Fault({"iterations": 0}),
        ),
    ),
    Function(
        name="cluster_likelihood",
        function=objectives.cluster_likelihood,
        traced=lambda generator: {"assignments": draw_ids(generator, (4,)), "where": generator.random(4) < 0.5},
        static={"clusters": CLASSES},
        shape=(4,),
        faults=(Fault({"assignments": np.ones(4, np.float32)}, TypeError), Fault({"clusters": 0}, ValueError)),
    ),
    Function(
        name="soft_confusion_matrix",
        function=objectives.soft_confusion_matrix,
        traced=lambda generator: {**draw_binary(generator, (4,)), "where": np.array([True, True, False, True])},
        static={"scale": 5.0, "apply_sigmoid": True, "axis_name": None},
        shapes=((),) * 4,
        differentiable=("logits",),
        keeps_dtype=False,
        refused={"scale": (0.0, -1.0)},
        faults=(Fault({"labels": np.ones(3)}, ValueError),),
    ),
    Function(
        name="bayes_decision",
        function=objectives.bayes_decision,
        traced=lambda generator: {
            "probabilities": generator.dirichlet(np.ones(3), 4).astype(np.float32),
            "utility": generator.random((3, 2)).astype(np.float32),
        },
        use=integers_of,
        shape=(4,),
        faults=(Fault({"utility": np.ones((2, 2))}, ValueError), Fault({"probabilities": np.float32(1.0)}, ValueError)),
    ),
    Function(
        name="particle_repulsion",
        function=objectives.particle_repulsion,
        traced=lambda generator: {"particles": {"w": generator.normal(size=(3, 2, 2)), "b": generator.normal(size=3)}},
        static={"epsilon": 1e-4},
        differentiable=("particles",),
        keeps_dtype=False,
        refused={"epsilon": (0.0, -1.0)},
        faults=(Fault({"particles": np.float32(1.0)}, ValueError), Fault({"particles": np.ones(3, int)}, TypeError)),
    ),
    Function(
        name="mdi_importance",
        function=objectives.mdi_importance,
        traced=lambda generator: {"density": generator.random(5).astype(np.float32)},
        static={"alpha": 2.0, "epsilon": 1e-3},
        shape=(5,),
        refused={"alpha": (0.0, -1.0), "epsilon": (-1.0,)},
        faults=(Fault({"density": np.ones(3, np.int32)}, TypeError),),
    ),
    Function(
        name="stratified_batch_indices",
        function=objectives.stratified_batch_indices,
        traced=lambda generator: {"targets": generator.normal(size=7).astype(np.float32)},
        static={"batch_size": 3, "key": jax.random.key(0)},
        use=integers_of,
        shape=(2, 3),
        faults=(
            Fault({"batch_size": 8}, ValueError),
            Fault({"batch_size": 2.0}, TypeError),
            Fault({"key": 0}, TypeError),
            Fault({"targets": np.ones((2, 2))}, ValueError),
        ),
    ),
    Function(
        name="label_centroids",
        function=objectives.label_centroids,
        traced=lambda generator: {
            "features": generator.normal(size=(4, FEATURES)).astype(np.float32),
            "label_ids": draw_ids(generator, (4,)),
            "where": np.array([True, True, False, True]),
        },
        static={"labels": CLASSES, "axis_name": None},
        shapes=((CLASSES, FEATURES), (CLASSES,)),
        differentiable=("features",),
        keeps_dtype=False,
        faults=(Fault({"label_ids": np.ones(4, np.float32)}, TypeError), Fault({"labels": 0}, ValueError)),
    ),
    Function(
        name="update_surrogates",
        function=objectives.update_surrogates,
        traced=lambda generator: {
            "surrogates": generator.normal(size=(CLASSES, FEATURES)).astype(np.float32),
            "centroids": generator.normal(size=(CLASSES, FEATURES)).astype(np.float32),
            "counts": np.array([1.0, 0.0, 2.0], np.float32),
        },
        static={"momentum": 0.9},
        shape=(CLASSES, FEATURES),
        refused={"momentum": (-0.1, 1.1)},
        faults=(
            Fault({"centroids": np.ones((CLASSES, 2), np.float32)}, ValueError),
            Fault({"counts": np.ones(2)}, ValueError),
        ),
    ),
]

TYPES = [
    Type(name="KMeans", type=objectives.KMeans),
    Type(name="SoftConfusion", type=objectives.SoftConfusion),
]
