"""Cases of the losses of boxes."""

from typing import Any

import numpy as np
from contracts.cases.objectives._shared import draw_boxes
from contracts.common import Fault
from contracts.objective_checks import Objective

import objectives

UNIT = np.tile([0.0, 0.0, 1.0, 1.0], (4, 1))
BOXES: dict[str, Any] = {
    "arguments": draw_boxes,
    "differentiable": ("predictions", "targets"),
    "masked": ("predictions", "targets"),
    "integers": True,
    "degenerate": {
        "points": {"predictions": np.zeros((4, 4)), "targets": np.zeros((4, 4))},
        "apart, without area": {"predictions": np.zeros((4, 4)), "targets": np.full((4, 4), 2.0)},
        "equal": {"predictions": UNIT, "targets": UNIT},
        "segments": {"predictions": UNIT * [1, 1, 1, 0], "targets": UNIT * [1, 1, 0, 1]},
        "far away": {"predictions": 1e4 + UNIT, "targets": -1e4 - UNIT[:, ::-1]},
        "no boxes": {"predictions": np.ones((0, 4)), "targets": np.ones((0, 4))},
    },
    "faults": (
        Fault({"predictions": np.ones((4, 4), np.int32)}, TypeError),
        Fault({"predictions": np.ones((4, 3), np.float32)}, ValueError),
    ),
}


CASES = [
    *(
        Objective(name=function.__name__, function=function, smooth=smooth, **BOXES)
        for function, smooth in (
            (objectives.iou_loss, 1),
            (objectives.giou_loss, 1),
            (objectives.diou_loss, 1),
            (objectives.ciou_loss, 0),  # its trade-off is a constant to the gradient
        )
    ),
    Objective(
        name="eiou_loss",
        function=objectives.eiou_loss,
        hyperparameters={"gamma": (0.5, 0.0)},  # at the last value derivatives are checked: a weight is a constant
        refused={"gamma": (-0.1,)},
        smooth=1,
        **BOXES,
    ),
    Objective(
        name="siou_loss",
        function=objectives.siou_loss,
        hyperparameters={"theta": (2.0, 4.0)},
        refused={"theta": (0.5,)},
        smooth=1,
        **BOXES,
    ),
    Objective(
        name="box_iou",
        function=objectives.box_iou,
        arguments=lambda generator, batch: {
            "boxes_a": draw_boxes(generator, (*batch, 2))["predictions"],
            "boxes_b": draw_boxes(generator, (*batch, 3))["targets"],
        },
        differentiable=("boxes_a", "boxes_b"),
        batches=((), (2,)),
        shape=lambda batch: (*batch, 2, 3),
        smooth=1,
        degenerate={"points": {"boxes_a": np.zeros((2, 4)), "boxes_b": np.zeros((3, 4))}},
        faults=(
            Fault({"boxes_a": np.ones((2, 3), np.float32)}, ValueError),
            Fault({"boxes_b": np.ones((1, 3, 4), np.float32)}, ValueError),
        ),
    ),
]
