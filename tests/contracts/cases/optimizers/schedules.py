"""Cases of the schedules, and of what they are made from."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contracts.cases.optimizers.transformations import schedule_at_count
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation

import optimizers


def step_faults(*names: str) -> tuple[Fault, ...]:
    """At least one, and an integer."""
    return tuple(Fault({name: value}, error) for name in names for value, error in ((0, ValueError), (1.5, TypeError)))


def count(generator: np.random.Generator) -> dict[str, Any]:
    return {"count": np.int32(generator.integers(0, 20))}


def schedule(function: Any, static: Mapping[str, Any], **settings: Any) -> Function:
    """The case of a schedule, asked for its value at some count."""
    return Function(
        name=function.__name__, function=function, traced=count, static=static, use=schedule_at_count, **settings
    )


PROFILE: dict[str, Any] = {"peak_value": 0.3, "total_steps": 15, "warmup_steps": 3, "end_value": 0.01}
PROFILE_FAULTS: dict[str, Any] = {
    "refused": {"peak_value": (-0.1,), "end_value": (-0.1,)},
    "numbers": ("peak_value", "end_value"),
    "faults": (
        *step_faults("total_steps"),
        Fault({"warmup_steps": 15}, ValueError),
        Fault({"warmup_steps": -1}, ValueError),
        Fault({"warmup_steps": 1.5}, TypeError),
    ),
}


def run_parabola(function: Any, arguments: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
    loss_fn = lambda x: jnp.sum(2.0 * x**2)
    step_fn = lambda x, rate: (x - rate * jax.grad(loss_fn)(x), loss_fn(x))
    return function(**{"step_fn": step_fn, **arguments})


def draw_norms(generator: np.random.Generator) -> np.ndarray:
    return generator.uniform(0.5, 2.0, 12).astype(np.float32)


TRANSFORMATIONS = [
    Transformation(
        name="record_gradient_norms",
        function=optimizers.record_gradient_norms,
        arguments={"total_steps": 2},
        switches={"order": 1},
        faults=(*step_faults("total_steps"), Fault({"order": 3}, ValueError)),
    )
]


def recorded_adam(learning_rate: optax.ScalarOrSchedule):
    return optax.chain(optimizers.record_gradient_norms(10, order=1), optimizers.adam(learning_rate))


FUNCTIONS = [
    schedule(optimizers.linear_decay_schedule, PROFILE, **PROFILE_FAULTS),
    schedule(optimizers.rex_schedule, PROFILE, **PROFILE_FAULTS),
    schedule(
        optimizers.cosine_power_schedule,
        {**PROFILE, "power": 10.0},
        refused={**PROFILE_FAULTS["refused"], "power": (0.9,)},
        numbers=(*PROFILE_FAULTS["numbers"], "power"),
        faults=PROFILE_FAULTS["faults"],
    ),
    schedule(
        optimizers.wsd_schedule,
        {
            "peak_value": 0.3,
            "warmup_steps": 3,
            "stable_steps": 5,
            "decay_steps": 7,
            "end_value": 0.01,
            "cooldown": "linear",
        },
        refused=PROFILE_FAULTS["refused"],
        numbers=PROFILE_FAULTS["numbers"],
        faults=(
            *step_faults("decay_steps"),
            Fault({"warmup_steps": -1}, ValueError),
            Fault({"stable_steps": -1}, ValueError),
            Fault({"stable_steps": 1.5}, TypeError),
            Fault({"cooldown": "sudden"}, ValueError),
        ),
    ),
    schedule(
        optimizers.inverse_sqrt_schedule,
        {"peak_value": 0.3, "warmup_steps": 3, "timescale": 5},
        refused={"peak_value": (-0.1,)},
        numbers=("peak_value",),
        faults=step_faults("warmup_steps", "timescale"),
    ),
    schedule(
        optimizers.inverse_time_schedule,
        {"beta": 2.0, "gamma": 3.0},
        refused={"beta": (0.0, -1.0), "gamma": (-1.0,)},
        numbers=("beta", "gamma"),
    ),
    schedule(
        optimizers.warm_restarts_schedule,
        {"peak_value": 0.3, "first_steps": 3, "factor": 2, "end_value": 0.01},
        refused=PROFILE_FAULTS["refused"],
        numbers=PROFILE_FAULTS["numbers"],
        faults=step_faults("first_steps", "factor"),
    ),
    schedule(
        optimizers.half_life_schedule,
        {"init_value": 0.9, "end_value": 0.999, "transition_steps": 15},
        refused={"init_value": (0.0, 1.0), "end_value": (0.0, 1.0)},
        numbers=("init_value", "end_value"),
        faults=step_faults("transition_steps"),
    ),
    schedule(
        optimizers.one_cycle_schedule,
        {"transition_steps": 15, "peak_value": 0.3, "pct_cycle": 0.8, "div_factor": 5.0, "final_div_factor": 100.0},
        refused={"peak_value": (-0.1,), "pct_cycle": (0.0, 1.0), "div_factor": (0.5,), "final_div_factor": (0.5,)},
        numbers=("peak_value", "div_factor", "final_div_factor"),
        faults=step_faults("transition_steps"),
    ),
    schedule(
        optimizers.one_cycle_momentum_schedule,
        {"transition_steps": 15, "max_momentum": 0.9, "base_momentum": 0.8, "pct_cycle": 0.8},
        refused={"max_momentum": (-0.1, 1.0), "base_momentum": (-0.1, 1.0), "pct_cycle": (0.0, 1.0)},
        numbers=("max_momentum", "base_momentum"),
        faults=step_faults("transition_steps"),
    ),
    Function(
        name="lr_range_test",
        function=optimizers.lr_range_test,
        traced=lambda generator: {
            "state": generator.normal(size=3).astype(np.float32),
            "lr_min": np.float32(0.01),
            "lr_max": np.float32(generator.uniform(0.1, 1.0)),
        },
        static={"steps": 6},
        elsewhere=("step_fn",),
        use=run_parabola,
        shapes=((6,), (6,)),
    ),
    Function(
        name="lr_range_test[faults]",
        function=optimizers.lr_range_test,
        traced=lambda generator: {"state": generator.normal(size=3).astype(np.float32)},
        static={"step_fn": lambda x, rate: (x - rate * x, jnp.sum(x)), "lr_min": 0.01, "lr_max": 1.0, "steps": 6},
        shapes=((6,), (6,)),
        refused={"lr_min": (0.0,), "lr_max": (0.0,)},
        numbers=("lr_min", "lr_max"),
        faults=(*step_faults("steps"), Fault({"steps": 1}, ValueError), Fault({"step_fn": 1.0}, TypeError)),
    ),
    Function(
        name="suggest_max_lr",
        function=optimizers.suggest_max_lr,
        traced=lambda generator: {
            "lrs": np.geomspace(1e-3, 1.0, 12).astype(np.float32),
            "losses": draw_norms(generator),
            "smoothing": np.float32(generator.random()),
            "divergence": np.float32(generator.uniform(2.0, 4.0)),
        },
        refused={"smoothing": (-0.1, 1.0), "divergence": (0.9,)},
        numbers=("smoothing", "divergence"),
        faults=(Fault({"losses": jnp.ones(3)}, ValueError), Fault({"lrs": jnp.ones(())}, ValueError)),
    ),
    Function(
        name="schedule_from_array",
        function=optimizers.schedule_from_array,
        traced=lambda generator: {"values": draw_norms(generator), **count(generator)},
        use=schedule_at_count,
        faults=(Fault({"values": jnp.ones((2, 2))}, ValueError), Fault({"values": jnp.ones(0)}, ValueError)),
    ),
    Function(
        name="schedule_from_weights",
        function=optimizers.schedule_from_weights,
        traced=lambda generator: {"weights": draw_norms(generator), "peak_value": np.float32(0.3), **count(generator)},
        use=schedule_at_count,
        refused={"peak_value": (-0.1,)},
        numbers=("peak_value",),
        faults=(Fault({"weights": jnp.ones((2, 2))}, ValueError),),
    ),
    schedule(
        optimizers.refine_schedule,
        {"grad_norms": draw_norms(np.random.default_rng(0)), "peak_value": 0.3, "smoothing": 0.3, "mode": "adam"},
        refused={"peak_value": (-0.1,), "smoothing": (-0.1, 1.1)},
        numbers=("peak_value", "smoothing"),
        faults=(
            Fault({"mode": "lion"}, ValueError),
            Fault({"grad_norms": np.ones(1)}, ValueError),
            Fault({"grad_norms": np.array([1.0, 0.0])}, ValueError),
            Fault({"grad_norms": np.array([1.0, np.inf])}, ValueError),
        ),
    ),
    Function(
        name="max_w_mix",
        function=optimizers.max_w_mix,
        traced=lambda generator: {
            "outputs": generator.normal(size=(3, 2, 4)).astype(np.float32),
            "weights": generator.dirichlet(np.ones(3)).astype(np.float32),
        },
        shape=(2, 4),
        differentiable=("outputs", "weights"),
        faults=(
            Fault({"weights": jnp.ones(2)}, ValueError),
            Fault({"outputs": jnp.ones((0, 3))}, ValueError),
            Fault({"outputs": jnp.ones((3, 2), int)}, TypeError),
        ),
    ),
]
