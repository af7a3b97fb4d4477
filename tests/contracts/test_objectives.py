"""Every public objective against every contract that applies to it."""

import pytest
from contracts import objective_checks
from contracts.cases_objectives import CASES
from contracts.common import pairs


@pytest.mark.parametrize(("check", "case"), pairs(CASES, objective_checks.CHECKS))
def test_contract(check, case):
    check(case)
