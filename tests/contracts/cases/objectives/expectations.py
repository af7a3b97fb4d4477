"""Cases of evidence bounds and estimators of an expected value's gradient."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import Generator
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

import objectives

SAMPLES = 5
OUTCOMES = 3


def draw_log_densities(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"log_joint": generator.normal(size=(SAMPLES, *batch)), "log_q": generator.normal(size=(SAMPLES, *batch))}


def draw_log_weights(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"log_weights": 2.0 * generator.normal(size=(SAMPLES, *batch))}


def draw_scored(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"values": generator.normal(size=batch), "log_probs": -generator.random(batch)}


def draw_outcomes(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    probs = generator.dirichlet(np.ones(OUTCOMES), size=batch)
    return {"probs": probs, "values": generator.normal(size=(*batch, OUTCOMES))}


def draw_normals(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"mean": generator.normal(size=batch), "std": 0.5 + generator.random(batch)}


# The gradient of a surrogate is not that of its value, which finite differences would see: smooth=0.
SCORED: dict[str, Any] = {
    "function": objectives.score_function_surrogate,
    "arguments": draw_scored,
    "differentiable": ("values", "log_probs"),
    "smooth": 0,
    "degenerate": {"certain": {"log_probs": np.zeros(4)}, "improbable": {"log_probs": np.full(4, -1e4)}},
    "faults": (Fault({"log_probs": np.ones((4, 1), np.float32)}, ValueError), Fault({"baseline": "mean"}, ValueError)),
}


CASES = [
    Objective(
        name="elbo",
        function=objectives.elbo,
        arguments=draw_log_densities,
        differentiable=("log_joint", "log_q"),
        degenerate={"one sample": {"log_joint": np.ones((1, 4)), "log_q": np.ones((1, 4))}},
        faults=(
            Fault({"log_q": np.ones((SAMPLES, 1), np.float32)}, ValueError),
            Fault({"log_joint": np.ones((0, 4), np.float32)}, ValueError),
            Fault({"log_joint": np.float32(1.0)}, ValueError),
        ),
    ),
    Objective(
        name="iwelbo",
        function=objectives.iwelbo,
        arguments=draw_log_weights,
        differentiable=("log_weights",),
        degenerate={
            "large weights": {"log_weights": np.full((SAMPLES, 4), 1e4)},
            "an impossible sample": {"log_weights": np.where(np.arange(SAMPLES)[:, None] == 0, -np.inf, np.ones(4))},
        },
        faults=(Fault({"log_weights": np.ones((0, 4), np.float32)}, ValueError),),
    ),
    Objective(name="score_function_surrogate", options={"baseline": 0.5}, **SCORED),
    Objective(
        name="score_function_surrogate[leave_one_out]",
        options={"baseline": "leave_one_out"},
        **{
            **SCORED,
            "batches": ((4,), (2, 3)),
            "faults": (
                Fault({"values": np.ones(1, np.float32), "log_probs": np.ones(1, np.float32)}, ValueError, ("values",)),
                Fault({"baseline": np.ones(3)}, ValueError),
            ),
        },
    ),
    Objective(
        name="enumerated_expectation",
        function=objectives.enumerated_expectation,
        arguments=draw_outcomes,
        differentiable=("probs", "values"),
        degenerate={
            "certain": {"probs": np.eye(4, OUTCOMES)},
            "impossible and infinite": {
                "probs": np.tile([0.0, 0.5, 0.5], (4, 1)),
                "values": np.tile([np.inf, 1.0, 2.0], (4, 1)),
            },
        },
        faults=(
            Fault({"values": np.ones((4, OUTCOMES + 1), np.float32)}, ValueError),
            Fault({"probs": np.ones((4, 0), np.float32)}, ValueError),
        ),
    ),
    Objective(
        name="normal_expectation",
        function=objectives.normal_expectation,
        arguments=draw_normals,
        differentiable=("mean", "std"),
        options={"integrand": jnp.tanh, "key": jax.random.key(0)},
        smooth=0,
        degenerate={"narrow": {"std": np.full(4, 1e-2)}},
        faults=(
            Fault({"std": np.ones((4, 1), np.float32)}, ValueError),
            Fault({"integrand": 1.0}, TypeError),
            Fault({"integrand": lambda f: lambda x: f(x).sum()}, ValueError),
            Fault({"key": 0}, TypeError),
        ),
    ),
]
