"""Cases of the aggregators that work on coordinates, keep gradients, or weigh tasks by their losses."""

import jax
import jax.numpy as jnp
import numpy as np
from contracts.aggregator_checks import Aggregator, output_gradients
from contracts.cases.optimizers.aggregation import GRAMIAN_FAULTS, draw_gramian
from contracts.common import Fault
from contracts.function_checks import Function

import optimizers


def tasks(number):
    return {"tasks": number}


def losses(number):
    return {"task_losses": jnp.arange(2.0, 2.0 + number)}


def inverse_norm(stacked):
    """One over the mean norm of the items of one task."""
    squares = sum(jnp.sum(g[0].reshape(len(g[0]), -1) ** 2, axis=1) for g in jax.tree.leaves(stacked))
    return 1.0 / jnp.mean(jnp.sqrt(squares))


TASK_FAULTS = (Fault({"tasks": 0}, ValueError), Fault({"tasks": 1.5}, TypeError))
AGGREGATORS = [
    Aggregator(
        name="graddrop",
        function=optimizers.graddrop,
        switches={"leak": [0.2, 0.9, 0.5], "f": jnp.square},
        elsewhere=("key",),
        agreed="sum",
        faults=(Fault({"leak": [0.1, 0.2, 1.5]}, ValueError), Fault({"f": 2.0}, TypeError)),
    ),
    Aggregator(
        name="graddrop[key]",
        function=optimizers.graddrop,
        arguments={"key": jax.random.key(3)},
        elsewhere=("leak", "f"),
        agreed="sum",
    ),
    Aggregator(
        name="gradvac",
        function=optimizers.gradvac,
        sized=tasks,
        hyperparameters={"decay": 0.4},
        refused={"decay": (-0.1, 1.1)},
        switches={"per_leaf": True},
        elsewhere=("key",),
        gradients=output_gradients,  # scalar leaves that conflict would cancel but for their rounding
        permutation_invariant=False,
        agreed="sum",
        faults=TASK_FAULTS,
    ),
    Aggregator(
        name="gradvac[key]",
        function=optimizers.gradvac,
        arguments={"key": jax.random.key(3), "per_leaf": True},
        sized=tasks,
        elsewhere=("decay",),
        gradients=output_gradients,
        permutation_invariant=False,
        agreed="sum",
    ),
    Aggregator(
        name="trimmed_mean",
        function=optimizers.trimmed_mean,
        arguments={"trim": 0.34},
        hyperparameters={"trim": 0.17},
        refused={"trim": (-0.1, 0.5)},
        agreed=None,
    ),
    Aggregator(
        name="gradnorm",
        function=optimizers.gradnorm,
        sized=tasks,
        extra=losses,
        hyperparameters={"alpha": 1.5, "learning_rate": 0.025},
        refused={"alpha": (-0.1,), "learning_rate": (-0.1,)},
        agreed="sum",
        faults=TASK_FAULTS,
    ),
    Aggregator(
        name="moco",
        function=optimizers.moco,
        sized=tasks,
        hyperparameters={"tracking_rate": 0.5, "learning_rate": 0.1, "regularization": 0.1},
        refused={
            "tracking_rate": (-0.1, 1.1),
            "learning_rate": (-0.1,),
            "regularization": (-0.1,),
            "max_norm": (0.0,),
        },
        switches={"max_norm": 0.1, "projection": "softmax"},
        elsewhere=("normalize",),
        agreed=None,
        alone=0.5,
        faults=(*TASK_FAULTS, Fault({"projection": "ball"}, ValueError)),
    ),
    Aggregator(
        name="moco[normalize]",
        function=optimizers.moco,
        arguments={"normalize": True, "max_norm": 1.0},
        sized=tasks,
        extra=losses,
        hyperparameters={"max_norm": 1.0},
        elsewhere=("tracking_rate", "learning_rate", "regularization", "projection"),
        agreed=None,
        alone=lambda stacked: 1.0 / jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(stacked))),
    ),
    Aggregator(
        name="db_mtl",
        function=optimizers.db_mtl,
        sized=tasks,
        extra=losses,
        hyperparameters={"decay": 0.4, "eps": 1e-8},
        refused={"decay": (-0.1, 1.1), "eps": (-1.0,)},
        agreed=None,
        alone=0.05,
        faults=TASK_FAULTS,
    ),
    Aggregator(
        name="loss_balancer",
        function=optimizers.loss_balancer,
        sized=lambda number: {"weights": [1.0] * number},
        gradients=output_gradients,
        hyperparameters={"total_norm": 1.0, "ema_decay": 0.4, "eps": 1e-12},
        refused={"total_norm": (-1.0,), "ema_decay": (-0.1, 1.1), "eps": (-1.0,)},
        agreed=None,
        alone=inverse_norm,
        faults=(
            Fault({"weights": [1.0, -1.0]}, ValueError),
            Fault({"weights": [0.0, 0.0]}, ValueError),
            Fault({"weights": jnp.ones((2, 2))}, ValueError),
        ),
    ),
]
FUNCTIONS = [
    Function(
        name="gradvac_weights",
        function=optimizers.gradvac_weights,
        traced=lambda generator: {
            "gramian": draw_gramian(generator),
            "targets": np.float32(generator.uniform(-0.5, 0.9, (3, 3))),
            "key": jax.random.key(generator.integers(1000)),
        },
        shapes=((3,), (3, 3)),
        faults=(*GRAMIAN_FAULTS, Fault({"targets": jnp.ones((2, 2))}, ValueError)),
    ),
]
