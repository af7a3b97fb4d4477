"""Ordered classes: the progression of diabetes in five grades, each as frequent as the others."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import objectives
from benchmarks.train.tasks.common import Arrays, Defaults, Metric, Objective, Recipe, Task, call_objective, compared
from benchmarks.train.tasks.diabetes import DenseNetwork, load_diabetes_split

GRADES = 5
DISTANCE = Metric("distance", "error in grades", 1.0, 3, "", higher_is_better=False)
KAPPA = Metric("kappa", "quadratic kappa", 1.0, 3, "", higher_is_better=True)
SCORE = Metric("probability_score", "ranked probability score", 1.0, 3, "", higher_is_better=False)
ENTRIES = compared(
    "softmax_cross_entropy",
    "ranked_probability_score",
    "earth_movers_distance_loss",
    "coral_loss",
    "corn_loss",
    "cumulative_link_loss",
)


class Head(NamedTuple):
    """How a family reads the network: its arrays from the outputs, and the probabilities of grades from its arrays."""

    arrays: Callable[[Arrays], Arrays]
    probabilities: Callable[..., jax.Array]


# A logit a grade, unless it is said here: a score less thresholds, conditional steps, a score and thresholds.
SOFTMAX = Head(lambda outputs: {"logits": outputs["logits"]}, lambda logits: jax.nn.softmax(logits))
HEADS = {
    "coral_loss": Head(
        lambda outputs: {"logits": outputs["scores"][:, None] - outputs["thresholds"]},
        objectives.coral_probabilities,
    ),
    "corn_loss": Head(lambda outputs: {"logits": outputs["steps"]}, objectives.corn_probabilities),
    "cumulative_link_loss": Head(
        lambda outputs: {"scores": outputs["scores"], "thresholds": outputs["thresholds"]},
        objectives.cumulative_link_probabilities,
    ),
}


def load() -> Task:
    """The task: a patient's grade, cut at the quintiles of training; half of the patients are held out."""
    parts = load_diabetes_split(held_out=0.5)
    cuts = np.quantile(parts[0]["targets"], np.arange(1, GRADES) / GRADES)
    train, test = (
        {"x": part["x"], "labels": np.searchsorted(cuts, part["targets"]).astype(np.int32)} for part in parts
    )
    return Recipe(Network(), _evaluate, values=_values).task(
        "graded_diabetes",
        f"progression of diabetes in {GRADES} grades from ten measurements, a dense network; half held out",
        train,
        test,
        metrics=(DISTANCE, KAPPA, SCORE),
        defaults=Defaults(seeds=5, steps=400, batch=64, learning_rate=3e-3, entries=ENTRIES),
    )


class Network(nn.Module):
    """The dense network, and the thresholds between grades, which are the same for every patient."""

    @nn.compact
    def __call__(self, x: jax.Array) -> Arrays:
        """Measurements `[B, 10]` to `scores` `[B]`, `logits` `[B, 5]`, `steps` `[B, 4]` and `thresholds` `[4]`."""
        outputs: Any = DenseNetwork(("scores",), (("logits", GRADES), ("steps", GRADES - 1)))(x)
        values = self.param("thresholds", lambda key: jnp.array([-1.4] + [0.4] * (GRADES - 2)))  # -1.4, -0.5, 0.4, 1.3
        return outputs | {"thresholds": objectives.ordered_thresholds(values)}


def _head(objective: Objective) -> Head:
    return HEADS.get(objective.func.__name__, SOFTMAX)


def _values(objective: Objective, arrays: Arrays) -> jax.Array:
    return call_objective(objective, {"labels": arrays["labels"]} | _head(objective).arrays(arrays))


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    """The grade predicted is the median of the probabilities, which the distance is least for."""
    arrays, probabilities = _head(objective)
    link = {"link": objective.keywords["link"]} if "link" in objective.keywords else {}
    chances = jnp.maximum(probabilities(*arrays(outputs).values(), **link), 1e-12)
    grades = jnp.sum(jnp.cumsum(chances, axis=-1)[:, :-1] < 0.5, axis=-1)
    return {
        "distance": jnp.mean(jnp.abs(grades - test["labels"])),
        "kappa": quadratic_kappa(grades, test["labels"]),
        "probability_score": jnp.mean(objectives.ranked_probability_score(jnp.log(chances), test["labels"])),
    }


def quadratic_kappa(predicted: jax.Array, labels: jax.Array) -> jax.Array:
    """Cohen's kappa with quadratic weights: 1 less the squared distance, over that of independent pairs."""
    predicted, labels = predicted.astype(jnp.float32), labels.astype(jnp.float32)
    chance = jnp.var(predicted) + jnp.var(labels) + (jnp.mean(predicted) - jnp.mean(labels)) ** 2
    return 1.0 - jnp.mean((predicted - labels) ** 2) / chance
