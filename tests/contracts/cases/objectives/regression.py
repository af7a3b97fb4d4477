"""Cases of the losses of residuals and of ratios of errors."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from contracts.cases.objectives._shared import (
    FLAT,
    POSITIVE,
    REGRESSION,
    ROWS,
    Generator,
    draw_positive,
    draw_regression,
    entrywise,
    scalar,
)
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives

EDGES = np.array([-1.5, -0.5, 0.0, 0.5, 2.0])
BINS = len(EDGES) - 1
BITS = 3
BAGS = 3


def draw_unit(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": 0.1 + 0.8 * generator.random(batch), "targets": generator.random(batch)}


SCALED: dict[str, Any] = {"smooth": 2, "hyperparameters": {"scale": (0.5, 3.0)}, "refused": {"scale": POSITIVE}}
LARGE = REGRESSION["degenerate"]["large errors"]
# The gradient of a squared error of 1e4 is beyond float16, in which the edges are tried too.
SQUARES = {**REGRESSION["degenerate"], "large errors": {name: x / 10 for name, x in LARGE.items()}}
SUMMED = functools.partial(lambda predictions, targets: predictions.sum())


def rows(function: Callable[..., Any], *, smooth: int = 2, suffix: str = "", **options: str) -> Objective:
    faults = ROWS["faults"] + tuple(Fault({name: "median"}, ValueError) for name in options)
    return Objective(
        name=function.__name__ + suffix, function=function, smooth=smooth, options=options, **{**ROWS, "faults": faults}
    )


# Regression as classification.
def draw_histogram(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": generator.normal(size=(*batch, BINS)),
        "targets": generator.normal(size=batch),
        "bin_edges": EDGES,
    }


def draw_both_heads(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    # Targets in the middle of the bins: a finite difference must not take them to the next one.
    targets = generator.choice(0.5 * (EDGES[1:] + EDGES[:-1]), batch)
    return {"predictions": generator.normal(size=batch), **draw_histogram(generator, batch), "targets": targets}


HISTOGRAM_FAULTS = (
    Fault({"bin_edges": EDGES[:-1]}, ValueError),
    Fault({"bin_edges": EDGES[::-1]}, ValueError),
    Fault({"bin_edges": EDGES[:, None]}, ValueError),
    Fault({"logits": np.float32(1.0)}, ValueError),
)
HISTOGRAM_EDGES = {
    "saturated": {"logits": 1e4 * np.eye(BINS)},
    "equal logits": {"logits": np.zeros((4, BINS))},
    "targets far outside": {"targets": np.array([1e4, -1e4, 30.0, -30.0])},
    "targets at the edges": {"targets": EDGES[:4]},
    "a single bin": {"logits": np.ones((4, 1)), "bin_edges": np.array([0.0, 1.0])},
    "empty batch": {"logits": np.ones((0, BINS)), "targets": np.ones(0)},
}
BIT_EDGES = {
    "saturated": {"logits": 1e4 * np.array([[1, -1, 1], [-1, -1, -1], [1, 1, 1], [0, 0, 0]])},
    "ends": {"targets": np.array([0.0, 1.0, 0.0, 1.0])},
    "one bit": {"logits": np.ones((4, 1)), "bit_weights": np.ones(1)},
}


# Weak supervision and boosting.
def draw_bags(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "predictions": generator.normal(size=batch),
        "targets": generator.normal(size=BAGS),
        "bag_ids": generator.integers(0, BAGS, batch, np.int32),
    }


def draw_stage(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_regression(generator, batch), "scores": generator.normal(size=batch)}


def draw_stages(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "predictions": generator.normal(size=(*batch, 3)),
        "targets": generator.normal(size=batch),
        "boost_rates": 0.1 + generator.random(3),
    }


CASES = [
    Objective(name="huber_loss", function=objectives.huber_loss, smooth=1, **REGRESSION),
    Objective(name="pseudo_huber_loss", function=objectives.pseudo_huber_loss, **REGRESSION),
    entrywise(objectives.squared_error, smooth=2, degenerate=SQUARES),
    entrywise(objectives.absolute_error),
    entrywise(objectives.log_cosh_loss, smooth=2),
    entrywise(objectives.smooth_l1_loss, hyperparameters={"beta": (0.1, 10.0)}, refused={"beta": POSITIVE}),
    entrywise(
        objectives.balanced_l1_loss,
        hyperparameters={"alpha": (0.5, 1.0), "gamma": (0.5, 1.5)},
        refused={"alpha": POSITIVE, "gamma": POSITIVE},
    ),
    entrywise(objectives.cauchy_loss, **SCALED),
    entrywise(objectives.geman_mcclure_loss, **SCALED),
    entrywise(objectives.welsch_loss, **SCALED),
    entrywise(objectives.tukey_biweight_loss, **{**SCALED, "smooth": 1}),
    entrywise(
        objectives.general_robust_loss,
        smooth=2,
        hyperparameters={"alpha": (-np.inf, -2.0, 0.0, 1e-6, 1.0, 2.0, 0.7), "scale": (0.5, 3.0)},
        refused={"alpha": (2.5,), "scale": POSITIVE},
    ),
    entrywise(
        objectives.quantile_loss, hyperparameters={"quantile": (0.0, 0.3, 1.0)}, refused={"quantile": (-0.1, 1.1)}
    ),
    entrywise(
        objectives.expectile_loss, hyperparameters={"expectile": (0.0, 0.3, 1.0)}, refused={"expectile": (-0.1, 1.1)}
    ),
    entrywise(objectives.squared_log_error, smooth=2, arguments=draw_positive, degenerate=FLAT),
    entrywise(
        objectives.absolute_percentage_error,
        arguments=draw_positive,
        degenerate={name: {**changes, "epsilon": np.array(0.1)} for name, changes in FLAT.items()},
        hyperparameters={"epsilon": (1e-6, 0.1)},
        refused={"epsilon": POSITIVE},
    ),
    entrywise(
        objectives.symmetric_absolute_percentage_error, arguments=draw_positive, degenerate={**FLAT, "large": LARGE}
    ),
    rows(objectives.mean_bias_error),
    rows(objectives.root_mean_squared_error),
    rows(objectives.root_mean_squared_log_error),
    rows(objectives.relative_absolute_error, smooth=1),
    rows(objectives.relative_squared_error),
    rows(objectives.r2_score),
    rows(objectives.normalized_root_mean_squared_error, normaliser="range"),
    rows(objectives.normalized_root_mean_squared_error, suffix="[mean]", normaliser="mean"),
    rows(objectives.normalized_root_mean_squared_error, suffix="[std]", normaliser="std"),
    rows(objectives.relative_root_mean_squared_error, relative_to="predictions"),
    Objective(
        name="hl_gauss_loss",
        function=objectives.hl_gauss_loss,
        arguments=draw_histogram,
        differentiable=("logits",),
        masked=("logits", "targets"),
        hyperparameters={"sigma_ratio": (0.1, 2.0)},
        refused={"sigma_ratio": POSITIVE},
        degenerate=HISTOGRAM_EDGES,
        faults=HISTOGRAM_FAULTS,
    ),
    Objective(
        name="regression_with_classification_loss",
        function=objectives.regression_with_classification_loss,
        arguments=draw_both_heads,
        differentiable=("predictions", "logits"),
        masked=("predictions", "logits", "targets"),
        hyperparameters={"class_weight": (0.0, 0.5)},
        refused={"class_weight": (-1.0,)},
        degenerate={
            **HISTOGRAM_EDGES,
            "empty batch": {"logits": np.ones((0, BINS)), **dict.fromkeys(("predictions", "targets"), np.ones(0))},
        },
        faults=HISTOGRAM_FAULTS,
    ),
    Objective(
        name="binary_encoding_loss",
        function=objectives.binary_encoding_loss,
        arguments=lambda generator, batch: {
            "logits": generator.normal(size=(*batch, BITS)),
            "targets": generator.random(batch),
            "bit_weights": 2.0 ** np.arange(BITS)[::-1],
        },
        differentiable=("logits",),
        masked=("logits", "targets"),
        hyperparameters={"low": (-1.0, 0.0), "high": (1.0, 2.0)},
        refused={"low": (2.5,), "high": (-1.5,)},
        degenerate=BIT_EDGES,
        faults=(
            Fault({"logits": np.float32(1.0)}, ValueError),
            Fault({"logits": np.ones((4, 25), np.float32)}, ValueError),
            Fault({"bit_weights": np.ones(BITS + 1)}, ValueError),
        ),
    ),
    entrywise(
        objectives.neural_field_classifier_loss,
        smooth=2,
        arguments=draw_unit,
        degenerate={
            "ends": {"predictions": np.array([0.0, 1.0, 0.0, 1.0]), "targets": np.array([0.0, 1.0, 1.0, 0.0])},
            "outside": {"predictions": np.array([-1e4, 1e4, -0.5, 1.5]), "targets": np.array([0.0, 1.0, 1.0, 0.0])},
        },
        hyperparameters={"bce_weight": (0.0, 2.0), "epsilon": (1e-3, 0.05)},
        refused={"bce_weight": (-1.0,), "epsilon": (0.0, 0.6)},
    ),
    *(
        Objective(
            name="bag_level_loss" + suffix,
            function=objectives.bag_level_loss,
            arguments=draw_bags,
            batches=((6,), (2,)),
            shape=lambda batch: (BAGS,),
            differentiable=("predictions", "targets"),
            masked=("predictions", "bag_ids"),
            integers=True,
            coupled=True,
            hyperparameters={"instance_weight": (0.0, 0.3, 1.0)},
            refused={"instance_weight": (-0.1, 1.1)},
            degenerate={
                "one bag": {"bag_ids": np.zeros(6, np.int32)},
                "large": {"predictions": np.full(6, 1e3), "targets": np.full(BAGS, -1e3)},
                "no examples": {"predictions": np.zeros(0), "bag_ids": np.zeros(0, np.int32)},
                "an empty bag without a target": {
                    "bag_ids": np.array([0, 0, 2, 2, 0, 2], np.int32),
                    "targets": np.array([1.0, np.nan, 2.0]),
                },
            },
            faults=(
                Fault({"predictions": np.ones((6, 1), np.float32)}, ValueError),
                Fault({"predictions": np.ones(6, np.int32)}, TypeError),
                Fault({"bag_ids": np.ones(6, np.float32)}, TypeError),
                Fault({"targets": np.ones((BAGS, 1), np.float32)}, ValueError),
                Fault({"loss": "squared"}, TypeError),
                Fault({"loss": SUMMED}, ValueError),
            ),
            **more,
        )
        for suffix, more in (
            ("", {"elsewhere": ("loss",)}),
            ("[huber]", {"options": {"loss": objectives.huber_loss}, "smooth": 1}),
        )
    ),
    *(
        Objective(
            name="u2_regression_loss" + suffix,
            function=objectives.u2_regression_loss,
            arguments=lambda generator, batch: {**draw_regression(generator, batch), "upper_fraction": np.array(0.6)},
            batches=((6,), (2, 3)),
            shape=scalar,
            differentiable=("predictions",),
            masked=("predictions", "targets"),
            coupled=True,
            hyperparameters={"slope": (0.5, 2.0)},
            refused={"slope": POSITIVE},
            degenerate={
                "none above": {"targets": np.full(6, -1e4)},
                "all above": {"targets": np.full(6, 1e4)},
                "no error": {"predictions": np.ones(6), "targets": np.ones(6)},
                "nothing": {"predictions": np.ones(0), "targets": np.ones(0)},
            },
            faults=(
                Fault({"upper_fraction": 1.1}, ValueError),
                Fault({"upper_loss": "cubic"}, ValueError),
            ),
            smooth=1,
            **more,
        )
        for suffix, more in (
            ("", {"elsewhere": ("upper_loss",)}),
            ("[squared]", {"options": {"upper_loss": "squared"}}),
        )
    ),
    Objective(
        name="grownet_stage_loss",
        function=objectives.grownet_stage_loss,
        arguments=draw_stage,
        differentiable=("predictions",),
        masked=("predictions", "targets", "scores"),
        options={"loss": objectives.log_cosh_loss},
        hyperparameters={"boost_rate": (0.1, 1.0)},
        refused={"boost_rate": POSITIVE},
        degenerate={
            "flat": {"scores": np.full(4, 1e4), "targets": np.full(4, -1e4)},
            "fitted": {"scores": np.ones(4), "targets": np.ones(4)},
        },
        faults=(
            Fault({"loss": "squared"}, TypeError),
            Fault({"loss": SUMMED}, ValueError),
            Fault({"scores": np.ones(4, np.int32)}, TypeError),
        ),
    ),
    Objective(
        name="grownet_ranking_loss",
        function=objectives.grownet_ranking_loss,
        arguments=lambda generator, batch: {
            "predictions": generator.normal(size=batch),
            "relevance": generator.integers(0, 3, batch, np.int32),
            "scores": generator.normal(size=batch),
        },
        batches=((4,), (2, 3)),
        differentiable=("predictions",),
        masked=("predictions", "relevance", "scores"),
        hyperparameters={"steepness": (0.5, 2.0), "boost_rate": (0.1, 1.0)},
        refused={"steepness": POSITIVE, "boost_rate": POSITIVE},
        degenerate={
            "saturated": {"scores": np.array([1e4, -1e4, 0.0, 1e4])},
            "equally relevant": {"relevance": np.ones(4, np.int32)},
            "one item": {"predictions": np.ones(1), "relevance": np.ones(1, np.int32), "scores": np.ones(1)},
            "no items": {"predictions": np.ones(0), "relevance": np.ones(0, np.int32), "scores": np.ones(0)},
        },
        faults=(
            Fault({"scores": np.ones(4, np.int32)}, TypeError),
            Fault({"scores": np.ones(3, np.float32)}, ValueError),
            Fault({"predictions": np.float32(1.0)}, ValueError),
        ),
    ),
    Objective(
        name="grownet_corrective_loss",
        function=objectives.grownet_corrective_loss,
        arguments=draw_stages,
        differentiable=("predictions", "boost_rates"),
        masked=("predictions", "targets"),
        options={"loss": objectives.huber_loss},
        smooth=1,
        degenerate={
            "large": {"predictions": np.full((4, 3), 1e4)},
            "fitted": {"predictions": np.zeros((4, 3)), "targets": np.zeros(4)},
        },
        faults=(
            Fault({"boost_rates": np.ones(2, np.float32)}, ValueError),
            Fault({"predictions": np.float32(1.0)}, ValueError),
            Fault({"loss": "squared"}, TypeError),
        ),
    ),
]

FUNCTIONS = [
    Function(
        name="private_bag_means",
        function=objectives.private_bag_means,
        traced=lambda generator: {
            "targets": generator.normal(size=6).astype(np.float32),
            "bag_ids": generator.integers(0, BAGS, 6, np.int32),
            "bound": np.float32(1.5),
            "epsilon": np.float32(0.5),
            "where": np.array([True, False, True, True, True, True]),
        },
        static={"key": jax.random.key(0), "bags": BAGS},
        shape=(BAGS,),
        refused={"bound": (0.0, -1.0), "epsilon": (0.0, -1.0)},
        faults=(
            Fault({"targets": np.ones((6, 1), np.float32)}),
            Fault({"bag_ids": np.ones(6, np.float32)}, TypeError),
            Fault({"key": 0}, TypeError),
            Fault({"bags": 0}),
        ),
    ),
    Function(
        name="hl_gauss_targets",
        function=objectives.hl_gauss_targets,
        traced=lambda generator: {"targets": generator.normal(size=2), "sigma_ratio": np.float32(0.5)},
        static={"bin_edges": EDGES.astype(np.float32)},
        shape=(2, BINS),
        refused={"sigma_ratio": POSITIVE},
        faults=HISTOGRAM_FAULTS[1:3],
    ),
    Function(
        name="histogram_mean",
        function=objectives.histogram_mean,
        traced=lambda generator: {"probabilities": generator.dirichlet(np.ones(BINS), 2)},
        static={"bin_edges": EDGES.astype(np.float32)},
        shape=(2,),
        differentiable=("probabilities",),
        keeps_dtype=False,
        faults=(*HISTOGRAM_FAULTS[:3], Fault({"probabilities": np.float32(1.0)}, ValueError)),
    ),
    Function(
        name="discretize_targets",
        function=objectives.discretize_targets,
        use=lambda function, arguments: function(**arguments).astype(np.float32),
        traced=lambda generator: {"targets": generator.normal(size=(2, 3))},
        static={"bin_edges": EDGES.astype(np.float32)},
        shape=(2, 3),
        faults=HISTOGRAM_FAULTS[1:3],
    ),
    Function(
        name="binary_target_encoding",
        function=objectives.binary_target_encoding,
        traced=lambda generator: {
            "targets": generator.random(2),
            "low": np.float32(-0.5),
            "high": np.float32(1.5),
        },
        static={"bits": BITS},
        shape=(2, BITS),
        refused={"low": (2.0,), "high": (-1.0,)},
        faults=(
            Fault({"bits": 0}, ValueError),
            Fault({"bits": 25}, ValueError),
            Fault({"bits": 2.0}, TypeError),
        ),
    ),
    Function(
        name="binary_target_decoding",
        function=objectives.binary_target_decoding,
        traced=lambda generator: {
            "probabilities": generator.random((2, BITS)),
            "low": np.float32(-0.5),
            "high": np.float32(1.5),
        },
        shape=(2,),
        differentiable=("probabilities",),
        keeps_dtype=False,
        refused={"low": (2.0,), "high": (-1.0,)},
        faults=(Fault({"probabilities": np.float32(1.0)}, ValueError),),
    ),
]
