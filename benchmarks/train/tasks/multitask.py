"""Three tasks on one trunk: a digit's class, its parity, and the image itself; their gradients pull apart."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.train.tasks.common import (
    Arrays,
    ClassHead,
    Defaults,
    LossFn,
    Metric,
    Objective,
    Task,
    Trunk,
    epoch_batch,
    mean_objective,
    predicted_class,
    random_shift,
)
from benchmarks.train.tasks.digits import ACCURACY, load_digits_split
from objectives import softmax_cross_entropy

PARITY = Metric("parity_accuracy", "parity accuracy", 100.0, 2, "%", higher_is_better=True)
RECONSTRUCTION = Metric("reconstruction_error", "reconstruction RMSE", 1.0, 4, "", higher_is_better=False)
LOSSES = ("class_loss", "parity_loss", "reconstruction_loss")
TRAINING = (
    *(Metric(name, name.replace("_", " "), 1.0, 4, "", higher_is_better=False) for name in LOSSES),
    Metric("conflict_rate", "conflicts", 100.0, 0, "%", higher_is_better=False),
)
ENTRIES = ({"aggregate": "none"}, {"aggregate": "pcgrad"}, {"aggregate": "upgrad"})


def load() -> Task:
    """The task: class (by the objective), parity and reconstruction; the data and split of `digits`."""
    train, test = load_digits_split()
    network = Network()
    return Task(
        name="multitask",
        about="UCI handwritten digits: class, parity, reconstruction on one narrow trunk; a stratified fifth held out",
        train=train,
        test=test,
        init=lambda key: network.init(key, train["image"][:1]),
        sample=epoch_batch,
        loss=lambda objective, apart: _loss(network, objective, apart),
        evaluate=lambda objective, params, test: _evaluate(network, objective, params, test),
        metrics=(ACCURACY, PARITY, RECONSTRUCTION),
        defaults=Defaults(seeds=3, steps=800, batch=128, learning_rate=3e-3, entries=ENTRIES),
        examples=len(train["label"]),
        losses=len(LOSSES),
        train_metrics=TRAINING,
    )


class Network(nn.Module):
    """A trunk too narrow for everything at once, and a head for each task."""

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[Arrays, jax.Array, jax.Array]:
        """Images `[B, 8, 8]` to the arrays of the class head, parity logits `[B, 2]` and pixels `[B, 8, 8]`."""
        shared = Trunk(features=24)(images)
        pixels = nn.Dense(64, name="pixels")(nn.relu(nn.Dense(64, name="decoder")(shared)))
        return ClassHead(10, name="digit")(shared), nn.Dense(2, name="parity")(shared), pixels.reshape(images.shape)


def _loss(network: Network, objective: Objective, apart: bool) -> LossFn:
    def loss_fn(params: Arrays, batch: Arrays, key: jax.Array) -> tuple[jax.Array, Arrays]:
        images = random_shift(key, batch["image"])
        outputs: Any = network.apply(params, images)
        digit, parity, pixels = outputs
        losses = jnp.stack(
            [
                mean_objective(objective, digit, batch["label"]),
                jnp.mean(softmax_cross_entropy(parity, batch["label"] % 2)),
                jnp.mean((pixels - images) ** 2),
            ]
        )
        return losses if apart else jnp.mean(losses), dict(zip(LOSSES, losses))

    return loss_fn


def _evaluate(network: Network, objective: Objective, params: Arrays, test: Arrays) -> Arrays:
    outputs: Any = network.apply(params, test["image"])
    digit, parity, pixels = outputs
    return {
        "accuracy": jnp.mean(predicted_class(objective, digit) == test["label"]),
        "parity_accuracy": jnp.mean(jnp.argmax(parity, axis=-1) == test["label"] % 2),
        "reconstruction_error": jnp.sqrt(jnp.mean((pixels - test["image"]) ** 2)),
    }
