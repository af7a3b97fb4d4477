"""Cases of the softmax over distances to class centres."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from contracts.cases.objectives._shared import (
    CENTRE_EDGES,
    CENTRE_FAULTS,
    CLASSES,
    FEATURES,
    MARGIN_EDGES,
    draw_centres,
    draw_centres_and_labels,
)
from contracts.common import Fault
from contracts.objective_checks import Objective

import objectives

HARMONIC: dict[str, Any] = {
    "hyperparameters": {"exponent": (1.5, 3.0), "epsilon": (1e-6, 1e-2)},
    "elsewhere": ("distance", "order", "precision"),
    "refused": {"exponent": (0.0, -1.0), "epsilon": (0.0, -1.0)},
    "faults": CENTRE_FAULTS,
}
DISTANCES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cosine", {}),
    ("manhattan", {"smooth": 1}),
    ("canberra", {"smooth": 1}),
    ("bray_curtis", {"smooth": 1}),
)


def harmonic(function: Callable[..., jax.Array], arguments: Callable[..., Any], **settings: Any) -> list[Objective]:
    labels = function is objectives.harmonic_loss
    edges = MARGIN_EDGES if labels else CENTRE_EDGES
    common: dict[str, Any] = {
        "differentiable": ("embeddings", "weights"),
        "degenerate": edges,
        "faults": (
            *CENTRE_FAULTS,
            Fault({"distance": "taxicab"}, ValueError),
            Fault({"distance": "manhattan", "order": 2.0}, ValueError, ("order",)),
            Fault({"distance": "mahalanobis"}, ValueError, ("precision",)),
            Fault({"distance": "minkowski"}, ValueError, ("order",)),
        ),
        **settings,
    }
    name = function.__name__
    root = np.random.default_rng(0).normal(size=(FEATURES, FEATURES))
    others = ("exponent", "epsilon", "order", "precision")
    chosen = DISTANCES if labels else (("chebyshev", {"smooth": 1}),)
    return [
        *(
            Objective(
                name=f"{name}[{distance}]",
                function=function,
                arguments=arguments,
                options={"distance": distance},
                elsewhere=others,
                **{**common, **more},
            )
            for distance, more in chosen
        ),
        Objective(
            name=f"{name}[minkowski]",
            function=function,
            arguments=lambda generator, batch: {**arguments(generator, batch), "order": np.array(2.5)},
            options={"distance": "minkowski"},
            elsewhere=("exponent", "epsilon", "precision"),
            **{**common, "smooth": 1, "faults": (Fault({"order": 0.5}, ValueError),)},
        ),
        Objective(
            name=f"{name}[mahalanobis]",
            function=function,
            arguments=lambda generator, batch: {**arguments(generator, batch), "precision": root @ root.T},
            options={"distance": "mahalanobis"},
            elsewhere=("exponent", "epsilon", "order"),
            **{**common, "faults": (Fault({"precision": np.eye(3)}, ValueError),)},
        ),
    ]


CASES = [
    Objective(
        name="harmonic_loss",
        function=objectives.harmonic_loss,
        arguments=draw_centres_and_labels,
        differentiable=("embeddings", "weights"),
        masked=("embeddings", "labels"),
        ids="labels",
        classes=CLASSES,
        degenerate=MARGIN_EDGES,
        **HARMONIC,
    ),
    Objective(
        name="harmonic_logits",
        function=objectives.harmonic_logits,
        arguments=draw_centres,
        differentiable=("embeddings", "weights"),
        shape=lambda batch: (*batch, CLASSES),
        degenerate=CENTRE_EDGES,
        **HARMONIC,
    ),
    *harmonic(
        objectives.harmonic_loss,
        draw_centres_and_labels,
        masked=("embeddings", "labels"),
        ids="labels",
        classes=CLASSES,
    ),
    *harmonic(objectives.harmonic_logits, draw_centres, shape=lambda batch: (*batch, CLASSES)),
]
