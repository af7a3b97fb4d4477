"""One entry as compiled functions: all seeds in one `vmap`, a chunk of steps per call, no host in between."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.train.errors import UsageError, one_line
from benchmarks.train.plan import Entry, Options, Parts
from benchmarks.train.tasks.common import Arrays, Task
from optimizers import TrainState, conflict_rate, gramian, make_train_step

States = TrainState
CONFLICT_RATE = "conflict_rate"


class Program(NamedTuple):
    """What trains one entry; every array has a leading axis of seeds.

    Attributes:
        init: () -> the states before the first step.
        chunk: (states, steps) -> (states, mean training metrics over those steps).
        evaluate: states -> test metrics.
        compile_seconds: tracing and compiling of the three.
    """

    init: Callable[[], States]
    chunk: Callable[[States, int], tuple[States, Arrays]]
    evaluate: Callable[[States], Arrays]
    compile_seconds: float


class Draft(NamedTuple):
    """A program that is traced, and so known to fit together, and not yet compiled."""

    shapes: States
    train_metrics: list[str]
    test_metrics: list[str]
    compile: Callable[[], Program]


def draft(entry: Entry, parts: Parts, options: Options, task: Task) -> Draft:
    """Trace an entry's program; a mismatch between its pieces shows here, before any work is done."""
    try:
        return _draft(parts, options, task)
    except UsageError as error:
        raise UsageError(f"{entry.label} on {task.name}: {error}") from None
    except Exception as error:
        raise UsageError(f"{entry.label} does not train on {task.name}: {one_line(error)}") from None


def _draft(parts: Parts, options: Options, task: Task) -> Draft:
    start = time.perf_counter()
    seeds = jnp.arange(options.seeds)
    train, test = jax.device_put((task.train, task.test))
    count = jnp.int32(0)

    init = jax.jit(jax.vmap(lambda seed: _create(seed, parts, task))).trace(seeds)
    over_seeds = jax.vmap(_chunk(parts, options, task), (0, 0, None, None))
    chunk = jax.jit(over_seeds, donate_argnums=1).trace(seeds, init.out_info, train, count)
    metrics_of = jax.vmap(lambda params, test: task.evaluate(parts.objective, params, test), (0, None))
    evaluate = jax.jit(metrics_of).trace(init.out_info.params, test)
    tracing = time.perf_counter() - start

    def compile() -> Program:
        start = time.perf_counter()
        run_init, run_chunk, run_evaluate = (traced.lower().compile() for traced in (init, chunk, evaluate))
        return Program(
            init=lambda: run_init(seeds),
            chunk=lambda states, steps: run_chunk(seeds, states, train, jnp.int32(steps)),
            evaluate=lambda states: run_evaluate(states.params, test),
            compile_seconds=tracing + time.perf_counter() - start,
        )

    return Draft(init.out_info, sorted(chunk.out_info[1]), sorted(evaluate.out_info), compile)


def _create(seed: jax.Array, parts: Parts, task: Task) -> TrainState:
    state_key, params_key = jax.random.split(jax.random.key(seed))
    return TrainState.create(
        params=task.init(params_key), tx=parts.transformation, key=state_key, gradient=parts.gradient
    )


def _chunk(parts: Parts, options: Options, task: Task) -> Callable[..., tuple[TrainState, Arrays]]:
    """(seed, state, training data, number of steps) -> (state, mean metrics), for one seed.

    The number of steps is an argument, so that chunks of every length share one executable; the batch of a step
    depends on the seed and the number of the step alone, so that a resumed run repeats it.
    """
    train_step = make_train_step(
        task.loss(parts.objective, parts.apart),
        parts.transformation,
        gradient=_with_conflict_rate(parts.gradient) if parts.stacked else parts.gradient,
        donate=False,
    )

    def one_step(seed: jax.Array, state: TrainState, train: Arrays) -> tuple[TrainState, Arrays]:
        key = jax.random.fold_in(jax.random.key(seed), 1)
        state, metrics = train_step(state, task.sample(train, key, state.step, options.batch))
        return state, {name: jnp.mean(value) for name, value in metrics.items() if name != "skipped"}

    def chunk(seed: jax.Array, state: TrainState, train: Arrays, count: jax.Array) -> tuple[TrainState, Arrays]:
        def body(_: jax.Array, carry: tuple[TrainState, Arrays]) -> tuple[TrainState, Arrays]:
            state, totals = carry
            state, metrics = one_step(seed, state, train)
            return state, jax.tree.map(jnp.add, totals, metrics)

        _, shapes = jax.eval_shape(one_step, seed, state, train)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        state, totals = jax.lax.fori_loop(0, count, body, (state, zeros))
        return state, jax.tree.map(lambda total: total / count, totals)

    return chunk


def _with_conflict_rate(rule: Any) -> Callable[..., Any]:
    """The rule of stacked gradients with one more metric: the share of the pairs of tasks that conflict."""

    def measured(loss_fn: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
        value_and_grad = rule(loss_fn, has_aux)

        def value_and_measured(*args: Any, **kwargs: Any) -> Any:
            (value, (metrics, model_state)), gradients = value_and_grad(*args, **kwargs)
            rate = conflict_rate(gramian(gradients))
            return (value, (metrics | {CONFLICT_RATE: rate}, model_state)), gradients

        return value_and_measured

    return measured


def parameter_count(shapes: States) -> int:
    """The number of parameters of one seed's model."""
    return sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(shapes.params))


def block(tree: Any) -> Any:
    """Wait until every array of a tree is computed."""
    return jax.block_until_ready(tree)
