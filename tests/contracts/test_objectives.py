"""Every public objective against every contract that applies to it."""

import pytest
from contracts import function_checks, objective_checks
from contracts.cases import OBJECTIVES, every
from contracts.common import pairs


@pytest.mark.parametrize(
    ("check", "case"),
    pairs(
        every("CASES", OBJECTIVES), objective_checks.CHECKS, once=objective_checks.ONCE, newest=objective_checks.NEWEST
    ),
)
def test_contract(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(every("FUNCTIONS", OBJECTIVES), function_checks.CHECKS))
def test_function(check, case):
    check(case)


@pytest.mark.parametrize(("check", "case"), pairs(every("TYPES", OBJECTIVES), function_checks.TYPE_CHECKS))
def test_type(check, case):
    check(case)
