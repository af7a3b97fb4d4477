"""Cases of the games of generative adversarial networks."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    Generator,
)
from contracts.common import Fault
from contracts.objective_checks import Objective, Shape

import objectives


def draw_scores(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"scores": 2.0 * generator.normal(size=batch)}


def draw_judged_scores(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_scores(generator, batch), "real": generator.integers(0, 2, batch).astype(float)}


SCORES = np.array([1e4, -1e4, 0.0, 1e4])
GENERATOR: dict[str, Any] = {
    "arguments": draw_scores,
    "differentiable": ("scores",),
    "masked": ("scores",),
    "degenerate": {"sure": {"scores": SCORES}, "nothing": {"scores": np.zeros(0)}},
}
DISCRIMINATOR: dict[str, Any] = {
    "arguments": draw_judged_scores,
    "differentiable": ("scores",),
    "masked": ("scores", "real"),
    "degenerate": {
        "sure": {"scores": SCORES, "real": np.array([1.0, 1.0, 0.0, 0.0])},
        "smoothed": {"scores": SCORES, "real": np.full(4, 0.9)},
    },
}


def critic(examples: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sin(examples) + examples**2, axis=-1)


CRITIC_FAULTS = (
    Fault({"critic": 1.0}, TypeError),
    Fault({"critic": functools.partial(jnp.multiply, 2.0)}, ValueError),
)


def draw_examples(name: str) -> Callable[[Generator, Shape], Mapping[str, Any]]:
    return lambda generator, batch: {name: generator.normal(size=(*batch, 3))}


def draw_example_pairs(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "real_examples": generator.normal(size=(*batch, 3)),
        "generated_examples": generator.normal(size=(*batch, 3)),
    }


CASES = [
    *(
        Objective(name=function.__name__, function=function, **DISCRIMINATOR, **settings)
        for function, settings in (
            (objectives.minimax_discriminator_loss, {}),
            (objectives.hinge_discriminator_loss, {"smooth": 1}),
            (objectives.wasserstein_critic_loss, {}),
            (
                objectives.least_squares_discriminator_loss,
                {"hyperparameters": {"real_score": (1.0, 0.9), "generated_score": (-1.0, 0.0)}},
            ),
        )
    ),
    *(
        Objective(name=function.__name__, function=function, **GENERATOR, **settings)
        for function, settings in (
            (objectives.minimax_generator_loss, {}),
            (objectives.non_saturating_generator_loss, {}),
            (objectives.wasserstein_generator_loss, {}),
            (objectives.least_squares_generator_loss, {"hyperparameters": {"real_score": (0.0, 1.0)}}),
        )
    ),
    Objective(
        name="gradient_penalty",
        function=objectives.gradient_penalty,
        arguments=draw_example_pairs,
        batches=((4,), (2,)),
        differentiable=("real_examples", "generated_examples"),
        masked=("real_examples", "generated_examples"),
        options={"critic": critic, "key": jax.random.key(0)},
        hyperparameters={"weight": (0.0, 10.0), "norm": (0.0, 1.0)},
        refused={"weight": (-1.0,), "norm": (-1.0,)},
        degenerate={"no gradient": {"real_examples": np.zeros((4, 3)), "generated_examples": np.zeros((4, 3))}},
        faults=(*CRITIC_FAULTS, Fault({"key": 0}, TypeError)),
        smooth=1,
        removable=False,  # the places between the pairs are drawn for the whole batch
    ),
    Objective(
        name="r1_penalty",
        function=objectives.r1_penalty,
        arguments=draw_examples("examples"),
        batches=((4,), (2,)),
        differentiable=("examples",),
        masked=("examples",),
        options={"critic": critic},
        hyperparameters={"weight": (0.0, 10.0)},
        refused={"weight": (-1.0,)},
        degenerate={"far away": {"examples": np.full((4, 3), 1e3)}},
        faults=(*CRITIC_FAULTS, Fault({"examples": np.float32(1.0)}, ValueError)),
        smooth=1,
    ),
]
