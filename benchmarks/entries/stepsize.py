"""One training update of the transformations that read the loss, ours beside optax's."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import optax

from benchmarks.entries.optimizers import entries


def given_value(tx: optax.GradientTransformationExtraArgs) -> optax.GradientTransformation:
    """`tx` with a loss of one at every step."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        moved, state = tx.update(updates, state, params, value=jnp.float32(1.0))
        return moved, state

    return optax.GradientTransformation(tx.init, update)


# Words: gradient, parameter and moments are read, moments written and read again for their sums; then parameter and
# moments are read once more, and the parameter written.
ENTRIES = [
    *entries("momo", lambda package: given_value(package.momo(1.0)), words=9, goal=1.05, peer=optax.contrib),
    # XLA's kernel for sums on CPUs wants a scalar of momo_adam's metric as large as a parameter; Optax needs two.
    *(
        replace(entry, temp_free=False)
        for entry in entries(
            "momo_adam", lambda package: given_value(package.momo_adam(1e-2)), words=13, goal=1.05, peer=optax.contrib
        )
    ),
]
