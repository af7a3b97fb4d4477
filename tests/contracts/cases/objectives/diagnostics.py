"""Cases of what is measured and not minimised."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    BATCH_COUPLED,
    BIN_FAULTS,
    CLASS_EDGES,
    CLASS_FAULTS,
    CLASSES,
    COUPLED,
    EDGES,
    FEATURES,
    HARD,
    IMAGE_FAULTS,
    IMAGE_PAIRS,
    PER_CLASS,
    SATURATED,
    SOME,
    TIES,
    Generator,
    classes_and_labels,
    draw_boxes,
    draw_epoch,
    draw_ids,
    draw_images,
    draw_logits,
    draw_survival,
    scalar,
)
from contracts.common import Fault
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective, Shape

import objectives


def quadratic(params: Any, scale: Any = 1.0) -> jax.Array:
    return 0.5 * scale * jnp.sum(jnp.arange(-1.0, 2.0) * params**2)


SPECTRUM: dict[str, Any] = {"key": jax.random.key(0), "probes": 2, "steps": 3}
MEASURED: dict[str, Any] = {
    **BATCH_COUPLED,
    "differentiable": ("logits",),
    "smooth": 0,
    "batches": ((6,), (2, 3), ()),
    "degenerate": {  # their batch is that of the edges
        edge: {"labels": np.zeros(np.shape(changes["logits"])[:-1], np.int32), **changes}
        for edge, changes in {**EDGES, "no examples": {"logits": np.ones((0, CLASSES))}}.items()
    },
}


def draw_hardness(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "embeddings": generator.normal(size=(*batch, FEATURES)),
        "weights": generator.normal(size=(CLASSES, FEATURES)),
        "labels": draw_ids(generator, batch),
    }


def draw_groups(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "probabilities": generator.uniform(size=batch),
        "outcomes": generator.integers(0, 2, batch).astype(float),
        "groups": generator.integers(0, 2, (*batch, 2)).astype(float),
    }


GROUPS: dict[str, Any] = {
    "arguments": draw_groups,
    "batches": ((6,),),
    "differentiable": ("probabilities",),
    "masked": ("probabilities", "outcomes", "groups"),
    "coupled": True,
    "smooth": 0,
    "degenerate": {
        "certain": {"probabilities": np.ones(6), "outcomes": np.ones(6)},
        "no examples": {"probabilities": np.ones(0), "outcomes": np.ones(0), "groups": np.ones((0, 2))},
    },
    "faults": (Fault({"groups": np.ones((7, 2), np.float32)}, ValueError),),
}


def draw_forecasts(generator: Generator) -> Mapping[str, Any]:
    # A thirty-second is exact in all dtypes: forecasts on the border of a bin stay there.
    return {
        "probabilities": (generator.integers(0, 33, 12) / 32).astype(np.float32),
        "outcomes": generator.integers(0, 2, 12).astype(np.float32),
        "where": generator.random(12) < 0.8,
    }


FORECAST_FAULTS = (
    Fault({"outcomes": jnp.ones(3)}, ValueError),
    Fault({"probabilities": jnp.ones(12, jnp.int32)}, TypeError),
    Fault({"num_bins": 0}, ValueError),
    Fault({"binning": "fixed"}, ValueError),
)


def draw_classified(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": draw_logits(generator, batch), "labels": draw_ids(generator, batch)}


MEASURE: dict[str, Any] = {
    "arguments": draw_classified,
    "differentiable": ("predictions",),
    "masked": ("predictions", "labels"),
    "integers": True,
    "smooth": 0,
    "degenerate": {
        "saturated": {"predictions": SATURATED, "labels": HARD},
        "equal scores": {"predictions": np.zeros((4, CLASSES))},
        "single class": {"predictions": np.ones((4, 1)), "labels": np.zeros(4, np.int32)},
        "empty batch": {"predictions": np.ones((0, CLASSES)), "labels": np.zeros(0, np.int32)},
        "a class switched off": {"predictions": np.array([[0.0, 1.0, -np.inf]] * 4)},
    },
    "faults": (
        Fault({"predictions": np.float32(1.0)}, ValueError),
        Fault({"labels": lambda ids: ids.astype(np.float32)}, TypeError),
        Fault({"predictions": lambda x: x.astype(np.complex64)}, TypeError),
    ),
}
COUNTED: dict[str, Any] = {**MEASURE, "shape": scalar, "coupled": True, "batches": ((4,), (2, 3))}
AVERAGED: dict[str, Any] = {
    **COUNTED,
    "options": {"average": "macro"},
    "faults": (*MEASURE["faults"], Fault({"average": "mean"}, ValueError)),
}


def draw_ranking(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"scores": generator.normal(size=batch), "labels": generator.integers(0, 2, batch).astype(float)}


def draw_detections(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    """Objects, and detections around them; the first object of an image need not be found, the last is padding."""
    objects = (batch[0], 3)
    truth, found = draw_boxes(generator, objects)["targets"], generator.integers(0, 2, batch)
    near = np.take_along_axis(truth, found[..., None], axis=1) + 0.1 * generator.normal(size=(*batch, 4))
    places = np.broadcast_to(np.arange(3), objects)
    return {
        "boxes": np.sort(near.reshape(*batch, 2, 2), axis=-2).reshape(*batch, 4),
        "scores": generator.normal(size=batch),
        "classes": generator.integers(0, CLASSES, batch, np.int32),
        "true_boxes": truth,
        "true_classes": generator.integers(0, CLASSES, objects, np.int32),
        "ignored": places == 0,
        "true_where": places < 2,
        "iou_thresholds": np.array([0.5, 0.75]),
    }


DETECTIONS: dict[str, Any] = {
    "function": objectives.mean_average_precision,
    "arguments": draw_detections,
    "differentiable": ("boxes", "scores"),
    "batches": ((2, 4), (1, 2)),
    "masked": ("boxes", "scores", "classes"),
    "ids": "classes",
    "classes": CLASSES,
    "probabilities": False,
    "integers": True,
    "smooth": 0,
    "removable": False,  # detections lie in images
    "elsewhere": ("axis_name",),
}
NO_DETECTIONS = {
    name: np.zeros((2, 0, *more), kind)
    for name, more, kind in (("boxes", (4,), float), ("scores", (), float), ("classes", (), np.int32))
}
NO_OBJECTS = {
    name: np.zeros((2, 0, *more), kind)
    for name, more, kind in (
        ("true_boxes", (4,), float),
        ("true_classes", (), np.int32),
        ("ignored", (), bool),
        ("true_where", (), bool),
    )
}
NO_IMAGES = {
    name: np.zeros((0, *np.shape(x)[1:]), x.dtype)
    for name, x in draw_detections(np.random.default_rng(0), (2, 4)).items()
    if name != "iou_thresholds"
}


CASES = [
    Objective(name="macro_auc", function=objectives.macro_auc, **{**COUPLED, "smooth": 0}),
    Objective(
        name="concordance_index",
        function=objectives.concordance_index,
        arguments=lambda g, b: {"risks" if n == "log_hazards" else n: x for n, x in draw_survival(g, b).items()},
        batches=((6,),),
        shape=lambda batch: (),
        differentiable=("risks",),
        masked=("risks", "times", "events"),
        smooth=0,
        coupled=True,
        degenerate={"no events": {"events": np.zeros(6, np.int32)}, "ties": {"risks": np.ones(6), **TIES}},
    ),
    *(
        Objective(
            name=f"{function.__name__}[{binning}]",
            function=function,
            options={"num_bins": 4, "binning": binning, "norm": norm},
            **{**MEASURED, "shape": shape, "faults": BIN_FAULTS, "ids": ids},
        )
        for function, binning, norm, shape, ids in (
            (objectives.expected_calibration_error, "uniform", "max", scalar, "labels"),
            (objectives.expected_calibration_error, "equal_mass", "l2", scalar, "labels"),
            # An id out of range spoils all classes, not a first entry of the result.
            (objectives.classwise_calibration_error, "equal_mass", "l1", lambda batch: (CLASSES,), None),
        )
    ),
    Objective(
        name="fit_temperature",
        function=objectives.fit_temperature,
        options={"bounds": (0.1, 10.0)},
        **{**MEASURED, "faults": (*CLASS_FAULTS, Fault({"bounds": (1.0, 0.5)}, ValueError))},
    ),
    Objective(
        name="angular_visual_hardness",
        function=objectives.angular_visual_hardness,
        arguments=draw_hardness,
        differentiable=("embeddings", "weights"),
        masked=("embeddings", "labels"),
        ids="labels",
        classes=CLASSES,
        smooth=0,
        degenerate={
            "zero embeddings": {"embeddings": np.zeros((4, FEATURES))},
            "at the weights": {"embeddings": np.eye(FEATURES), "weights": np.eye(FEATURES)[:CLASSES]},
            "far away": {"embeddings": 6e4 * np.ones((4, FEATURES))},
            "single class": {"weights": np.ones((1, FEATURES)), "labels": np.zeros(4, np.int32)},
        },
        faults=(
            Fault({"weights": np.ones((CLASSES, FEATURES + 1), np.float32)}, ValueError),
            Fault({"embeddings": np.float32(1.0)}, ValueError),
        ),
    ),
    Objective(
        name="multicalibration_error",
        function=objectives.multicalibration_error,
        shape=lambda batch: (2, 3),
        options={"num_bins": 3},
        **{**GROUPS, "faults": (*GROUPS["faults"], Fault({"num_bins": 0}, ValueError))},
    ),
    Objective(
        name="multiaccuracy_error",
        function=objectives.multiaccuracy_error,
        shape=lambda batch: (2,),
        **GROUPS,
    ),
    Objective(
        name="omniprediction",
        function=objectives.omniprediction,
        arguments=lambda generator, batch: {
            "probabilities": generator.uniform(size=batch),
            "actions": np.array([0.0, 0.5, 1.0]),
            "losses": np.array([[0.0, 4.0], [0.5, 0.5], [1.0, 0.0]]),
            "costs": generator.normal(size=(*batch, 3)),
        },
        differentiable=("probabilities",),
        masked=("probabilities", "costs"),
        smooth=0,
        degenerate={"certain": {"probabilities": np.array([0.0, 1.0, 0.0, 1.0])}},
        faults=(
            Fault({"losses": np.ones((2, 2), np.float32)}, ValueError),
            Fault({"actions": np.float32(1.0)}, ValueError),
            Fault({"costs": np.ones((4, 2), np.float32)}, ValueError),
        ),
    ),
    Objective(
        name="peak_signal_noise_ratio",
        function=objectives.peak_signal_noise_ratio,
        arguments=draw_images(2, 3, 1),
        hyperparameters={"data_range": (255.0, 1.0)},
        refused={"data_range": (0.0, -1.0)},
        faults=IMAGE_FAULTS,
        **IMAGE_PAIRS,
    ),
    Objective(name="accuracy", function=objectives.accuracy, ids="labels", classes=CLASSES, **MEASURE),
    Objective(
        name="top_k_accuracy",
        function=objectives.top_k_accuracy,
        options={"k": 2},
        ids="labels",
        classes=CLASSES,
        **{**MEASURE, "faults": (*MEASURE["faults"], Fault({"k": 0}, ValueError), Fault({"k": 1.5}, TypeError))},
    ),
    Objective(
        name="confusion_matrix",
        function=objectives.confusion_matrix,
        **{**COUNTED, "shape": lambda batch: (CLASSES, CLASSES)},
    ),
    Objective(name="precision", function=objectives.precision, **AVERAGED),
    Objective(name="recall", function=objectives.recall, **AVERAGED),
    Objective(
        name="f_beta_score",
        function=objectives.f_beta_score,
        hyperparameters={"beta": (0.0, 0.5, 2.0)},
        refused={"beta": (-1.0,)},
        **AVERAGED,
    ),
    Objective(name="mean_iou", function=objectives.mean_iou, **COUNTED),
    Objective(name="matthews_correlation", function=objectives.matthews_correlation, **COUNTED),
    Objective(
        name="mean_average_precision",
        shape=scalar,
        options={"num_classes": CLASSES, "max_detections": 2, "average": "macro"},
        degenerate={
            "equal scores": {"scores": np.zeros((2, 4))},
            "points": {"boxes": np.zeros((2, 4, 4)), "true_boxes": np.zeros((2, 3, 4))},
            "no detections": NO_DETECTIONS,
            "no objects": NO_OBJECTS,
            "neither": {**NO_DETECTIONS, **NO_OBJECTS},
            "no images": NO_IMAGES,
        },
        faults=(
            Fault({"boxes": np.ones((2, 4, 3), np.float32)}, ValueError),
            Fault({"true_boxes": np.ones((2, 3, 3), np.float32)}, ValueError),
            Fault({"classes": np.ones((2, 4), np.float32)}, TypeError),
            Fault({"true_classes": np.ones((2, 2), np.int32)}, ValueError),
            Fault({"true_where": np.ones((2, 2), bool)}, ValueError),
            Fault({"ignored": np.ones((2, 3), np.int32)}, TypeError),
            Fault({"iou_thresholds": np.ones((0,), np.float32)}, ValueError),
            Fault({"num_classes": 0}, ValueError),
            Fault({"max_detections": 0}, ValueError),
            Fault({"interpolation": "12-point"}, ValueError),
            Fault({"matching": "kitti"}, ValueError),
            Fault({"average": "micro"}, ValueError),
        ),
        **{**DETECTIONS, "elsewhere": ("axis_name", "interpolation", "matching")},
    ),
    Objective(
        name="mean_average_precision[voc]",
        shape=scalar,
        options={"num_classes": CLASSES, "interpolation": "all-point", "matching": "voc", "axis_name": None},
        **{**DETECTIONS, "elsewhere": ("average", "max_detections")},
    ),
    Objective(
        name="average_precision",
        function=objectives.average_precision,
        **{
            **COUNTED,
            "arguments": draw_ranking,
            "batches": ((6,),),
            "differentiable": ("scores",),
            "masked": ("scores", "labels"),
            "degenerate": {
                "equal scores": {"scores": np.zeros(6)},
                "no positives": {"labels": np.zeros(6)},
                "no examples": {"scores": np.zeros(0), "labels": np.zeros(0)},
            },
            "faults": (Fault({"scores": np.float32(1.0)}, ValueError),),
        },
    ),
    Objective(
        name="perplexity",
        function=objectives.perplexity,
        arguments=classes_and_labels(),
        shape=scalar,
        coupled=True,
        smooth=1,
        batches=((4,), (2, 3)),
        **{**PER_CLASS, "degenerate": {n: c for n, c in CLASS_EDGES.items() if "saturated" not in n}},
    ),
    Objective(
        name="inception_score",
        function=objectives.inception_score,
        arguments=lambda generator, batch: {"logits": draw_logits(generator, batch)},
        batches=((4,),),
        differentiable=("logits",),
        masked=("logits",),
        shape=scalar,
        coupled=True,
        smooth=1,
        degenerate={
            "saturated": {"logits": SATURATED},
            "equal": {"logits": np.zeros((4, CLASSES))},
            "no examples": {"logits": np.zeros((0, CLASSES))},
        },
        faults=(Fault({"logits": np.ones(CLASSES, np.float32)}, ValueError),),
    ),
]

FUNCTIONS = [
    Function(
        name="softmax_collapse_fraction",
        function=objectives.softmax_collapse_fraction,
        traced=draw_epoch,
        static={"dtype": jnp.bfloat16, "where": np.ones(4, bool), "axis_name": None},
        faults=(
            Fault({"dtype": jnp.int32}, TypeError),
            Fault({"labels": lambda ids: jnp.ones((*ids.shape, CLASSES))}, ValueError),
        ),
    ),
    Function(
        name="nlm_alignment",
        function=objectives.nlm_alignment,
        traced=lambda generator: {
            name: {"w": generator.normal(size=(2, 3)).astype(np.float32), "b": np.zeros(3, np.float32)}
            for name in ("params", "gradients")
        },
        shapes=((), ()),
        faults=(Fault({"gradients": {}}, ValueError),),
    ),
    Function(
        name="false_head_rate",
        function=objectives.false_head_rate,
        traced=lambda generator: {
            "predicted": draw_ids(generator, (6,)),
            "labels": draw_ids(generator, (6,)),
            "where": generator.random(6) < 0.8,
        },
        static={"border": 1, "axis_name": None},
        faults=(Fault({"labels": np.ones(5, np.int32)}, ValueError), Fault({"border": 1.5}, TypeError)),
    ),
    Function(
        name="weighted_triplet_recall",
        function=objectives.weighted_triplet_recall,
        traced=lambda generator: {
            "hits": generator.random(6) < 0.5,
            "counts": generator.integers(0, 9, 6, np.int32),
            "where": generator.random(6) < 0.8,
        },
        faults=(Fault({"counts": np.ones(5)}, ValueError),),
    ),
    Function(
        name="class_weight_norms",
        function=objectives.class_weight_norms,
        traced=lambda generator: {"weights": generator.normal(size=(3, 4)).astype(np.float32)},
        shape=(3,),
        faults=(Fault({"weights": np.ones(3, np.float32)}, ValueError),),
    ),
    Function(
        name="cone_effect",
        function=objectives.cone_effect,
        traced=lambda generator: {
            "features": generator.normal(size=(5, 3)).astype(np.float32),
            "where": generator.random(5) < 0.8,
        },
        static={"axis_name": None},
        faults=(Fault({"features": np.ones(3, np.float32)}, ValueError),),
    ),
    Function(
        name="fisher_discriminant_ratio",
        function=objectives.fisher_discriminant_ratio,
        traced=lambda generator: {
            "features": generator.normal(size=(9, 2)).astype(np.float32),
            "labels": np.arange(9, dtype=np.int32) % 3,
            "where": np.arange(9) != 4,
        },
        static={"classes": 3, "epsilon": 1e-6, "axis_name": None},
        refused={"epsilon": (-1.0,)},
        faults=(Fault({"labels": np.ones(5, np.int32)}, ValueError), Fault({"classes": 0}, ValueError)),
    ),
    Function(
        name="hessian_spectrum",
        function=objectives.hessian_spectrum,
        traced=lambda generator: {"params": generator.normal(size=3).astype(np.float32)},
        static={"loss_fn": quadratic, **SPECTRUM},
        shapes=((), (), (2, 3), (2, 3)),
        faults=(Fault({"loss_fn": 1.0}, TypeError), Fault({"steps": 0}, ValueError), Fault({"key": 0}, TypeError)),
    ),
    Function(
        name="classwise_hessian_spectrum",
        function=objectives.classwise_hessian_spectrum,
        traced=lambda generator: {
            "params": generator.normal(size=3).astype(np.float32),
            "data": generator.normal(size=2).astype(np.float32),
        },
        static={"loss_fn": quadratic, **SPECTRUM},
        shapes=((2,), (2,), (2, 2, 3), (2, 2, 3)),
        faults=(Fault({"loss_fn": 1.0}, TypeError), Fault({"probes": 1.5}, TypeError)),
    ),
    Function(
        name="spectral_density",
        function=objectives.spectral_density,
        traced=lambda generator: {"points": generator.normal(size=4).astype(np.float32)},
        static={"spectrum": objectives.hessian_spectrum(quadratic, jnp.ones(3), **SPECTRUM), "width": 0.5},
        shape=(4,),
        refused={"width": (0.0, -1.0)},
        faults=(Fault({"points": np.float32(1.0)}, ValueError),),
    ),
    Function(
        name="roc_auc",
        function=objectives.roc_auc,
        traced=lambda generator: {
            "scores": generator.normal(size=5).astype(np.float32),
            "labels": np.array([0, 1, 1, 0, 1], np.int32),
            "where": SOME,
        },
        static={"axis_name": None},
        faults=(Fault({"labels": np.ones(4)}),),
    ),
    *(
        Function(
            name=f"{function.__name__}[{binning}]",
            function=function,
            traced=draw_forecasts,
            static={"num_bins": 4, "binning": binning, "axis_name": None},
            shapes=shapes,
            faults=FORECAST_FAULTS,
        )
        for function, binning, shapes in (
            (objectives.reliability_diagram, "uniform", ((4,),) * 3),
            (objectives.brier_decomposition, "equal_mass", ((),) * 5),
        )
    ),
    Function(
        name="frechet_distance",
        function=objectives.frechet_distance,
        traced=lambda generator: {
            "features_a": generator.normal(size=(5, 3)),
            "features_b": 2.0 + generator.normal(size=(6, 3)),
            "where_a": np.array([True] * 4 + [False]),
            "where_b": np.array([True] * 5 + [False]),
        },
        faults=(
            Fault({"features_a": np.ones((5, 3), np.int32)}, TypeError),
            Fault({"features_a": np.ones((1, 3), np.float32)}, ValueError),
            Fault({"features_b": np.ones((5, 2), np.float32)}, ValueError),
            Fault({"where_a": np.ones(5, np.float32)}, TypeError),
            Fault({"where_b": np.ones(7, bool)}, ValueError),
        ),
    ),
    Function(
        name="bleu_score",
        function=objectives.bleu_score,
        traced=lambda generator: {
            "candidates": generator.integers(0, 3, (2, 5), np.int32),
            "references": generator.integers(0, 3, (2, 2, 4), np.int32),
            "candidate_lengths": np.array([5, 4], np.int32),
            "reference_lengths": np.array([[4, 3], [4, 0]], np.int32),
        },
        static={"max_order": 2, "axis_name": None},
        faults=(
            Fault({"candidates": np.ones((2, 5), np.float32)}, TypeError),
            Fault({"references": np.ones((2, 5), np.int32)}, ValueError),
            Fault({"candidate_lengths": np.ones(3, np.int32)}, ValueError),
            Fault({"max_order": 0}, ValueError),
            Fault({"max_order": 1.5}, TypeError),
        ),
    ),
]

TYPES = [
    Type(name="HessianSpectrum", type=objectives.HessianSpectrum),
    Type(name="CalibrationBins", type=objectives.CalibrationBins),
    Type(name="BrierDecomposition", type=objectives.BrierDecomposition),
]
