"""Cases of the transformations whose step size the loss or the gradient's norm decides."""

from typing import Any

import jax
import jax.numpy as jnp
from contracts.common import Fault
from contracts.optimizer_checks import Transformation

import optimizers


def loss_and_slope(params: Any) -> dict[str, Any]:
    """What the train step gives: a loss, and its gradient as a function of the parameters."""
    del params
    return {"value": jnp.float32(1.0), "grad_fn": lambda params: jax.tree.map(lambda p: 0.5 * p, params)}


MOMO: dict[str, Any] = {
    "schedules": ("learning_rate", "weight_decay"),
    "switches": {"adapt_lower_bound": True},
    "extra": loss_and_slope,
}
FTRL: dict[str, Any] = {
    "function": optimizers.generalized_implicit_ftrl,
    "schedules": ("learning_rate",),
    "moments": 2,
    "extra": loss_and_slope,
}
RATE = {"learning_rate": 0.05}

TRANSFORMATIONS = [
    Transformation(
        name="momo",
        function=optimizers.momo,
        arguments={"learning_rate": 0.05, "lower_bound": 0.1, "weight_decay": 0.1},
        hyperparameters={"learning_rate": 0.05, "beta": 0.9, "lower_bound": 0.1, "weight_decay": 0.1},
        refused={"learning_rate": (-0.1,), "beta": (-0.1, 1.0), "weight_decay": (-0.1,), "lower_bound": ()},
        moments=1,
        **{**MOMO, "switches": {**MOMO["switches"], "bias_correction": True}},
    ),
    Transformation(
        name="momo_adam",
        function=optimizers.momo_adam,
        arguments={"learning_rate": 0.05, "lower_bound": 0.1, "weight_decay": 0.1},
        hyperparameters={
            "learning_rate": 0.05,
            "b1": 0.9,
            "b2": 0.95,
            "eps": 1e-3,
            "lower_bound": 0.1,
            "weight_decay": 0.1,
        },
        refused={
            "learning_rate": (-0.1,),
            "b1": (-0.1, 1.0),
            "b2": (-0.1, 1.0),
            "eps": (-0.1,),
            "weight_decay": (-0.1,),
            "lower_bound": (),
        },
        moments=2,
        **MOMO,
    ),
    Transformation(
        name="scale_by_beta_normalized_gradient",
        function=optimizers.scale_by_beta_normalized_gradient,
        hyperparameters={"beta": 0.5},
        refused={"beta": (-0.1, 1.1)},
    ),
    Transformation(
        name="beta_normalized_sgd",
        function=optimizers.beta_normalized_sgd,
        arguments=RATE,
        hyperparameters={**RATE, "beta": 0.5},
        schedules=("learning_rate",),
        refused={"learning_rate": (-0.1,), "beta": (-0.1, 1.1)},
    ),
    Transformation(
        name="normalized_spider",
        function=optimizers.normalized_spider,
        arguments={**RATE, "period": 2},
        hyperparameters=RATE,
        schedules=("learning_rate",),
        refused={"learning_rate": (-0.1,)},
        moments=2,
        extra=loss_and_slope,
        elementwise=False,
        faults=(Fault({"period": 0}, ValueError), Fault({"period": 1.5}, TypeError)),
    ),
    *(
        Transformation(
            name=f"generalized_implicit_ftrl[mode={mode}]",
            arguments={**RATE, "mode": mode},
            hyperparameters=RATE,
            refused={"learning_rate": (-0.1,)},
            elsewhere=("lower_bound", "newton_steps", "cg_steps"),
            **FTRL,
        )
        for mode in ("linear", "extragradient")
    ),
    Transformation(
        name="generalized_implicit_ftrl[mode=truncated]",
        arguments={**RATE, "mode": "truncated", "lower_bound": 0.1},
        hyperparameters={**RATE, "lower_bound": 0.1},
        refused={"learning_rate": (-0.1,), "lower_bound": ()},
        elsewhere=("newton_steps", "cg_steps"),
        faults=(Fault({"mode": "backwards"}, ValueError),),
        elementwise=False,  # sums want a constant rate as large as a leaf
        **FTRL,
    ),
    Transformation(
        name="generalized_implicit_ftrl[mode=prox]",
        arguments={**RATE, "mode": "prox", "newton_steps": 2, "cg_steps": 3},
        hyperparameters=RATE,
        refused={"learning_rate": (-0.1,)},
        elsewhere=("lower_bound",),
        faults=(
            Fault({"newton_steps": 0}, ValueError),
            Fault({"cg_steps": 0}, ValueError),
            Fault({"cg_steps": 1.5}, TypeError),
        ),
        elementwise=False,
        **FTRL,
    ),
]

OPTAX_SUITE = [
    ("beta_normalized_sgd", optimizers.beta_normalized_sgd, {"learning_rate": 1e-3}),
    ("dual_averaging", optimizers.generalized_implicit_ftrl, {"learning_rate": 1e-3, "mode": "linear"}),
]

# Normalised steps are as long as the learning rate: they circle the minimum at that distance.
TRAINED = [
    ("momo", lambda: optimizers.momo(1e-1), {}),
    ("momo_adam", lambda: optimizers.momo_adam(1e-1), {}),
    ("momo[adapt_lower_bound]", lambda: optimizers.momo(1e-2, lower_bound=-10.0, adapt_lower_bound=True), {}),
    ("normalized_spider", lambda: optimizers.normalized_spider(1e-3, period=8), {}),
    ("ftrl[truncated]", lambda: optimizers.generalized_implicit_ftrl(1e-1, "truncated"), {}),
    ("ftrl[extragradient]", lambda: optimizers.generalized_implicit_ftrl(5e-4, "extragradient"), {}),
    ("ftrl[prox]", lambda: optimizers.generalized_implicit_ftrl(1e-1, "prox", newton_steps=1, cg_steps=4), {}),
]
