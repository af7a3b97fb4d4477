"""From options to the entries that a run compares."""

import itertools
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import optax

from benchmarks.train import catalogue, expressions
from benchmarks.train.errors import UsageError
from benchmarks.train.tasks.common import Task
from optimizers import StatefulRule, backprop

# Sign momentum moves every weight by the whole learning rate, plain descent by a gradient far below 1.
RATE_OF = {"lion": 1 / 3, "sign_sgd": 1 / 3, "sgd": 30.0, "sgdw": 30.0}
NONE, ALL = "none", "all"
# Gradient rules of a vector of task losses, and those among them that give a gradient a task.
STACKING = {"per_task"}
OF_LOSSES = STACKING | {"dwa", "famo", "jacobian_descent", "random_loss_weighting"}


class Options(NamedTuple):
    """Everything that decides the numbers of a run; expressions in canonical spelling, None where the task decides."""

    task: str
    objective: tuple[str, ...] | None
    optimizer: tuple[str, ...] | None
    gradient: tuple[str, ...] | None
    aggregate: tuple[str, ...] | None
    learning_rate: tuple[str, ...] | None
    seeds: int
    steps: int
    batch: int
    evaluate_every: int
    checkpoint_every: int


class Entry(NamedTuple):
    """One line of the comparison, as text."""

    label: str
    slug: str
    objective: str
    optimizer: str
    gradient: str
    aggregate: str
    learning_rate: str | None


class Parts(NamedTuple):
    """The four pieces that an entry names, built.

    Attributes:
        objective: of predictions and labels.
        gradient: the gradient rule, stateful or not.
        transformation: the aggregator, if there is one, and the optimizer.
        apart: whether the gradient rule takes the tasks' losses apart, as a vector.
        stacked: whether it gives a gradient a task.
    """

    objective: "partial[jax.Array]"
    gradient: Callable[..., Any] | StatefulRule
    transformation: optax.GradientTransformation
    apart: bool
    stacked: bool


def entries(options: Options, task: Task) -> list[Entry]:
    """The entries that the options ask for, each once; the task's own comparison where they name no piece."""
    named = (options.objective, options.optimizer, options.gradient, options.aggregate)
    chosen = [dict.fromkeys(("objective", "optimizer", "gradient", "aggregate"))]
    if not any(named):
        chosen = [dict(pieces) for pieces in task.defaults.entries]
    compared = (options.objective, options.gradient, _aggregates(options, task), options.optimizer)
    pieces_of = itertools.product(chosen, *((values or (None,)) for values in (*compared, options.learning_rate)))
    found: dict[tuple[str | None, ...], None] = {}
    for pieces, objective, gradient, aggregate, optimizer, rate in pieces_of:
        aggregate = aggregate or pieces.get("aggregate") or NONE
        gradient = gradient or pieces.get("gradient") or ("backprop" if aggregate == NONE else "per_task()")
        optimizer = optimizer or pieces.get("optimizer") or "adamw"
        objective = objective or pieces.get("objective") or task.defaults.objective
        found[objective, optimizer, gradient, aggregate, rate] = None
    return [_entry(number, key, list(found), task.defaults.objective) for number, key in enumerate(found)]


def _aggregates(options: Options, task: Task) -> tuple[str, ...] | None:
    """The aggregators asked for, with `all` written out."""
    if options.aggregate is None:
        return None
    every = (NONE, *catalogue.aggregators_of_tasks(task.losses))
    return tuple(name for given in options.aggregate for name in (every if given == ALL else (given,)))


def _entry(number: int, key: tuple[Any, ...], keys: list[tuple[Any, ...]], usual: str) -> Entry:
    """An entry whose label tells what sets it apart: the optimizer always, the rest where it is not the usual one."""
    objective, optimizer, gradient, aggregate, rate = key
    rates = {k[4] for k in keys}
    parts = [
        objective if objective != usual or len({k[0] for k in keys}) > 1 else "",
        gradient if gradient not in ("backprop", "per_task()") else "",
        aggregate if aggregate != NONE else "mean" if len({k[3] for k in keys}) > 1 else "",
        optimizer if rate is None or len(rates) == 1 else f"{optimizer} @ {rate}",
    ]
    label = " + ".join(part for part in parts if part)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-.")[:60]
    return Entry(label, f"{number + 1:02d}-{slug}", *key)


def build(entry: Entry, options: Options, task: Task) -> Parts:
    """The objects that an entry names, checked against each other."""
    names = expressions.names_in(entry.gradient)
    apart, stacked = not names.isdisjoint(OF_LOSSES), not names.isdisjoint(STACKING)
    if apart and task.losses == 1:
        raise UsageError(f"--gradient: {entry.gradient} needs several losses; {task.name} has one (--task multitask)")
    if entry.aggregate != NONE and not stacked:
        raise UsageError(f"--aggregate: {entry.aggregate} needs one gradient a task; {entry.gradient} gives one in all")
    if stacked and entry.aggregate == NONE:
        raise UsageError(f"--gradient: {entry.gradient} gives a gradient a task; name what joins them with --aggregate")
    rates = LearningRates(entry.learning_rate, options.steps, task.defaults.learning_rate)
    transformation = expressions.optimizer(entry.optimizer, rates)
    if entry.learning_rate is not None and not rates.asked:
        raise UsageError(f"--learning-rate: {entry.optimizer} already sets its own")
    if entry.aggregate != NONE:
        transformation = optax.chain(expressions.aggregator(entry.aggregate), transformation)
    rule = backprop if entry.gradient == "backprop" else expressions.gradient_rule(entry.gradient)
    return Parts(expressions.objective(entry.objective), rule, transformation, apart, stacked)


class LearningRates:
    """Fills in learning rates that an expression leaves out, and remembers whether it was asked.

    A number is the peak of a short linear warm-up and a cosine decay over the run; a schedule is used as it is.
    """

    def __init__(self, given: str | None, steps: int, default: float) -> None:
        self.given = None if given is None else expressions.number_or_schedule(given)
        if isinstance(self.given, int | float) and not 0.0 < self.given < float("inf"):
            raise UsageError(f"--learning-rate must be a positive number or a schedule, got {given}")
        self.steps, self.default, self.asked = steps, default, False

    def __call__(self, name: str) -> Any:
        """The learning rate of the optimizer of that name."""
        self.asked = True
        if callable(self.given):
            return self.given
        factor = RATE_OF.get(name.rsplit(".", 1)[-1], 1.0)
        peak = float(self.given) if self.given is not None else self.default * factor
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps=self.steps // 20, decay_steps=self.steps)
