"""Every public name of `optimizers` against every contract that applies to it."""

import pytest
from contracts import (
    aggregator_checks,
    function_checks,
    gradient_checks,
    optimizer_checks,
    training_checks,
)
from contracts.cases import every
from contracts.common import pairs


@pytest.mark.parametrize(
    ("check", "case"),
    pairs(
        every("TRANSFORMATIONS"),
        optimizer_checks.CHECKS,
        once=optimizer_checks.ONCE,
        inner=optimizer_checks.INNER,
        newest=optimizer_checks.NEWEST,
    ),
)
def test_transformation(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(every("RULES"), gradient_checks.CHECKS))
def test_gradient_rule(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(every("AGGREGATORS"), aggregator_checks.CHECKS))
def test_aggregator(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(every("FUNCTIONS"), function_checks.CHECKS))
def test_function(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(every("TYPES"), function_checks.TYPE_CHECKS))
def test_type(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(every("TRAIN_STEPS"), training_checks.CHECKS))
def test_train_step(check, case):
    check(case)
