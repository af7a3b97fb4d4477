"""Cases of the scores of RANSAC's hypotheses."""

from collections.abc import Mapping

import numpy as np
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

import objectives

POINTS = 6


def many(batch: Shape) -> Shape:
    return (*batch, POINTS)


def draw_residuals(generator: np.random.Generator, batch: Shape) -> Mapping[str, np.ndarray]:
    return {"squared_residuals": generator.chisquare(1, size=many(batch)), "threshold": np.asarray(1.3)}


def draw_hypotheses(generator: np.random.Generator, batch: Shape) -> Mapping[str, np.ndarray]:
    return {"scores": generator.normal(size=many(batch)), "losses": generator.uniform(size=many(batch))}


# The first batch is a single model or problem, of which the mask removes points or hypotheses.
BATCHES: tuple[Shape, ...] = ((), (4,), (2, 3))


CASES = [
    Objective(
        name="msac_score",
        function=objectives.msac_score,
        arguments=draw_residuals,
        differentiable=("squared_residuals",),
        batches=BATCHES,
        masked=("squared_residuals",),
        mask_shape=many,
        degenerate={
            "perfect": {"squared_residuals": np.zeros(POINTS)},
            "far away": {"squared_residuals": np.full(POINTS, 6e4)},
            "infinitely far": {"squared_residuals": np.full(POINTS, np.inf)},
            "no points": {"squared_residuals": np.zeros(0)},
        },
        hyperparameters={"threshold": (0.7, 1.3)},
        refused={"threshold": (0.0, -1.0)},
        faults=(Fault({"squared_residuals": np.float32(1.0)}, ValueError),),
        smooth=1,
    ),
    Objective(
        name="expected_hypothesis_loss",
        function=objectives.expected_hypothesis_loss,
        arguments=draw_hypotheses,
        differentiable=("scores", "losses"),
        batches=BATCHES,
        masked=("scores", "losses"),
        mask_shape=many,
        hyperparameters={"temperature": (0.5, 2.0)},
        refused={"temperature": (0.0, -1.0)},
        degenerate={
            "sure": {"scores": np.array([1e4] + 5 * [-1e4])},
            "equal": {"scores": np.zeros(POINTS)},
            "a single hypothesis": {"scores": np.ones(1), "losses": np.ones(1)},
            "no hypothesis": {"scores": np.zeros(0), "losses": np.zeros(0)},
        },
        faults=(Fault({"scores": np.float32(1.0), "losses": np.float32(1.0)}, ValueError, words=("scores",)),),
    ),
]
