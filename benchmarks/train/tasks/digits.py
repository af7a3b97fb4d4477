"""Handwritten digits: 1797 images of 8x8 pixels from the UCI repository, as scikit-learn ships them.

Five tasks: the digits as they are; with a long tail of rare classes; with wrong labels; with few labels, compared by
accuracy and by calibration. The images held out, and the score on them, are the same for all five.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.train.tasks.common import (
    Arrays,
    ClassHead,
    Defaults,
    Metric,
    Objective,
    Recipe,
    Task,
    Trunk,
    as_it_is,
    compared,
    mean_objective,
    objective_values,
    predicted_class,
    random_shift,
)
from objectives import expected_calibration_error

ACCURACY = Metric("accuracy", "test accuracy", 100.0, 2, "%", higher_is_better=True)
TEST_LOSS = Metric("loss", "test loss", 1.0, 4, "", higher_is_better=False)
CALIBRATION = Metric("calibration", "calibration error", 100.0, 2, "%", higher_is_better=False)
CLASSES = 10
ENTRIES = (
    {"optimizer": "adamw"},
    {"optimizer": "ademamix"},
    {"optimizer": "lion"},
    {"gradient": "sam(0.05)", "optimizer": "adamw"},
)
RARE_ENTRIES = compared("softmax_cross_entropy", "balanced_softmax_loss", "ldam_loss", "vs_loss", "focal_loss")
NOISY_ENTRIES = compared(
    "softmax_cross_entropy",
    "generalized_cross_entropy_loss",
    "symmetric_cross_entropy_loss",
    "active_passive_loss",
    "forward_correction_loss",
)
FEW_ENTRIES = compared(
    "softmax_cross_entropy",
    "softmax_cross_entropy(label_smoothing=0.1)",
    "poly_loss",
    "focal_loss",
    "squentropy_loss",
    "crammer_singer_loss",
)
CALIBRATED_ENTRIES = compared(
    "softmax_cross_entropy",
    "softmax_cross_entropy(label_smoothing=0.01)",
    "focal_loss(gamma=1.0)",
    "dual_focal_loss(gamma=1.0)",
    "mbls_loss(margin=8.0)",
)
RAREST = 0.04
WRONG = 0.4
FEW, FEWER = 200, 100


def load() -> Task:
    """The task: classify a digit; a stratified fifth is held out, the same for every seed."""
    train, test = load_digits_split()
    about = "UCI handwritten digits, small convolutional network, one-pixel shifts; a stratified fifth held out"
    return _task("digits", about, train, test, ENTRIES)


def load_imbalanced() -> Task:
    """The task: classify a digit where each is rarer than the one before; what is held out has as many of each."""
    train, test = load_digits_split()
    train = _long_tail(train)
    about = f"UCI handwritten digits, of which 9 is {RAREST:g} as frequent as 0 in training and not in the test"
    given = {"class_counts": np.bincount(train["label"], minlength=CLASSES).astype(np.float32)}
    return _task("imbalanced_digits", about, train, test, RARE_ENTRIES, given)


def load_noisy() -> Task:
    """The task: classify a digit when many of the labels to learn from are wrong; those held out are right."""
    train, test = load_digits_split()
    train = _wrong_labels(train)
    about = f"UCI handwritten digits, {WRONG:g} of the training labels drawn from the other nine; the test has the true"
    transition = np.where(np.eye(CLASSES, dtype=bool), 1 - WRONG, WRONG / (CLASSES - 1)).astype(np.float32)
    return _task("noisy_digits", about, train, test, NOISY_ENTRIES, {"transition": transition})


def load_few() -> Task:
    """The task: classify a digit after a few of each; compared by accuracy."""
    train, test = load_digits_split()
    about = f"UCI handwritten digits, {FEW} of them to learn from; the test is that of all digits"
    return _task("few_digits", about, few(train), test, FEW_ENTRIES, steps=400)


def load_calibrated() -> Task:
    """The task: know how likely a class is after a few digits of each, learnt by heart: none is shifted."""
    train, test = load_digits_split()
    about = f"UCI handwritten digits, {FEWER} of them to learn from, without shifts; the test is that of all digits"
    task = _task("calibrated_digits", about, few(train, FEWER), test, CALIBRATED_ENTRIES, steps=400, shifts=False)
    return task._replace(metrics=(CALIBRATION, ACCURACY, TEST_LOSS))


def _task(
    name: str,
    about: str,
    train: Arrays,
    test: Arrays,
    entries: tuple[dict[str, str], ...],
    given: Arrays | None = None,
    steps: int = 800,
    shifts: bool = True,
) -> Task:
    """The digits, some of them; `given` are arrays that an objective may ask for, whatever the batch."""
    return Recipe(
        network=Network(),
        evaluate=partial(_evaluate, given or {}),
        values=lambda objective, arrays: objective_values(objective, arrays | (given or {}), arrays["label"]),
        augment=random_shift if shifts else as_it_is,
        inputs="image",
    ).task(
        name,
        about,
        train,
        test,
        metrics=(ACCURACY, TEST_LOSS, CALIBRATION),
        defaults=Defaults(seeds=3, steps=steps, batch=128, learning_rate=3e-3, entries=entries),
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


def few(train: Arrays, count: int = FEW) -> Arrays:
    """The first so many digits, as many of each."""
    return _first(train, [count // CLASSES] * CLASSES)


def _long_tail(train: Arrays) -> Arrays:
    """The first examples of every class, as many as an exponential from 1 to `RAREST` of the commonest allows."""
    most = np.bincount(train["label"]).max()
    return _first(train, [round(most * RAREST ** (label / (CLASSES - 1))) for label in range(CLASSES)])


def _first(train: Arrays, counts: Sequence[int]) -> Arrays:
    """The first so many examples of every class."""
    kept = [np.flatnonzero(train["label"] == label)[:count] for label, count in enumerate(counts)]
    rows = np.sort(np.concatenate(kept))
    return {name: values[rows] for name, values in train.items()}


def _wrong_labels(train: Arrays) -> Arrays:
    """A share `WRONG` of the labels moved to one of the others, each as likely."""
    generator = np.random.default_rng(0)
    labels = train["label"]
    moved = (labels + generator.integers(1, CLASSES, len(labels))) % CLASSES
    wrong = generator.random(len(labels)) < WRONG
    return train | {"label": np.where(wrong, moved, labels).astype(np.int32)}


class Network(nn.Module):
    """The trunk and a class head."""

    @nn.compact
    def __call__(self, images: jax.Array) -> Arrays:
        """Images `[B, 8, 8]` to the arrays an objective may ask for."""
        return ClassHead(CLASSES)(Trunk()(images))


def _evaluate(given: Arrays, objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    correct = predicted_class(objective, outputs | given) == test["label"]
    return {
        "accuracy": jnp.mean(correct),
        "loss": mean_objective(objective, outputs | given, test["label"]),
        "calibration": expected_calibration_error(outputs["logits"], test["label"]),
    }
