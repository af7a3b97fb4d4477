"""Embeddings of digits, as face recognition learns them: trained on some classes, compared on classes never seen."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import objectives
from benchmarks.train.tasks.common import (
    Arrays,
    ClassHead,
    Defaults,
    Metric,
    Objective,
    Recipe,
    Task,
    Trunk,
    compared,
    objective_values,
    predicted_class,
    random_shift,
)
from benchmarks.train.tasks.digits import ACCURACY, load_digits_split

KNOWN = 7
FEATURES = 16
PRECISION = Metric("precision", "mAP, unseen digits", 100.0, 2, "%", higher_is_better=True)
RECALL = Metric("recall", "recall@1, unseen digits", 100.0, 2, "%", higher_is_better=True)
ENTRIES = compared(
    "softmax_cross_entropy",
    "cosface_loss(scale=16.0)",
    "arcface_loss(scale=16.0)",
    "adaface_loss(scale=16.0)",
    "sphereface_r_loss(scale=16.0)",
)


def load() -> Task:
    """The task: embeddings learnt from 0 to 6 that tell 7, 8 and 9 apart; the accuracy is that of held-out 0 to 6."""
    train, test = load_digits_split()
    known = train["label"] < KNOWN
    train, unseen = ({name: values[rows] for name, values in train.items()} for rows in (known, ~known))
    return Recipe(
        network=Network(),
        evaluate=_evaluate,
        values=lambda objective, arrays: objective_values(objective, arrays, arrays["label"]),
        augment=random_shift,
        inputs="image",
    ).task(
        "digit_embeddings",
        "UCI handwritten digits 0 to 6, embeddings of 16 numbers; retrieval among all images of 7, 8 and 9 by cosine",
        train,
        {name: np.concatenate([values, unseen[name]]) for name, values in test.items()},
        metrics=(PRECISION, RECALL, ACCURACY),
        defaults=Defaults(seeds=3, steps=400, batch=128, learning_rate=3e-3, entries=ENTRIES),
    )


class Network(nn.Module):
    """The trunk, a linear embedding and a class head; beside them the statistics that AdaFace asks for."""

    @nn.compact
    def __call__(self, images: jax.Array) -> Arrays:
        """Images `[B, 8, 8]` to the arrays an objective may ask for."""
        embeddings = nn.Dense(FEATURES)(Trunk()(images))
        statistics = objectives.update_norm_statistics(objectives.norm_statistics(), embeddings, decay=0.0)
        return ClassHead(KNOWN)(embeddings) | {"statistics": statistics}


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    labels = test["label"]
    known = labels < KNOWN
    correct = predicted_class(objective, outputs) == labels
    embeddings = outputs["embeddings"]
    unit = embeddings / jnp.maximum(jnp.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)
    precision, recall = retrieval(unit, labels, ~known)
    return {"precision": precision, "recall": recall, "accuracy": jnp.mean(correct, where=known)}


def retrieval(embeddings: jax.Array, labels: jax.Array, where: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean average precision and recall at 1 of images asked for by each of them, by inner products, among `where`."""

    def of_query(query: jax.Array, label: jax.Array, itself: jax.Array) -> tuple[jax.Array, jax.Array]:
        others = where & ~itself
        scores, relevant = embeddings @ query, labels == label
        nearest = jnp.argmax(jnp.where(others, scores, -jnp.inf))
        return objectives.average_precision(scores, relevant, where=others), relevant[nearest]

    precisions, hits = jax.vmap(of_query)(embeddings, labels, jnp.eye(len(labels), dtype=bool))
    return jnp.mean(precisions, where=where), jnp.mean(hits, where=where)
