"""Each check fails on a function broken on purpose, for the reason it is there to find.

That the checks pass on the unbroken functions is what the other tests of this folder show.
"""

import pytest
from contracts import (
    aggregator_checks,
    function_checks,
    gradient_checks,
    objective_checks,
    optimizer_checks,
    training_checks,
)
from contracts.common import Fault
from contracts.specimens import aggregators, objectives, others, rules, transformations

SPECIMENS = [
    specimen for module in (objectives, transformations, rules, aggregators, others) for specimen in module.SPECIMENS
]
ALL_CHECKS = {
    *objective_checks.CHECKS,
    *optimizer_checks.CHECKS,
    *gradient_checks.CHECKS,
    *aggregator_checks.CHECKS,
    *function_checks.CHECKS,
    *function_checks.TYPE_CHECKS,
    *training_checks.CHECKS,
}


def specimen_id(number, specimen):
    check = specimen[0]
    kind = check.__module__.rsplit(".", 1)[-1].removesuffix("_checks")
    return f"{kind}-{check.__name__.removeprefix('check_')}-{number}"


@pytest.mark.parametrize(
    ("check", "case", "reason"),
    [pytest.param(*specimen, id=specimen_id(number, specimen)) for number, specimen in enumerate(SPECIMENS)],
)
def test_check_bites(check, case, reason):
    with pytest.raises(Exception, match=f"(?s){reason}"):
        check(case)


def test_every_check_has_a_specimen():
    assert {check.__name__ for check in ALL_CHECKS - {check for check, _, _ in SPECIMENS}} == set()


def test_a_fault_of_the_wrong_type_is_found():
    """A ValueError where a TypeError was announced is not the error that was promised."""
    with pytest.raises(AssertionError, match="not <class 'TypeError'>"):
        Fault({"label_smoothing": 2.0}, TypeError).check(
            objectives.CROSS_ENTROPY.function, objectives.CROSS_ENTROPY.example()
        )
