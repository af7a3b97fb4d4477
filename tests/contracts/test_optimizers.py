"""Every public name of `optimizers` against every contract that applies to it."""

import pytest
from contracts import (
    aggregator_checks,
    cases_optimizers,
    function_checks,
    gradient_checks,
    optimizer_checks,
    training_checks,
)
from contracts.common import pairs


@pytest.mark.parametrize(("check", "case"), pairs(cases_optimizers.TRANSFORMATIONS, optimizer_checks.CHECKS))
def test_transformation(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(cases_optimizers.RULES, gradient_checks.CHECKS))
def test_gradient_rule(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(cases_optimizers.AGGREGATORS, aggregator_checks.CHECKS))
def test_aggregator(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(cases_optimizers.FUNCTIONS, function_checks.CHECKS))
def test_function(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(cases_optimizers.TYPES, function_checks.TYPE_CHECKS))
def test_type(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(cases_optimizers.TRAIN_STEPS, training_checks.CHECKS))
def test_train_step(check, case):
    check(case)
