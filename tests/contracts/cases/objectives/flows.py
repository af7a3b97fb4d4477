"""Cases of the path gradients of normalizing flows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function

import objectives


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
