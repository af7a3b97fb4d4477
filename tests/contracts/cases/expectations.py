"""Cases of the expectations and of the path gradients of flows."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives

SAMPLES = 5
OUTCOMES = 3
Generator = np.random.Generator


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


def forward(params: jax.Array, z: jax.Array) -> jax.Array:
    return params[0] + jnp.exp(params[1]) * z


def inverse(params: jax.Array, x: jax.Array) -> jax.Array:
    return (x - params[0]) * jnp.exp(-params[1])


def log_prob(params: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.sum(-0.5 * inverse(params, x) ** 2 - params[1] - 0.5 * np.log(2 * np.pi), axis=-1)


def energy(x: jax.Array) -> jax.Array:
    return jnp.sum(0.5 * x**2, axis=-1)


FLOW: dict[str, Any] = {"forward_fn": forward, "log_prob_fn": log_prob, "energy_fn": energy}


def flow_faults(samples: str) -> tuple[Fault, ...]:
    return (
        Fault({"forward_fn": 1.0}, TypeError),
        Fault({"log_prob_fn": None}, TypeError),
        Fault({"energy_fn": None}, TypeError),
        Fault({"log_prob_fn": lambda f: lambda params, x: f(params, x)[:, None]}, ValueError),
        Fault({"energy_fn": lambda f: lambda x: f(x).sum()}, ValueError),
        Fault({samples: lambda x: x.astype(jnp.int32)}, TypeError),
        Fault({samples: np.float32(1.0)}, ValueError),
    )


FUNCTIONS = [
    Function(
        name="path_gradient_reverse_kl",
        function=objectives.path_gradient_reverse_kl,
        traced=lambda generator: {"params": np.array([0.5, 0.2]), "z": generator.normal(size=(4, 2))},
        static=FLOW,
        shape=(4,),
        faults=flow_faults("z"),
    ),
    Function(
        name="path_gradient_forward_kl",
        function=objectives.path_gradient_forward_kl,
        traced=lambda generator: {"params": np.array([0.5, 0.2]), "x": generator.normal(size=(4, 2))},
        static={**FLOW, "inverse_fn": inverse},
        shape=(4,),
        faults=(*flow_faults("x"), Fault({"inverse_fn": "x"}, TypeError)),
    ),
]
