"""Cases of contrastive, triplet and other losses of pairs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import CLASSES, Generator, draw_ids
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives


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


CASES = [
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
]
