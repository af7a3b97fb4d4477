"""Cases of the losses of sequences."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import FLAT, POSITIVE, ROWS, Generator, draw_regression, entrywise
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives

STEPS = 4


# Series.
def draw_series(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "predictions": generator.normal(size=(*batch, STEPS, 2)),
        "targets": generator.normal(size=(*batch, STEPS - 1, 2)),
        "prediction_lengths": generator.integers(1, STEPS + 1, batch, np.int32),
        "target_lengths": generator.integers(1, STEPS, batch, np.int32),
    }


def draw_forecasts(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "predictions": generator.normal(size=(*batch, STEPS, 2)),
        "targets": generator.normal(size=(*batch, STEPS, 2)),
        "lengths": generator.integers(1, STEPS + 1, batch, np.int32),
    }


SERIES: dict[str, Any] = {
    "differentiable": ("predictions", "targets"),
    "hyperparameters": {"gamma": (0.1, 1.0)},
    "refused": {"gamma": POSITIVE},
    "batches": ((4,), (2, 3), ()),
}
SERIES_FAULTS = (
    Fault({"predictions": np.ones(4, np.float32)}, ValueError),
    Fault({"predictions": np.ones((4, 0, 2), np.float32)}, ValueError),
    Fault({"targets": np.ones((4, 3, 1), np.float32)}, ValueError),
)
LENGTH_FAULTS = (
    Fault({"prediction_lengths": np.ones(4, np.float32)}, TypeError),
    Fault({"target_lengths": np.ones((4, 1), np.int32)}, ValueError),
)
EQUAL_SERIES = {"predictions": np.ones((4, STEPS, 2)), "targets": np.ones((4, STEPS, 2))}
SERIES_EDGES = {
    "equal": EQUAL_SERIES,
    "large": {"predictions": 1e3 * np.ones((4, STEPS, 2)), "targets": -1e3 * np.ones((4, STEPS, 2))},
    "one step": {
        "predictions": np.ones((4, 1, 2)),
        "targets": np.zeros((4, 1, 2)),
        "prediction_lengths": np.ones(4, np.int32),
        "target_lengths": np.ones(4, np.int32),
    },
    "no pairs": {
        "predictions": np.ones((0, STEPS, 2)),
        "targets": np.ones((0, STEPS, 2)),
        "prediction_lengths": np.ones(0, np.int32),
        "target_lengths": np.ones(0, np.int32),
    },
}
FORECAST_EDGES = {
    name: {**{n: x for n, x in changes.items() if not n.endswith("lengths")}, "lengths": lengths}
    for name, changes in SERIES_EDGES.items()
    for lengths in [np.ones(len(changes["predictions"]), np.int32)]
}
SIGNAL_ROWS = {**ROWS, "arguments": draw_regression, "coupled": False, "integers": True}


def draw_with_history(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    past = (*batch[:-1], 6)
    return {
        **draw_regression(generator, batch),
        "history": generator.normal(size=past),
        "history_where": np.broadcast_to(np.arange(6) != 2, past),
    }


def draw_signals(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_regression(generator, batch), "scales": 0.5 + generator.random(2)}


CASES = [
    *(
        Objective(
            name=function.__name__,
            function=function,
            arguments=draw_series,
            masked=("predictions", "targets", "prediction_lengths", "target_lengths"),
            shape=shape,
            mask_shape=lambda batch: batch,
            smooth=smooth,
            degenerate=SERIES_EDGES,
            faults=(*SERIES_FAULTS, *LENGTH_FAULTS),
            **SERIES,
        )
        for function, shape, smooth in (
            (objectives.soft_dtw, lambda batch: batch, 2),
            (objectives.soft_dtw_divergence, lambda batch: batch, 1),
        )
    ),
    Objective(
        name="soft_dtw_alignment",
        function=objectives.soft_dtw_alignment,
        arguments=lambda generator, batch: draw_series(generator, batch),
        masked=("predictions", "targets", "prediction_lengths", "target_lengths"),
        shape=lambda batch: (*batch, STEPS, STEPS - 1),
        mask_shape=lambda batch: batch,
        smooth=1,
        removable=False,  # a mask of pairs, not of the entries that are returned
        degenerate={"equal": EQUAL_SERIES, "large": SERIES_EDGES["large"]},
        faults=SERIES_FAULTS,
        **SERIES,
    ),
    Objective(
        name="temporal_distortion_loss",
        function=objectives.temporal_distortion_loss,
        arguments=draw_forecasts,
        masked=("predictions", "targets", "lengths"),
        smooth=1,
        degenerate=FORECAST_EDGES,
        faults=(
            Fault({"lengths": np.ones(4, np.float32)}, TypeError),
            Fault({"lengths": np.ones(3, np.int32)}, ValueError),
        ),
        **SERIES,
    ),
    Objective(
        name="dilate_loss",
        function=objectives.dilate_loss,
        arguments=lambda generator, batch: {
            n: x for n, x in draw_forecasts(generator, batch).items() if n != "lengths"
        },
        masked=("predictions", "targets"),
        smooth=1,
        degenerate={n: {k: x for k, x in c.items() if k != "lengths"} for n, c in FORECAST_EDGES.items()},
        faults=(
            Fault(
                {"predictions": np.ones(4, np.float32), "targets": np.ones(4, np.float32)}, ValueError, ("predictions",)
            ),
        ),
        elsewhere=("lengths",),
        **{
            **SERIES,
            "hyperparameters": {**SERIES["hyperparameters"], "alpha": (0.0, 0.5, 1.0)},
            "refused": {**SERIES["refused"], "alpha": (-0.1, 1.1)},
        },
    ),
    Objective(
        name="dilate_loss[lengths]",
        function=objectives.dilate_loss,
        arguments=draw_forecasts,
        masked=("predictions", "targets", "lengths"),
        smooth=1,
        elsewhere=("alpha",),
        **SERIES,
    ),
    entrywise(objectives.madl, differentiable=("predictions",), smooth=0),
    entrywise(
        objectives.gmadl,
        differentiable=("predictions",),
        smooth=2,
        hyperparameters={"sharpness": (0.5, 2.0), "power": (0.0, 0.5, 2.0)},
        refused={"sharpness": POSITIVE, "power": (-1.0,)},
        degenerate={
            **FLAT,
            "large": {"predictions": np.full(4, -1e4)},
            "saturated": {"targets": np.full(4, 1e4), "predictions": np.ones(4)},
        },
    ),
    Objective(
        name="signal_decay_loss",
        function=objectives.signal_decay_loss,
        options={"loss": objectives.squared_error},
        # The weight of an entry is that of its place, which taking others away changes.
        removable=False,
        **{
            **SIGNAL_ROWS,
            "hyperparameters": {"power": (0.0, 0.5, 2.0)},
            "refused": {"power": (-0.5,)},
            "faults": (*ROWS["faults"], Fault({"loss": "absolute"}, TypeError)),
        },
    ),
    Objective(
        name="mean_absolute_scaled_error",
        function=objectives.mean_absolute_scaled_error,
        options={"seasonality": 2},
        smooth=1,
        **{
            **SIGNAL_ROWS,
            "arguments": draw_with_history,
            "differentiable": ("predictions", "targets", "history"),
            "degenerate": {
                "a past that does not move": {"history": np.ones(6)},
                "a past that does not move, no error": {
                    "history": np.ones(6),
                    "predictions": np.ones(4),
                    "targets": np.ones(4),
                },
                "a past that is masked": {"history_where": np.zeros(6, bool)},
            },
            "faults": (
                *ROWS["faults"],
                Fault({"history": np.ones((6, 1), np.float32)}, ValueError),
                Fault({"history": np.float32(1.0)}, ValueError),
                Fault({"seasonality": 6}, ValueError),
                Fault({"seasonality": 1.0}, TypeError),
            ),
        },
    ),
    Objective(
        name="sdsc_loss",
        function=objectives.sdsc_loss,
        elsewhere=("sharpness",),
        smooth=1,
        **{**SIGNAL_ROWS, "hyperparameters": {"epsilon": (1e-6, 0.1)}, "refused": {"epsilon": POSITIVE}},
    ),
    Objective(
        name="sdsc_hybrid_loss",
        function=objectives.sdsc_hybrid_loss,
        # The soft gate has no gradient, which finite differences would see.
        smooth=0,
        **{
            **SIGNAL_ROWS,
            "arguments": draw_signals,
            "differentiable": ("predictions", "targets", "scales"),
            "hyperparameters": {"sharpness": (0.5, 5.0), "epsilon": (1e-6, 0.1)},
            "refused": {"epsilon": POSITIVE, "sharpness": POSITIVE},
            "faults": (*ROWS["faults"], Fault({"scales": np.ones(3, np.float32)}, ValueError)),
        },
    ),
    Objective(
        name="sdsc_loss[soft]",
        function=objectives.sdsc_loss,
        smooth=0,
        elsewhere=("epsilon",),
        **{**SIGNAL_ROWS, "hyperparameters": {"sharpness": (0.5, 5.0)}, "refused": {"sharpness": POSITIVE}},
    ),
]

FUNCTIONS = [
    Function(
        name="horizon_decay_weights",
        function=objectives.horizon_decay_weights,
        traced=lambda generator: {"power": np.float32(generator.random())},
        static={"steps": 3},
        shape=(3,),
        refused={"power": (-1.0,)},
        faults=(Fault({"steps": 0}, ValueError), Fault({"steps": 2.5}, TypeError)),
    ),
]
