"""Times that are not seen to their end: the progression of diabetes, of patients whose follow-up stops at random."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import objectives
from benchmarks.train.tasks.common import Arrays, Metric, Objective, Recipe, Task, compared
from benchmarks.train.tasks.diabetes import ABSOLUTE, DEFAULTS, DenseNetwork, load_diabetes_split, point

CONCORDANCE = Metric("concordance", "concordance index", 1.0, 3, "", higher_is_better=True)
INTERVALS = 12
LATEST = 1.5
ENTRIES = compared(
    "squared_error",
    "tobit_nll_loss",
    "aft_loss(distribution='log_normal')",
    "aft_loss",
    "logistic_hazard_loss",
    "cox_partial_likelihood_loss",
)
OUTPUTS = ("predictions", "mean", "location", "log_scale", "log_hazards")


def load() -> Task:
    """The task: order the half held out by their progression, taken for a time to an event and censored in training."""
    train, test = load_diabetes_split(held_out=0.5)
    train = _censored(train)
    seen = np.mean(train["events"])
    return Recipe(DenseNetwork(OUTPUTS, (("logits", INTERVALS),)), _evaluate).task(
        "censored_diabetes",
        f"progression of diabetes as a time, {1 - seen:.0%} of the training patients censored; the test has the truth",
        train,
        test,
        metrics=(CONCORDANCE, ABSOLUTE),
        defaults=DEFAULTS._replace(entries=ENTRIES),
    )


def _censored(train: Arrays) -> Arrays:
    """Follow-up until a time drawn from 0 to `LATEST` means; `targets` are the times seen, as if all were events."""
    truth = train["targets"]
    ends = np.random.default_rng(0).uniform(0.0, LATEST, len(truth)).astype(np.float32)
    events, times = truth <= ends, np.minimum(truth, ends)
    cuts = np.quantile(times[events], np.arange(1, INTERVALS) / INTERVALS)
    return {
        "x": train["x"],
        "targets": times,
        "times": times,
        "events": events,
        "lower": times,
        "upper": np.where(events, times, np.inf).astype(np.float32),
        "durations": np.searchsorted(cuts, times).astype(np.int32),
    }


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    """Patients are compared by when the event is expected; where that is no time, its error is not a number."""
    late, is_time = _lateness(objective, outputs)
    error = jnp.mean(objectives.absolute_error(late, test["targets"]))
    return {
        "concordance": objectives.concordance_index(-late, test["targets"], jnp.ones(late.shape, bool)),
        "absolute": error if is_time else jnp.float32(jnp.nan),
    }


def _lateness(objective: Objective, outputs: Arrays) -> tuple[jax.Array, bool]:
    """How late a patient's event is expected to come, and whether that is a time: the median under a distribution."""
    match objective.func.__name__:
        case "cox_partial_likelihood_loss":
            return -outputs["log_hazards"], False
        case "logistic_hazard_loss":
            return jnp.sum(jnp.cumprod(jax.nn.sigmoid(-outputs["logits"]), axis=-1), axis=-1), False
        case "pmf_survival_loss" | "deephit_ranking_loss":
            chances = jax.nn.softmax(jnp.pad(outputs["logits"], ((0, 0), (0, 1))))
            return chances @ jnp.arange(INTERVALS + 1.0), False
        case "aft_loss":
            weibull = objective.keywords.get("distribution", "weibull") == "weibull"
            shift = jnp.log(jnp.log(2.0)) * jnp.exp(outputs["log_scale"]) if weibull else 0.0
            return jnp.exp(outputs["location"] + shift), True
    return point(objective, outputs), True
