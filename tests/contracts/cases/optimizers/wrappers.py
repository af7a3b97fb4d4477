"""Cases of what goes around transformations: masks, corrections, averages, codes and records."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation

import optimizers

NO_INNER = Fault({"inner": lambda tx: 1.0}, TypeError)
SCHEDULE_FREE: dict[str, Any] = {
    "hyperparameters": {"learning_rate": 0.1, "b1": 0.8, "weight_lr_power": 1.5},
    "refused": {"learning_rate": (-0.1,), "b1": (0.0, 1.1), "weight_lr_power": (-1.0,)},
    "dtypes": ("state_dtype",),
    "unread": 4,  # b1, which is there for `averaged_params`
    "faults": (Fault({"state_dtype": jnp.int32}, TypeError),),
}


def decayed(settings: dict[str, Any], moments: int, **more: float) -> dict[str, Any]:
    """The settings of `schedule_free` as those of an alias with warm-up and weight decay."""
    rates = {"learning_rate": 0.1, "weight_decay": 0.01}
    return {
        **settings,
        "arguments": rates,
        "hyperparameters": {**settings["hyperparameters"], **rates, **more},
        "schedules": tuple(rates),
        "refused": {**settings["refused"], "weight_decay": (-0.1,)},
        "switches": {"warmup_steps": 2},
        "faults": (*settings["faults"], Fault({"warmup_steps": 0}, ValueError)),
        "moments": moments,
    }


def gradient_of_a_parabola(params: Any) -> dict[str, Any]:
    del params
    return {"grad_fn": lambda p: jax.tree.map(lambda x: 0.1 * x, p)}


TRANSFORMATIONS = [
    Transformation(
        name="cautious",
        function=optimizers.cautious,
        arguments={"inner": optimizers.scale_by_adam()},
        hyperparameters={"min_fraction": 0.9},
        refused={"min_fraction": (0.0, 1.1)},
        switches={"descent": True},
        moments=2,
        elementwise=False,  # the fraction of agreement has to be known before the first word is written
        faults=(NO_INNER,),
    ),
    Transformation(
        name="grams",
        function=optimizers.grams,
        arguments={"inner": optimizers.scale_by_adam()},
        switches={"descent": True},
        moments=2,
        faults=(NO_INNER,),
    ),
    Transformation(
        name="mars",
        function=optimizers.mars,
        arguments={"gamma": 0.1},
        hyperparameters={"b1": 0.9, "gamma": 0.1, "max_norm": 0.7},
        schedules=("gamma",),
        refused={"b1": (-0.1, 1.0), "gamma": (-0.1,), "max_norm": (0.0,)},
        elsewhere=("exact",),
        moments=1,
        elementwise=False,  # the norm has to be known before the first word is written
    ),
    Transformation(
        name="mars[max_norm=None]",
        function=optimizers.mars,
        arguments={"gamma": 0.1, "max_norm": None},
        hyperparameters={"b1": 0.9, "gamma": 0.1},
        elsewhere=("exact",),
        moments=1,
        elementwise=False,  # the old gradient is read after the new one is stored in its place
    ),
    Transformation(
        name="mars[exact]",
        function=optimizers.mars,
        arguments={"gamma": 0.1, "exact": True},
        hyperparameters={"b1": 0.9, "gamma": 0.1, "max_norm": 0.7},
        extra=gradient_of_a_parabola,
        moments=1,
        elementwise=False,
    ),
    Transformation(
        name="grokfast_ema",
        function=optimizers.grokfast_ema,
        hyperparameters={"alpha": 0.9, "lamb": 2.0},
        refused={"alpha": (-0.1, 1.0), "lamb": (-1.0,)},
        dtypes=("mu_dtype",),
        moments=1,
        faults=(Fault({"mu_dtype": jnp.int32}, TypeError),),
    ),
    Transformation(
        name="grokfast_ma",
        function=optimizers.grokfast_ma,
        arguments={"window_size": 2},
        hyperparameters={"lamb": 2.0},
        refused={"lamb": (-1.0,)},
        switches={"filter_type": "sum", "warmup": False},
        statistics=3,
        elementwise=False,  # XLA keeps the sum of a window
        faults=(
            Fault({"window_size": 0}, ValueError),
            Fault({"window_size": 1.5}, TypeError),
            Fault({"filter_type": "median"}, ValueError),
        ),
    ),
    Transformation(
        name="orthograd",
        function=optimizers.orthograd,
        hyperparameters={"eps": 1e-3},
        refused={"eps": (-1e-8,)},
        switches={"rescale": True},
    ),
    Transformation(
        name="parameter_ema",
        function=optimizers.parameter_ema,
        hyperparameters={"decay": 0.9},
        refused={"decay": (-0.1, 1.0)},
        dtypes=("accumulator_dtype",),
        switches={"debias": False},
        moments=1,
        faults=(Fault({"accumulator_dtype": jnp.int32}, TypeError),),
    ),
    Transformation(
        name="parameter_average",
        function=optimizers.parameter_average,
        arguments={"start": 1, "period": 2},
        dtypes=("accumulator_dtype",),
        moments=1,
        faults=(
            Fault({"start": -1}, ValueError),
            Fault({"start": 1.5}, TypeError),
            Fault({"period": 0}, ValueError),
            Fault({"accumulator_dtype": jnp.int32}, TypeError),
        ),
    ),
    Transformation(
        name="schedule_free",
        function=optimizers.schedule_free,
        moments=1,
        **{
            **SCHEDULE_FREE,
            "arguments": {"base_optimizer": optax.sgd(0.1), "learning_rate": 0.1},
            "faults": (*SCHEDULE_FREE["faults"], Fault({"base_optimizer": 1.0}, TypeError)),
        },
    ),
    Transformation(
        name="schedule_free_sgd", function=optimizers.schedule_free_sgd, **decayed(SCHEDULE_FREE, moments=1)
    ),
    Transformation(
        name="schedule_free_adamw",
        function=optimizers.schedule_free_adamw,
        **decayed(
            {**SCHEDULE_FREE, "refused": {**SCHEDULE_FREE["refused"], "b2": (-0.1, 1.0), "eps": (-1e-8,)}},
            moments=2,
            b2=0.95,
            eps=1e-3,
        ),
    ),
    *(
        Transformation(
            name=f"quantize_state[{rounding}]",
            function=optimizers.quantize_state,
            arguments={
                "inner": optimizers.scale_by_adam(),
                "block_size": 3,
                "min_size": 1,
                "rounding": rounding,
                "where": lambda path: True,
            },
            moments=2,
            statistics=6,
            moment_dtype=jnp.uint8,
            elementwise=False,  # a block's largest number has to be known before its first word is written
            faults=(
                NO_INNER,
                Fault({"block_size": 0}, ValueError),
                Fault({"min_size": 1.5}, TypeError),
                Fault({"rounding": "up"}, ValueError),
                Fault({"where": 1.0}, TypeError),
            ),
        )
        for rounding in ("nearest", "stochastic")
    ),
    Transformation(
        name="record_norms",
        function=optimizers.record_norms,
        arguments={"inner": optax.sgd(0.1), "groups": {"matrices": lambda path: path == "kernel"}},
        source=False,
        elementwise=False,  # the norm of the update is one more reading of it
        unread=24,  # the six norms
        faults=(NO_INNER, Fault({"groups": {"matrices": True}}, TypeError)),
    ),
]


def chained(link: Any) -> Any:
    """A factory of the chain of Adam's directions within `link`, and a learning rate."""

    def make(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        return optax.chain(link(optimizers.scale_by_adam()), optax.scale_by_learning_rate(learning_rate))

    return make


def behind(link: Any) -> Any:
    """A factory of the chain of `link` and Adam."""

    def make(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        return optax.chain(link(), optimizers.adam(learning_rate))

    return make


def quantized_adam(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    return optimizers.quantize_state(optimizers.adam(learning_rate), min_size=1)


def averaged_adam(learning_rate: optax.ScalarOrSchedule, decay=0.9) -> optax.GradientTransformation:
    return optax.chain(optimizers.adam(learning_rate), optimizers.parameter_ema(decay))


OPTAX_SUITE = [
    ("cautious", chained(optimizers.cautious), {"learning_rate": 1e-2}),
    ("grams", chained(optimizers.grams), {"learning_rate": 1e-2}),
    ("mars", behind(optimizers.mars), {"learning_rate": 1e-2}),
    ("grokfast_ema", behind(optimizers.grokfast_ema), {"learning_rate": 1e-2}),
    ("schedule_free_sgd", optimizers.schedule_free_sgd, {"learning_rate": 1e-2, "warmup_steps": 5000}),
    ("schedule_free_adamw", optimizers.schedule_free_adamw, {"learning_rate": 1e-2, "warmup_steps": 5000}),
    ("averaged_adam", averaged_adam, {"learning_rate": 1e-2}),
    ("quantized_adam", quantized_adam, {"learning_rate": 1e-2}),
]

TRAINED = [
    (
        "mars[exact]",
        lambda: optax.chain(optimizers.mars(exact=True), optimizers.adam(1e-2)),
        {},
    ),
    ("record_norms", lambda: optimizers.record_norms(optimizers.adam(1e-2)), {"log": optimizers.recorded}),
]


def stepped(tx: Any, generator: Any) -> dict[str, Any]:
    """State and parameters after one step of a random gradient."""
    params = jnp.asarray(generator.normal(size=3), jnp.float32)
    updates, state = tx.update(params, tx.init(params), params)
    return {"state": state, "params": optax.apply_updates(params, updates)}


FUNCTIONS = [
    *(
        Function(
            name=f"averaged_params[{name}]",
            function=optimizers.averaged_params,
            traced=lambda generator, tx=tx: stepped(tx, generator),
            shape=(3,),
            differentiable=("params",),
            source=False,
        )
        for name, tx in {
            "parameter_ema": optax.chain(optax.sgd(0.1), optimizers.parameter_ema(0.9)),
            "schedule_free": optax.chain(optimizers.schedule_free_sgd(0.1)),
        }.items()
    ),
    Function(
        name="recorded",
        function=optimizers.recorded,
        traced=lambda generator: {"state": stepped(optimizers.record_norms(optax.sgd(0.1)), generator)["state"]},
        shapes=((), (), ()),
        source=False,
    ),
]
