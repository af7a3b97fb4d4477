"""Lists to be ordered: numbers of two handwritten digits, as the papers on sorting networks put them together."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.train.tasks.common import Arrays, Defaults, Metric, Objective, Recipe, Task, Trunk, compared
from benchmarks.train.tasks.digits import load_digits_split

ITEMS = 5
TEST_LISTS = 400
RANKS = Metric("ranks", "right ranks", 100.0, 2, "%", higher_is_better=True)
ORDERS = Metric("orders", "right orders", 100.0, 2, "%", higher_is_better=True)
NDCG = Metric("ndcg", "NDCG", 1.0, 4, "", higher_is_better=True)
ENTRIES = compared(
    "squared_error",
    "diffsort_loss",
    "neural_ndcg_loss",
    "rax.listmle_loss",
    "rax.pairwise_logistic_loss",
)


def load() -> Task:
    """The task: the order of the numbers in a list; lists are drawn from the images of `digits`, split as there."""
    train, test = load_digits_split()
    rows = np.random.default_rng(0).integers(0, len(test["label"]), (TEST_LISTS, ITEMS, 2))
    return Recipe(Network(), _evaluate, sample=_sample).task(
        "ordered_digits",
        f"lists of {ITEMS} numbers, each of two UCI handwritten digits side by side; a stratified fifth held out",
        train,
        jax.tree.map(np.asarray, _lists(test, rows)),
        metrics=(RANKS, ORDERS, NDCG),
        defaults=Defaults(seeds=3, steps=400, batch=16, learning_rate=3e-3, entries=ENTRIES),
    )


def _sample(arrays: Arrays, key: jax.Array, step: jax.Array, size: int) -> Arrays:
    shape = (size, ITEMS, 2)
    return _lists(arrays, jax.random.randint(jax.random.fold_in(key, step), shape, 0, len(arrays["label"])))


def _lists(arrays: Arrays, rows: Any) -> Arrays:
    """Images `x` `[B, n, 8, 16]`, and their numbers in tens and ones, over 20: relevances from 0 to 5."""
    tens, ones = jnp.moveaxis(jnp.asarray(arrays["image"])[rows], 2, 0)
    numbers = jnp.asarray(arrays["label"])[rows] @ jnp.array([10, 1]) / 20.0
    return {"x": jnp.concatenate([tens, ones], axis=-1), "targets": numbers, "labels": numbers, "relevance": numbers}


class Network(nn.Module):
    """The trunk, and one number an item."""

    @nn.compact
    def __call__(self, images: jax.Array) -> Arrays:
        """Images `[B, n, 8, 16]` to scores `[B, n]`, under the names that an objective may ask for."""
        features = Trunk()(images.reshape(-1, *images.shape[2:]))
        scores = nn.Dense(1)(features).reshape(images.shape[:2])
        return {"scores": scores, "predictions": scores}


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    import rax

    scores, targets = outputs["scores"], test["targets"]
    right = _ranks(scores) == _ranks(targets)
    return {
        "ranks": jnp.mean(right),
        "orders": jnp.mean(jnp.all(right, axis=-1)),
        "ndcg": rax.ndcg_metric(scores, targets),
    }


def _ranks(values: jax.Array) -> jax.Array:
    """How many of a list are smaller."""
    return jnp.sum(values[:, :, None] > values[:, None], axis=-1)
