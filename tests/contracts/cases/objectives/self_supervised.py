"""Cases of the losses without labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import Generator, scalar
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

import objectives


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


CASES = [
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
]
