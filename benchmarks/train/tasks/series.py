"""Forecasts of a series: the lower rows of a handwritten digit from the upper ones, eight numbers a step."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

import objectives
from benchmarks.train.tasks.common import HE, Arrays, Defaults, Metric, Objective, Recipe, Task, compared
from benchmarks.train.tasks.digits import load_digits_split

SEEN = 4
SQUARED = Metric("squared", "squared error", 1.0, 4, "", higher_is_better=False)
SHAPE = Metric("shape", "DTW", 1.0, 4, "", higher_is_better=False)
TIMING = Metric("timing", "distortion in time", 1.0, 4, "", higher_is_better=False)
ENTRIES = compared(
    "squared_error",
    "absolute_error",
    "soft_dtw(gamma=0.01)",
    "soft_dtw_divergence(gamma=0.01)",
    "dilate_loss",
)
ALMOST_HARD = 1e-3


def load() -> Task:
    """The task: four rows of a digit from the four above them; the images held out are those of `digits`."""
    train, test = ({"x": part["image"][:, :SEEN], "targets": part["image"][:, SEEN:]} for part in load_digits_split())
    return Recipe(Network(), _evaluate).task(
        "digit_rows",
        "UCI handwritten digits as series of rows, the lower four from the upper four; a stratified fifth held out",
        train,
        test,
        metrics=(SHAPE, TIMING, SQUARED),
        defaults=Defaults(
            seeds=3, steps=800, batch=128, learning_rate=3e-3, entries=ENTRIES, objective="squared_error"
        ),
    )


class Network(nn.Module):
    """A hidden layer, and as many rows as came in."""

    @nn.compact
    def __call__(self, rows: jax.Array) -> Arrays:
        """Rows `[B, 4, 8]` to the `predictions` `[B, 4, 8]` of those below."""
        hidden = nn.relu(nn.Dense(128, kernel_init=HE)(rows.reshape(len(rows), -1)))
        return {"predictions": nn.Dense(rows[0].size)(hidden).reshape(rows.shape)}


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    """Dynamic time warping, how far its path lies off the diagonal, and what squared error sees."""
    predicted, targets = outputs["predictions"], test["targets"]
    return {
        "shape": jnp.mean(objectives.soft_dtw(predicted, targets, gamma=ALMOST_HARD)),
        "timing": jnp.mean(objectives.temporal_distortion_loss(predicted, targets, gamma=ALMOST_HARD)),
        "squared": jnp.mean((predicted - targets) ** 2),
    }
