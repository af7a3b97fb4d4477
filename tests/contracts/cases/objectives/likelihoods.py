"""Cases of the negative log likelihoods."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import (
    DIM,
    FAR,
    LINE,
    LOCATION_EDGES,
    LOCATION_SCALE,
    PARTS,
    SATURATED,
    Draw,
    Generator,
    normal,
    per_entry,
    positive,
    trailing,
)
from contracts.common import Fault
from contracts.objective_checks import Shape

import objectives

OUTLYING = 100.0  # whose square a float16 gradient can hold


def counts(generator: Generator, batch: Shape) -> np.ndarray:
    return generator.integers(0, 4, batch).astype(float)


def share(generator: Generator, batch: Shape) -> np.ndarray:
    return generator.uniform(0.1, 0.9, batch)


def composition(generator: Generator, batch: Shape) -> np.ndarray:
    return generator.dirichlet(np.full(PARTS, 3.0), batch)


COUNT_EDGES = {
    "never": {"log_rate": -FAR, "targets": [0, 1, 2, 3]},
    "many": {"log_rate": 9.0, "targets": 8000.0},
}
SHAPE_EDGES = {
    "never": {"log_mean": -FAR, "targets": [0, 1, 2, 3]},
    "always": {"log_mean": FAR, "targets": [0, 1, 2, 3]},
    "Poisson": {"log_concentration": FAR, "targets": [0, 1, 2, 3]},
    "extremely dispersed": {"log_concentration": -FAR, "targets": [0, 1, 2, 3]},
}
COUNT: dict[str, Draw] = {"log_rate": normal}
SHAPE: dict[str, Draw] = {"log_mean": normal, "log_concentration": normal}


def logit_edges(name: str, edges: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    return {**edges, "never a zero": {name: -FAR}, "always a zero": {name: FAR}}


CASES = [
    per_entry(
        objectives.gaussian_nll_loss,
        {"mean": normal, "log_variance": normal},
        LINE,
        {
            "far away": {"mean": OUTLYING},
            "wide": {"log_variance": FAR},
            "exact, of no variance": {"mean": 1.0, "targets": 1.0, "log_variance": -FAR},
        },
        hyperparameters={"beta": (0.0, 0.5, 1.0)},
        refused={"beta": (-0.1, 1.1)},
    ),
    per_entry(objectives.laplace_nll_loss, LOCATION_SCALE, LINE, LOCATION_EDGES),
    per_entry(
        objectives.student_t_nll_loss,
        {**LOCATION_SCALE, "log_df": normal},
        LINE,
        {
            **LOCATION_EDGES,
            "narrow": {"log_scale": -FAR},
            "very wide": {"log_scale": FAR},
            "normal": {"log_df": FAR},
            "no freedom": {"log_df": -FAR},
        },
    ),
    per_entry(
        objectives.barron_nll_loss,
        {**LOCATION_SCALE, "shape_logit": normal},
        LINE,
        {
            **LOCATION_EDGES,
            "very wide": {"log_scale": FAR},
            "normal": {"shape_logit": FAR},
            "nearly normal": {"shape_logit": 15.0, "location": OUTLYING},
            "Cauchy": {"shape_logit": -FAR, "location": FAR},
        },
    ),
    per_entry(
        objectives.von_mises_nll_loss,
        {"location": normal, "log_concentration": normal},
        LINE,
        {
            "uniform": {"log_concentration": -FAR},
            "concentrated": {"log_concentration": 9.0},
            "exact": {"location": 1.0, "targets": 1.0, "log_concentration": FAR},
        },
    ),
    per_entry(
        objectives.gamma_nll_loss,
        SHAPE,
        {"targets": positive},
        {
            "large mean": {"log_mean": FAR},
            "no shape": {"log_concentration": -FAR},
            "exact": {"log_mean": 0.0, "targets": 1.0, "log_concentration": FAR},
        },
    ),
    per_entry(
        objectives.log_normal_nll_loss,
        LOCATION_SCALE,
        {"targets": positive},
        {"large": {"location": OUTLYING}, "small": {"location": -OUTLYING}, "wide": {"log_scale": FAR}},
    ),
    per_entry(
        objectives.inverse_gaussian_nll_loss,
        SHAPE,
        {"targets": positive},
        {
            "large mean": {"log_mean": FAR},
            "no shape": {"log_concentration": -FAR},
            "exact": {"log_mean": 0.0, "targets": 1.0, "log_concentration": FAR},
        },
    ),
    per_entry(
        objectives.beta_nll_loss,
        {"log_alpha": normal, "log_beta": normal},
        {"targets": share},
        {
            "no shapes": {"log_alpha": -FAR, "log_beta": -FAR},
            "one shape": {"log_alpha": -FAR},
            "concentrated": {"log_alpha": 9.0, "log_beta": 9.0},
        },
    ),
    per_entry(
        objectives.tweedie_deviance_loss,
        {"log_mean": normal},
        {"targets": positive},
        {
            "zeros": {"targets": 0.0},
            "exact": {"log_mean": 0.0, "targets": 1.0},
            "never": {"log_mean": -FAR, "targets": 0.0},
        },
        hyperparameters={"power": (1.0, 1.5, 2.0)},
        refused={"power": (0.9, 2.1)},
    ),
    per_entry(objectives.poisson_nll_loss, COUNT, {"targets": counts}, COUNT_EDGES),
    per_entry(objectives.negative_binomial_nll_loss, SHAPE, {"targets": counts}, SHAPE_EDGES),
    per_entry(
        objectives.zero_inflated_poisson_nll_loss,
        {"inflation_logits": normal, **COUNT},
        {"targets": counts},
        {
            **logit_edges("inflation_logits", COUNT_EDGES),
            "zeros of a large rate": {"log_rate": FAR, "targets": 0.0},
        },
    ),
    per_entry(
        objectives.zero_inflated_negative_binomial_nll_loss,
        {"inflation_logits": normal, **SHAPE},
        {"targets": counts},
        logit_edges("inflation_logits", SHAPE_EDGES),
    ),
    per_entry(
        objectives.hurdle_poisson_nll_loss,
        {"zero_logits": normal, **COUNT},
        {"targets": counts},
        logit_edges("zero_logits", COUNT_EDGES),
    ),
    per_entry(
        objectives.hurdle_negative_binomial_nll_loss,
        {"zero_logits": normal, **SHAPE},
        {"targets": counts},
        logit_edges("zero_logits", SHAPE_EDGES),
    ),
    per_entry(
        objectives.dirichlet_nll_loss,
        {"log_concentration": trailing(PARTS)},
        {"targets": composition},
        {
            "no shapes": {"log_concentration": np.full((4, PARTS), -FAR)},
            "one part": {"log_concentration": np.zeros((4, 1)), "targets": np.ones((4, 1))},
        },
        faults=(
            Fault({"targets": np.full((4, PARTS + 1), 0.25)}, ValueError),
            Fault({"log_concentration": np.zeros((4, 0), np.float32)}, ValueError),
        ),
    ),
    per_entry(
        objectives.multivariate_gaussian_nll_loss,
        {"mean": trailing(DIM), "log_cholesky": trailing(DIM, DIM)},
        {"targets": trailing(DIM)},
        {
            "far away": {"mean": np.full((4, DIM), 10.0)},
            "wide": {"log_cholesky": np.broadcast_to(FAR * np.eye(DIM), (4, DIM, DIM))},
        },
        faults=(
            Fault({"log_cholesky": np.zeros((4, DIM, DIM + 1), np.float32)}, ValueError),
            Fault({"targets": np.zeros((4, DIM + 1), np.float32)}, ValueError),
            Fault({"mean": np.float32(0.0)}, ValueError),
        ),
    ),
    per_entry(
        objectives.mixture_nll_loss,
        {"logits": trailing(PARTS), "component_losses": trailing(PARTS)},
        {},
        {
            "one is excluded": {"component_losses": np.tile([np.inf, 1.0, 2.0], (4, 1))},
            "one is switched off": {"logits": np.tile([-np.inf, 1.0, 2.0], (4, 1))},
            "saturated": {"logits": SATURATED, "component_losses": -SATURATED},
        },
        faults=(Fault({"logits": np.zeros((4, 0), np.float32)}, ValueError),),
    ),
    per_entry(
        objectives.gaussian_mixture_nll_loss,
        {"logits": trailing(PARTS), "mean": trailing(PARTS), "log_scale": trailing(PARTS)},
        LINE,
        {
            "one is switched off": {"logits": np.tile([-np.inf, 1.0, 2.0], (4, 1))},
            "far away": {"mean": np.full((4, PARTS), OUTLYING)},
        },
        faults=(Fault({"mean": np.zeros((4, PARTS + 1), np.float32)}, ValueError),),
    ),
    per_entry(
        objectives.tobit_nll_loss,
        {"mean": normal, "log_scale": normal},
        {"lower": lambda g, b: -np.abs(normal(g, b)), "upper": lambda g, b: np.abs(normal(g, b)) + 0.1},
        {
            "all kinds": {"lower": [1.0, -np.inf, 0.0, -np.inf], "upper": [1.0, 0.0, np.inf, np.inf]},
            "far below": {"mean": OUTLYING},
            "far above": {"mean": -OUTLYING},
            "bounds far away": {"mean": -OUTLYING, "lower": 0.0, "upper": np.inf},
        },
    ),
    per_entry(
        objectives.evidential_regression_loss,
        {"location": normal, "log_nu": normal, "log_alpha": normal, "log_beta": normal},
        LINE,
        {"far away": {"location": FAR}, "no evidence": {"log_nu": -FAR}, "exact": {"location": 1.0, "targets": 1.0}},
        hyperparameters={"penalty": (0.0, 0.1)},
        refused={"penalty": (-0.1,)},
        smooth=1,
    ),
]
