"""Cases of the manifolds and of the methods on them.

The contracts of transformations speak of any parameters, so the cases have them in flat space; points on curved
manifolds have tests of their own, in tests/optimizers/riemannian.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.optimizer_checks import Transformation

import optimizers

RATE: dict[str, float] = {"learning_rate": 0.1}
SETTINGS: dict[str, Any] = {
    "arguments": {**RATE, "manifold": optimizers.euclidean()},
    "schedules": ("learning_rate",),
    "faults": (
        Fault({"manifold": "sphere"}, TypeError),
        Fault({"manifold": {"kernel": None}}, TypeError),
        Fault({"step_map": "geodesic"}, ValueError),
    ),
}
MAPS = {"step_map": "retraction", "transport": "projection"}
TRANSPORT = (*SETTINGS["faults"], Fault({"transport": "teleport"}, ValueError))
ADAM: dict[str, Any] = {
    **SETTINGS,
    "hyperparameters": {**RATE, "b1": 0.9, "b2": 0.95, "eps": 1e-3},
    "refused": {"learning_rate": (-0.1,), "b1": (-0.1, 1.0), "b2": (-0.1, 1.0), "eps": (-1e-8,)},
    "switches": {"debias": False, **MAPS},
    "faults": TRANSPORT,
}

TRANSFORMATIONS = [
    Transformation(name="riemannian_adam", function=optimizers.riemannian_adam, moments=2, **ADAM),
    Transformation(name="riemannian_amsgrad", function=optimizers.riemannian_amsgrad, moments=3, **ADAM),
    Transformation(
        name="riemannian_adagrad",
        function=optimizers.riemannian_adagrad,
        moments=1,
        **{
            **SETTINGS,
            "hyperparameters": {**RATE, "initial_accumulator_value": 0.1, "eps": 1e-7},
            "refused": {"learning_rate": (-0.1,), "initial_accumulator_value": (-0.1,), "eps": (-1e-8,)},
            "switches": {"step_map": "retraction"},
        },
    ),
    Transformation(
        name="riemannian_sgd",
        function=optimizers.riemannian_sgd,
        moments=1,
        **{
            **SETTINGS,
            "arguments": {**SETTINGS["arguments"], "momentum": 0.9},
            "hyperparameters": {**RATE, "momentum": 0.9},
            "refused": {"learning_rate": (-0.1,), "momentum": (-0.1, 1.1)},
            "switches": {"nesterov": True, **MAPS},
            "faults": TRANSPORT,
        },
    ),
    Transformation(
        name="riemannian_sgd[no momentum]",
        function=optimizers.riemannian_sgd,
        elsewhere=("momentum", "nesterov", "step_map", "transport"),
        hyperparameters=RATE,
        **SETTINGS,
    ),
]

EUCLIDEAN = {"manifold": optimizers.euclidean()}
OPTAX_SUITE = [
    ("riemannian_adam", optimizers.riemannian_adam, {"learning_rate": 1e-2, **EUCLIDEAN}),
    ("riemannian_amsgrad", optimizers.riemannian_amsgrad, {"learning_rate": 1e-2, **EUCLIDEAN}),
    ("riemannian_adagrad", optimizers.riemannian_adagrad, {"learning_rate": 1.0, **EUCLIDEAN}),
    ("riemannian_sgd", optimizers.riemannian_sgd, {"learning_rate": 1e-3, "momentum": 0.9, **EUCLIDEAN}),
]

SHAPES = {"euclidean": (3,), "sphere": (2, 3), "poincare_ball": (2, 3), "stiefel": (4, 2), "positive_definite": (3, 3)}


def on_manifold(function: Any, arguments: Mapping[str, Any]) -> Any:
    """A step of the manifold and the length of its velocity, from any two arrays."""
    own = {name: value for name, value in arguments.items() if name not in ("x", "v")}
    manifold = call(function, own)
    x = manifold.project(arguments["x"])
    v = manifold.tangent(x, arguments["v"])
    return manifold.exp(x, v), manifold.inner(x, v, v)


def case(name: str, **settings: Any) -> Function:
    shape, arguments = SHAPES[name], settings.get("static", {})
    manifold = getattr(optimizers, name)(**arguments)

    def traced(generator: np.random.Generator) -> dict[str, Any]:
        x = generator.normal(size=shape)
        if name == "positive_definite":
            x = x @ x.T + np.eye(3)
        return {"x": np.float32(0.3 * x), "v": np.float32(0.3 * generator.normal(size=shape))}

    shapes = (shape, shape[: len(shape) - manifold.ndim])
    function = getattr(optimizers, name)
    return Function(
        name=name,
        function=function,
        traced=traced,
        use=on_manifold,
        shapes=shapes,
        source=name != "euclidean",
        **settings,
    )


FUNCTIONS = [
    case("euclidean", static={"ndim": 1}, faults=(Fault({"ndim": -1}, ValueError),)),
    case("sphere"),
    case("stiefel"),
    case("poincare_ball", static={"c": 1.5}, refused={"c": (0.0, -1.0)}, numbers=("c",)),
    case("positive_definite"),
]

TYPES = [Type(name="Manifold", type=optimizers.Manifold)]
