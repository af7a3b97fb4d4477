"""Cases of the losses of times until an event."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import (
    CLASSES,
    FAR,
    LOCATION_SCALE,
    SATURATED,
    TIES,
    Generator,
    draw_survival,
    normal,
    per_entry,
    positive,
)
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

import objectives


def draw_strata(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_survival(generator, batch), "strata": generator.integers(0, 2, batch, np.int32)}


def draw_intervals(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": 2 * normal(generator, (*batch, CLASSES)),
        "durations": generator.integers(0, CLASSES, batch, np.int32),
        "events": generator.integers(0, 2, batch, np.int32),
    }


COX: dict[str, Any] = {
    "function": objectives.cox_partial_likelihood_loss,
    "batches": ((6,),),
    "differentiable": ("log_hazards",),
    "coupled": True,
    "degenerate": {
        "saturated": {"log_hazards": FAR * np.array([1, -1, 1, -1, 1, -1]), **TIES},
        "one time": {"times": np.ones(6), "events": np.ones(6, np.int32)},
        "no events": {"events": np.zeros(6, np.int32)},
    },
}
INTERVALS: dict[str, Any] = {
    "arguments": draw_intervals,
    "differentiable": ("logits",),
    "masked": ("logits", "durations", "events"),
    "ids": "durations",
    "classes": CLASSES,
    "probabilities": False,
    "faults": (
        Fault({"durations": lambda x: x.astype(np.float32)}, TypeError),
        Fault({"logits": np.float32(1.0)}, ValueError),
    ),
}
SATURATED_INTERVALS = {
    "saturated": {"logits": SATURATED},
    "one interval": {"logits": np.ones((4, 1)), "durations": np.zeros(4, np.int32)},
}


CASES = [
    Objective(
        name="cox_partial_likelihood_loss",
        arguments=draw_survival,
        masked=("log_hazards", "times", "events"),
        options={"ties": "efron"},
        elsewhere=("strata",),
        faults=(
            Fault({"ties": "exact"}, ValueError),
            Fault({n: np.ones((2, 3), np.float32) for n in ("log_hazards", "times", "events")}, words=("log_hazards",)),
        ),
        **{
            **COX,
            "degenerate": {
                **COX["degenerate"],
                "nobody": {n: np.ones(0) for n in draw_survival(np.random.default_rng(0), ())},
            },
        },
    ),
    Objective(
        name="cox_partial_likelihood_loss[strata]",
        arguments=draw_strata,
        masked=("log_hazards", "times", "events", "strata"),
        options={"ties": "breslow"},
        faults=(
            Fault({"strata": np.ones(6, np.float32)}, TypeError),
            Fault({"strata": np.ones(5, np.int32)}, ValueError),
        ),
        **COX,
    ),
    *(
        per_entry(
            objectives.aft_loss,
            LOCATION_SCALE,
            {"lower": lambda g, b: 0.1 * positive(g, b), "upper": lambda g, b: 1 + positive(g, b)},
            {
                "all kinds": {"lower": [1.0, 0.0, 2.0, 0.0], "upper": [1.0, 2.0, np.inf, np.inf]},
                "far away": {"location": 80.0},
            },
            label="" if distribution == "weibull" else f"[{distribution}]",
            options={"distribution": distribution},
            faults=(Fault({"distribution": "gamma"}, ValueError),) if distribution == "weibull" else (),
        )
        for distribution in ("weibull", "log_normal")
    ),
    Objective(
        name="logistic_hazard_loss",
        function=objectives.logistic_hazard_loss,
        degenerate=SATURATED_INTERVALS,
        **INTERVALS,
    ),
    Objective(
        name="pmf_survival_loss", function=objectives.pmf_survival_loss, degenerate=SATURATED_INTERVALS, **INTERVALS
    ),
    Objective(
        name="deephit_ranking_loss",
        function=objectives.deephit_ranking_loss,
        batches=((6,),),
        coupled=True,
        hyperparameters={"sigma": (0.1, 1.0)},
        refused={"sigma": (0.0,)},
        degenerate={
            "no events": {"events": np.zeros(6, np.int32)},
            "saturated": {"logits": np.tile(SATURATED[:2], (3, 1))},
        },
        **{
            **INTERVALS,
            "ids": None,  # one out of range is in no pair, which the others notice
            "faults": (
                Fault(
                    {
                        "logits": np.ones((2, 3, 4), np.float32),
                        "durations": np.ones((2, 3), np.int32),
                        "events": np.ones((2, 3)),
                    },
                    ValueError,
                    ("logits",),
                ),
            ),
        },
    ),
]
