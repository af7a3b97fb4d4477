"""Cases of transformations that take numbers of a whole tensor, of pulls on weights, pruning and reparametrisations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contracts.cases.optimizers.transformations import ADAM, alias
from contracts.common import Fault, call
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation

import optimizers


def gradient(params: Any) -> dict[str, Any]:
    """A gradient of the loss, so small that weights decay."""
    return {"grad": jax.tree.map(lambda x: 0.2 * x, params)}


def matrices(params: Any) -> Any:
    return jax.tree.map(lambda x: x.ndim > 1, params)


def only(settings: dict[str, Any], *names: str, **changes: Any) -> dict[str, Any]:
    """The settings with these hyperparameters alone."""
    pick = lambda values: {name: value for name, value in values.items() if name in names}
    return {
        **settings,
        "hyperparameters": pick(settings["hyperparameters"]),
        "refused": pick(settings["refused"]),
        **changes,
    }


MU = {"dtypes": ("mu_dtype",), "faults": (Fault({"mu_dtype": jnp.int32}, TypeError),)}
STABLE = only(ADAM, "b1", "b2", "eps")
FADAM: dict[str, Any] = {
    **MU,
    "hyperparameters": {"b1": 0.9, "b2": 0.95, "eps": 1e-2, "eps_rms": 0.02, "p": 0.4, "clip": 0.7},
    "refused": {"b1": (1.0,), "b2": (1.0,), "eps": (-1e-8,), "eps_rms": (-0.1,), "p": (0.0,), "clip": (0.0,)},
    "moments": 2,
}


def one_block(path, shape):
    return ()


MINI: dict[str, Any] = {
    **MU,
    "hyperparameters": ADAM["hyperparameters"],
    "refused": ADAM["refused"],
    "switches": {"block_axes": one_block},
    "moments": 1,
    "statistics": 3,
    "faults": (*MU["faults"], Fault({"block_axes": "rows"}, TypeError)),
}
CAME: dict[str, Any] = {
    "hyperparameters": {
        "b1": 0.9,
        "b2": 0.95,
        "b3": 0.98,
        "eps": 1e-3,
        "eps_instability": 1e-3,
        "clipping_threshold": 0.5,
    },
    "refused": {
        "b1": (1.0,),
        "b2": (-0.1, 1.0),
        "b3": (1.0,),
        "eps": (-1e-8,),
        "eps_instability": (-1e-8,),
        "clipping_threshold": (0.0,),
    },
    "moments": 1,
    "statistics": 6,
}
ADAFACTOR: dict[str, Any] = {
    "name": "adafactor",
    "function": optimizers.adafactor,
    "arguments": {"learning_rate": 0.1, "weight_decay_rate": 0.01, "min_dim_size_to_factor": 3},
    "schedules": ("learning_rate", "weight_decay_rate"),
}
DECAY: dict[str, Any] = {
    "hyperparameters": {"weight": 0.1},
    "schedules": ("weight",),
    "refused": {"weight": (-0.1,)},
}

TRANSFORMATIONS = [
    Transformation(name="scale_by_stable_adam", function=optimizers.scale_by_stable_adam, **STABLE),
    Transformation(name="stable_adamw", function=optimizers.stable_adamw, **alias(STABLE, decay=True)),
    Transformation(name="lamb", function=optimizers.lamb, **alias(ADAM, decay=True)),
    Transformation(
        name="lars",
        function=optimizers.lars,
        switches={
            "nesterov": True,
            "weight_decay_mask": matrices,
            "trust_ratio_mask": None,
        },
        **alias(
            {
                "hyperparameters": {"trust_coefficient": 0.01, "eps": 0.1, "momentum": 0.9},
                "refused": {"trust_coefficient": (-1.0,), "eps": (-1.0,), "momentum": (-0.1, 1.0)},
                "dtypes": ("accumulator_dtype",),
                "moments": 1,
            },
            decay=True,
        ),
    ),
    Transformation(name="scale_by_fadam", function=optimizers.scale_by_fadam, **FADAM),
    Transformation(name="fadam", function=optimizers.fadam, **alias(FADAM, decay=True)),
    Transformation(
        name="gravity",
        function=optimizers.gravity,
        switches={"key": 3},
        **alias(
            {
                "hyperparameters": {"alpha": 0.01, "beta": 0.8},
                "refused": {"alpha": (-1.0,), "beta": (-0.1, 1.1)},
                "moments": 1,
            }
        ),
    ),
    Transformation(name="scale_by_adam_mini", function=optimizers.scale_by_adam_mini, **MINI),
    Transformation(name="adam_mini", function=optimizers.adam_mini, **alias(MINI, decay=True)),
    Transformation(name="scale_by_came", function=optimizers.scale_by_came, **CAME),
    Transformation(name="came", function=optimizers.came, **alias(CAME, decay=True)),
    Transformation(
        **ADAFACTOR,
        hyperparameters={
            "learning_rate": 0.1,
            "decay_rate": 0.7,
            "clipping_threshold": 0.8,
            "weight_decay_rate": 0.01,
            "eps": 1e-3,
        },
        refused={
            "learning_rate": (-1.0,),
            "decay_rate": (-0.1,),
            "clipping_threshold": (0.0,),
            "weight_decay_rate": (-1.0,),
            "eps": (-1.0,),
        },
        switches={"factored": False, "multiply_by_parameter_scale": False, "decay_offset": -2},
        elsewhere=("momentum", "dtype_momentum", "weight_decay_mask"),
        statistics=4,
    ),
    Transformation(
        **{
            **ADAFACTOR,
            "name": "adafactor[momentum]",
            "arguments": {**ADAFACTOR["arguments"], "momentum": 0.8},
        },
        hyperparameters={"momentum": 0.8},
        refused={"momentum": (-0.1, 1.0)},
        dtypes=("dtype_momentum",),
        switches={"weight_decay_mask": matrices},
        elsewhere=(
            "decay_rate",
            "clipping_threshold",
            "eps",
            "factored",
            "multiply_by_parameter_scale",
            "decay_offset",
        ),
        moments=1,
        statistics=4,
        faults=(Fault({"dtype_momentum": jnp.int32}, TypeError),),
    ),
    *(
        Transformation(
            name=f"clip_coordinatewise[{name}]",
            function=optimizers.clip_coordinatewise,
            arguments={name: value},
            hyperparameters={name: value},
            refused={name: (-1.0,)},
            elsewhere=(other,),
            elementwise=name == "threshold",
            faults=(Fault({other: 0.5}, ValueError),),
        )
        for name, value, other in (("threshold", 0.5, "top_fraction"), ("top_fraction", 0.4, "threshold"))
    ),
    Transformation(name="add_norm_decay", function=optimizers.add_norm_decay, switches={"axis": 0}, **DECAY),
    Transformation(
        name="add_lobster_decay",
        function=optimizers.add_lobster_decay,
        extra=gradient,
        **DECAY,
    ),
    Transformation(
        name="selective_weight_decay",
        function=optimizers.selective_weight_decay,
        arguments={"irrelevance_fn": lambda g, w: jnp.exp(-jnp.abs(w))},
        **{**DECAY, "faults": (Fault({"irrelevance_fn": 1.0}, TypeError),)},
    ),
]


def small_adafactor(learning_rate: optax.ScalarOrSchedule):
    return optimizers.adafactor(learning_rate, min_dim_size_to_factor=2)


OPTAX_SUITE = [
    ("stable_adamw", optimizers.stable_adamw, {"learning_rate": 1e-2}),
    ("lamb", optimizers.lamb, {"learning_rate": 1e-3}),
    ("fadam", optimizers.fadam, {"learning_rate": 1e-3, "weight_decay": 1e-4}),
    ("adam_mini", optimizers.adam_mini, {"learning_rate": 1e-3}),
    ("adafactor", small_adafactor, {"learning_rate": 5e-3}),
    ("lars", optimizers.lars, {"learning_rate": 1e-3, "trust_coefficient": 1.0}),
    ("came", optimizers.came, {"learning_rate": 5e-3, "b3": 0.99}),  # injected, 1 - 0.9999 loses half its digits
]


def tree(generator: np.random.Generator) -> dict[str, Any]:
    shapes = {"kernel": (3, 2), "bias": (2,)}
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def bowl(params: Any) -> Any:
    return sum(jnp.sum(jnp.cosh(x)) for x in jax.tree.leaves(params))


def kernels(path: str) -> bool:
    return path.endswith("kernel")


def pruned(function: Any, arguments: dict[str, Any]) -> Any:
    """The parameters, without the mask, whose entries are no floats."""
    return call(function, arguments)[0]


TREE_SHAPES = ((2,), (3, 2))
PARAMS = {"traced": lambda generator: {"params": tree(generator)}, "shapes": TREE_SHAPES, "differentiable": ("params",)}
MATRIX = {"traced": lambda generator: {"w": generator.normal(size=(3, 2)).astype(np.float32)}}
PRUNED: dict[str, Any] = {
    **PARAMS,
    "static": {"threshold": 0.5, "mask": {"kernel": True, "bias": False}},
    "use": pruned,
    "refused": {"threshold": (-0.1,)},
    "numbers": ("threshold",),
}
COMPANDER: dict[str, Any] = {
    "static": {"a": 2.0, "b": 0.5},
    "refused": {"a": (0.0, -1.0), "b": (0.0,)},
    "numbers": ("a", "b"),
}

FUNCTIONS = [
    Function(
        name="directional_sharpness",
        function=optimizers.directional_sharpness,
        traced=lambda generator: {"params": tree(generator), "update": tree(generator)},
        static={"loss_fn": bowl},
        differentiable=("params", "update"),
        keeps_dtype=False,
        faults=(Fault({"loss_fn": 1.0}, TypeError),),
    ),
    Function(
        name="norm_loss",
        function=optimizers.norm_loss,
        traced=lambda generator: {"params": tree(generator), "weight": np.float32(generator.random())},
        static={"axis": 0, "mask": {"kernel": True, "bias": True}},
        differentiable=("params",),
        keeps_dtype=False,
        refused={"weight": (-1.0,)},
        numbers=("weight",),
    ),
    Function(
        name="loss_sensitivity",
        function=optimizers.loss_sensitivity,
        traced=lambda generator: {"gradient": tree(generator)},
        shapes=TREE_SHAPES,
        differentiable=("gradient",),
    ),
    Function(name="magnitude_threshold_prune", function=optimizers.magnitude_threshold_prune, **PRUNED),
    Function(
        name="iterative_magnitude_prune",
        function=optimizers.iterative_magnitude_prune,
        **{**PRUNED, "static": {**PRUNED["static"], "kept": {"kernel": np.eye(3, 2) > 0, "bias": np.ones(2) > 0}}},
    ),
    Function(
        name="pruning_threshold",
        function=optimizers.pruning_threshold,
        traced=lambda generator: {"params": tree(generator)},
        static={"loss_fn": bowl, "tolerance": 0.1, "steps": 5, "mask": {"kernel": True, "bias": False}},
        refused={"tolerance": (-0.1,)},
        numbers=("tolerance",),
        faults=(
            Fault({"loss_fn": 1.0}, TypeError),
            Fault({"steps": 0}, ValueError),
            Fault({"steps": 1.5}, TypeError),
        ),
    ),
    Function(
        name="row_equilibrate",
        function=optimizers.row_equilibrate,
        static={"axis": 0, "eps": 1e-6},
        shape=(3, 2),
        differentiable=("w",),
        refused={"eps": (-1.0,)},
        numbers=("eps",),
        **MATRIX,
    ),
    Function(
        name="weight_conditioning",
        function=optimizers.weight_conditioning,
        static={"predicate": kernels, "axis": 0, "eps": 1e-6},
        refused={"eps": (-1.0,)},
        numbers=("eps",),
        **PARAMS,
    ),
    Function(
        name="condition_number",
        function=optimizers.condition_number,
        static={"axis": 0},
        differentiable=("w",),
        keeps_dtype=False,
        **MATRIX,
    ),
    Function(
        name="weight_compander",
        function=optimizers.weight_compander,
        traced=lambda generator: {"v": generator.normal(size=(3, 2)).astype(np.float32)},
        shape=(3, 2),
        differentiable=("v",),
        **COMPANDER,
    ),
    Function(
        name="weight_compander_init",
        function=optimizers.weight_compander_init,
        shape=(3, 2),
        differentiable=("w",),
        **MATRIX,
        **COMPANDER,
    ),
    Function(
        name="weight_compander_params",
        function=optimizers.weight_compander_params,
        **{**COMPANDER, **PARAMS, "static": {**COMPANDER["static"], "predicate": kernels}, "refused": {}},
    ),
]
