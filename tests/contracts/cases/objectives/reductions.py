"""Cases of means and sums."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import Generator
from contracts.objective_checks import Objective, Shape

import objectives


def draw_values(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"values": generator.normal(size=batch), "weights": generator.random(batch)}


REDUCTION: dict[str, Any] = {
    "arguments": draw_values,
    "differentiable": ("values", "weights"),
    "shape": lambda batch: (),
    "masked": ("values", "weights"),
    "integers": True,
    "degenerate": {"nothing": {"values": np.zeros(0), "weights": np.zeros(0)}, "no weight": {"weights": np.zeros(4)}},
    "source": False,
}


CASES = [
    Objective(name="reduce_sum", function=objectives.reduce_sum, elsewhere=("axis",), **REDUCTION),
    Objective(name="reduce_mean", function=objectives.reduce_mean, elsewhere=("axis",), **REDUCTION),
    *(
        Objective(
            name=f"{function.__name__}[axis=-1]",
            function=function,
            options={"axis": -1},
            batches=((4,), (2, 3)),
            **{**REDUCTION, "shape": lambda batch: batch[:-1]},
        )
        for function in (objectives.reduce_sum, objectives.reduce_mean)
    ),
]
