"""Cases of the penalties of recurrent networks."""

import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.objective_checks import Objective

import objectives

UNITS = 3


def arrays(*names):
    """Normal numbers under these names; a kernel has no batch."""

    def draw(generator, batch):
        shapes = dict.fromkeys(names, (*batch, UNITS)) | {"recurrent_kernel": (UNITS, UNITS)}
        return {name: generator.normal(size=shapes[name]) for name in names}

    return draw


ZEROS = np.zeros((4, UNITS))


CASES = [
    Objective(
        name="vanishing_gradient_regularizer",
        function=objectives.vanishing_gradient_regularizer,
        arguments=arrays("products", "upstream"),
        differentiable=("products",),
        masked=("products", "upstream"),
        degenerate={
            "no gradient arrives": {"upstream": ZEROS},
            "no gradient leaves": {"products": ZEROS},
            "huge": {"products": np.full((4, UNITS), 1e4), "upstream": np.full((4, UNITS), 1e4)},
        },
        faults=(
            Fault({"upstream": jnp.ones((4, 2))}, ValueError),
            Fault({"products": jnp.ones((4, UNITS), int)}, TypeError),
        ),
    ),
    Objective(
        name="recurrent_flow_penalty",
        function=objectives.recurrent_flow_penalty,
        arguments=arrays("recurrent_kernel", "derivatives", "upstream"),
        differentiable=("recurrent_kernel",),
        masked=("derivatives", "upstream"),
        degenerate={
            "no gradient arrives": {"upstream": ZEROS},
            "saturated units": {"derivatives": ZEROS},
            "no recurrence": {"recurrent_kernel": np.zeros((UNITS, UNITS))},
        },
        faults=(
            Fault({"recurrent_kernel": jnp.ones((UNITS, 2))}, ValueError),
            Fault({"upstream": jnp.ones((4, 2))}, ValueError),
            Fault({"derivatives": jnp.ones((4, UNITS), int)}, TypeError),
        ),
    ),
]
