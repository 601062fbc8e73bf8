"""Every fault is found by the check that is named for it, and what is right passes all of them."""

import pytest

from sknvp.testing import _CHECKS, _result, check_density_estimator

from .broken import FAULTS
from .reference import Normal, NormalOfKnownCells


@pytest.mark.parametrize("reference", [Normal(), NormalOfKnownCells()], ids=lambda value: type(value).__name__)
def test_the_reference_keeps_every_law(reference):
    results = check_density_estimator(reference)
    assert [result["check_name"] for result in results] == list(_CHECKS)
    assert {result["status"] for result in results} == {"passed"}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_is_found_by_its_check(kind):
    name = FAULTS[kind]
    assert _result(kind(), name, _CHECKS[name], None)["status"] == "failed"


def test_every_check_finds_some_fault():
    assert set(FAULTS.values()) == set(_CHECKS)
