"""Cases of the maximal update parametrisation."""

from typing import Any

import jax
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation

import optimizers


def half_as_wide(params: Any) -> Any:
    """A base model: matrices of half as many rows, where they have an even number."""

    def leaf(p: Any) -> jax.ShapeDtypeStruct:
        rows = [p.shape[0] // 2] if p.ndim == 2 and p.shape[0] else list(p.shape[:1])
        return jax.ShapeDtypeStruct((*rows, *p.shape[1:]), p.dtype)

    return jax.tree.map(leaf, params)


ADAM: dict[str, Any] = {
    "hyperparameters": {"learning_rate": 0.1, "b1": 0.9, "b2": 0.95, "eps": 1e-3},
    "refused": {"learning_rate": (-0.1,), "b1": (-0.1, 1.0), "b2": (-0.1, 1.0), "eps": (-0.1,)},
    "switches": {"is_output": lambda path: False},
    "moments": 2,
}
RATE = {"learning_rate": 0.1, "base": half_as_wide}

TRANSFORMATIONS = [
    Transformation(
        name="mup_scale",
        function=optimizers.mup_scale,
        arguments={"base": half_as_wide},
        switches={"optimizer": "sgd", "is_output": lambda path: False},
        faults=(Fault({"optimizer": "newton"}, ValueError),),
    ),
    Transformation(name="mup_adam", function=optimizers.mup_adam, arguments=RATE, schedules=("learning_rate",), **ADAM),
    Transformation(
        name="mup_adamw",
        function=optimizers.mup_adamw,
        arguments={**RATE, "weight_decay": 0.01},
        schedules=("learning_rate", "weight_decay"),
        **{
            **ADAM,
            "hyperparameters": {**ADAM["hyperparameters"], "weight_decay": 0.01},
            "refused": {**ADAM["refused"], "weight_decay": (-0.1,)},
        },
    ),
]

OPTAX_SUITE = [("mup_adamw", optimizers.mup_adamw, {"learning_rate": 1e-2, "base": lambda params: params})]


def layers(width: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(width)
    shapes = {"bias": (width,), "hidden": (width, width), "input": (3, width), "output": (width, 2), "fixed": (2,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


FUNCTIONS = [
    Function(
        name="mup_multipliers",
        function=optimizers.mup_multipliers,
        traced=lambda generator: {},
        static={"params": layers(8), "base": layers(4), "optimizer": "sgd", "is_output": lambda path: path == "output"},
        use=lambda function, arguments: function(**arguments)["output"],
        host=True,
        faults=(
            Fault({"optimizer": "newton"}, ValueError),
            Fault({"base": {}}, ValueError),
            Fault({"base": {**layers(4), "bias": np.ones((4, 4))}}, ValueError),
        ),
    ),
    Function(
        name="mup_init",
        function=optimizers.mup_init,
        traced=lambda generator: {
            "params": {name: generator.normal(size=x.shape).astype(np.float32) for name, x in layers(8).items()}
        },
        static={"base": layers(4), "is_output": lambda path: path == "output"},
        shapes=((8,), (2,), (8, 8), (3, 8), (8, 2)),
        faults=(Fault({"base": {}}, ValueError),),
    ),
]
