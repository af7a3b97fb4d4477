"""Cases of the proper scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import (
    DIM,
    FAR,
    LINE,
    LOCATION_EDGES,
    PARTS,
    PER_CLASS,
    classes_and_labels,
    normal,
    per_entry,
    trailing,
)
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective

import objectives


def crps_case(function: Callable[..., Any], location: str = "location", **more: Any) -> Objective:
    edges = {name: {location if n == "location" else n: x for n, x in c.items()} for name, c in LOCATION_EDGES.items()}
    edges["a point"] = {"log_scale": -FAR}
    return per_entry(function, {location: normal, "log_scale": normal}, LINE, edges, **more)


LEVELS = np.array([0.1, 0.5, 0.8])
VECTORS: dict[str, Any] = {
    "parameters": {"ensemble": trailing(4, DIM)},
    "others": {"targets": trailing(DIM)},
    "edges": {
        "all equal": {"ensemble": np.ones((4, 3, DIM)), "targets": np.ones((4, DIM))},
        "one member": {"ensemble": np.ones((4, 1, DIM))},
        "far away": {"ensemble": np.full((4, 3, DIM), FAR)},
    },
}
VECTOR_FAULTS = (
    Fault({"targets": np.zeros((4, DIM + 1), np.float32)}, ValueError),
    Fault({"ensemble": np.zeros((4, 0, DIM), np.float32)}, ValueError),
)


CASES = [
    crps_case(objectives.crps_gaussian, "mean"),
    crps_case(objectives.crps_logistic),
    crps_case(objectives.crps_laplace),
    crps_case(objectives.crps_student_t, hyperparameters={"df": (1.5, 5.0)}, refused={"df": (1.0,)}),
    per_entry(
        objectives.crps_gaussian_mixture,
        {"logits": trailing(PARTS), "mean": trailing(PARTS), "log_scale": trailing(PARTS)},
        LINE,
        {
            "one is switched off": {"logits": np.tile([-np.inf, 1.0, 2.0], (4, 1))},
            "far away": {"mean": np.full((4, PARTS), FAR)},
            "points": {"log_scale": np.full((4, PARTS), -FAR)},
        },
        faults=(Fault({"mean": np.zeros((4, PARTS + 1), np.float32)}, ValueError),),
    ),
    per_entry(
        objectives.crps_ensemble,
        {"ensemble": trailing(4)},
        LINE,
        {
            "all equal": {"ensemble": np.ones((4, 3)), "targets": 1.0},
            "one member": {"ensemble": np.ones((4, 1))},
            "far away": {"ensemble": np.full((4, 3), FAR)},
        },
        options={"fair": True},
        faults=(Fault({"ensemble": np.zeros((4, 0), np.float32)}, ValueError),),
    ),
    per_entry(
        objectives.crps_quantiles,
        {"quantiles": trailing(3)},
        LINE,
        {"exact": {"quantiles": np.ones((4, 3)), "targets": 1.0}},
        options={"levels": LEVELS},
        faults=(Fault({"levels": [0.5]}, ValueError), Fault({"levels": [0.1, 0.5, 1.0]}, ValueError)),
        smooth=1,
    ),
    per_entry(
        objectives.interval_score,
        {"lower": normal, "upper": normal},
        LINE,
        {"at the ends": {"lower": 1.0, "upper": 1.0, "targets": 1.0}},
        hyperparameters={"alpha": (0.05, 1.0)},
        refused={"alpha": (0.0, 1.1)},
        smooth=1,
    ),
    per_entry(
        objectives.weighted_interval_score,
        {"median": normal, "lower": trailing(3), "upper": trailing(3)},
        LINE,
        {"exact": {"median": 1.0, "lower": np.ones((4, 3)), "upper": np.ones((4, 3)), "targets": 1.0}},
        options={"alphas": LEVELS},
        faults=(Fault({"alphas": [0.0, 0.1, 0.2]}, ValueError), Fault({"upper": np.ones((4, 2), np.float32)})),
        smooth=1,
    ),
    per_entry(
        objectives.energy_score,
        **VECTORS,
        options={"fair": True},
        faults=VECTOR_FAULTS,
        hyperparameters={"beta": (0.5, 1.0, 1.5)},
        refused={"beta": (0.0, 2.1)},
    ),
    per_entry(
        objectives.variogram_score,
        **VECTORS,
        options={"weights": np.array([[0.0, 1.0], [2.0, 0.0]])},
        faults=(*VECTOR_FAULTS, Fault({"weights": np.ones(DIM)}, ValueError)),
        hyperparameters={"p": (0.5, 1.0, 2.0)},
        refused={"p": (0.0,)},
    ),
    per_entry(
        objectives.dawid_sebastiani_score,
        {"mean": normal, "log_variance": normal},
        LINE,
        {"wide": {"log_variance": FAR}, "exact, of no variance": {"mean": 1.0, "targets": 1.0, "log_variance": -FAR}},
    ),
    Objective(name="brier_loss", function=objectives.brier_loss, arguments=classes_and_labels(), **PER_CLASS),
    Objective(
        name="ranked_probability_score",
        function=objectives.ranked_probability_score,
        arguments=classes_and_labels(),
        **PER_CLASS,
    ),
]

FUNCTIONS = [
    Function(
        name="monotone_quantiles",
        function=objectives.monotone_quantiles,
        traced=lambda generator: {"outputs": generator.normal(size=(2, 3)).astype(np.float32)},
        shape=(2, 3),
        differentiable=("outputs",),
        keeps_dtype=False,
        faults=(Fault({"outputs": np.ones(3, np.int32)}, TypeError), Fault({"outputs": np.ones((2, 0), np.float32)})),
    ),
]
