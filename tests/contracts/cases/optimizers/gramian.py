"""Cases of the aggregators that bargain, set priorities, vote, or remember, and of their weightings."""

import jax.numpy as jnp
import numpy as np
from contracts.aggregator_checks import Aggregator
from contracts.cases.optimizers.aggregation import GRAMIAN_FAULTS, draw_gramian
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation

import optimizers


def tasks(number):
    return {"tasks": number}


TASK_FAULTS = (Fault({"tasks": 0}, ValueError), Fault({"tasks": 1.5}, TypeError))
COUNTED = {"sized": tasks, "agreed": None, "faults": TASK_FAULTS}

AGGREGATORS = [
    Aggregator(
        name="nash_mtl",
        function=optimizers.nash_mtl,
        hyperparameters={"max_norm": 1.0},
        refused={"max_norm": (0.0, -1.0)},
        elsewhere=("update_weights_every", "tasks"),
        faults=(
            Fault({"update_weights_every": 0}, ValueError),
            Fault({"update_weights_every": 1.5}, TypeError),
            Fault({"update_weights_every": 2}, ValueError),
        ),
        conflict=1e-5,
        agreed=None,
        degree=0.0,
    ),
    Aggregator(
        name="nash_mtl[update_weights_every]",
        function=optimizers.nash_mtl,
        arguments={"update_weights_every": 2, "max_norm": 1.0},
        sized=tasks,
        conflict=1e-5,
        agreed=None,
        degree=0.0,
        faults=TASK_FAULTS,
    ),
    Aggregator(
        name="fairgrad",
        function=optimizers.fairgrad,
        hyperparameters={"alpha": 1.0},
        refused={"alpha": (0.0, -1.0, float("inf"))},
        conflict=1e-5,
        agreed=None,
        degree=0.0,
    ),
    Aggregator(
        name="pcd",
        function=optimizers.pcd,
        hyperparameters={"tau": 0.02, "beta": 0.4, "eps": 1e-8},
        refused={"tau": (-0.1, 1.1), "beta": (-0.1, 1.0), "eps": (-1.0,)},
        permutation_invariant=None,
        **COUNTED,
    ),
    Aggregator(
        name="bloop",
        function=optimizers.bloop,
        hyperparameters={"lam": 0.1, "rho": 0.1},
        refused={"lam": (-0.1,), "rho": (0.0, 1.1)},
        permutation_invariant=None,
        agreed=None,
    ),
    Aggregator(
        name="balgrad",
        function=optimizers.balgrad,
        switches={"weights": [0.2, 0.8], "project": "balance"},
        permutation_invariant=None,
        agreed=None,
        faults=(Fault({"project": "both"}, ValueError),),
    ),
    Aggregator(
        name="pareto_guided",
        function=optimizers.pareto_guided,
        permutation_invariant=None,
        agreed=None,
        fewest=2,
    ),
    Aggregator(
        name="krum",
        function=optimizers.krum,
        arguments={"byzantine": 0},
        switches={"selected": 2},
        permutation_invariant=None,  # of three tasks, two are each other's nearest, and the first of those wins
        agreed=None,
        fewest=3,
        faults=(
            Fault({"byzantine": -1}, ValueError),
            Fault({"byzantine": 0.5}, TypeError),
            Fault({"selected": 0}, ValueError),
        ),
    ),
    Aggregator(
        name="excess_mtl",
        function=optimizers.excess_mtl,
        hyperparameters={"step_size": 0.5},
        refused={"step_size": (0.0,)},
        elsewhere=("warmup_steps",),
        sized=tasks,
        faults=(*TASK_FAULTS, Fault({"warmup_steps": 0}, ValueError), Fault({"warmup_steps": 1.5}, TypeError)),
    ),
    Aggregator(
        name="excess_mtl[warmup_steps]",
        function=optimizers.excess_mtl,
        arguments={"warmup_steps": 2, "step_size": 1.0},
        sized=tasks,
    ),
    Aggregator(
        name="modo",
        function=optimizers.modo,
        hyperparameters={"gamma": 0.05, "rho": 0.1},
        refused={"gamma": (0.0,), "rho": (-0.1,)},
        **COUNTED,
    ),
    Aggregator(
        name="sdmgrad",
        function=optimizers.sdmgrad,
        # Twenty steps of the authors' size, 10, each overshoot, and magnify roundings as they go.
        arguments={"step_size": 0.2},
        hyperparameters={"lam": 0.3, "step_size": 0.2, "momentum": 0.3},
        refused={"lam": (-0.1,), "step_size": (0.0,), "momentum": (-0.1, 1.0)},
        switches={"preference": [0.2, 0.3, 0.5], "iterations": 3},
        sized=tasks,
        agreed=None,
        faults=(*TASK_FAULTS, Fault({"iterations": 0}, ValueError), Fault({"iterations": 1.5}, TypeError)),
    ),
    Aggregator(
        name="cr_mogm",
        function=optimizers.cr_mogm,
        arguments={"weighting": optimizers.upgrad_weights},
        hyperparameters={"smoothing": 0.4},
        refused={"smoothing": (-0.1, 1.1)},
        sized=tasks,
        conflict=1e-3,
        faults=(*TASK_FAULTS, Fault({"weighting": 1.0}, TypeError)),
    ),
]

TRANSFORMATIONS = [
    Transformation(
        name="m_config",
        function=optimizers.m_config,
        arguments={"tasks": 2},
        hyperparameters={"b1": 0.9, "b2": 0.95, "eps": 1e-3},
        refused={"b1": (-0.1, 1.0), "b2": (-0.1, 1.0), "eps": (-1e-8,)},
        moments=4,
        elementwise=False,
        faults=TASK_FAULTS,
    ),
]

FUNCTIONS = [
    Function(
        name="nash_mtl_weights",
        function=optimizers.nash_mtl_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "max_norm": np.float32(generator.uniform(0.5, 3.0)),
        },
        shape=(3,),
        refused={"max_norm": (0.0,)},
        faults=GRAMIAN_FAULTS,
    ),
    Function(
        name="fairgrad_weights",
        function=optimizers.fairgrad_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "alpha": np.float32(generator.uniform(0.5, 3.0)),
        },
        shape=(3,),
        refused={"alpha": (0.0,)},
        faults=GRAMIAN_FAULTS,
    ),
    Function(
        name="pcd_weights",
        function=optimizers.pcd_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "mean_squares": np.float32(generator.uniform(1.0, 3.0, 3)),
            "tau": np.float32(generator.uniform(0.0, 0.5)),
            "eps": np.float32(1e-6),
        },
        shape=(3,),
        refused={"tau": (-0.1, 1.1), "eps": (-1.0,)},
        faults=(
            *GRAMIAN_FAULTS,
            Fault({"tau": jnp.ones(3)}, ValueError),
            Fault({"mean_squares": jnp.ones(2)}, ValueError),
        ),
    ),
    Function(
        name="balgrad_weights",
        function=optimizers.balgrad_weights,
        traced=lambda generator: {"gramian": draw_gramian(generator), "weights": np.float32([0.3, 0.7])},
        static={"project": "balance"},
        shape=(3,),
        faults=(
            *GRAMIAN_FAULTS,
            Fault({"weights": jnp.ones(3)}, ValueError),
            Fault({"project": "both"}, ValueError),
        ),
    ),
    Function(
        name="pareto_guided_weights",
        function=optimizers.pareto_guided_weights,
        traced=lambda generator: {"gramian": draw_gramian(generator)},
        shape=(3,),
        faults=(*GRAMIAN_FAULTS, Fault({"gramian": jnp.ones((1, 1))}, ValueError, words=())),
    ),
    Function(
        name="krum_weights",
        function=optimizers.krum_weights,
        traced=lambda generator: {"gramian": np.diag(np.float32(generator.uniform(1.0, 2.0, 5)))},
        static={"byzantine": 1, "selected": 2},
        shape=(5,),
        faults=(*GRAMIAN_FAULTS, Fault({"byzantine": 3}, ValueError), Fault({"selected": 6}, ValueError)),
    ),
    Function(
        name="modo_weights",
        function=optimizers.modo_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "former": np.float32([0.2, 0.3, 0.5]),
            "gamma": np.float32(generator.uniform(0.01, 0.1)),
            "rho": np.float32(generator.uniform(0.0, 0.2)),
        },
        shape=(3,),
        refused={"gamma": (0.0,), "rho": (-0.1,)},
        faults=(*GRAMIAN_FAULTS, Fault({"former": jnp.ones(2)}, ValueError)),
    ),
    Function(
        name="sdmgrad_weights",
        function=optimizers.sdmgrad_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "former": np.float32([0.2, 0.3, 0.5]),
            "preference": np.float32([0.5, 0.3, 0.2]),
            "lam": np.float32(generator.uniform(0.1, 0.5)),
            "step_size": np.float32(generator.uniform(0.1, 0.3)),
            "momentum": np.float32(generator.uniform(0.1, 0.5)),
        },
        static={"iterations": 4},
        shape=(3,),
        refused={"lam": (-0.1,), "step_size": (0.0,), "momentum": (-0.1, 1.0)},
        faults=(
            *GRAMIAN_FAULTS,
            Fault({"former": jnp.ones(2)}, ValueError),
            Fault({"preference": jnp.ones(2)}, ValueError),
            Fault({"iterations": 0}, ValueError),
        ),
    ),
    Function(
        name="cross_gramian",
        function=optimizers.cross_gramian,
        traced=lambda generator: {
            "first": generator.normal(size=(3, 4)).astype(np.float32),
            "second": generator.normal(size=(3, 4)).astype(np.float32),
        },
        shape=(3, 3),
        faults=(
            Fault({"second": jnp.ones((3, 5))}, ValueError),
            Fault({"first": jnp.float32(1.0)}, ValueError, words=()),
        ),
    ),
]
