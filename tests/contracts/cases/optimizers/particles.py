"""Cases of the updates of particles."""

import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function

import optimizers


def draw(generator: np.random.Generator, *names: str) -> dict[str, np.ndarray]:
    shapes = {"particles": (5, 2), "scores": (5, 2), "outputs": (5, 3), "targets": (3,)}
    return {name: np.float32(generator.normal(size=shapes[name])) for name in names}


FUNCTIONS = [
    Function(
        name="svgd_direction",
        function=optimizers.svgd_direction,
        traced=lambda generator: draw(generator, "particles", "scores"),
        elsewhere=("bandwidth",),
        shape=(5, 2),
        faults=(Fault({"scores": jnp.ones((5, 1))}, ValueError), Fault({"particles": jnp.ones(5)}, ValueError)),
    ),
    Function(
        name="svgd_direction[bandwidth]",
        function=optimizers.svgd_direction,
        traced=lambda generator: {
            **draw(generator, "particles", "scores"),
            "bandwidth": np.float32(generator.uniform(0.5, 2.0)),
        },
        shape=(5, 2),
        refused={"bandwidth": (0.0,)},
        numbers=("bandwidth",),
    ),
    Function(
        name="ensemble_kalman_step",
        function=optimizers.ensemble_kalman_step,
        traced=lambda generator: {
            **draw(generator, "particles", "outputs", "targets"),
            "noise_precision": np.float32(generator.uniform(0.5, 2.0, 3)),
            "scale": np.float32(generator.uniform(0.5, 2.0)),
        },
        shape=(5, 2),
        refused={"noise_precision": (-1.0,), "scale": ()},
        numbers=("scale",),
        faults=(
            Fault({"particles": jnp.ones((4, 2))}, ValueError),
            Fault({"outputs": jnp.ones(5)}, ValueError),
            Fault({"targets": jnp.ones(2)}, ValueError),
            Fault({"noise_precision": jnp.ones(2)}, ValueError),
            Fault({"noise_precision": jnp.array([1.0, -1.0, 1.0])}, ValueError),
        ),
    ),
]
