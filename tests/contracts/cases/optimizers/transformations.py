"""Cases of the transformations, the schedules that go with them, and the train step."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.optimizer_checks import Transformation
from contracts.training_checks import TrainStep

import optimizers

ADAM: dict[str, Any] = {
    "hyperparameters": {"b1": 0.9, "b2": 0.95, "eps": 1e-3, "eps_root": 1e-4},
    "refused": {"b1": (-0.1, 1.0), "b2": (-0.1, 1.0), "eps": (-1e-8,), "eps_root": (-1e-8,)},
    "dtypes": ("mu_dtype", "nu_dtype"),
    "moments": 2,
    "faults": (
        Fault({"mu_dtype": jnp.int32}, TypeError),
        Fault({"nu_dtype": jnp.float16}, TypeError),
        Fault({"mu_dtype": "no dtype"}, TypeError),
    ),
}
ADEMAMIX: dict[str, Any] = {
    **ADAM,
    "hyperparameters": {**ADAM["hyperparameters"], "b3": 0.99, "alpha": 5.0},
    "refused": {**ADAM["refused"], "b3": (-0.1, 1.0), "alpha": (-1.0,)},
    "moments": 3,
}
LION: dict[str, Any] = {
    "hyperparameters": {"b1": 0.9, "b2": 0.95},
    "refused": {"b1": (-0.1, 1.1), "b2": (-0.1, 1.0)},
    "dtypes": ("mu_dtype",),
    "moments": 1,
    "faults": (Fault({"mu_dtype": jnp.int32}, TypeError),),
}


def alias(settings: dict[str, Any], *, decay: bool = False, schedules: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings of `scale_by_x` as those of `x(learning_rate, ...)`, with weight decay where it has that."""
    rate = {"learning_rate": 0.1} | ({"weight_decay": 0.01} if decay else {})
    return {
        **settings,
        "arguments": rate,
        "hyperparameters": {**rate, **settings["hyperparameters"]},
        "schedules": (*rate, *schedules),
        "refused": {**settings["refused"], **dict.fromkeys(rate, (-0.001,))},
    }


TRANSFORMATIONS = [
    Transformation(name="scale_by_adam", function=optimizers.scale_by_adam, switches={"nesterov": True}, **ADAM),
    Transformation(name="adam", function=optimizers.adam, switches={"nesterov": True}, **alias(ADAM)),
    Transformation(
        name="adamw",
        function=optimizers.adamw,
        switches={"nesterov": True, "decouple_lr": True},
        **alias(ADAM, decay=True),
    ),
    Transformation(
        name="adamax",
        function=optimizers.adamax,
        **alias(
            {
                **ADAM,
                "hyperparameters": {name: ADAM["hyperparameters"][name] for name in ("b1", "b2", "eps")},
                "refused": {name: ADAM["refused"][name] for name in ("b1", "b2", "eps")},
            }
        ),
    ),
    Transformation(
        name="scale_by_ademamix", function=optimizers.scale_by_ademamix, schedules=("b3", "alpha"), **ADEMAMIX
    ),
    Transformation(
        name="ademamix",
        function=optimizers.ademamix,
        **alias(ADEMAMIX, decay=True, schedules=("b3", "alpha")),
    ),
    Transformation(
        name="sgdw",
        function=optimizers.sgdw,
        switches={"nesterov": True, "decouple_lr": True},
        **alias(
            {
                "hyperparameters": {"momentum": 0.9},
                "refused": {"momentum": (-0.1, 1.0)},
                "dtypes": ("accumulator_dtype",),
                "moments": 1,
                "faults": (Fault({"accumulator_dtype": jnp.int32}, TypeError),),
            },
            decay=True,
        ),
    ),
    Transformation(
        name="scale_by_lion",
        function=optimizers.scale_by_lion,
        elsewhere=("mode", "smooth_beta"),
        **{**LION, "faults": (*LION["faults"], Fault({"mode": "soft"}, ValueError))},
    ),
    *(
        Transformation(
            name=f"scale_by_lion[mode={mode}]",
            function=optimizers.scale_by_lion,
            arguments={"mode": mode},
            **{
                **LION,
                "hyperparameters": {**LION["hyperparameters"], "smooth_beta": 2.0},
                "refused": {**LION["refused"], "smooth_beta": (-1.0,)},
            },
        )
        for mode in ("smooth", "refined")
    ),
    Transformation(name="lion", function=optimizers.lion, **alias(LION, decay=True)),
    Transformation(
        name="clip_by_global_norm",
        function=optimizers.clip_by_global_norm,
        arguments={"max_norm": 0.5},
        hyperparameters={"max_norm": 0.5},
        refused={"max_norm": (-1.0,)},
    ),
]


def clipped_adamw(learning_rate: optax.ScalarOrSchedule, max_norm=1.0):
    return optax.chain(optimizers.clip_by_global_norm(max_norm), optimizers.adamw(learning_rate))


def half_adamw(learning_rate: optax.ScalarOrSchedule, weight_decay=1e-4):
    return optimizers.adamw(learning_rate, weight_decay=weight_decay, mu_dtype="bfloat16", nu_dtype="bfloat16")


# Name, factory and arguments for the tests that Optax has for its own.
OPTAX_SUITE = [
    ("adam", optimizers.adam, {"learning_rate": 1e-2}),
    ("adamw", optimizers.adamw, {"learning_rate": 1e-2}),
    ("adamax", optimizers.adamax, {"learning_rate": 1e-2}),
    ("ademamix", optimizers.ademamix, {"learning_rate": 1e-3}),
    ("lion", optimizers.lion, {"learning_rate": 1e-3}),
    ("sgdw", optimizers.sgdw, {"learning_rate": 1e-3}),
    ("clipped_adamw", clipped_adamw, {"learning_rate": 1e-2}),
    ("half_adamw", half_adamw, {"learning_rate": 1e-2}),
]

# The same for the train step, where a transformation reads more than the gradient: Optax's, which the step feeds.
TRAINED = [
    ("optax.contrib.momo", lambda: optax.contrib.momo(1e-1), {}),
]


def schedule_at_count(function: Any, arguments: dict[str, Any]) -> Any:
    """Make the schedule, then ask it for the value at `count`."""
    settings = {name: value for name, value in arguments.items() if name != "count"}
    return call(function, settings)(arguments["count"])


FUNCTIONS = [
    Function(
        name="ademamix_alpha_schedule",
        function=optimizers.ademamix_alpha_schedule,
        traced=lambda generator: {"count": np.int32(generator.integers(0, 20))},
        static={"alpha": 5.0, "warmup_steps": 10},
        use=schedule_at_count,
        refused={"alpha": (-1.0,)},
        numbers=("alpha",),
        faults=(Fault({"warmup_steps": 0}, ValueError), Fault({"warmup_steps": 1.5}, TypeError)),
    ),
    Function(
        name="ademamix_b3_schedule",
        function=optimizers.ademamix_b3_schedule,
        traced=lambda generator: {"count": np.int32(generator.integers(0, 20))},
        static={"b3": 0.999, "b_start": 0.9, "warmup_steps": 10},
        use=schedule_at_count,
        refused={"b3": (0.0, 1.0), "b_start": (0.0, 1.0)},
        numbers=("b3", "b_start"),
        faults=(Fault({"warmup_steps": 0}, ValueError), Fault({"warmup_steps": 1.5}, TypeError)),
    ),
    Function(
        name="normalized_weight_decay",
        function=optimizers.normalized_weight_decay,
        traced=lambda generator: {"lambda_norm": np.float32(generator.random())},
        static={"batch_size": 32, "train_size": 1000, "epochs": 10},
        refused={"lambda_norm": (-0.1,), "epochs": (0.0,)},
        numbers=("lambda_norm", "epochs"),
        faults=(Fault({"batch_size": 0}, ValueError), Fault({"train_size": 1.5}, TypeError)),
    ),
]

TYPES = [
    Type(name="GradientRule", type=optimizers.GradientRule, alias=True),
    Type(name="StatefulRule", type=optimizers.StatefulRule),
    Type(name="TrainState", type=optimizers.TrainState),
]

# Meshes, model state, metrics and skipped steps have tests of their own, under tests/optimizers/training.
TRAIN_STEPS = [
    TrainStep(
        name="make_train_step",
        make_step=optimizers.make_train_step,
        state_type=optimizers.TrainState,
        elsewhere=("gradient", "microbatches", "ema_decay", "skip_nonfinite", "log", "apply_updates"),
        tested_elsewhere=("has_aux", "mesh", "state_sharding", "batch_sharding", "donate", "curvature"),
        faults=(
            Fault({"loss_fn": 1.0}, TypeError),
            Fault({"tx": "adam"}, TypeError),
            Fault({"gradient": "sam"}, TypeError),
            Fault({"apply_updates": "rounded"}, TypeError),
            Fault({"microbatches": 0}, ValueError),
            Fault({"microbatches": 1.5}, TypeError),
            Fault({"ema_decay": 1.0}, ValueError),
            Fault({"ema_decay": -0.1}, ValueError),
            Fault({"log": 1.0}, TypeError),
            Fault({"curvature": lambda params: params}, TypeError),
        ),
    ),
    TrainStep(
        name="make_train_step[everything on]",
        make_step=optimizers.make_train_step,
        state_type=optimizers.TrainState,
        keywords={
            "gradient": optimizers.sam(0.05),
            "microbatches": 2,
            "ema_decay": 0.9,
            "skip_nonfinite": False,
            "log": optimizers.recorded,
            "apply_updates": optimizers.apply_updates_stochastic_rounding,
        },
        ema=True,
        tested_elsewhere=("has_aux", "mesh", "state_sharding", "batch_sharding", "donate", "curvature"),
    ),
]
