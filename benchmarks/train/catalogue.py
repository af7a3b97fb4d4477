"""Which public names there are to train with, by kind; read from the packages: a new name needs no entry here."""

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import optax

import objectives
import objectives.diagnostics
import optimizers
import optimizers.aggregation
import optimizers.gradients
import optimizers.precision

Functions = dict[str, Callable[..., Any]]

KINDS = ("objective", "optimizer", "gradient", "aggregate", "schedule")
TITLES = {
    "objective": "objectives",
    "optimizer": "optimizers and their parts",
    "gradient": "gradient rules",
    "aggregate": "aggregators of task gradients",
    "schedule": "schedules, wherever a number varies with the step",
}
# Aggregators of something else than the gradients of tasks of one rank.
SPECIAL = {"balgrad", "bloop", "loss_balancer", "m_config", "pareto_guided"}
# Keywords that the tasks provide, not the user.
PROVIDED = {"where", "weights", "key", "axis_name"}
# What an objective calls the truth: a function of these is one.
TRUTHS = {"labels", "targets", "relevance", "events", "lower"}
# Required keywords that a task gives where it can: what is known of the data, not of a batch.
FACTS = ("class_counts", "transition")


def functions_of(kind: str) -> Functions:
    """The public functions of one kind, by name."""
    return _BY_KIND[kind]()


def aggregators_of_tasks(tasks: int) -> list[str]:
    """An expression for every aggregator that can be made for so many tasks without asking anything else."""
    made = []
    for name, function in _aggregators().items():
        parameters = inspect.signature(function).parameters.values()
        needed = [p.name for p in parameters if p.default is p.empty]
        if name not in SPECIAL and set(needed) <= {"tasks"}:
            made.append(f"{name}(tasks={tasks})" if needed else name)
    return made


def kind_of(name: str) -> str | None:
    """The kind of a public name, or None."""
    return next((kind for kind in KINDS if name in functions_of(kind)), None)


def keywords_of(function: Callable[..., Any], kind: str) -> dict[str, inspect.Parameter]:
    """The parameters that an expression may set."""
    parameters = inspect.signature(function).parameters
    if is_rule(function):
        return {}
    if kind != "objective":
        return dict(parameters)
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and name not in PROVIDED}


def required_arrays(objective: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the arrays that an objective takes: its positional parameters without a default."""
    parameters = inspect.signature(objective).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty)


def required_facts(objective: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the facts about the data that an objective takes by keyword, without a default."""
    parameters = inspect.signature(objective).parameters
    return tuple(
        name
        for name in FACTS
        if name in parameters
        and parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        and parameters[name].default is inspect.Parameter.empty
    )


def is_rule(function: Callable[..., Any]) -> bool:
    """Whether a function is a gradient rule itself, as `backprop` is, and does not make one, as `sam` does."""
    return next(iter(inspect.signature(function).parameters), None) == "loss_fn"


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest name, or nothing."""
    close = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _public(module: Any) -> Functions:
    names = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in names.items() if inspect.isfunction(value)}


def _objectives() -> Functions:
    losses = {name: f for name, f in _public(objectives).items() if name not in objectives.diagnostics.__all__}
    return {name: f for name, f in losses.items() if TRUTHS & set(required_arrays(f))}


def _optimizers() -> Functions:
    others = {*_gradients(), *_aggregators()}
    own = {name: f for name, f in _public(optimizers).items() if name not in others and _makes_transformation(f)}
    return own | {"chain": optax.chain}


def _makes_transformation(function: Callable[..., Any]) -> bool:
    return "GradientTransformation" in str(inspect.signature(function).return_annotation)


def _gradients() -> Functions:
    rules = _public(optimizers.gradients) | _public(optimizers.precision)
    return {name: f for name, f in rules.items() if _makes_rule(f)}


def _makes_rule(function: Callable[..., Any]) -> bool:
    annotation = str(inspect.signature(function).return_annotation)
    return "Callable" in annotation or "StatefulRule" in annotation


def _aggregators() -> Functions:
    return {name: f for name, f in _public(optimizers.aggregation).items() if _makes_transformation(f)}


def _schedules() -> Functions:
    def is_schedule(name: str) -> bool:
        return not name.startswith("inject_") and name.endswith(("_schedule", "_decay"))

    public = {name: getattr(optax.schedules, name) for name in dir(optax.schedules)}
    from_optax = {name: f for name, f in public.items() if inspect.isfunction(f) and is_schedule(name)}
    return from_optax | {name: f for name, f in _public(optimizers).items() if name.endswith("_schedule")}


_BY_KIND: dict[str, Callable[[], Functions]] = {
    "objective": _objectives,
    "optimizer": _optimizers,
    "gradient": _gradients,
    "aggregate": _aggregators,
    "schedule": _schedules,
}
