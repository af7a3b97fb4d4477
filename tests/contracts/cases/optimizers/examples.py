"""Cases of the rules of many gradients (of tasks and of examples), and of what goes with them."""

import jax.numpy as jnp
import numpy as np
from contracts.aggregator_checks import Aggregator
from contracts.cases.optimizers.aggregation import GRAMIAN_FAULTS, draw_gramian
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.gradient_checks import GradientRule

import optimizers

CHUNK_FAULTS = Fault({"chunk": 0}, ValueError), Fault({"chunk": 1.5}, TypeError)


def is_kernel(path: str) -> bool:
    return path == "kernel"


RULES = [
    GradientRule(
        name="per_task[shared]",
        function=optimizers.per_task,
        arguments={"shared": is_kernel},
        switches={"sequential": True},
        per_task=True,
        stacked=is_kernel,
        faults=(Fault({"shared": "kernel"}, TypeError),),
    ),
    GradientRule(
        name="per_example",
        function=optimizers.per_example,
        switches={"chunk": 2},
        per_example=True,
        faults=CHUNK_FAULTS,
    ),
    GradientRule(
        name="jacobian_descent",
        function=optimizers.jacobian_descent,
        arguments={"weighting": lambda gramian: jnp.exp(-jnp.sum(gramian, axis=0))},  # compiles faster than UPGrad's
        switches={"chunk": 2},
        vector_loss=True,
        faults=(*CHUNK_FAULTS, Fault({"weighting": "upgrad"}, TypeError)),
    ),
    GradientRule(
        name="private_gradient",
        function=optimizers.private_gradient,
        arguments={"clip_norm": 0.5, "noise_multiplier": 1.0, "expected_batch_size": 8.0},
        hyperparameters={"clip_norm": 0.5, "noise_multiplier": 1.0},
        refused={"clip_norm": (-1.0, 0.0), "noise_multiplier": (-1.0,), "expected_batch_size": (-1.0, 0.0)},
        switches={"chunk": 2},
        quiet={"noise_multiplier": 0.0},
        faults=CHUNK_FAULTS,
    ),
]

AGGREGATORS = [
    Aggregator(
        name="shared_only",
        function=optimizers.shared_only,
        arguments={"aggregator": optimizers.upgrad(), "shared": lambda path: True},
        inner=optimizers.upgrad,
        conflict=1e-4,
        faults=(Fault({"aggregator": "upgrad"}, TypeError), Fault({"shared": "trunk"}, TypeError)),
    ),
]

FUNCTIONS = [
    Function(
        name="gramian",
        function=optimizers.gramian,
        traced=lambda generator: {"tree": generator.normal(size=(3, 5)).astype(np.float32)},
        shape=(3, 3),
        faults=(Fault({"tree": jnp.float32(1.0)}, ValueError, ("leading axis",)),),
        source=False,
    ),
    Function(
        name="conflict_rate",
        function=optimizers.conflict_rate,
        traced=lambda generator: {"gramian": draw_gramian(generator)},
        faults=GRAMIAN_FAULTS,
    ),
    Function(
        name="privacy_epsilon",
        function=optimizers.privacy_epsilon,
        traced=lambda generator: {"noise_multiplier": 2.0, "sample_rate": 0.25, "delta": 1e-5},
        static={"steps": 3},
        refused={
            "noise_multiplier": (-1.0, 0.0),
            "sample_rate": (-0.1, 0.0, 1.1),
            "delta": (-0.1, 0.0, 1.0),
        },
        numbers=("noise_multiplier", "sample_rate", "delta"),
        faults=(Fault({"steps": 0}, ValueError), Fault({"steps": 1.5}, TypeError)),
        host=True,
    ),
]
