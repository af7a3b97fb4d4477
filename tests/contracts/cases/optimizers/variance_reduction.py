"""Cases of the gradient rules with reduced variance, and of the test that sizes batches."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.gradient_checks import GradientRule, examples

import optimizers

TABULAR: dict[str, Any] = {
    "arguments": {"examples": 6, "index": lambda batch: jnp.arange(4)},
    "faults": (
        Fault({"examples": 0}, ValueError),
        Fault({"examples": 1.5}, TypeError),
        Fault({"index": "index"}, TypeError),
    ),
}

RULES = [
    GradientRule(
        name="svrg",
        function=optimizers.svrg,
        arguments={"full_batch": examples(seed=7), "inner_steps": 3},
        switches={"inner": optimizers.accumulate(2)},
        faults=(
            Fault({"inner_steps": 0}, ValueError),
            Fault({"inner_steps": 1.5}, TypeError),
            Fault({"inner": "backprop"}, TypeError),
        ),
    ),
    GradientRule(name="saga", function=optimizers.saga, **TABULAR),
    GradientRule(name="sag", function=optimizers.sag, **TABULAR),
]

FUNCTIONS = [
    Function(
        name="norm_test_batch_size",
        function=optimizers.norm_test_batch_size,
        traced=lambda generator: {
            "gradients": {"a": generator.normal(size=(5, 3)).astype(np.float32)},
            "chi": np.float32(generator.uniform(0.5, 2.0)),
        },
        refused={"chi": (0.0, -1.0)},
        numbers=("chi",),
        faults=(
            Fault({"gradients": jnp.ones((1, 3))}, ValueError),
            Fault({"gradients": {"a": jnp.ones((2, 3)), "b": jnp.ones(3)}}, ValueError),
        ),
    )
]
