"""Cases of the losses of ordered classes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import (
    CLASS_FAULTS,
    CLASSES,
    PER_CLASS,
    SATURATED,
    Generator,
    classes_and_labels,
    normal,
)
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives


def cuts_and_labels(**more: Any) -> Callable[[Generator, Shape], Mapping[str, Any]]:
    return lambda generator, batch: {
        "logits": 2 * normal(generator, (*batch, CLASSES - 1)),
        "labels": generator.integers(0, CLASSES, batch, np.int32),
        **{name: np.asarray(value) for name, value in more.items()},
    }


STEPS: dict[str, Any] = {
    "differentiable": ("logits",),
    "masked": ("logits", "labels"),
    "ids": "labels",
    "classes": CLASSES,
    "degenerate": {
        "saturated": {"logits": SATURATED[:, :2], "labels": np.array([0, 1, 2, 2], np.int32)},
        "equal logits": {"logits": np.zeros((4, CLASSES - 1))},
    },
    "faults": (*CLASS_FAULTS, Fault({"logits": np.ones((4, 0), np.float32)}, ValueError)),
}


def draw_positions(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    labels = generator.integers(0, CLASSES, batch, np.int32)
    return {"scores": normal(generator, batch), "thresholds": np.array([-0.5, 1.0]), "labels": labels}


def link_case(link: str) -> Objective:
    return Objective(
        name=f"cumulative_link_loss[{link}]",
        function=objectives.cumulative_link_loss,
        arguments=draw_positions,
        differentiable=("scores", "thresholds"),
        masked=("scores", "labels"),
        ids="labels",
        classes=CLASSES,
        options={"link": link},
        degenerate={
            "two levels": {"thresholds": np.zeros(1), "labels": np.array([0, 1, 0, 1], np.int32)},
            "narrow": {"thresholds": np.array([0.0, 1e-3])},
            **({"saturated": {"scores": SATURATED[:, 0]}} if link != "cloglog" else {}),
        },
        faults=(
            Fault({"link": "identity"}, ValueError),
            Fault({"thresholds": np.zeros(0, np.float32)}, ValueError),
            Fault({"thresholds": np.zeros((2, 2), np.float32)}, ValueError),
        ),
    )


NO_CUTS = Fault({"logits": np.ones((4, 0), np.float32)}, ValueError)


CASES = [
    Objective(
        name="earth_movers_distance_loss",
        function=objectives.earth_movers_distance_loss,
        arguments=classes_and_labels(),
        hyperparameters={"power": (1.0, 2.0)},
        refused={"power": (0.9,)},
        **PER_CLASS,
    ),
    Objective(
        name="coral_loss",
        function=objectives.coral_loss,
        arguments=cuts_and_labels(importance=[0.5, 2.0]),
        **{**STEPS, "faults": (*STEPS["faults"][:-1], Fault({"importance": np.ones(CLASSES)}, ValueError))},
    ),
    Objective(name="corn_loss", function=objectives.corn_loss, arguments=cuts_and_labels(), **STEPS),
    link_case("logit"),
    link_case("probit"),
    link_case("cloglog"),
]

FUNCTIONS = [
    Function(
        name="cumulative_link_probabilities",
        function=objectives.cumulative_link_probabilities,
        traced=lambda g: {"scores": np.float32(g.normal(size=4)), "thresholds": np.float32([-0.5, 1.0])},
        static={"link": "logit"},
        shape=(4, CLASSES),
        differentiable=("scores", "thresholds"),
        keeps_dtype=False,
        faults=(Fault({"link": "identity"}, ValueError),),
    ),
    Function(
        name="ordered_thresholds",
        function=objectives.ordered_thresholds,
        traced=lambda g: {"values": np.float32(g.normal(size=4))},
        shape=(4,),
        differentiable=("values",),
        keeps_dtype=False,
        faults=(Fault({"values": np.float32(1.0)}, ValueError),),
    ),
    *(
        Function(
            name=function.__name__,
            function=function,
            traced=lambda g: {"logits": np.float32(g.normal(size=(4, CLASSES - 1)))},
            shape=(4, CLASSES),
            differentiable=("logits",),
            keeps_dtype=False,
            faults=(NO_CUTS,),
        )
        for function in (objectives.coral_probabilities, objectives.corn_probabilities)
    ),
    Function(
        name="soft_ordinal_labels",
        function=objectives.soft_ordinal_labels,
        traced=lambda g: {
            "labels": g.integers(0, CLASSES, 4, np.int32),
            "scale": np.float32(g.uniform(0.5, 2)),
            "power": np.float32(g.uniform(1, 2)),
        },
        static={"levels": CLASSES},
        shape=(4, CLASSES),
        refused={"scale": (-1.0,), "power": (0.0,)},
        faults=(
            Fault({"labels": np.ones(4, np.float32)}, TypeError),
            Fault({"levels": 0}, ValueError),
            Fault({"levels": 2.0}, TypeError),
        ),
    ),
]
