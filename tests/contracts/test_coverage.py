"""A public name without a case fails, and so does a keyword that no case of its function sets."""

import inspect

import numpy as np
import pytest
from contracts.cases import OBJECTIVES, every

import objectives
import optimizers

KINDS = ("TRANSFORMATIONS", "RULES", "AGGREGATORS", "FUNCTIONS")
FUNCTION_CASES = [case for kind in KINDS for case in every(kind)]
OBJECTIVE_CASES = [case for kind in ("CASES", "FUNCTIONS") for case in every(kind, OBJECTIVES)]
COVERED = {
    objectives: {case.function.__name__ for case in OBJECTIVE_CASES}
    | {case.name for case in every("TYPES", OBJECTIVES)},
    optimizers: {case.function.__name__ for case in FUNCTION_CASES}
    | {case.name for case in every("TYPES")}
    | {case.make_step.__name__ for case in every("TRAIN_STEPS")},
}


def names_without_case(package, covered):
    return sorted(set(package.__all__) - covered)


@pytest.mark.parametrize("package", COVERED, ids=lambda package: package.__name__)
def test_every_public_name_has_a_case(package):
    assert names_without_case(package, COVERED[package]) == []


@pytest.mark.parametrize("package", COVERED, ids=lambda package: package.__name__)
def test_cases_are_of_public_names(package):
    assert COVERED[package] <= set(package.__all__)


def test_a_name_without_a_case_is_found():
    assert names_without_case(objectives, COVERED[objectives] - {"poly_loss"}) == ["poly_loss"]


@pytest.mark.parametrize("package", COVERED, ids=lambda package: package.__name__)
def test_all_lists_every_public_name(package):
    """`__all__` is sorted, without repetition, and holds what the package imports from its rooms, modules aside."""
    public = {n for n, x in vars(package).items() if not n.startswith("_") and not inspect.ismodule(x)}
    assert list(package.__all__) == sorted(set(package.__all__))
    assert public == set(package.__all__)


def set_by(case):
    """The keywords that a case gives its function: as arguments, hyperparameters, options and so on."""
    known = {*getattr(case, "hyperparameters", {}), *getattr(case, "options", {}), *getattr(case, "switches", {})}
    known |= {*getattr(case, "dtypes", ()), *getattr(case, "static", {}), *getattr(case, "refused", {})}
    if hasattr(case, "traced"):
        known |= set(case.traced(np.random.default_rng(0)))
    elif hasattr(case, "differentiable"):
        known |= set(case.arguments(np.random.default_rng(0), case.batches[0]))
        known |= ({"where"} if case.masked else set()) | ({"axis_name"} if case.coupled else set())
    else:
        known |= set(case.always() if hasattr(case, "always") else case.arguments)
    return known


def keywords_no_case_sets(cases):
    functions = {case.function for case in cases}
    return sorted(
        f"{function.__name__}: {name}"
        for function in functions
        for name in inspect.signature(function).parameters
        if not any(name in set_by(case) for case in cases if case.function is function)
    )


def test_every_keyword_is_set_by_some_case():
    assert keywords_no_case_sets(OBJECTIVE_CASES) == []
    # `mask` is exercised wherever a signature has it; backprop is a rule itself, called with its two arguments.
    unset = keywords_no_case_sets([case for case in FUNCTION_CASES if getattr(case, "factory", True)])
    assert [each for each in unset if not each.endswith(": mask")] == []
