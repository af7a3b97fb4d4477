"""Cases of the losses of several labels an example."""

from collections.abc import Callable

import jax
import numpy as np
from contracts.cases.objectives._shared import (
    COUPLED,
    FINITE,
    PER_BINARY,
    draw_multilabel,
    multilabel_edges,
    per_class,
)
from contracts.common import Fault
from contracts.objective_checks import Objective

import objectives


def macro_auc_losses(function: Callable[..., jax.Array]) -> list[Objective]:
    bases = {"logistic": 2, "hinge": 1, "exponential": 2}
    return [
        Objective(
            name=f"{function.__name__}[{base}]",
            function=function,
            options={"base": base},
            **{
                **COUPLED,
                "smooth": smooth,
                # e^{1e4} is no float32
                "degenerate": {
                    n: c for n, c in COUPLED["degenerate"].items() if (base, n) != ("exponential", "saturated")
                },
                "faults": (*COUPLED["faults"], Fault({"base": "square"}, ValueError)),
            },
        )
        for base, smooth in bases.items()
        if function is objectives.macro_auc_pairwise_loss or base == "logistic"
    ]


CASES = [
    Objective(
        name="asymmetric_loss",
        function=objectives.asymmetric_loss,
        hyperparameters={"gamma_neg": (0.0, 4.0), "gamma_pos": (0.0, 1.0), "margin": (0.0, 0.05)},
        refused={"gamma_neg": (-1.0,), "gamma_pos": (-1.0,), "margin": (-0.1, 1.1)},
        options={"stop_focusing_gradient": False},
        **PER_BINARY,
    ),
    per_class(
        objectives.asymmetric_single_label_loss,
        hyperparameters={"gamma_neg": (0.0, 4.0), "gamma_pos": (0.0, 1.0), "label_smoothing": (0.0, 0.1)},
        refused={"gamma_neg": (-1.0,), "gamma_pos": (-1.0,), "label_smoothing": (-0.1, 1.1)},
        degenerate=FINITE,
    ),
    Objective(
        name="zlpr_loss",
        function=objectives.zlpr_loss,
        arguments=lambda generator, batch: (
            draw_multilabel(generator, (*batch, 3))
            if batch
            else {"logits": generator.normal(size=3), "labels": np.array([1.0, 0.0, 0.0])}
        ),
        differentiable=("logits",),
        masked=("logits", "labels"),
        degenerate={
            "saturated": {"logits": 1e4 * np.array([[1.0, -1, 0], [-1, 1, 1], [1, 1, 1], [-1, -1, -1]])},
            "no positives": {"labels": np.zeros((4, 3))},
            "no negatives": {"labels": np.ones((4, 3))},
            "no labels": {"logits": np.ones((4, 0)), "labels": np.ones((4, 0))},
        },
    ),
    Objective(
        name="two_way_loss",
        function=objectives.two_way_loss,
        hyperparameters={"positive_temperature": (1.0, 4.0), "negative_temperature": (0.5, 1.0)},
        refused={"positive_temperature": (0.0,), "negative_temperature": (0.0,)},
        **{
            **COUPLED,
            "arguments": draw_multilabel,
            "differentiable": ("logits",),
            "masked": ("logits", "labels"),
            "degenerate": multilabel_edges("logits"),
            "faults": (Fault({"logits": np.ones(6, np.float32)}, ValueError),),
        },
    ),
    *macro_auc_losses(objectives.macro_auc_pairwise_loss),
    *macro_auc_losses(objectives.macro_auc_univariate_loss),
    *macro_auc_losses(objectives.macro_auc_reweighted_loss),
]
