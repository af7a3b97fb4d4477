"""The aggregators in one table: which properties each has, as its paper promises, and which it has not."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import optimizers
from optimizers import aggregation


@dataclass(frozen=True, kw_only=True)
class Aggregator:
    make: Callable
    counts: bool = False  # it takes the number of tasks
    # gramian -> weights, with as little regularization as the method allows; without, the last of so many updates with
    # the same gradients
    exact: Callable | None = None
    steps: int = 1
    agreeing: Callable | None = (
        None  # T -> the aggregate of gradients that do not conflict, as a multiple of their mean
    )
    equal: Callable  # T -> that of equal gradients
    vanishing: Callable | None = lambda tasks: 1  # T -> that of gradients whose squares vanish, or T of them
    alone: float = 1.0  # the multiple of a single gradient
    opposite: float = 0.0  # the multiple of the first of two that are opposite
    beside_zero: tuple[float, float] | None  # the aggregate of (0, 0), (1, 0) and (-1, 1)
    non_conflicting_tasks: int = 99  # up to so many tasks the aggregate conflicts with none
    permutation_tasks: int = 99  # up to so many tasks their order does not matter (beyond, only on average)
    roles: bool = False  # the order says which task is which, so that it matters
    fewest: int = 1  # tasks that it needs
    linear: bool = True  # linear under scaling of the gradients
    degree: float | None = 1.0  # of homogeneity in all gradients together; a multiple above is of |g|^(degree - 1) g
    # What makes the aggregate 0: "weak", that a convex combination of the gradients is; "strong", that one of positive
    # weights is, and nothing less; "without the last", that one of the other gradients is; None, not even that does
    # always.
    zero_at: str | None = None
    spreads_nan: bool = True  # to every entry
    squares_all: bool = True  # a gradient whose square overflows gives NaN
    drawn: bool = False  # a sign is drawn at every coordinate: opposite gradients do not cancel

    def made(self, tasks):
        return self.make(tasks) if self.counts else self.make()


AGGREGATORS = {
    "pcgrad": Aggregator(
        make=aggregation.pcgrad,
        exact=lambda g: aggregation.pcgrad_weights(g, jax.random.key(0)),
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.5, 1.5),
        non_conflicting_tasks=2,
        permutation_tasks=2,
    ),
    "upgrad": Aggregator(
        make=aggregation.upgrad,
        exact=lambda g: aggregation.upgrad_weights(g, norm_eps=0.0, reg_eps=1e-12),
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.5 / 3, 0.5),
        zero_at="strong",
    ),
    "dualproj": Aggregator(
        make=aggregation.dualproj,
        exact=lambda g: aggregation.dualproj_weights(g, norm_eps=0.0, reg_eps=1e-12),
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 1 / 3),
        linear=False,
        zero_at="strong",
    ),
    "mgda": Aggregator(
        make=aggregation.mgda,
        exact=aggregation.mgda_weights,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        linear=False,
        zero_at="weak",
    ),
    "cagrad": Aggregator(
        make=aggregation.cagrad,
        exact=aggregation.cagrad_weights,
        equal=lambda tasks: 1.5,
        alone=1.5,
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "imtl_g": Aggregator(
        make=aggregation.imtl_g,
        exact=aggregation.imtl_g_weights,
        equal=lambda tasks: 1,
        beside_zero=(3 - 2 * 2**0.5, 2**0.5 - 1),
        non_conflicting_tasks=2,
        linear=False,
    ),
    "config": Aggregator(
        make=aggregation.config,
        exact=aggregation.config_weights,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: 0,
        beside_zero=(2**0.5 / 4, (2 + 2**0.5) / 4),
    ),
    "aligned_mtl": Aggregator(
        make=aggregation.aligned_mtl,
        exact=aggregation.aligned_mtl_weights,
        equal=lambda tasks: 1,
        beside_zero=((1 - 5**-0.5) / 6, (1 - 5**-0.5) / 2),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "nash_mtl": Aggregator(
        make=aggregation.nash_mtl,
        equal=lambda tasks: 1,
        vanishing=lambda tasks: 0,
        beside_zero=(0.0, 0.0),
        linear=False,
        degree=0.0,
        zero_at="weak",
    ),
    "fairgrad": Aggregator(
        make=lambda: aggregation.fairgrad(2.0),
        equal=lambda tasks: tasks ** (1 / 3),
        vanishing=lambda tasks: 0,
        beside_zero=(0.0, 0.0),
        linear=False,
        degree=-1 / 3,
        zero_at="weak",
    ),
    "pcd": Aggregator(
        make=aggregation.pcd,
        counts=True,
        equal=lambda tasks: 1,
        opposite=-1.0,
        vanishing=lambda tasks: 0,
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,
        permutation_tasks=1,
        roles=True,
    ),
    "bloop": Aggregator(
        make=aggregation.bloop,
        equal=lambda tasks: 1,
        opposite=1.0,
        vanishing=lambda tasks: [2.0, 0.2],
        beside_zero=(0.0, 0.1),
        non_conflicting_tasks=1,
        permutation_tasks=1,
        roles=True,
        squares_all=False,
    ),
    "balgrad": Aggregator(
        make=aggregation.balgrad,
        equal=lambda tasks: 2,
        opposite=-1.0,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.0, 0.5),
        non_conflicting_tasks=1,
        permutation_tasks=1,
        roles=True,
        linear=False,
    ),
    "pareto_guided": Aggregator(
        make=aggregation.pareto_guided,
        equal=lambda tasks: 1,
        opposite=1.0,
        vanishing=lambda tasks: [2.0, 0.0],
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,  # it may harm the guide
        permutation_tasks=1,
        roles=True,
        fewest=2,
        linear=False,
        zero_at="without the last",
    ),
    "krum": Aggregator(
        make=aggregation.krum,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        fewest=3,
        non_conflicting_tasks=2,
        linear=False,
    ),
    "excess_mtl": Aggregator(
        make=aggregation.excess_mtl,
        counts=True,
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 1 / 3),
        non_conflicting_tasks=1,
    ),
    "modo": Aggregator(
        make=aggregation.modo,
        counts=True,
        equal=lambda tasks: 1,
        beside_zero=(0.1 / 3, 2.8 / 9),
        non_conflicting_tasks=1,
        linear=False,
        degree=None,
    ),
    "sdmgrad": Aggregator(
        make=lambda tasks: aggregation.sdmgrad(tasks, step_size=0.5),
        counts=True,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.1 / 1.3),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "cr_mogm": Aggregator(
        make=lambda tasks: aggregation.cr_mogm(aggregation.mgda_weights, tasks),
        counts=True,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        linear=False,
        zero_at="weak",
    ),
    "mean_tasks": Aggregator(
        make=optimizers.mean_tasks,
        exact=lambda g: jnp.full(len(g), 1 / len(g)),
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 1 / 3),
        non_conflicting_tasks=1,
        spreads_nan=False,
    ),
    "sum_tasks": Aggregator(
        make=optimizers.sum_tasks,
        exact=lambda g: jnp.ones(len(g)),
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.0, 1.0),
        non_conflicting_tasks=1,
        spreads_nan=False,
    ),
    "gradvac": Aggregator(  # at first PCGrad; with targets of its own in a file of its own
        make=aggregation.gradvac,
        counts=True,
        exact=lambda g: aggregation.gradvac_weights(g, jnp.zeros_like(g), jax.random.key(0))[0],
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.5, 1.5),
        non_conflicting_tasks=2,
        permutation_tasks=2,
    ),
    "gradnorm": Aggregator(
        make=aggregation.gradnorm,
        counts=True,
        steps=2,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.0, 1.0),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "moco": Aggregator(
        make=aggregation.moco,
        counts=True,
        equal=lambda tasks: 0.5,
        alone=0.5,
        vanishing=lambda tasks: 0.5,
        beside_zero=(1 / 240, 59 / 360),
        non_conflicting_tasks=1,
        linear=False,
        degree=None,
    ),
    "db_mtl": Aggregator(
        make=functools.partial(aggregation.db_mtl, decay=0.5),
        counts=True,
        equal=lambda tasks: 0.5 * tasks,
        alone=0.5,
        vanishing=lambda tasks: 0.5 * tasks,
        beside_zero=((2**0.5 - 1) / 2, 0.5),
        non_conflicting_tasks=2,  # two vectors of one length agree with their sum
        linear=False,
    ),
    "graddrop": Aggregator(
        make=aggregation.graddrop,
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=None,
        beside_zero=None,
        non_conflicting_tasks=1,
        linear=False,
        spreads_nan=False,
        drawn=True,
    ),
    "trimmed_mean": Aggregator(
        make=lambda: aggregation.trimmed_mean(0.34),
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,
        linear=False,
        spreads_nan=False,
    ),
}


def conflicting(tasks, size=7):
    gradients = np.random.default_rng(10 * tasks).standard_normal((tasks, size))
    return gradients - 0.9 * gradients.mean(axis=0)


@functools.cache
def jitted(name, tasks):
    return jax.jit(functools.partial(AGGREGATORS[name].made(tasks).update, task_losses=jnp.ones(tasks)))


def update(name, gradients):
    tasks = max([1, *(np.shape(leaf)[0] for leaf in jax.tree.leaves(gradients)[:1] if np.ndim(leaf))])
    return jitted(name, tasks)(gradients, AGGREGATORS[name].made(tasks).init(like_one_task(gradients)))[0]


def like_one_task(gradients):
    return jax.tree.map(lambda g: jnp.zeros(np.shape(g)[1:], jnp.asarray(g).dtype), gradients)
