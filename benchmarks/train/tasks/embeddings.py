"""Embeddings of digits, as face recognition learns them: by classes, and then compared with each other by angle."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

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
from benchmarks.train.tasks.digits import ACCURACY, CLASSES, load_digits_split

FEATURES = 16
PRECISION = Metric("precision", "retrieval mAP", 100.0, 2, "%", higher_is_better=True)
RECALL = Metric("recall", "recall@1", 100.0, 2, "%", higher_is_better=True)
ENTRIES = compared(
    "softmax_cross_entropy",
    "cosface_loss(scale=16.0)",
    "arcface_loss(scale=16.0)",
    "adaface_loss(scale=16.0)",
    "sphereface_r_loss(scale=16.0)",
)


def load() -> Task:
    """The task: images held out find the others of their digit by the cosine of embeddings; the split of `digits`."""
    train, test = load_digits_split()
    return Recipe(
        network=Network(),
        evaluate=_evaluate,
        values=lambda objective, arrays: objective_values(objective, arrays, arrays["label"]),
        augment=random_shift,
        inputs="image",
    ).task(
        "digit_embeddings",
        "UCI handwritten digits as embeddings of 16 numbers; retrieval by cosine among a stratified fifth held out",
        train,
        test,
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
        return ClassHead(CLASSES)(embeddings) | {"statistics": statistics}


def _evaluate(objective: Objective, outputs: Any, test: Arrays) -> Arrays:
    embeddings, labels = outputs["embeddings"], test["label"]
    unit = embeddings / jnp.maximum(jnp.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)
    precision, recall = retrieval(unit, labels)
    correct = predicted_class(objective, outputs) == labels
    return {"precision": precision, "recall": recall, "accuracy": jnp.mean(correct)}


def retrieval(embeddings: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean average precision and recall at 1 of every example asked for among all others, by inner products."""

    def of_query(query: jax.Array, label: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores, relevant = embeddings @ query, labels == label
        nearest = jnp.argmax(jnp.where(others, scores, -jnp.inf))
        return objectives.average_precision(scores, relevant, where=others), relevant[nearest]

    precisions, hits = jax.vmap(of_query)(embeddings, labels, ~jnp.eye(len(labels), dtype=bool))
    return jnp.mean(precisions), jnp.mean(hits)
