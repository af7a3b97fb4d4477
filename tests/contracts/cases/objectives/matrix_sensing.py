"""Cases of low-rank matrices from linear measurements."""

import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.objective_checks import Objective

import objectives

CASES = [
    Objective(
        name="matrix_sensing_loss",
        function=objectives.matrix_sensing_loss,
        arguments=lambda generator, batch: {
            "factor": generator.normal(size=(3, 2)),
            "sensing": generator.normal(size=(*batch, 3, 3)),
            "measurements": generator.normal(size=batch),
        },
        differentiable=("factor", "sensing", "measurements"),
        masked=("sensing", "measurements"),
        degenerate={"zero factor": {"factor": np.zeros((3, 2))}},
        faults=(
            Fault({"sensing": jnp.ones((4, 3, 2))}, ValueError),
            Fault({"factor": jnp.ones(3)}, ValueError),
            Fault({"measurements": jnp.ones(4, int)}, TypeError),
        ),
    ),
]
