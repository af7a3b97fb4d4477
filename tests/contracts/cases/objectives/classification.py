"""Cases of the losses of classes."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    CLASS_EDGES,
    CLASS_FAULTS,
    CLASSES,
    FINITE,
    PER_BINARY,
    PER_CLASS,
    WITH_OFF,
    Generator,
    classes_and_labels,
    draw_epoch,
    draw_ids,
    draw_logits,
    per_class,
)
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective, Shape

import objectives


def with_class_weights(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """A single class has a single weight."""
    return {**changes, "alpha": np.ones(np.shape(changes["logits"])[-1])}


# Losses that grow like a power of 1/p have no finite value at saturated logits.
TAME = {name: changes for name, changes in WITH_OFF.items() if "saturated" not in name}


def per_binary(function: Callable[..., jax.Array], **settings: Any) -> Objective:
    return Objective(name=function.__name__, function=function, **{**PER_BINARY, **settings})


def maps(function: Callable[..., jax.Array], **settings: Any) -> Objective:
    """A map from logits to as many numbers."""
    return Objective(
        name=function.__name__,
        function=function,
        **{
            "arguments": lambda generator, batch: {"logits": draw_logits(generator, batch)},
            "differentiable": ("logits",),
            "shape": lambda batch: (*batch, CLASSES),
            "degenerate": {
                name: {"logits": changes["logits"]} for name, changes in WITH_OFF.items() if "logits" in changes
            },
            "faults": (Fault({"logits": np.float32(1.0)}, ValueError),),
            **settings,
        },
    )


def draw_pair_of_logits(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": draw_logits(generator, batch),
        "adversarial_logits": draw_logits(generator, batch),
        "labels": draw_ids(generator, batch),
    }


PAIR_EDGES = {
    name: {**changes, "adversarial_logits": -np.asarray(changes["logits"])} for name, changes in FINITE.items()
}
ADVERSARIAL = {
    "unmoved": {"logits": np.ones((4, CLASSES)), "adversarial_logits": np.ones((4, CLASSES))},
    **PAIR_EDGES,
}
WEIGHTED = {
    name: {**changes, "class_weights": np.ones(np.shape(changes["logits"])[-1])} for name, changes in WITH_OFF.items()
}


def draw_planes(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": 2.0 * generator.normal(size=(*batch, 3)),
        "labels": generator.integers(0, 2, batch).astype(float),
    }


PLANE_EDGES = {
    "saturated": {"logits": 1e4 * np.array([[1.0, 1, 1], [1, -1, 1], [-1, -1, -1], [0, 1, -1]]), "labels": np.ones(4)},
    "zeros": {"logits": np.zeros((4, 3)), "labels": np.array([0.0, 1.0, 0.5, 1.0])},
    "one plane": {"logits": np.ones((4, 1)), "labels": np.ones(4)},
    "no examples": {"logits": np.ones((0, 2)), "labels": np.ones(0)},
}
OBSERVED = np.abs(np.arange(4.0)[:, None] - np.array([0.0, 1.0, 3.0]))


def draw_metric(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": draw_logits(generator, batch),
        "labels": generator.integers(0, 4, batch, np.int32),
        "distances": OBSERVED + 0.1,
    }


def draw_probabilities(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {"probabilities": generator.dirichlet(np.ones(3), batch), "distances": OBSERVED + 0.1}


POTENTIAL = partial(
    objectives.convex_potential, objectives.init_convex_potential(jax.random.key(0), CLASSES, width=2, depth=2)
)


def rolled(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """An epoch of online labels, whichever of its functions is under test, and the loss in the next."""
    state = objectives.online_labels(CLASSES)
    state = objectives.collect_online_labels(state, arguments["logits"], arguments["labels"])
    state = objectives.renew_online_labels(state)
    return objectives.online_label_smoothing_loss(arguments["logits"], arguments["labels"], state)


EPOCH: dict[str, Any] = {"use": rolled, "traced": draw_epoch, "shape": (4,)}
STATE = objectives.online_labels(CLASSES)
BATCH_FAULTS = (
    Fault({"labels": lambda ids: ids.astype(jnp.float32)}, TypeError),
    Fault({"labels": lambda ids: jnp.ones((*ids.shape, CLASSES))}, ValueError),
    Fault({"state": objectives.online_labels(CLASSES + 1)}, ValueError),
)


def keyed(generator: Generator) -> jax.Array:
    return jax.random.key(int(generator.integers(1000)))


def draw_ensemble(generator: Generator) -> Mapping[str, Any]:
    return {
        "key": keyed(generator),
        "logits": 2.0 * generator.normal(size=5).astype(np.float32),
        "labels": generator.integers(0, 2, 5).astype(np.int32),
        "where": np.array([True, False, True, True, True]),
    }


def draw_mixed(name: str, shape: Shape) -> Callable[[Generator], Mapping[str, Any]]:
    return lambda generator: {
        "key": keyed(generator),
        name: generator.random((4, *shape)).astype(np.float32),
        "labels": draw_ids(generator, (4,)),
    }


NO_KEY = Fault({"key": 0}, TypeError)
SMALL = {"dimension": 2, "width": 3, "depth": 1}


CASES = [
    Objective(
        name="softmax_cross_entropy",
        function=objectives.softmax_cross_entropy,
        arguments=classes_and_labels(),
        hyperparameters={"label_smoothing": (0.0, 0.1, 1.0)},
        refused={"label_smoothing": (-0.1, 1.1)},
        elsewhere=("class_weights",),
        **{
            **PER_CLASS,
            "degenerate": {
                **CLASS_EDGES,
                "a class switched off": {
                    "logits": np.array([[0.0, 1.0, -np.inf]] * 4),
                    "labels": np.array([0, 1, 0, 1], np.int32),
                },
            },
        },
    ),
    Objective(
        name="poly_loss",
        function=objectives.poly_loss,
        arguments=classes_and_labels(),
        hyperparameters={"epsilon": (-1.0, 0.0, 2.0)},
        refused={"epsilon": (-1.5,)},
        **PER_CLASS,
    ),
    Objective(
        name="poly_n_loss",
        function=objectives.poly_n_loss,
        arguments=classes_and_labels(epsilons=[1.0, -0.5]),
        **{**PER_CLASS, "faults": (*CLASS_FAULTS, Fault({"epsilons": [-1.5, 0.0]}, ValueError))},
    ),
    Objective(
        name="focal_loss",
        function=objectives.focal_loss,
        arguments=classes_and_labels(alpha=[0.5, 1.0, 2.0]),
        hyperparameters={"gamma": (0.0, 0.5, 2.0)},
        refused={"gamma": (-0.5,)},
        **{
            **PER_CLASS,
            "degenerate": {name: with_class_weights(changes) for name, changes in CLASS_EDGES.items()},
            "faults": (*CLASS_FAULTS, Fault({"alpha": np.ones(CLASSES + 1)}, ValueError)),
        },
    ),
    Objective(
        name="sigmoid_focal_loss",
        function=objectives.sigmoid_focal_loss,
        hyperparameters={"gamma": (0.0, 0.5, 2.0), "alpha": (0.0, 0.25, 1.0)},
        refused={"gamma": (-0.5,), "alpha": (-0.1, 1.1)},
        **PER_BINARY,
    ),
    Objective(
        name="poly_focal_loss",
        function=objectives.poly_focal_loss,
        hyperparameters={"gamma": (0.0, 0.5, 2.0), "alpha": (0.0, 0.25, 1.0), "epsilon": (-1.0, 0.0, 2.0)},
        refused={"gamma": (-0.5,), "alpha": (-0.1, 1.1), "epsilon": (-1.5,)},
        **PER_BINARY,
    ),
    Objective(
        name="squentropy_loss",
        function=objectives.squentropy_loss,
        arguments=classes_and_labels(),
        **PER_CLASS,
    ),
    per_class(
        objectives.softmax_cross_entropy,
        name="softmax_cross_entropy[class_weights]",
        arguments=classes_and_labels(class_weights=[0.5, 1.0, 2.0]),
        options={"label_smoothing": 0.1},
        degenerate={n: c for n, c in WEIGHTED.items() if n != "a class switched off"},
        faults=(Fault({"class_weights": np.ones(CLASSES + 1)}, ValueError),),
    ),
    per_binary(
        objectives.sigmoid_cross_entropy,
        hyperparameters={"label_smoothing": (0.0, 0.1, 1.0), "positive_weight": (0.0, 1.0, 3.0)},
        refused={"label_smoothing": (-0.1, 1.1), "positive_weight": (-1.0,)},
    ),
    Objective(
        name="confidence_penalty",
        function=objectives.confidence_penalty,
        arguments=lambda generator, batch: {"logits": draw_logits(generator, batch)},
        differentiable=("logits",),
        masked=("logits",),
        degenerate={n: {"logits": c["logits"]} for n, c in WITH_OFF.items() if "logits" in c},
    ),
    per_class(
        objectives.taylor_cross_entropy_loss,
        options={"order": 3},
        faults=(Fault({"order": 0}, ValueError), Fault({"order": 1.5}, TypeError)),
    ),
    per_class(objectives.comp_sum_loss, hyperparameters={"tau": (0.0, 0.7, 1.0, 2.0)}, refused={"tau": (-0.5,)}),
    per_class(
        objectives.generalized_cross_entropy_loss, hyperparameters={"q": (0.0, 0.7, 1.0)}, refused={"q": (-0.1, 1.1)}
    ),
    per_class(objectives.softmax_mae_loss),
    per_class(
        objectives.smooth_adversarial_comp_sum_loss,
        arguments=draw_pair_of_logits,
        differentiable=("logits", "adversarial_logits"),
        masked=("logits", "adversarial_logits", "labels"),
        hyperparameters={"tau": (0.5, 1.0, 1.7), "rho": (0.5, 1.0), "nu": (0.0, 1.0)},
        refused={"tau": (-0.5,), "rho": (0.0, -1.0), "nu": (-1.0,)},
        degenerate=ADVERSARIAL,
    ),
    per_class(
        objectives.f_divergence_loss,
        options={"generator": lambda d: jax.nn.softplus(-d) - float(np.log(2))},
        faults=(*CLASS_FAULTS, Fault({"generator": 1.0}, TypeError)),
    ),
    per_class(objectives.kl_divergence_loss),
    per_class(objectives.jensen_shannon_loss),
    per_class(objectives.chi_squared_loss, degenerate=TAME),
    per_class(objectives.hellinger_loss),
    per_class(
        objectives.alpha_divergence_loss,
        hyperparameters={"alpha": (0.5, 1.0, 2.0)},
        refused={"alpha": (0.0, -1.0)},
    ),
    maps(objectives.sparsemax, smooth=1),
    maps(objectives.entmax15, smooth=1),
    maps(objectives.entmax, hyperparameters={"alpha": (1.0, 1.5, 2.0)}, refused={"alpha": (0.5,)}, smooth=1),
    per_class(objectives.sparsemax_loss, smooth=1),
    per_class(objectives.entmax15_loss, smooth=1),
    per_class(objectives.entmax_loss, hyperparameters={"alpha": (1.0, 1.5, 2.0)}, refused={"alpha": (0.5,)}, smooth=1),
    per_class(
        objectives.fenchel_young_loss,
        options={
            "conjugate": lambda z: jax.nn.logsumexp(z, axis=-1),
            "regularizer": lambda q: -jnp.sum(jax.scipy.special.entr(q), axis=-1),
        },
        degenerate=FINITE,
        faults=(Fault({"conjugate": 1.0}, TypeError), Fault({"regularizer": 1.0}, TypeError)),
    ),
    maps(objectives.log_stablemax, degenerate={"saturated": {"logits": CLASS_EDGES["saturated"]["logits"]}}),
    per_class(objectives.stablemax_cross_entropy, degenerate=FINITE),
    maps(objectives.sparse_softmax, options={"k": 2}, faults=(Fault({"k": 0}, ValueError),)),
    per_class(objectives.sparse_softmax_cross_entropy, options={"k": 2}),
    per_class(
        objectives.spherical_z_loss,
        hyperparameters={"a": (0.1, 2.0), "b": (-1.0, 10.0), "epsilon": (1e-6, 0.1)},
        refused={"a": (0.0, -1.0), "epsilon": (0.0,)},
        degenerate=FINITE,
    ),
    *(
        per_class(
            objectives.relu_classifier_loss,
            name="relu_classifier_loss" + ("[normalize]" if normalize else ""),
            options={"normalize": normalize},
            hyperparameters={"epsilon": (1e-6, 1e-2)},
            refused={"epsilon": (0.0, 0.6)},
        )
        for normalize in (False, True)
    ),
    per_binary(
        objectives.binary_margin_loss,
        options={"penalty": lambda margin: jax.nn.relu(-margin)},
        smooth=1,
        faults=(Fault({"penalty": 1.0}, TypeError),),
    ),
    per_binary(objectives.hinge_loss, hyperparameters={"margin": (0.0, 1.0)}, refused={"margin": (-1.0,)}, smooth=1),
    per_binary(
        objectives.squared_hinge_loss, hyperparameters={"margin": (0.0, 1.0)}, refused={"margin": (-1.0,)}, smooth=1
    ),
    per_binary(objectives.modified_huber_loss, smooth=1),
    per_binary(objectives.savage_loss),
    per_binary(objectives.tangent_loss),
    *(
        per_class(function, hyperparameters={"margin": (0.0, 1.0)}, refused={"margin": (-1.0,)}, smooth=1)
        for function in (objectives.crammer_singer_loss, objectives.weston_watkins_loss)
    ),
    Objective(
        name="checkered_sigmoid",
        function=objectives.checkered_sigmoid,
        arguments=lambda generator, batch: {"logits": draw_planes(generator, batch)["logits"]},
        differentiable=("logits",),
        degenerate={n: {"logits": c["logits"]} for n, c in PLANE_EDGES.items()},
    ),
    Objective(
        name="checkered_regression_loss",
        function=objectives.checkered_regression_loss,
        arguments=draw_planes,
        differentiable=("logits",),
        masked=("logits", "labels"),
        degenerate=PLANE_EDGES,
        faults=(Fault({"labels": np.ones((4, 3))}, ValueError),),
    ),
    Objective(
        name="sum_log_concave_loss",
        function=objectives.sum_log_concave_loss,
        arguments=lambda generator, batch: {"log_components": generator.normal(size=batch)},
        batches=((4, 3), (2, 3), (3,)),
        shape=lambda batch: batch[:-1],
        differentiable=("log_components",),
        masked=("log_components",),
        removable=False,
        degenerate={"saturated": {"log_components": 1e4 * np.array([[1.0, -1.0, 0.0]] * 4)}},
    ),
    Objective(
        name="frechet_costs",
        function=objectives.frechet_costs,
        arguments=draw_probabilities,
        differentiable=("probabilities", "distances"),
        shape=lambda batch: (*batch, 4),
        faults=(Fault({"distances": np.ones((4, 2), np.float32)}, ValueError),),
    ),
    Objective(
        name="frechet_loss",
        function=objectives.frechet_loss,
        arguments=draw_metric,
        differentiable=("logits", "distances"),
        masked=("logits", "labels"),
        ids="labels",
        classes=4,
        hyperparameters={"temperature": (0.5, 2.0)},
        refused={"temperature": (0.0, -1.0)},
        degenerate={"saturated": {"logits": CLASS_EDGES["saturated"]["logits"]}, "equal": {"logits": np.zeros((4, 3))}},
        faults=(Fault({"distances": np.ones((4, 2), np.float32)}, ValueError),),
    ),
    Objective(
        name="log_softmax_plus",
        function=objectives.log_softmax_plus,
        arguments=lambda generator, batch: {"logits": draw_logits(generator, batch)},
        differentiable=("logits",),
        shape=lambda batch: (*batch, CLASSES + 1),
        degenerate={"saturated": {"logits": CLASS_EDGES["saturated"]["logits"]}},
        faults=(Fault({"logits": np.float32(1.0)}, ValueError),),
    ),
    Objective(
        name="canonical_link",
        function=objectives.canonical_link,
        arguments=lambda generator, batch: {"scores": draw_logits(generator, batch)},
        differentiable=("scores",),
        shape=lambda batch: (*batch, CLASSES),
        options={"potential": POTENTIAL},
        degenerate={"saturated": {"scores": CLASS_EDGES["saturated"]["logits"]}},
        faults=(Fault({"potential": 1.0}, TypeError), Fault({"scores": np.float32(1.0)}, ValueError)),
    ),
    Objective(
        name="legendretron_loss",
        function=objectives.legendretron_loss,
        arguments=lambda generator, batch: {
            "scores": draw_logits(generator, batch),
            "labels": generator.integers(0, CLASSES + 1, batch, np.int32),
        },
        differentiable=("scores",),
        masked=("scores", "labels"),
        ids="labels",
        classes=CLASSES + 1,
        options={"potential": POTENTIAL},
        degenerate={"saturated": {"scores": CLASS_EDGES["saturated"]["logits"]}, "equal": {"scores": np.zeros((4, 3))}},
        faults=(Fault({"potential": 1.0}, TypeError),),
    ),
]

FUNCTIONS = [
    Function(
        name="online_labels",
        function=objectives.online_labels,
        static={"classes": CLASSES},
        faults=(Fault({"classes": 0}, ValueError), Fault({"classes": 2.5}, TypeError)),
        **EPOCH,
    ),
    Function(
        name="online_label_smoothing_loss",
        function=objectives.online_label_smoothing_loss,
        static={"state": STATE, "smoothing": 0.5, "where": np.ones(4, bool)},
        faults=(*BATCH_FAULTS, Fault({"smoothing": 1.5}, ValueError)),
        **EPOCH,
    ),
    Function(
        name="collect_online_labels",
        function=objectives.collect_online_labels,
        static={"state": STATE, "where": np.ones(4, bool), "axis_name": None},
        faults=BATCH_FAULTS,
        **EPOCH,
    ),
    Function(name="renew_online_labels", function=objectives.renew_online_labels, static={"state": STATE}, **EPOCH),
    Function(
        name="ensloss",
        function=objectives.ensloss,
        traced=draw_ensemble,
        static={"lam": 0.5, "axis_name": None},
        shape=(5,),
        differentiable=("logits",),
        keeps_dtype=False,
        faults=(NO_KEY, Fault({"logits": np.ones((5, 1), np.float32)}, ValueError), Fault({"lam": np.inf}, ValueError)),
    ),
    Function(
        name="sample_calibrated_derivatives",
        function=objectives.sample_calibrated_derivatives,
        traced=lambda generator: {"key": keyed(generator), "margins": generator.normal(size=5).astype(np.float32)},
        static={"lam": 0.0},
        shape=(5,),
        faults=(NO_KEY, Fault({"margins": np.ones((5, 1), np.float32)}, ValueError)),
    ),
    Function(
        name="mixup",
        function=objectives.mixup,
        traced=draw_mixed("inputs", (2,)),
        static={"classes": CLASSES, "alpha": 0.4},
        shapes=((4, 2), (4, CLASSES)),
        refused={"alpha": (0.0,)},
        faults=(NO_KEY, Fault({"labels": np.ones((4, 5))}, ValueError), Fault({"classes": 0}, ValueError)),
    ),
    Function(
        name="cutmix",
        function=objectives.cutmix,
        traced=draw_mixed("images", (6, 5, 2)),
        static={"classes": CLASSES, "alpha": 1.0},
        shapes=((4, 6, 5, 2), (4, CLASSES)),
        refused={"alpha": (0.0,)},
        faults=(NO_KEY, Fault({"images": np.ones((4, 6), np.float32)}, ValueError)),
    ),
    Function(
        name="frechet_mean",
        function=objectives.frechet_mean,
        use=lambda function, arguments: call(function, arguments).astype(jnp.float32),
        traced=lambda generator: {k: np.float32(x) for k, x in draw_probabilities(generator, (4,)).items()},
        shape=(4,),
        faults=(Fault({"distances": np.ones((4, 2), np.float32)}, ValueError),),
    ),
    Function(
        name="init_convex_potential",
        function=objectives.init_convex_potential,
        traced=lambda generator: {"key": keyed(generator)},
        static=SMALL,
        shapes=((2, 3), (2, 1), (3, 1), (3,), (1,), (), ()),
        faults=(NO_KEY, Fault({"width": 0}, ValueError), Fault({"depth": 1.5}, TypeError)),
    ),
    Function(
        name="convex_potential",
        function=objectives.convex_potential,
        traced=lambda generator: {"scores": generator.normal(size=2).astype(np.float32)},
        static={"params": objectives.init_convex_potential(jax.random.key(0), **SMALL)},
        differentiable=("scores",),
        keeps_dtype=False,
        faults=(Fault({"scores": np.ones(3, np.float32)}, ValueError),),
    ),
]

TYPES = [
    Type(name="ConvexPotential", type=objectives.ConvexPotential),
    Type(name="OnlineLabels", type=objectives.OnlineLabels),
]
