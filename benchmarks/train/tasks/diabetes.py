"""Diabetes: the disease's progression in a year, of 442 patients by ten measurements, as scikit-learn ships them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import objectives
from benchmarks.train.catalogue import required_arrays
from benchmarks.train.tasks.common import HE, Arrays, Defaults, Metric, Objective, Recipe, Task, compared

R2 = Metric("r2", "explained variance R²", 1.0, 3, "", higher_is_better=True)
ABSOLUTE = Metric("absolute", "mean absolute error", 1.0, 3, "", higher_is_better=False)
DEFAULTS = Defaults(seeds=5, steps=400, batch=64, learning_rate=1e-2, entries=(), objective="squared_error")
ENTRIES = compared("squared_error", "absolute_error", "huber_loss", "gaussian_nll_loss", "gamma_nll_loss")
# What an objective may ask for, one number a patient; the first that it takes is its prediction.
OUTPUTS = (
    "predictions",
    "mean",
    "location",
    "log_mean",
    "log_rate",
    "log_scale",
    "log_variance",
    "log_concentration",
    "log_df",
)


def load() -> Task:
    """The task: the progression, in multiples of its mean; a fifth is held out, the same for every seed."""
    train, test = load_diabetes_split()
    return Recipe(DenseNetwork(OUTPUTS), _evaluate).task(
        "diabetes",
        "progression of diabetes from ten measurements of 442 patients, a dense network; a fifth held out",
        train,
        test,
        metrics=(R2, ABSOLUTE),
        defaults=DEFAULTS._replace(entries=ENTRIES),
    )


def load_diabetes_split(held_out: float = 0.2) -> tuple[Arrays, Arrays]:
    """Training and test arrays: standardised measurements `x` `[N, 10]`, progression `targets` `[N]` of mean 1."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    data = load_diabetes()
    parts = train_test_split(np.arange(len(data.target)), test_size=held_out, random_state=0)
    rows = parts[0]
    x = (data.data - data.data[rows].mean(0)) / data.data[rows].std(0)
    targets = data.target / data.target[rows].mean()
    arrays = {"x": x.astype(np.float32), "targets": targets.astype(np.float32)}
    train, test = ({name: values[part] for name, values in arrays.items()} for part in parts)
    return train, test


class DenseNetwork(nn.Module):
    """A hidden layer; a number an example for each name in `numbers`, and vectors of the widths in `vectors`."""

    numbers: tuple[str, ...] = ()
    vectors: tuple[tuple[str, int], ...] = ()
    features: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> Arrays:
        """Measurements `[B, F]` to the arrays an objective may ask for, `[B]` and `[B, width]`."""
        hidden = nn.tanh(nn.Dense(self.features, kernel_init=HE)(x))
        widths = dict.fromkeys(self.numbers, 1) | dict(self.vectors)
        outputs = nn.Dense(sum(widths.values()), kernel_init=nn.initializers.zeros)(hidden)
        parts = jnp.split(outputs, np.cumsum([*widths.values()])[:-1], axis=-1)
        return {name: part[:, 0] if name in self.numbers else part for name, part in zip(widths, parts)}


def point(objective: Objective, outputs: Arrays) -> jax.Array:
    """The number that an objective's first array predicts."""
    name = required_arrays(objective.func)[0]
    return jnp.exp(outputs[name]) if name.startswith("log_") else outputs[name]


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    predicted = point(objective, outputs)
    return {
        "r2": objectives.r2_score(predicted, test["targets"]),
        "absolute": jnp.mean(objectives.absolute_error(predicted, test["targets"])),
    }
