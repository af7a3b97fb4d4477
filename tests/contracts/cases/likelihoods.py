"""Cases of likelihoods, scoring rules, survival and ordinal losses."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from contracts.cases.objectives import CLASS_FAULTS, CLASSES, PER_CLASS, SATURATED, classes_and_labels
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.objective_checks import Objective, Shape

import objectives

Generator = np.random.Generator
Draw = Callable[[Generator, Shape], np.ndarray]
PARTS = 3
DIM = 2
FAR = 1e4
OUTLYING = 100.0  # whose square a float16 gradient can hold


def normal(generator: Generator, batch: Shape) -> np.ndarray:
    return 0.7 * generator.normal(size=batch)


def positive(generator: Generator, batch: Shape) -> np.ndarray:
    return np.exp(normal(generator, batch))


def counts(generator: Generator, batch: Shape) -> np.ndarray:
    return generator.integers(0, 4, batch).astype(float)


def share(generator: Generator, batch: Shape) -> np.ndarray:
    return generator.uniform(0.1, 0.9, batch)


def composition(generator: Generator, batch: Shape) -> np.ndarray:
    return generator.dirichlet(np.full(PARTS, 3.0), batch)


def trailing(*shape: int) -> Draw:
    return lambda generator, batch: normal(generator, (*batch, *shape))


def per_entry(
    function: Callable[..., Any],
    parameters: Mapping[str, Draw],
    others: Mapping[str, Draw],
    edges: Mapping[str, Mapping[str, Any]],
    label: str = "",
    **more: Any,
) -> Objective:
    """A case of arguments of one batch; in the edges a number stands for four of them."""

    def draw(generator: Generator, batch: Shape) -> Mapping[str, Any]:
        return {name: each(generator, batch) for name, each in {**parameters, **others}.items()}

    return Objective(
        name=function.__name__ + label,
        function=function,
        arguments=draw,
        differentiable=tuple(parameters),
        masked=(*parameters, *others),
        degenerate={
            name: {n: np.full(4, x) if np.ndim(x) == 0 else np.asarray(x, np.float64) for n, x in changes.items()}
            for name, changes in edges.items()
        },
        **more,
    )


LINE = {"targets": normal}
LOCATION_SCALE: dict[str, Draw] = {"location": normal, "log_scale": normal}
LOCATION_EDGES = {
    "far away": {"location": FAR},
    "exact": {"location": 1.0, "targets": 1.0},
    "exact, of no scale": {"location": 1.0, "targets": 1.0, "log_scale": -FAR},
    "wide": {"log_scale": 9.0},
}
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
TIES = {"events": np.array([1, 1, 0, 1, 1, 1], np.int32), "times": np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])}


def logit_edges(name: str, edges: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    return {**edges, "never a zero": {name: -FAR}, "always a zero": {name: FAR}}


LIKELIHOODS = [
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


def crps_case(function: Callable[..., Any], location: str = "location", **more: Any) -> Objective:
    edges = {name: {location if n == "location" else n: x for n, x in c.items()} for name, c in LOCATION_EDGES.items()}
    edges["a point"] = {"log_scale": -FAR}
    return per_entry(function, {location: normal, "log_scale": normal}, LINE, edges, **more)


LEVELS = np.array([0.1, 0.5, 0.8])
VECTORS: dict[str, Any] = {
    "parameters": {"ensemble": trailing(4, DIM)},
    "others": {"targets": trailing(DIM)},
    "edges": {
        "all equal": {"ensemble": np.ones((4, 3, DIM)), "targets": np.ones((4, DIM))},
        "one member": {"ensemble": np.ones((4, 1, DIM))},
        "far away": {"ensemble": np.full((4, 3, DIM), FAR)},
    },
}
VECTOR_FAULTS = (
    Fault({"targets": np.zeros((4, DIM + 1), np.float32)}, ValueError),
    Fault({"ensemble": np.zeros((4, 0, DIM), np.float32)}, ValueError),
)
SCORES = [
    crps_case(objectives.crps_gaussian, "mean"),
    crps_case(objectives.crps_logistic),
    crps_case(objectives.crps_laplace),
    crps_case(objectives.crps_student_t, hyperparameters={"df": (1.5, 5.0)}, refused={"df": (1.0,)}),
    per_entry(
        objectives.crps_gaussian_mixture,
        {"logits": trailing(PARTS), "mean": trailing(PARTS), "log_scale": trailing(PARTS)},
        LINE,
        {
            "one is switched off": {"logits": np.tile([-np.inf, 1.0, 2.0], (4, 1))},
            "far away": {"mean": np.full((4, PARTS), FAR)},
            "points": {"log_scale": np.full((4, PARTS), -FAR)},
        },
        faults=(Fault({"mean": np.zeros((4, PARTS + 1), np.float32)}, ValueError),),
    ),
    per_entry(
        objectives.crps_ensemble,
        {"ensemble": trailing(4)},
        LINE,
        {
            "all equal": {"ensemble": np.ones((4, 3)), "targets": 1.0},
            "one member": {"ensemble": np.ones((4, 1))},
            "far away": {"ensemble": np.full((4, 3), FAR)},
        },
        options={"fair": True},
        faults=(Fault({"ensemble": np.zeros((4, 0), np.float32)}, ValueError),),
    ),
    per_entry(
        objectives.crps_quantiles,
        {"quantiles": trailing(3)},
        LINE,
        {"exact": {"quantiles": np.ones((4, 3)), "targets": 1.0}},
        options={"levels": LEVELS},
        faults=(Fault({"levels": [0.5]}, ValueError), Fault({"levels": [0.1, 0.5, 1.0]}, ValueError)),
        smooth=1,
    ),
    per_entry(
        objectives.interval_score,
        {"lower": normal, "upper": normal},
        LINE,
        {"at the ends": {"lower": 1.0, "upper": 1.0, "targets": 1.0}},
        hyperparameters={"alpha": (0.05, 1.0)},
        refused={"alpha": (0.0, 1.1)},
        smooth=1,
    ),
    per_entry(
        objectives.weighted_interval_score,
        {"median": normal, "lower": trailing(3), "upper": trailing(3)},
        LINE,
        {"exact": {"median": 1.0, "lower": np.ones((4, 3)), "upper": np.ones((4, 3)), "targets": 1.0}},
        options={"alphas": LEVELS},
        faults=(Fault({"alphas": [0.0, 0.1, 0.2]}, ValueError), Fault({"upper": np.ones((4, 2), np.float32)})),
        smooth=1,
    ),
    per_entry(
        objectives.energy_score,
        **VECTORS,
        options={"fair": True},
        faults=VECTOR_FAULTS,
        hyperparameters={"beta": (0.5, 1.0, 1.5)},
        refused={"beta": (0.0, 2.1)},
    ),
    per_entry(
        objectives.variogram_score,
        **VECTORS,
        options={"weights": np.array([[0.0, 1.0], [2.0, 0.0]])},
        faults=(*VECTOR_FAULTS, Fault({"weights": np.ones(DIM)}, ValueError)),
        hyperparameters={"p": (0.5, 1.0, 2.0)},
        refused={"p": (0.0,)},
    ),
    per_entry(
        objectives.dawid_sebastiani_score,
        {"mean": normal, "log_variance": normal},
        LINE,
        {"wide": {"log_variance": FAR}, "exact, of no variance": {"mean": 1.0, "targets": 1.0, "log_variance": -FAR}},
    ),
    Objective(name="brier_loss", function=objectives.brier_loss, arguments=classes_and_labels(), **PER_CLASS),
    Objective(
        name="ranked_probability_score",
        function=objectives.ranked_probability_score,
        arguments=classes_and_labels(),
        **PER_CLASS,
    ),
    Objective(
        name="earth_movers_distance_loss",
        function=objectives.earth_movers_distance_loss,
        arguments=classes_and_labels(),
        hyperparameters={"power": (1.0, 2.0)},
        refused={"power": (0.9,)},
        **PER_CLASS,
    ),
]


def draw_survival(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "log_hazards": normal(generator, batch),
        "times": generator.integers(0, 4, batch).astype(float),
        "events": generator.integers(0, 2, batch, np.int32),
    }


def draw_strata(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {**draw_survival(generator, batch), "strata": generator.integers(0, 2, batch, np.int32)}


def draw_intervals(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    return {
        "logits": 2 * normal(generator, (*batch, CLASSES)),
        "durations": generator.integers(0, CLASSES, batch, np.int32),
        "events": generator.integers(0, 2, batch, np.int32),
    }


COX: dict[str, Any] = {
    "function": objectives.cox_partial_likelihood_loss,
    "batches": ((6,),),
    "differentiable": ("log_hazards",),
    "coupled": True,
    "degenerate": {
        "saturated": {"log_hazards": FAR * np.array([1, -1, 1, -1, 1, -1]), **TIES},
        "one time": {"times": np.ones(6), "events": np.ones(6, np.int32)},
        "no events": {"events": np.zeros(6, np.int32)},
    },
}
INTERVALS: dict[str, Any] = {
    "arguments": draw_intervals,
    "differentiable": ("logits",),
    "masked": ("logits", "durations", "events"),
    "ids": "durations",
    "classes": CLASSES,
    "probabilities": False,
    "faults": (
        Fault({"durations": lambda x: x.astype(np.float32)}, TypeError),
        Fault({"logits": np.float32(1.0)}, ValueError),
    ),
}
SATURATED_INTERVALS = {
    "saturated": {"logits": SATURATED},
    "one interval": {"logits": np.ones((4, 1)), "durations": np.zeros(4, np.int32)},
}
SURVIVAL = [
    Objective(
        name="cox_partial_likelihood_loss",
        arguments=draw_survival,
        masked=("log_hazards", "times", "events"),
        options={"ties": "efron"},
        elsewhere=("strata",),
        faults=(
            Fault({"ties": "exact"}, ValueError),
            Fault({n: np.ones((2, 3), np.float32) for n in ("log_hazards", "times", "events")}, words=("log_hazards",)),
        ),
        **{
            **COX,
            "degenerate": {
                **COX["degenerate"],
                "nobody": {n: np.ones(0) for n in draw_survival(np.random.default_rng(0), ())},
            },
        },
    ),
    Objective(
        name="cox_partial_likelihood_loss[strata]",
        arguments=draw_strata,
        masked=("log_hazards", "times", "events", "strata"),
        options={"ties": "breslow"},
        faults=(
            Fault({"strata": np.ones(6, np.float32)}, TypeError),
            Fault({"strata": np.ones(5, np.int32)}, ValueError),
        ),
        **COX,
    ),
    *(
        per_entry(
            objectives.aft_loss,
            LOCATION_SCALE,
            {"lower": lambda g, b: 0.1 * positive(g, b), "upper": lambda g, b: 1 + positive(g, b)},
            {
                "all kinds": {"lower": [1.0, 0.0, 2.0, 0.0], "upper": [1.0, 2.0, np.inf, np.inf]},
                "far away": {"location": 80.0},
            },
            label="" if distribution == "weibull" else f"[{distribution}]",
            options={"distribution": distribution},
            faults=(Fault({"distribution": "gamma"}, ValueError),) if distribution == "weibull" else (),
        )
        for distribution in ("weibull", "log_normal")
    ),
    Objective(
        name="logistic_hazard_loss",
        function=objectives.logistic_hazard_loss,
        degenerate=SATURATED_INTERVALS,
        **INTERVALS,
    ),
    Objective(
        name="pmf_survival_loss", function=objectives.pmf_survival_loss, degenerate=SATURATED_INTERVALS, **INTERVALS
    ),
    Objective(
        name="deephit_ranking_loss",
        function=objectives.deephit_ranking_loss,
        batches=((6,),),
        coupled=True,
        hyperparameters={"sigma": (0.1, 1.0)},
        refused={"sigma": (0.0,)},
        degenerate={
            "no events": {"events": np.zeros(6, np.int32)},
            "saturated": {"logits": np.tile(SATURATED[:2], (3, 1))},
        },
        **{
            **INTERVALS,
            "ids": None,  # one out of range is in no pair, which the others notice
            "faults": (
                Fault(
                    {
                        "logits": np.ones((2, 3, 4), np.float32),
                        "durations": np.ones((2, 3), np.int32),
                        "events": np.ones((2, 3)),
                    },
                    ValueError,
                    ("logits",),
                ),
            ),
        },
    ),
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
]


def cuts_and_labels(**more: Any) -> Callable[[Generator, Shape], Mapping[str, Any]]:
    return lambda generator, batch: {
        "logits": 2 * normal(generator, (*batch, CLASSES - 1)),
        "labels": generator.integers(0, CLASSES, batch, np.int32),
        **{name: np.asarray(value) for name, value in more.items()},
    }


STEPS: dict[str, Any] = {
    "differentiable": ("logits",),
    "masked": ("logits", "labels"),
    "ids": "labels",
    "classes": CLASSES,
    "degenerate": {
        "saturated": {"logits": SATURATED[:, :2], "labels": np.array([0, 1, 2, 2], np.int32)},
        "equal logits": {"logits": np.zeros((4, CLASSES - 1))},
    },
    "faults": (*CLASS_FAULTS, Fault({"logits": np.ones((4, 0), np.float32)}, ValueError)),
}


def draw_positions(generator: Generator, batch: Shape) -> Mapping[str, Any]:
    labels = generator.integers(0, CLASSES, batch, np.int32)
    return {"scores": normal(generator, batch), "thresholds": np.array([-0.5, 1.0]), "labels": labels}


def link_case(link: str) -> Objective:
    return Objective(
        name=f"cumulative_link_loss[{link}]",
        function=objectives.cumulative_link_loss,
        arguments=draw_positions,
        differentiable=("scores", "thresholds"),
        masked=("scores", "labels"),
        ids="labels",
        classes=CLASSES,
        options={"link": link},
        degenerate={
            "two levels": {"thresholds": np.zeros(1), "labels": np.array([0, 1, 0, 1], np.int32)},
            "narrow": {"thresholds": np.array([0.0, 1e-3])},
            **({"saturated": {"scores": SATURATED[:, 0]}} if link != "cloglog" else {}),
        },
        faults=(
            Fault({"link": "identity"}, ValueError),
            Fault({"thresholds": np.zeros(0, np.float32)}, ValueError),
            Fault({"thresholds": np.zeros((2, 2), np.float32)}, ValueError),
        ),
    )


ORDINAL = [
    Objective(
        name="coral_loss",
        function=objectives.coral_loss,
        arguments=cuts_and_labels(importance=[0.5, 2.0]),
        **{**STEPS, "faults": (*STEPS["faults"][:-1], Fault({"importance": np.ones(CLASSES)}, ValueError))},
    ),
    Objective(name="corn_loss", function=objectives.corn_loss, arguments=cuts_and_labels(), **STEPS),
    link_case("logit"),
    link_case("probit"),
    link_case("cloglog"),
]
CASES: list[Objective] = [*LIKELIHOODS, *SCORES, *SURVIVAL, *ORDINAL]

NO_CUTS = Fault({"logits": np.ones((4, 0), np.float32)}, ValueError)
FUNCTIONS: list[Function] = [
    Function(
        name="monotone_quantiles",
        function=objectives.monotone_quantiles,
        traced=lambda generator: {"outputs": generator.normal(size=(2, 3)).astype(np.float32)},
        shape=(2, 3),
        differentiable=("outputs",),
        keeps_dtype=False,
        faults=(Fault({"outputs": np.ones(3, np.int32)}, TypeError), Fault({"outputs": np.ones((2, 0), np.float32)})),
    ),
    Function(
        name="cumulative_link_probabilities",
        function=objectives.cumulative_link_probabilities,
        traced=lambda g: {"scores": np.float32(g.normal(size=4)), "thresholds": np.float32([-0.5, 1.0])},
        static={"link": "logit"},
        shape=(4, CLASSES),
        differentiable=("scores", "thresholds"),
        keeps_dtype=False,
        faults=(Fault({"link": "identity"}, ValueError),),
    ),
    Function(
        name="ordered_thresholds",
        function=objectives.ordered_thresholds,
        traced=lambda g: {"values": np.float32(g.normal(size=4))},
        shape=(4,),
        differentiable=("values",),
        keeps_dtype=False,
        faults=(Fault({"values": np.float32(1.0)}, ValueError),),
    ),
    *(
        Function(
            name=function.__name__,
            function=function,
            traced=lambda g: {"logits": np.float32(g.normal(size=(4, CLASSES - 1)))},
            shape=(4, CLASSES),
            differentiable=("logits",),
            keeps_dtype=False,
            faults=(NO_CUTS,),
        )
        for function in (objectives.coral_probabilities, objectives.corn_probabilities)
    ),
    Function(
        name="soft_ordinal_labels",
        function=objectives.soft_ordinal_labels,
        traced=lambda g: {
            "labels": g.integers(0, CLASSES, 4, np.int32),
            "scale": np.float32(g.uniform(0.5, 2)),
            "power": np.float32(g.uniform(1, 2)),
        },
        static={"levels": CLASSES},
        shape=(4, CLASSES),
        refused={"scale": (-1.0,), "power": (0.0,)},
        faults=(
            Fault({"labels": np.ones(4, np.float32)}, TypeError),
            Fault({"levels": 0}, ValueError),
            Fault({"levels": 2.0}, TypeError),
        ),
    ),
]
