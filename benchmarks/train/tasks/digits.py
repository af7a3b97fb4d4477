"""Handwritten digits: 1797 images of 8x8 pixels from the UCI repository, as scikit-learn ships them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

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

ACCURACY = Metric("accuracy", "test accuracy", 100.0, 2, "%", higher_is_better=True)
TEST_LOSS = Metric("loss", "test loss", 1.0, 4, "", higher_is_better=False)
ENTRIES = (
    {"optimizer": "adamw"},
    {"optimizer": "ademamix"},
    {"optimizer": "lion"},
    {"gradient": "sam(0.05)", "optimizer": "adamw"},
)


def load() -> Task:
    """The task: classify a digit; a stratified fifth is held out, the same for every seed."""
    train, test = load_digits_split()
    network = Network()
    return Task(
        name="digits",
        about="UCI handwritten digits, small convolutional network, one-pixel shifts; a stratified fifth held out",
        train=train,
        test=test,
        init=lambda key: network.init(key, train["image"][:1]),
        sample=epoch_batch,
        loss=lambda objective, apart: _loss(network, objective),
        evaluate=lambda objective, params, test: _evaluate(network, objective, params, test),
        metrics=(ACCURACY, TEST_LOSS),
        defaults=Defaults(seeds=3, steps=800, batch=128, learning_rate=3e-3, entries=ENTRIES),
        examples=len(train["label"]),
    )


def load_digits_split() -> tuple[Arrays, Arrays]:
    """Training and test arrays: `image` float32 `[N, 8, 8]` in [0, 1], `label` int32 `[N]`."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images, labels = (digits.images / 16.0).astype(np.float32), digits.target.astype(np.int32)
    rows = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, test = ({"image": images[part], "label": labels[part]} for part in rows)
    return train, test


class Network(nn.Module):
    """The trunk and a class head."""

    @nn.compact
    def __call__(self, images: jax.Array) -> Arrays:
        """Images `[B, 8, 8]` to the arrays an objective may ask for."""
        return ClassHead(10)(Trunk()(images))


def _loss(network: Network, objective: Objective) -> LossFn:
    def loss_fn(params: Arrays, batch: Arrays, key: jax.Array) -> tuple[jax.Array, Arrays]:
        outputs: Any = network.apply(params, random_shift(key, batch["image"]))
        return mean_objective(objective, outputs, batch["label"]), {}

    return loss_fn


def _evaluate(network: Network, objective: Objective, params: Arrays, test: Arrays) -> Arrays:
    outputs: Any = network.apply(params, test["image"])
    correct = predicted_class(objective, outputs) == test["label"]
    return {"accuracy": jnp.mean(correct), "loss": mean_objective(objective, outputs, test["label"])}
