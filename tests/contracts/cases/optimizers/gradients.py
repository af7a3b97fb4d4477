"""Cases of the gradient rules."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import Fault, call
from contracts.function_checks import Function
from contracts.gradient_checks import GradientRule, parameters

import optimizers

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
        elsewhere=("shared",),
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
    GradientRule(
        name="famo",
        function=optimizers.famo,
        arguments={"tasks": 2, "min_losses": np.array([-0.5, 0.0])},
        hyperparameters={"learning_rate": 0.025, "weight_decay": 1e-3},
        refused={"learning_rate": (-0.1,), "weight_decay": (-0.1,)},
        switches={"inner": optimizers.accumulate(2)},
        vector_loss=True,
        faults=(
            INNER_FAULT,
            Fault({"tasks": 0}, ValueError),
            Fault({"tasks": 2.0}, TypeError),
            Fault({"min_losses": np.zeros(3)}, ValueError),
        ),
    ),
    GradientRule(
        name="dwa",
        function=optimizers.dwa,
        arguments={"tasks": 2, "steps_per_epoch": 1},
        hyperparameters={"temperature": 2.0},
        refused={"temperature": (0.0, -0.1)},
        switches={"inner": optimizers.accumulate(2)},
        vector_loss=True,
        faults=(
            INNER_FAULT,
            Fault({"tasks": 0}, ValueError),
            Fault({"tasks": 2.0}, TypeError),
            Fault({"steps_per_epoch": 0}, ValueError),
        ),
    ),
    GradientRule(
        name="random_loss_weighting",
        function=optimizers.random_loss_weighting,
        switches={"inner": optimizers.accumulate(2)},
        vector_loss=True,
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="looksam",
        function=optimizers.looksam,
        arguments={**INNER, "k": 2},
        hyperparameters={"rho": 0.1, "alpha": 0.7},
        schedules=("rho",),
        refused={"rho": (-0.1,), "alpha": (-0.1,)},
        faults=(INNER_FAULT, Fault({"k": 0}, ValueError), Fault({"k": 1.5}, TypeError)),
    ),
    GradientRule(
        name="friendly_sam",
        function=optimizers.friendly_sam,
        arguments=INNER,
        hyperparameters={"rho": 0.1, "sigma": 1.0, "decay": 0.9},
        schedules=("rho",),
        refused={"rho": (-0.1,), "sigma": (-0.1,), "decay": (-0.1, 1.1)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="mean_teacher",
        function=optimizers.mean_teacher,
        arguments=INNER,
        hyperparameters={"decay": 0.3},
        schedules=("decay",),
        refused={"decay": (-0.1, 1.1)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="smooth_domain_adversarial",
        function=optimizers.smooth_domain_adversarial,
        hyperparameters={"rho": 0.1},
        schedules=("rho",),
        refused={"rho": (-0.1,)},
        switches={"inner": optimizers.accumulate(2)},
        vector_loss=True,
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="robust_weight_perturbation",
        function=optimizers.robust_weight_perturbation,
        arguments={**INNER, "steps": 3, "min_ndim": 1},
        hyperparameters={"c_min": 1.0, "gamma": 0.1},
        schedules=("c_min", "gamma"),
        refused={"gamma": (-0.1,)},
        switches={"per_layer": False},
        loss_of_examples=True,
        faults=(
            INNER_FAULT,
            Fault({"c_min": float("nan")}, ValueError),
            Fault({"steps": 0}, ValueError),
            Fault({"min_ndim": 1.5}, TypeError),
        ),
    ),
    GradientRule(
        name="esam",
        function=optimizers.esam,
        arguments={"gamma": 0.5},
        hyperparameters={"rho": 0.1, "beta": 0.6},
        schedules=("rho",),
        refused={"rho": (-0.1,), "beta": (0.0, 1.1), "gamma": (0.0, 1.1)},
        loss_of_examples=True,
        faults=(Fault({"gamma": "half"}, TypeError), Fault({"gamma": lambda _: jnp.ones(2)}, TypeError)),
    ),
    GradientRule(
        name="ignite",
        function=optimizers.ignite,
        arguments={**INNER, "initial": 0.5},
        hyperparameters={"bound": 0.1, "multiplier_rate": 0.1},
        schedules=("bound",),
        refused={"multiplier_rate": (-0.1,), "initial": (-0.1,)},
        vector_loss=True,
        faults=(INNER_FAULT, Fault({"bound": float("nan")}, ValueError)),
    ),
]


def surrogate(params: Any, inputs: jax.Array) -> jax.Array:
    return jnp.tanh(inputs @ params["kernel"] + params["bias"]) @ jnp.ones(2) * params["scale"]


def of_one_scale(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The parameters are one of the contract's sets, with their scale for the argument that is traced."""
    scale = arguments["params"]
    params = {**parameters(), "scale": scale} if isinstance(scale, jax.Array) else scale
    return call(function, {**arguments, "params": params})


FUNCTIONS = [
    Function(
        name="surrogate_sharpness",
        function=optimizers.surrogate_sharpness,
        use=of_one_scale,
        traced=lambda generator: {
            "params": generator.random() + 1,
            "inputs": generator.normal(size=(4, 3)),
            "rho": 0.1,
        },
        static={"model_fn": surrogate},
        refused={"rho": (-0.1,)},
        numbers=("rho",),
        faults=(Fault({"model_fn": 3}, TypeError),),
    ),
]
