"""Cases of the aggregators and of their weightings."""

import jax
import jax.numpy as jnp
import numpy as np
from contracts.aggregator_checks import Aggregator
from contracts.common import Fault
from contracts.function_checks import Function

import optimizers

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
]
