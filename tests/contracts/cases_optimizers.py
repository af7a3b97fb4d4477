"""One example case, or several, for every public name of `optimizers`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.aggregator_checks import Aggregator
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.gradient_checks import GradientRule
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

INNER_FAULT = Fault({"inner": "backprop"}, TypeError)
# Around accumulated gradients, the rules that perturb the parameters are tested in tests/optimizers/gradients.
INNER = {"inner": optimizers.backprop}
RULES = [
    GradientRule(name="backprop", function=optimizers.backprop, factory=False, source=False),
    GradientRule(
        name="accumulate",
        function=optimizers.accumulate,
        arguments={"steps": 2},
        switches={"inner": optimizers.sam(0.1)},
        faults=(INNER_FAULT, Fault({"steps": 0}, ValueError), Fault({"steps": 2.0}, TypeError)),
        source=False,
    ),
    GradientRule(
        name="per_task",
        function=optimizers.per_task,
        switches={"sequential": True},
        per_task=True,
    ),
    GradientRule(
        name="sam",
        function=optimizers.sam,
        arguments={"eta": 0.01},
        hyperparameters={"rho": 0.1},
        schedules=("rho",),
        refused={"rho": (-0.1,), "eta": (-0.1,)},
        switches={"adaptive": True, "inner": optimizers.accumulate(2)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="sam[adaptive]",
        function=optimizers.sam,
        arguments={"adaptive": True},
        hyperparameters={"rho": 0.1, "eta": 0.1},
        elsewhere=("inner",),
    ),
    GradientRule(
        name="gsam",
        function=optimizers.gsam,
        arguments=INNER,
        hyperparameters={"rho": 0.1, "alpha": 0.4},
        schedules=("rho", "alpha"),
        refused={"rho": (-0.1,), "alpha": (-0.1,)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="fisher_sam",
        function=optimizers.fisher_sam,
        arguments=INNER,
        hyperparameters={"rho": 0.1, "eta": 1.0},
        schedules=("rho", "eta"),
        refused={"rho": (-0.1,), "eta": (-0.1,)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="adversarial_weight_perturbation",
        function=optimizers.adversarial_weight_perturbation,
        arguments={**INNER, "min_ndim": 1},
        hyperparameters={"gamma": 0.1},
        schedules=("gamma",),
        refused={"gamma": (-0.1,)},
        faults=(INNER_FAULT, Fault({"min_ndim": 0}, ValueError), Fault({"min_ndim": 1.5}, TypeError)),
    ),
    GradientRule(
        name="adversarial_model_perturbation",
        function=optimizers.adversarial_model_perturbation,
        arguments={**INNER, "steps": 2},
        hyperparameters={"epsilon": 0.1, "inner_rate": 0.5},
        schedules=("epsilon", "inner_rate"),
        refused={"epsilon": (-0.1,), "inner_rate": (-0.1,)},
        switches={"per_leaf": True},
        faults=(INNER_FAULT, Fault({"steps": 0}, ValueError), Fault({"steps": 1.5}, TypeError)),
    ),
    # epsilon, a length to divide by, may not be zero: tests/optimizers/gradients sweeps and schedules it.
    GradientRule(
        name="gradient_norm_regularization",
        function=optimizers.gradient_norm_regularization,
        arguments={**INNER, "epsilon": 0.1, "mode": "centered"},
        hyperparameters={"gamma": 0.1},
        schedules=("gamma",),
        refused={"gamma": (-0.1,), "epsilon": (-0.1, 0.0)},
        switches={"squared": False},
        faults=(INNER_FAULT, Fault({"mode": "upward"}, ValueError), Fault({"epsilon": "long"}, TypeError)),
    ),
    GradientRule(
        name="gam",
        function=optimizers.gam,
        arguments=INNER,
        hyperparameters={"rho": 0.1, "norm_rho": 0.2, "alpha": 0.03, "beta": 1.0},
        schedules=("norm_rho",),
        refused={"rho": (-0.1,), "norm_rho": (-0.1,), "alpha": (-0.1,), "beta": (-0.1,)},
        faults=(INNER_FAULT,),
    ),
]

AGGREGATORS = [
    Aggregator(
        name="pcgrad",
        function=optimizers.pcgrad,
        elsewhere=("key",),
        permutation_invariant=False,
        agreed="sum",
    ),
    Aggregator(
        name="pcgrad[key]",
        function=optimizers.pcgrad,
        arguments={"key": jax.random.key(3)},
        agreed="sum",
        permutation_invariant=False,
    ),
    Aggregator(
        name="upgrad",
        function=optimizers.upgrad,
        hyperparameters={"norm_eps": 1e-4, "reg_eps": 1e-4},
        refused={"norm_eps": (-1.0,), "reg_eps": (-1.0,)},
        switches={"preference": [0.2, 0.3, 0.5]},
        conflict=1e-4,
    ),
    Aggregator(
        name="dualproj",
        function=optimizers.dualproj,
        hyperparameters={"norm_eps": 1e-4, "reg_eps": 1e-4},
        refused={"norm_eps": (-1.0,), "reg_eps": (-1.0,)},
        switches={"preference": [0.2, 0.3, 0.5]},
        conflict=5e-3,  # reg_eps is relative to the gradients, whose projected mean is short
    ),
    Aggregator(name="mgda", function=optimizers.mgda, conflict=1e-5, agreed=None),
    Aggregator(
        name="cagrad",
        function=optimizers.cagrad,
        hyperparameters={"c": 0.5, "norm_eps": 1e-4},
        refused={"c": (-0.1,), "norm_eps": (-1.0,)},
        agreed=None,
        alone=1.5,
    ),
    Aggregator(name="imtl_g", function=optimizers.imtl_g, agreed=None),
    Aggregator(
        name="config",
        function=optimizers.config,
        switches={"preference": [0.2, 0.3, 0.5]},
        conflict=1e-5,
        agreed=None,
    ),
    Aggregator(
        name="aligned_mtl",
        function=optimizers.aligned_mtl,
        switches={"preference": [0.2, 0.3, 0.5], "scale_mode": "rmse"},
        agreed=None,
        faults=(Fault({"scale_mode": "max"}, ValueError),),
    ),
    Aggregator(name="mean_tasks", function=optimizers.mean_tasks),
    Aggregator(name="sum_tasks", function=optimizers.sum_tasks, switches={"weights": [0.2, 0.3, 0.5]}, agreed="sum"),
    Aggregator(name="rgw", function=optimizers.rgw, elsewhere=("key",), permutation_invariant=None, agreed=None),
    Aggregator(
        name="rgw[key]",
        function=optimizers.rgw,
        arguments={"key": jax.random.key(3)},
        permutation_invariant=None,
        agreed=None,
    ),
]


def draw_gramian(generator: np.random.Generator) -> np.ndarray:
    jacobian = generator.normal(size=(3, 5))
    jacobian -= 0.9 * jacobian.mean(axis=0)
    return np.asarray(jacobian @ jacobian.T, np.float32)


def schedule_at_count(function: Any, arguments: dict[str, Any]) -> Any:
    """Make the schedule, then ask it for the value at `count`."""
    settings = {name: value for name, value in arguments.items() if name != "count"}
    return call(function, settings)(arguments["count"])


GRAMIAN_FAULTS = (
    Fault({"gramian": jnp.ones((3, 2))}, ValueError),
    Fault({"gramian": jnp.ones(3)}, ValueError),
)
FUNCTIONS = [
    Function(
        name="pcgrad_weights",
        function=optimizers.pcgrad_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "key": jax.random.key(generator.integers(1000)),
        },
        shape=(3,),
        faults=GRAMIAN_FAULTS,
    ),
    Function(
        name="upgrad_weights",
        function=optimizers.upgrad_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "preference": np.float32([0.2, 0.3, 0.5]),
            "norm_eps": np.float32(1e-4),
            "reg_eps": np.float32(generator.uniform(1e-4, 1e-3)),
        },
        shape=(3,),
        refused={"norm_eps": (-1.0,), "reg_eps": (-1.0,)},
        faults=(*GRAMIAN_FAULTS, Fault({"preference": jnp.ones(2)}, ValueError)),
    ),
    Function(
        name="dual_cone_projection_weights",
        function=optimizers.dual_cone_projection_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "u": np.float32([0.2, 0.3, 0.5]),
            "norm_eps": np.float32(1e-4),
            "reg_eps": np.float32(generator.uniform(1e-4, 1e-3)),
        },
        shape=(3,),
        refused={"norm_eps": (-1.0,), "reg_eps": (-1.0,)},
        faults=(*GRAMIAN_FAULTS, Fault({"u": jnp.ones(2)}, ValueError)),
    ),
    Function(
        name="dualproj_weights",
        function=optimizers.dualproj_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "preference": np.float32([0.2, 0.3, 0.5]),
            "norm_eps": np.float32(1e-4),
            "reg_eps": np.float32(generator.uniform(1e-4, 1e-3)),
        },
        shape=(3,),
        refused={"norm_eps": (-1.0,), "reg_eps": (-1.0,)},
        faults=(*GRAMIAN_FAULTS, Fault({"preference": jnp.ones(2)}, ValueError)),
    ),
    Function(
        name="mgda_weights",
        function=optimizers.mgda_weights,
        traced=lambda generator: {"gramian": draw_gramian(generator)},
        shape=(3,),
        faults=GRAMIAN_FAULTS,
    ),
    Function(
        name="cagrad_weights",
        function=optimizers.cagrad_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "c": np.float32(generator.uniform(0.1, 0.9)),
            "norm_eps": np.float32(1e-4),
        },
        shape=(3,),
        refused={"c": (-0.1,), "norm_eps": (-1.0,)},
        faults=GRAMIAN_FAULTS,
    ),
    Function(
        name="imtl_g_weights",
        function=optimizers.imtl_g_weights,
        traced=lambda generator: {"gramian": draw_gramian(generator)},
        shape=(3,),
        faults=GRAMIAN_FAULTS,
    ),
    Function(
        name="config_weights",
        function=optimizers.config_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "preference": np.float32(generator.uniform(1.0, 2.0, 3)),
        },
        shape=(3,),
        faults=(*GRAMIAN_FAULTS, Fault({"preference": jnp.ones(2)}, ValueError)),
    ),
    Function(
        name="aligned_mtl_weights",
        function=optimizers.aligned_mtl_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "preference": np.float32(generator.uniform(1.0, 2.0, 3)),
        },
        static={"scale_mode": "median"},
        shape=(3,),
        faults=(
            *GRAMIAN_FAULTS,
            Fault({"preference": jnp.ones(2)}, ValueError),
            Fault({"scale_mode": "max"}, ValueError),
        ),
    ),
    Function(
        name="rgw_weights",
        function=optimizers.rgw_weights,
        traced=lambda generator: {"key": jax.random.key(generator.integers(1000))},
        static={"tasks": 3},
        shape=(3,),
        faults=(Fault({"tasks": 0}, ValueError), Fault({"tasks": 1.5}, TypeError)),
    ),
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
    Type(name="TrainState", type=optimizers.TrainState),
]

# Meshes, model state, metrics and skipped steps have tests of their own, under tests/optimizers/training.
TRAIN_STEPS = [
    TrainStep(
        name="make_train_step",
        make_step=optimizers.make_train_step,
        state_type=optimizers.TrainState,
        elsewhere=("gradient", "microbatches", "ema_decay", "skip_nonfinite"),
        tested_elsewhere=("has_aux", "mesh", "state_sharding", "batch_sharding", "donate"),
        faults=(
            Fault({"loss_fn": 1.0}, TypeError),
            Fault({"tx": "adam"}, TypeError),
            Fault({"gradient": "sam"}, TypeError),
            Fault({"microbatches": 0}, ValueError),
            Fault({"microbatches": 1.5}, TypeError),
            Fault({"ema_decay": 1.0}, ValueError),
            Fault({"ema_decay": -0.1}, ValueError),
        ),
    ),
    TrainStep(
        name="make_train_step[everything on]",
        make_step=optimizers.make_train_step,
        state_type=optimizers.TrainState,
        keywords={"gradient": optimizers.sam(0.05), "microbatches": 2, "ema_decay": 0.9, "skip_nonfinite": False},
        ema=True,
        tested_elsewhere=("has_aux", "mesh", "state_sharding", "batch_sharding", "donate"),
    ),
]
