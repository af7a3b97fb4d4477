"""Diabetes: the disease's progression in a year, of 442 patients by ten measurements, as scikit-learn ships them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import objectives
from benchmarks.train.catalogue import required_arrays
from benchmarks.train.errors import UsageError
from benchmarks.train.tasks.common import HE, Arrays, Defaults, LossFn, Metric, Objective, Task, epoch_batch

R2 = Metric("r2", "explained variance R²", 1.0, 3, "", higher_is_better=True)
ABSOLUTE = Metric("absolute", "mean absolute error", 1.0, 3, "", higher_is_better=False)
ENTRIES = tuple(
    {"objective": objective}
    for objective in ("squared_error", "absolute_error", "huber_loss", "gaussian_nll_loss", "gamma_nll_loss")
)
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
    network = Network()
    return Task(
        name="diabetes",
        about="progression of diabetes from ten measurements of 442 patients, a dense network; a fifth held out",
        train=train,
        test=test,
        init=lambda key: network.init(key, train["x"][:1]),
        sample=epoch_batch,
        loss=lambda objective, apart: _loss(network, objective),
        evaluate=lambda objective, params, test: _evaluate(network, objective, params, test),
        metrics=(R2, ABSOLUTE),
        defaults=Defaults(seeds=5, steps=400, batch=64, learning_rate=1e-2, entries=ENTRIES, objective="squared_error"),
        examples=len(train["y"]),
    )


def load_diabetes_split() -> tuple[Arrays, Arrays]:
    """Training and test arrays: standardised measurements `x` `[N, 10]`, progression `y` `[N]` of mean 1."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    data = load_diabetes()
    rows, held_out = train_test_split(np.arange(len(data.target)), test_size=0.2, random_state=0)
    x = (data.data - data.data[rows].mean(0)) / data.data[rows].std(0)
    y = data.target / data.target[rows].mean()
    arrays = {"x": x.astype(np.float32), "y": y.astype(np.float32)}
    train, test = ({name: values[part] for name, values in arrays.items()} for part in (rows, held_out))
    return train, test


class Network(nn.Module):
    """A hidden layer, and a number a patient for each name in `OUTPUTS`."""

    features: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> Arrays:
        """Measurements `[B, 10]` to the arrays an objective may ask for, `[B]` each."""
        hidden = nn.tanh(nn.Dense(self.features, kernel_init=HE)(x))
        outputs = nn.Dense(len(OUTPUTS), kernel_init=nn.initializers.zeros)(hidden)
        return {name: outputs[:, index] for index, name in enumerate(OUTPUTS)}


def _values(objective: Objective, outputs: Arrays, targets: jax.Array) -> jax.Array:
    names = required_arrays(objective.func)
    arrays = outputs | {"targets": targets}
    if missing := [name for name in names if name not in arrays]:
        raise UsageError(f"{objective.func.__name__} needs {', '.join(missing)}, which this task does not have")
    return objective(*(arrays[name] for name in names))


def _loss(network: Network, objective: Objective) -> LossFn:
    def loss_fn(params: Arrays, batch: Arrays, key: jax.Array) -> tuple[jax.Array, Arrays]:
        outputs: Any = network.apply(params, batch["x"])
        return objectives.reduce_mean(_values(objective, outputs, batch["y"])), {}

    return loss_fn


def _evaluate(network: Network, objective: Objective, params: Arrays, test: Arrays) -> Arrays:
    outputs: Any = network.apply(params, test["x"])
    name = required_arrays(objective.func)[0]
    point = jnp.exp(outputs[name]) if name.startswith("log_") else outputs[name]
    return {
        "r2": objectives.r2_score(point, test["y"]),
        "absolute": jnp.mean(objectives.absolute_error(point, test["y"])),
    }
