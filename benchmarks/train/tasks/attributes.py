"""Several labels an image: what is true of a handwritten digit, learnt from a few of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import objectives
from benchmarks.train.tasks.common import (
    Arrays,
    Defaults,
    Metric,
    Objective,
    Recipe,
    Task,
    Trunk,
    compared,
    random_shift,
)
from benchmarks.train.tasks.digits import CLASSES, few, load_digits_split

# The digits that have each attribute; the last two are rare, and every digit has one at least and lacks one.
ATTRIBUTES = {
    "odd": (1, 3, 5, 7, 9),
    "prime": (2, 3, 5, 7),
    "above four": (5, 6, 7, 8, 9),
    "a loop": (0, 6, 8, 9),
    "a square": (0, 1, 4, 9),
    "a multiple of three": (0, 3, 6, 9),
    "a multiple of four": (0, 4, 8),
    "perfect": (6,),
}
MACRO_AUC = Metric("macro_auc", "macro-AUC", 100.0, 2, "%", higher_is_better=True)
RANKING = Metric("ranking_loss", "ranking loss", 100.0, 2, "%", higher_is_better=False)
EXACT = Metric("exact", "all right at 0", 100.0, 2, "%", higher_is_better=True)
ENTRIES = compared(
    "sigmoid_cross_entropy",
    "asymmetric_loss",
    "zlpr_loss",
    "two_way_loss",
    "macro_auc_reweighted_loss",
    "macro_auc_pairwise_loss",
)


def load() -> Task:
    """The task: the attributes of a digit after a few images; the images held out are those of `digits`."""
    train, test = load_digits_split()
    return Recipe(Network(), _evaluate, augment=random_shift).task(
        "digit_attributes",
        f"{len(ATTRIBUTES)} attributes of UCI handwritten digits ({', '.join(ATTRIBUTES)}) from 200 images",
        _described(few(train)),
        _described(test),
        metrics=(MACRO_AUC, RANKING, EXACT),
        defaults=Defaults(seeds=3, steps=400, batch=64, learning_rate=3e-3, entries=ENTRIES),
    )


def _described(digits: Arrays) -> Arrays:
    has = np.array([[digit in which for which in ATTRIBUTES.values()] for digit in range(CLASSES)], np.float32)
    return {"x": digits["image"], "labels": has[digits["label"]]}


class Network(nn.Module):
    """The trunk and a logit an attribute."""

    @nn.compact
    def __call__(self, images: jax.Array) -> Arrays:
        """Images `[B, 8, 8]` to logits `[B, L]`, under the names that an objective may ask for."""
        logits = nn.Dense(len(ATTRIBUTES))(Trunk()(images))
        return {"logits": logits, "scores": logits}


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    """The ranking loss is the share of an image's pairs, one attribute it has and one it lacks, in the wrong order."""
    logits, labels = outputs["logits"], test["labels"]
    return {
        "macro_auc": objectives.macro_auc(logits, labels),
        "ranking_loss": 1.0 - jnp.mean(jax.vmap(objectives.roc_auc)(logits, labels)),
        "exact": jnp.mean(jnp.all((logits > 0) == (labels > 0), axis=-1)),
    }
