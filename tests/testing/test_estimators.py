"""The checks run on estimators of this library, on those of scikit-learn, and on what may go wrong in the runner."""

import functools
import subprocess
import sys
import warnings
from unittest import SkipTest

import pytest
from sklearn.exceptions import EstimatorCheckFailedWarning
from sklearn.preprocessing import StandardScaler

from sknvp import RealNVPTransformer, TransformedDensity
from sknvp.testing import _CHECKS, check_density_estimator, parametrize_with_density_checks

from ..small import full_batch, stacked
from .broken import ScoreIsTheMean
from .controls import CONTROLS
from .reference import Normal

FAMILY = [  # what else has the density's methods
    RealNVPTransformer(n_layers=2, hidden_layer_sizes=8, max_iter=3),
    TransformedDensity(full_batch(max_iter=10, random_state=None), StandardScaler()),
]


@parametrize_with_density_checks([stacked(max_iter=5, coupling="spline"), *FAMILY])
def test_our_density_keeps_every_law(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("estimator", "expected"), CONTROLS, ids=lambda value: type(value).__name__)
def test_what_scikit_learns_densities_fail(estimator, expected):
    results = check_density_estimator(estimator, on_fail=None)
    assert {result["check_name"] for result in results if result["status"] == "failed"} == set(expected)
    assert {result["status"] for result in results} == {"passed", "failed"}


@pytest.fixture
def two_checks(monkeypatch):
    """Only two checks: a run takes no time."""
    for name in set(_CHECKS) - {"check_score_is_the_total", "check_skops"}:
        monkeypatch.delitem(_CHECKS, name)


def statuses(results):
    return {result["check_name"]: result["status"] for result in results}


@pytest.mark.usefixtures("two_checks")
def test_a_failure_raises_or_warns_or_is_returned():
    with pytest.raises(AssertionError, match="total of score_samples") as caught:
        check_density_estimator(ScoreIsTheMean())
    assert caught.value.__notes__ == ["This is check_score_is_the_total of ScoreIsTheMean()."]
    with pytest.warns(EstimatorCheckFailedWarning, match="check_score_is_the_total"):
        warned = check_density_estimator(ScoreIsTheMean(), on_fail="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        returned = check_density_estimator(ScoreIsTheMean(), on_fail=None)
    expected = {"check_score_is_the_total": "failed", "check_skops": "passed"}
    assert statuses(warned) == statuses(returned) == expected
    assert isinstance(returned[0]["exception"], AssertionError)
    assert returned[1]["exception"] is None


@pytest.mark.usefixtures("two_checks")
def test_what_is_expected_to_fail_does_not_raise():
    reasons = {"check_score_is_the_total": "a mean is wanted", "check_skops": "passes all the same"}
    results = check_density_estimator(ScoreIsTheMean(), expected_failed_checks=reasons)
    assert statuses(results) == {"check_score_is_the_total": "xfail", "check_skops": "passed"}
    assert [result["expected_to_fail_reason"] for result in results] == list(reasons.values())
    assert all(result["expected_to_fail"] for result in results)


@pytest.mark.usefixtures("two_checks")
def test_a_missing_package_skips_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    results = check_density_estimator(Normal())
    assert statuses(results) == {"check_score_is_the_total": "passed", "check_skops": "skipped"}
    assert str(results[1]["exception"]) == "skops is not installed"


def test_a_class_of_main_is_not_looked_for_elsewhere(monkeypatch):
    monkeypatch.setattr(Normal, "__module__", "__main__")
    with pytest.raises(SkipTest, match="__main__"):
        _CHECKS["check_fresh_interpreter"](Normal())


def test_misuse_of_the_runner():
    with pytest.raises(ValueError, match="on_fail must be 'raise', 'warn' or None, got 'ignore'"):
        check_density_estimator(Normal(), on_fail="ignore")
    with pytest.raises(ValueError, match=r"expected_failed_checks must name checks.*got 'check_pickles'"):
        check_density_estimator(Normal(), expected_failed_checks={"check_pickles": "no such check"})


def test_ids_and_marks_of_the_decorator():
    mark = parametrize_with_density_checks(
        [Normal(), Normal(ridge=0.1)],
        expected_failed_checks=lambda estimator: {"check_skops": "because"} if estimator.ridge == 0.1 else {},
    ).mark
    names, cases = mark.args
    assert names == ("estimator", "check")
    assert [case.id for case in cases] == [
        f"{label}-{name}" for label in ("Normal()", "Normal(ridge=0.1)") for name in _CHECKS
    ]
    assert [case.id for case in cases if case.marks] == ["Normal(ridge=0.1)-check_skops"]
    assert all(check.__doc__.count("\n") == 0 for check in _CHECKS.values())


def test_a_check_leaves_the_callers_estimator_and_warnings_alone():
    class Warns(Normal):
        @functools.wraps(Normal.fit)
        def fit(self, X, y=None, sample_weight=None):
            warnings.warn("a small table", UserWarning, stacklevel=2)
            return super().fit(X, y, sample_weight)

    estimator = Warns(random_state=7)
    _CHECKS["check_score_is_the_total"](estimator)
    assert vars(estimator) == {"ridge": 1e-6, "random_state": 7}


def test_the_checks_load_no_package_that_they_can_do_without():
    code = "import sys, sknvp.testing; sys.exit(bool({'torch', 'pytest', 'skops'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
