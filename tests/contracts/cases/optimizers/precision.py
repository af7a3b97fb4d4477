"""Cases of what trains in 16 bits.

The contracts compare a rule with the gradient in the parameters' own dtype, so the cases of `mixed_precision` compute
in one that nothing is wider than; casts have tests of their own, in tests/optimizers/precision.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from contracts.common import Fault
from contracts.function_checks import Function, Type
from contracts.gradient_checks import GradientRule
from contracts.optimizer_checks import Transformation

import optimizers

INNER_FAULT = Fault({"inner": "sgd"}, TypeError)

TRANSFORMATIONS = [
    Transformation(
        name="with_master_weights",
        function=optimizers.with_master_weights,
        arguments={"inner": optax.sgd(0.1)},
        moments=1,
        faults=(INNER_FAULT,),
    ),
    Transformation(
        name="with_kahan_summation",
        function=optimizers.with_kahan_summation,
        arguments={"inner": optax.sgd(0.1)},
        moments=1,
        wide_moments=False,
        elementwise=False,  # parameter and compensation each need the other's old value: one of them waits
        faults=(INNER_FAULT,),
    ),
]


def master_sgd(learning_rate: optax.ScalarOrSchedule, momentum=0.9):
    return optimizers.with_master_weights(optax.sgd(learning_rate, momentum))


def kahan_sgd(learning_rate: optax.ScalarOrSchedule, momentum=0.9):
    return optimizers.with_kahan_summation(optax.sgd(learning_rate, momentum))


OPTAX_SUITE = [
    ("master_sgd", master_sgd, {"learning_rate": 1e-3}),
    ("kahan_sgd", kahan_sgd, {"learning_rate": 1e-3}),
]

RULES = [
    GradientRule(
        name="mixed_precision",
        function=optimizers.mixed_precision,
        arguments={"compute_dtype": jnp.float64},
        hyperparameters={"loss_scale": 1024.0},
        refused={"loss_scale": (0.0, -1.0)},
        switches={"cast_batch": False, "keep": lambda path: "bias" in path, "inner": optimizers.accumulate(2)},
        faults=(
            Fault({"compute_dtype": jnp.int8}, TypeError),
            Fault({"compute_dtype": "half a float"}, TypeError),
            Fault({"inner": "backprop"}, TypeError),
            Fault({"keep": "bias"}, TypeError),
        ),
    ),
    GradientRule(
        name="mixed_precision[dynamic]",
        function=optimizers.mixed_precision,
        arguments={"compute_dtype": jnp.float64, "loss_scale": optimizers.dynamic_loss_scale()},
        elsewhere=("inner", "cast_batch", "keep"),
    ),
]


def adjusted(function: Any, arguments: Mapping[str, Any]) -> Any:
    """The scale after one step, whose gradients are finite where the given number is."""
    settings = {name: value for name, value in arguments.items() if name != "gradient"}
    scaling = function(**settings)
    return scaling.adjust(scaling.init(), jnp.isfinite(arguments["gradient"])).scale


def added(function: Any, arguments: Mapping[str, Any]) -> Any:
    return function(**arguments)["w"].astype(jnp.float32)


FUNCTIONS = [
    Function(
        name="dynamic_loss_scale",
        function=optimizers.dynamic_loss_scale,
        traced=lambda generator: {
            "initial_scale": np.float32(2.0 ** generator.integers(8)),
            "gradient": np.float32(generator.choice([1.0, np.inf])),
        },
        static={"period": 1, "factor": 2.0, "min_scale": 1.0, "max_scale": 64.0},
        use=adjusted,
        refused={"initial_scale": (0.0,), "factor": (1.0, 0.5), "min_scale": (0.0,), "max_scale": (-1.0,)},
        numbers=("initial_scale", "factor", "min_scale", "max_scale"),
        faults=(Fault({"period": 0}, ValueError), Fault({"period": 1.5}, TypeError)),
    ),
    Function(
        name="apply_updates_stochastic_rounding",
        function=optimizers.apply_updates_stochastic_rounding,
        traced=lambda generator: {
            "params": {"w": generator.normal(size=4).astype(jnp.bfloat16)},
            "updates": {"w": np.float32(1e-3 * generator.normal(size=4))},
            "step": np.int32(generator.integers(100)),
        },
        use=added,
        shape=(4,),
    ),
]

TYPES = [
    Type(name="LossScale", type=optimizers.LossScale),
    Type(name="LossScaling", type=optimizers.LossScaling),
]
