"""Cases of sorting, ranks and the losses of orders."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives._shared import SOME, Generator, scalar
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives


def lists(batch: Shape) -> Shape:
    return batch[:-1]


def draw_list(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"predictions": generator.normal(size=batch), "targets": generator.normal(size=batch)}


def draw_carried(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_list(generator, batch), "carried": generator.normal(size=(*batch, 2))}


def draw_relevance(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"scores": generator.normal(size=batch), "relevance": generator.integers(0, 4, batch, np.int32)}


def draw_marked(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"scores": generator.normal(size=batch), "labels": generator.integers(0, 2, batch).astype(np.float64)}


LISTS: dict[str, Any] = {
    "batches": ((5,), (2, 3)),
    "shape": lists,
    "removable": False,  # a masked item keeps its place in the network
    "hyperparameters": {"steepness": (1.0, 10.0)},
    "refused": {"steepness": (0.0, -1.0)},
}
LIST_FAULTS = (
    Fault({"predictions": np.float32(1.0)}, ValueError),
    Fault({"network": "pairwise"}, ValueError),
    Fault({"swap": "hard"}, ValueError),
)
LIST_EDGES = {
    "saturated": {"predictions": np.array([1e4, -1e4, 1e4, 0.0, 0.0])},
    "equal": {"predictions": np.zeros(5), "targets": np.zeros(5)},
    "one item": {"predictions": np.ones(1), "targets": np.ones(1)},
    "no items": {"predictions": np.ones(0), "targets": np.ones(0)},
}


def with_carried(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**changes, "carried": np.ones((len(changes["predictions"]), 2))}


SWAP = {"swap": "optimal", "steepness": 2.0}


CASES = [
    Objective(
        name="diffsort_loss",
        function=objectives.diffsort_loss,
        arguments=draw_list,
        differentiable=("predictions",),
        masked=("predictions", "targets"),
        options={"network": "bitonic", "swap": "cauchy"},
        degenerate=LIST_EDGES,
        faults=LIST_FAULTS,
        **LISTS,
    ),
    Objective(
        name="error_free_sorting_loss",
        function=objectives.error_free_sorting_loss,
        arguments=draw_carried,
        differentiable=("predictions", "carried"),
        masked=("predictions", "targets", "carried"),
        options={"network": "odd_even", "swap": "optimal"},
        degenerate={
            name: with_carried({**draw_list(np.random.default_rng(0), (5,)), **c}) for name, c in LIST_EDGES.items()
        },
        faults=(*LIST_FAULTS, Fault({"carried": np.ones((4, 2), np.float32)}, ValueError)),
        smooth=0,  # exact in value, soft in gradient
        **LISTS,
    ),
    Objective(
        name="neural_ndcg_loss",
        function=objectives.neural_ndcg_loss,
        arguments=draw_relevance,
        batches=((5,), (2, 3)),
        shape=lists,
        differentiable=("scores",),
        masked=("scores", "relevance"),
        options={"top": 3, "gain": "exponential", "iterations": 5},
        hyperparameters={"temperature": (0.5, 1.0)},
        refused={"temperature": (0.0, -1.0)},
        degenerate={
            "saturated": {"scores": np.array([1e4, -1e4, 1e4, 0.0, 0.0])},
            "equal": {"scores": np.zeros(5)},
            "nothing relevant": {"relevance": np.zeros(5, np.int32)},
            "one item": {"scores": np.ones(1), "relevance": np.ones(1, np.int32)},
            "no items": {"scores": np.ones(0), "relevance": np.ones(0, np.int32)},
        },
        faults=(
            Fault({"scores": np.float32(1.0)}, ValueError),
            Fault({"top": 0}, ValueError),
            Fault({"top": 1.5}, TypeError),
            Fault({"gain": "quadratic"}, ValueError),
            Fault({"iterations": -1}, ValueError),
        ),
    ),
    Objective(
        name="soft_rank",
        function=objectives.soft_rank,
        arguments=lambda generator, batch: {"values": generator.normal(size=batch)},
        batches=((6,), (2, 3)),
        differentiable=("values",),
        masked=("values",),
        hyperparameters={"regularization": (0.1, 1.0)},
        refused={"regularization": (0.0, -1.0)},
        degenerate={
            "equal": {"values": np.zeros(6)},
            "far apart": {"values": np.array([1e4, -1e4, 0.0, 1e4, 1.0, 2.0])},
            "nothing": {"values": np.zeros(0)},
        },
        faults=(Fault({"values": np.float32(1.0)}, ValueError),),
    ),
    *(
        Objective(
            name=function.__name__,
            function=function,
            arguments=draw_marked,
            batches=((5,), (2, 3)),
            shape=lists,
            differentiable=("scores",),
            masked=("scores", "labels"),
            hyperparameters=dict.fromkeys(heats, (0.3, 1.0)),
            refused=dict.fromkeys(heats, (0.0, -1.0)),
            degenerate={
                "saturated": {"scores": np.array([1e4, -1e4, 1e4, 0.0, 0.0])},
                "equal": {"scores": np.zeros(5)},
                "nothing relevant": {"labels": np.zeros(5)},
                "all relevant": {"labels": np.ones(5)},
                "one item": {"scores": np.ones(1), "labels": np.ones(1)},
                "no items": {"scores": np.ones(0), "labels": np.ones(0)},
            },
            faults=(Fault({"scores": np.float32(1.0)}, ValueError), *faults),
            **more,
        )
        for function, heats, faults, more in (
            (objectives.smooth_ap_loss, ("temperature",), (), {}),
            (
                objectives.recall_at_k_surrogate,
                ("temperature", "rank_temperature"),
                (Fault({"top": ()}), Fault({"top": (0,)}), Fault({"top": (1.5,)}, TypeError)),
                {"options": {"top": (1, 2)}, "smooth": 1},
            ),
        )
    ),
    Objective(
        name="mann_whitney_loss",
        function=objectives.mann_whitney_loss,
        arguments=draw_marked,
        batches=((6,), (2, 3)),
        shape=scalar,
        differentiable=("scores",),
        masked=("scores", "labels"),
        coupled=True,
        degenerate={
            "saturated": {"scores": np.array([1e4, -1e4, 1e4, 0.0, 0.0, -1e4])},
            "equal": {"scores": np.zeros(6)},
            "no positives": {"labels": np.zeros(6)},
            "no negatives": {"labels": np.ones(6)},
            "nothing": {"scores": np.zeros(0), "labels": np.zeros(0)},
        },
    ),
]

FUNCTIONS = [
    Function(
        name="soft_swap",
        function=objectives.soft_swap,
        traced=lambda generator: {name: generator.normal(size=4).astype(np.float32) for name in ("a", "b")},
        static={**SWAP, "error_free": True},
        shapes=((4,), (4,), (4,)),
        differentiable=("a", "b"),
        keeps_dtype=False,
        refused={"steepness": (0.0, -1.0)},
        faults=(Fault({"b": np.ones(3, np.float32)}), Fault({"swap": "hard"})),
    ),
    Function(
        name="sorting_network",
        function=objectives.sorting_network,
        traced=lambda generator: {
            "values": generator.normal(size=5).astype(np.float32),
            "carried": generator.normal(size=(5, 2)).astype(np.float32),
            "where": SOME,
        },
        static={**SWAP, "network": "bitonic", "error_free": False},
        shapes=((5,), (5, 2)),
        differentiable=("values", "carried"),
        keeps_dtype=False,
        refused={"steepness": (0.0, -1.0)},
        faults=(
            Fault({"values": np.float32(1.0)}),
            Fault({"carried": np.ones((4, 2), np.float32)}),
            Fault({"swap": "hard"}),
            Fault({"network": "pairwise"}),
        ),
    ),
    Function(
        name="neural_sort",
        function=objectives.neural_sort,
        traced=lambda generator: {"scores": generator.normal(size=5).astype(np.float32), "where": SOME},
        static={"temperature": 0.5},
        shape=(5, 5),
        differentiable=("scores",),
        keeps_dtype=False,
        refused={"temperature": (0.0, -1.0)},
        faults=(Fault({"scores": np.float32(1.0)}), Fault({"scores": np.ones(5, np.int32)}, TypeError)),
    ),
    Function(
        name="sinkhorn",
        function=objectives.sinkhorn,
        traced=lambda generator: {"logits": generator.normal(size=(4, 4)).astype(np.float32)},
        static={"iterations": 1},  # of a doubly stochastic matrix every weighing by row and column is the same
        shape=(4, 4),
        differentiable=("logits",),
        keeps_dtype=False,
        faults=(Fault({"logits": np.ones((4, 3), np.float32)}), Fault({"iterations": -1}), Fault({"iterations": 1.0})),
    ),
    Function(
        name="soft_sort",
        function=objectives.soft_sort,
        traced=lambda generator: {"values": generator.normal(size=5).astype(np.float32), "where": SOME},
        static={"regularization": 0.5},
        shape=(5,),
        differentiable=("values",),
        keeps_dtype=False,
        refused={"regularization": (0.0, -1.0)},
        faults=(Fault({"values": np.float32(1.0)}),),
    ),
]
