"""Cases of the losses of several tasks made one."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

import objectives

TASKS = 3
PREFERENCE = np.array([0.5, 0.3, 0.2])


def draw_losses(generator: np.random.Generator, batch: Shape) -> Mapping[str, Any]:
    return {"losses": 0.5 + 2.0 * generator.random((*batch, TASKS))}


def draw_preferred(generator: np.random.Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_losses(generator, batch), "preference": PREFERENCE}


def draw_above_ideal(generator: np.random.Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_preferred(generator, batch), "ideal": 0.5 * generator.random((*batch, TASKS))}


def draw_bounds(generator: np.random.Generator, batch: Shape) -> Mapping[str, Any]:
    return {"mean": generator.normal(size=batch), "std": generator.random(batch)}


EDGES: dict[str, Mapping[str, Any]] = {
    "no loss": {"losses": np.zeros((4, TASKS))},
    "one loss of zero": {"losses": np.ones((4, TASKS)) * np.array([1.0, 0.0, 2.0])},
    "equal losses": {"losses": np.ones((4, TASKS))},
    "large losses": {"losses": np.full((4, TASKS), 1e4)},
    "no examples": {"losses": np.ones((0, TASKS))},
}
FAULTS = (
    Fault({"losses": np.float32(1.0)}, ValueError),
    Fault({"losses": np.ones((4, 0), np.float32)}, ValueError),
)
PER_TASK: dict[str, Any] = {"differentiable": ("losses",), "degenerate": EDGES, "faults": FAULTS}
PREFERRED: dict[str, Any] = {
    **PER_TASK,
    "arguments": draw_preferred,
    "degenerate": {
        **EDGES,
        "single task": {"losses": np.ones((4, 1)), "preference": np.ones(1)},
        "along the preference": {"losses": np.tile(PREFERENCE, (4, 1))},
    },
    "faults": (
        *FAULTS,
        Fault({"preference": np.ones(TASKS + 1)}, ValueError),
        Fault({"preference": np.ones((1, TASKS))}, ValueError),
        Fault({"preference": np.ones(TASKS, complex)}, TypeError),
    ),
}
ABOVE_IDEAL: dict[str, Any] = {
    **PREFERRED,
    "arguments": draw_above_ideal,
    "degenerate": {
        name: {"ideal": np.zeros_like(changes["losses"]), **changes}
        for name, changes in PREFERRED["degenerate"].items()
    },
    "faults": (*PREFERRED["faults"], Fault({"ideal": np.zeros(TASKS + 1)}, ValueError)),
}


def trained(name: str) -> dict[str, Any]:
    """The settings of a loss with one trained parameter a task."""
    return {
        **PER_TASK,
        "arguments": lambda generator, batch: {
            **draw_losses(generator, batch),
            name: generator.normal(size=TASKS),
        },
        "differentiable": ("losses", name),
        # The gradient of a shared parameter adds up over the batch, and must not overflow float16.
        "degenerate": {**EDGES, "large losses": {"losses": np.full((4, TASKS), 1e3)}},
        "faults": (*FAULTS, Fault({name: np.ones(TASKS + 1, np.float32)}, ValueError)),
    }


CASES = [
    Objective(
        name="geometric_mean_loss",
        function=objectives.geometric_mean_loss,
        arguments=draw_losses,
        **{**PER_TASK, "degenerate": {**EDGES, "single task": {"losses": np.zeros((4, 1))}}},
    ),
    Objective(
        name="chebyshev_scalarization",
        function=objectives.chebyshev_scalarization,
        hyperparameters={"augmentation": (0.0, 0.05, 1.0)},
        refused={"augmentation": (-0.1,)},
        **ABOVE_IDEAL,
    ),
    Objective(
        name="smooth_chebyshev_scalarization",
        function=objectives.smooth_chebyshev_scalarization,
        hyperparameters={"smoothing": (1e-3, 0.1, 1.0)},
        refused={"smoothing": (0.0, -0.1)},
        **ABOVE_IDEAL,
    ),
    Objective(
        name="pbi_scalarization",
        function=objectives.pbi_scalarization,
        hyperparameters={"theta": (0.0, 5.0)},
        refused={"theta": (-0.1,)},
        **ABOVE_IDEAL,
    ),
    Objective(
        name="cosmos_scalarization",
        function=objectives.cosmos_scalarization,
        hyperparameters={"penalty": (0.0, 0.1, 8.0)},
        refused={"penalty": (-0.1,)},
        **PREFERRED,
    ),
    Objective(
        name="uncertainty_weighted_loss",
        function=objectives.uncertainty_weighted_loss,
        **trained("log_variances"),
    ),
    Objective(name="imtl_l_loss", function=objectives.imtl_l_loss, **trained("log_scales")),
    Objective(
        name="random_scalarization",
        function=objectives.random_scalarization,
        arguments=draw_losses,
        options={"key": jax.random.key(0)},
        **{**PER_TASK, "faults": (*FAULTS, Fault({"key": 0}, TypeError))},
    ),
    Objective(
        name="lower_confidence_bound",
        function=objectives.lower_confidence_bound,
        arguments=draw_bounds,
        differentiable=("mean", "std"),
        hyperparameters={"beta": (0.0, 0.5, 2.0)},
        refused={"beta": (-0.1,)},
        degenerate={"certain": {"std": np.zeros(4)}},
        faults=(Fault({"std": np.ones((4, 1), np.float32)}, ValueError),),
    ),
]
