"""Cases of the softmax losses with a margin."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    CENTRE_FAULTS,
    CLASS_EDGES,
    CLASS_FAULTS,
    CLASSES,
    FEATURES,
    MARGIN_EDGES,
    PER_CLASS,
    Generator,
    classes_and_labels,
    draw_centres_and_labels,
)
from contracts.common import Fault
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective, Shape

import objectives

MARGIN: dict[str, Any] = {
    "arguments": draw_centres_and_labels,
    "differentiable": ("embeddings", "weights"),
    "masked": ("embeddings", "labels"),
    "ids": "labels",
    "classes": CLASSES,
    "degenerate": MARGIN_EDGES,
    "hyperparameters": {"scale": (4.0, 64.0), "margin": (0.0, 0.5, 3.0)},
    "refused": {"scale": (0.0, -1.0), "margin": (-0.1, 3.2)},
    "faults": CENTRE_FAULTS,
}


def draw_subcentres_and_labels(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    weights = generator.normal(size=(CLASSES, 2, FEATURES))
    return {**draw_centres_and_labels(generator, batch), "weights": weights}


SUBCENTRE_EDGES = {
    name: {n: np.stack([x, x], axis=1) if n == "weights" else x for n, x in changes.items()}
    for name, changes in MARGIN_EDGES.items()
}
KEY = jax.random.key(0)
NO_PROBABILITIES = Fault({"labels": lambda ids: jnp.ones((*ids.shape, CLASSES))}, ValueError)
BATCH_IDS: dict[str, Any] = {"ids": None, "classes": 0}  # an id out of range changes what the batch is compared with


def margin(name: str, hyperparameters: Mapping[str, Any], refused: Mapping[str, Any], **settings: Any) -> Objective:
    """A case of embeddings, weights and labels."""
    return Objective(
        name=name,
        function=getattr(objectives, name.partition("[")[0]),
        **{
            **MARGIN,
            "hyperparameters": {"scale": (4.0, 64.0), **hyperparameters},
            "refused": {"scale": (0.0, -1.0), **refused},
            **settings,
        },
    )


def draw_long(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    drawn = draw_centres_and_labels(generator, batch)
    return {**drawn, "embeddings": 20 * drawn["embeddings"]}


def draw_many_classes(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "embeddings": generator.normal(size=(*batch, FEATURES)),
        "weights": generator.normal(size=(40, FEATURES)),
        "labels": generator.integers(0, 40, batch, np.int32),
    }


def draw_basis(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    drawn = draw_centres_and_labels(generator, batch)
    return {"embeddings": drawn["embeddings"], "basis": drawn["weights"], "labels": drawn["labels"]}


def draw_head(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        **classes_and_labels(radius=0.5)(generator, batch),
        "head": generator.normal(size=(CLASSES, FEATURES)),
    }


def draw_halves(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    size = (*batch, FEATURES)
    return {"left_embeddings": generator.normal(size=size), "right_embeddings": generator.normal(size=size)}


ELASTIC: dict[str, Any] = {"arguments": draw_centres_and_labels, "coupled": True, "removable": False}


def draw_classes(generator: Generator) -> Mapping[str, Any]:
    return {
        **draw_centres_and_labels(generator, (4,)),
        "where": np.array([True, False, True, True]),
    }


def basis_of_seed(function: Any, arguments: Mapping[str, Any]) -> Any:
    others = {name: x for name, x in arguments.items() if name != "seed"}
    return function(**{**others, "key": jax.random.key(arguments["seed"])})


def margin_of_cosines(function: Any, arguments: Mapping[str, Any]) -> Any:
    arguments = dict(arguments)
    cosines = arguments.pop("cosines")
    return function(**arguments)(cosines)


CASES = [
    *(
        Objective(name="arcface_loss" + suffix, function=objectives.arcface_loss, **MARGIN, **settings)
        for suffix, settings in (
            ("", {"elsewhere": ("easy_margin",)}),
            ("[easy_margin]", {"options": {"easy_margin": True}}),
        )
    ),
    Objective(
        name="subcenter_arcface_loss",
        function=objectives.subcenter_arcface_loss,
        options={"easy_margin": False},
        **{
            **MARGIN,
            "arguments": draw_subcentres_and_labels,
            "degenerate": SUBCENTRE_EDGES,
            "faults": (Fault({"weights": np.ones((CLASSES, FEATURES), np.float32)}, ValueError),),
        },
    ),
    Objective(
        name="margin_softmax_loss",
        function=objectives.margin_softmax_loss,
        options={"margin": lambda cosine: cosine - 0.35},
        **{
            **MARGIN,
            "hyperparameters": {"scale": (4.0, 64.0)},
            "refused": {"scale": (0.0, -1.0)},
            "faults": (*CENTRE_FAULTS, Fault({"margin": 0.35}, TypeError)),
        },
    ),
    margin("cosface_loss", {"margin": (0.0, 0.35, 1.0)}, {"margin": (-0.1,)}),
    margin(
        "sphereface_loss",
        {"scale": (0.5, 1.0), "margin": (1.0, 2.5, 4.0)},
        {"margin": (0.5,)},
        # Longer embeddings give gradients that float16 cannot hold.
        degenerate={**MARGIN_EDGES, "far away": {"embeddings": 1e2 * np.ones((4, FEATURES))}},
    ),
    # The margin is in the value, not in the gradient.
    margin("sphereface_r_loss", {"margin": (1.0, 1.5)}, {"margin": (0.5,)}, smooth=0),
    margin(
        "combined_margin_loss",
        {"factor": (0.5, 1.0, 3.0), "angle": (0.0, 0.3, 2.0), "cosine": (0.0, 0.2)},
        {"factor": (0.0,), "angle": (-0.1,), "cosine": (-0.1,)},
        arguments=draw_subcentres_and_labels,
        degenerate=SUBCENTRE_EDGES,
    ),
    *(
        margin(
            name + suffix,
            {"margin": (0.0, 0.5), "std": (0.0, 0.1)},
            {"margin": (-0.1,), "std": (-0.1,)},
            options={"key": KEY, "plus": bool(suffix)},
            **ELASTIC,
            **({**BATCH_IDS, "faults": (NO_PROBABILITIES,)} if suffix else {"faults": (Fault({"key": 0}, TypeError),)}),
        )
        for name, suffix in (("elastic_arcface_loss", ""), ("elastic_cosface_loss", "[plus]"))
    ),
    margin(
        "adaface_loss",
        {"margin": (0.0, 0.4), "concentration": (0.0, 0.333, 2.0)},
        {"margin": (-0.1, 3.2), "concentration": (-0.1,)},
        options={"statistics": objectives.NormStatistics(jnp.float32(2.0), jnp.float32(1.0))},
        smooth=0,  # the length sets the margin without a gradient
    ),
    margin(
        "magface_loss",
        {
            "low_margin": (0.0, 0.45),
            "high_margin": (0.5, 0.8),
            "low_norm": (5.0, 10.0),
            "high_norm": (60.0, 110.0),
            "regularization": (0.0, 35.0),
        },
        {
            "low_margin": (-0.1,),
            "high_margin": (3.2,),
            "low_norm": (0.0,),
            "high_norm": (0.0, 5.0),
            "regularization": (-1.0,),
        },
        arguments=draw_long,
    ),
    margin(
        "curricularface_loss",
        {"margin": (0.0, 0.5)},
        {"margin": (-0.1, 3.2)},
        options={"state": objectives.Curriculum(jnp.float32(0.3))},
        probabilities=False,
        faults=(*CENTRE_FAULTS, NO_PROBABILITIES),
    ),
    margin(
        "unpg_loss",
        {"whisker": (0.0, 1.5, 100.0)},
        {"whisker": (-0.1,)},
        options={"margin": lambda cosine: cosine - 0.35},
        coupled=True,
        faults=(*CENTRE_FAULTS, NO_PROBABILITIES, Fault({"margin": 0.35}, TypeError)),
        **BATCH_IDS,
    ),
    margin(
        "partial_fc_loss",
        {},
        {},
        arguments=draw_many_classes,
        options={"key": KEY, "margin": lambda cosine: cosine - 0.35, "samples": 20},
        coupled=True,
        degenerate={name: {"embeddings": np.zeros((4, FEATURES))} for name in ("zero embeddings",)}
        | {"everything zero": {"embeddings": np.zeros((4, FEATURES)), "weights": np.zeros((40, FEATURES))}},
        faults=(
            Fault({"samples": 3}, ValueError),
            Fault({"samples": 41}, ValueError),
            Fault({"samples": 20.0}, TypeError),
            Fault({"margin": 0.35}, TypeError),
            Fault({"key": 0}, TypeError),
            Fault({"labels": lambda ids: jnp.ones((*ids.shape, 40))}, ValueError),
        ),
        **BATCH_IDS,
    ),
    Objective(
        name="equiangular_basis_loss",
        function=objectives.equiangular_basis_loss,
        **{
            **MARGIN,
            "arguments": draw_basis,
            "differentiable": ("embeddings",),
            "degenerate": {
                name: {n.replace("weights", "basis"): x for n, x in changes.items()}
                for name, changes in MARGIN_EDGES.items()
            },
            "hyperparameters": {"temperature": (0.07, 1.0)},
            "refused": {"temperature": (0.0, -1.0)},
            "faults": (Fault({"basis": np.ones((CLASSES, FEATURES + 1), np.float32)}, ValueError),),
        },
    ),
    Objective(
        name="logit_annealing_loss",
        function=objectives.logit_annealing_loss,
        arguments=classes_and_labels(),
        hyperparameters={"offset": (0.0, 2.0), "temperature": (0.5, 0.75), "gamma": (0.0, 0.5, 5.0)},
        refused={"offset": (-0.1,), "temperature": (0.0,), "gamma": (-0.1,)},
        **PER_CLASS,
    ),
    Objective(
        name="emma_logits",
        function=objectives.emma_logits,
        arguments=draw_head,
        differentiable=("logits", "head"),
        shape=lambda batch: (*batch, CLASSES),
        masked=("logits", "labels"),
        degenerate={
            name: {**changes, "head": np.ones((np.shape(changes["logits"])[-1], FEATURES))}
            for name, changes in CLASS_EDGES.items()
            if "probabilities" not in name
        },
        hyperparameters={"radius": (0.1, 0.5), "lipschitz": (0.5, 1.0)},
        refused={"radius": (0.0, -1.0), "lipschitz": (0.0,)},
        faults=(
            *CLASS_FAULTS[1:],
            Fault({"head": np.ones((CLASSES + 1, FEATURES), np.float32)}, ValueError),
            NO_PROBABILITIES,
        ),
        removable=False,  # the mask has not the shape of the logits
        smooth=0,  # the share of the radius has no gradient
    ),
    margin(
        "sface_loss",
        {"slope": (1.0, 80.0), "intra_angle": (0.0, 0.8), "inter_angle": (1.23, 3.0)},
        {"slope": (0.0,), "intra_angle": (-0.1, 3.2), "inter_angle": (-0.1, 3.2)},
        smooth=0,  # the forces have no gradient
    ),
    *(
        Objective(
            name=f"symmetry_loss[{distance}]",
            function=objectives.symmetry_loss,
            arguments=draw_halves,
            differentiable=("left_embeddings", "right_embeddings"),
            masked=("left_embeddings", "right_embeddings"),
            options={"distance": distance},
            degenerate={
                "zero vectors": {"left_embeddings": np.zeros((4, FEATURES))},
                "equal": {"left_embeddings": np.ones((4, FEATURES)), "right_embeddings": np.ones((4, FEATURES))},
                "no examples": {"left_embeddings": np.ones((0, 2)), "right_embeddings": np.ones((0, 2))},
            },
            faults=(Fault({"left_embeddings": np.float32(1.0)}, ValueError), Fault({"distance": "l3"}, ValueError)),
        )
        for distance in ("cosine", "euclidean")
    ),
]

FUNCTIONS = [
    Function(
        name="combined_margin",
        function=objectives.combined_margin,
        traced=lambda generator: {
            "factor": np.float32(1.5),
            "angle": np.float32(0.4),
            "cosine": np.float32(0.1),
            "cosines": generator.uniform(-0.9, 0.9, 5).astype(np.float32),
        },
        use=margin_of_cosines,
        shape=(5,),
        differentiable=("cosines",),
        refused={"factor": (0.0,), "angle": (-0.1,), "cosine": (-0.1,)},
    ),
    Function(
        name="norm_statistics",
        function=objectives.norm_statistics,
        traced=lambda generator: {"mean": np.float32(20.0), "std": np.float32(100.0)},
        shapes=((), ()),
        refused={"mean": (-1.0,), "std": (-1.0,)},
    ),
    Function(
        name="update_norm_statistics",
        function=objectives.update_norm_statistics,
        traced=lambda generator: (
            {n: x for n, x in draw_classes(generator).items() if n in ("embeddings", "where")}
            | {"embeddings": generator.normal(size=(4, 3)).astype(np.float32)}
        ),
        static={"statistics": objectives.norm_statistics(), "decay": 0.9, "axis_name": None},
        shapes=((), ()),
        refused={"decay": (-0.1, 1.1)},
        faults=(Fault({"where": np.ones(3, bool)}), Fault({"embeddings": np.ones(3, np.int32)})),
    ),
    Function(
        name="curriculum",
        function=objectives.curriculum,
        traced=lambda generator: {"cosine": np.float32(0.1)},
        shapes=((),),
        refused={"cosine": (-1.1, 1.1)},
    ),
    Function(
        name="update_curriculum",
        function=objectives.update_curriculum,
        traced=lambda generator: {
            n: x.astype(np.float32) if x.dtype == np.float64 else x for n, x in draw_classes(generator).items()
        },
        static={"state": objectives.curriculum(), "decay": 0.9, "axis_name": None},
        shapes=((),),
        refused={"decay": (-0.1, 1.1)},
        faults=(
            Fault({"where": np.ones(3, bool)}),
            Fault({"weights": np.ones((CLASSES, FEATURES + 1), np.float32)}),
            NO_PROBABILITIES,
        ),
    ),
    Function(
        name="equiangular_basis_vectors",
        function=objectives.equiangular_basis_vectors,
        traced=lambda generator: {"seed": generator.integers(0, 100, dtype=np.int32)},
        static={"key": KEY, "classes": 6, "features": 4, "max_cosine": 0.6, "steps": 200, "learning_rate": 0.05},
        use=basis_of_seed,
        shapes=((6, 4), ()),
        refused={"max_cosine": (0.1, 1.1), "learning_rate": (0.0,)},
        faults=(
            Fault({"key": 0}, TypeError),
            Fault({"classes": 2.5}, TypeError),
            *(Fault({name: 0}, ValueError) for name in ("classes", "features", "steps")),
        ),
    ),
    Function(
        name="mirrored_halves",
        function=objectives.mirrored_halves,
        traced=lambda generator: {"images": generator.normal(size=(2, 3, 5, 1)).astype(np.float32)},
        shapes=((2, 3, 3, 1), (2, 3, 3, 1)),
        differentiable=("images",),
        faults=(Fault({"images": np.ones((3, 3), np.float32)}),),
    ),
]

TYPES = [
    Type(name="NormStatistics", type=objectives.NormStatistics),
    Type(name="Curriculum", type=objectives.Curriculum),
]
