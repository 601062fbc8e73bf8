"""Checks of the laws that a density estimator keeps, for anybody's estimator with the methods of `KernelDensity`.

scikit-learn's own `check_estimator` hardly looks at ``score_samples``, ``score`` and ``sample``: an estimator that
ignores weights, forgets a Jacobian, or loses its state in a pickle passes it. Run both.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Literal
from unittest import SkipTest

from sklearn.exceptions import EstimatorCheckFailedWarning

from . import _copies, _density, _discrete, _extremes, _inputs, _missing, _misuse, _samples, _state, _weights

__all__ = ["check_density_estimator", "parametrize_with_density_checks"]

Check = Callable[[Any], None]


def _quiet(check: Check) -> Check:
    """Return the check with all warnings ignored, since most estimators warn of small tables.

    A check that looks at warnings sets filters of its own.
    """

    @wraps(check)
    def quiet_check(estimator: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(estimator)

    return quiet_check


_CHECKS: dict[str, Check] = {
    name: _quiet(check)
    for module in (_density, _samples, _discrete, _missing, _weights, _copies, _state, _inputs, _extremes, _misuse)
    for name, check in vars(module).items()
    if name.startswith("check_")
}


def check_density_estimator(
    estimator: Any,
    *,
    expected_failed_checks: Mapping[str, str] | None = None,
    on_fail: Literal["raise", "warn"] | None = "raise",
) -> list[dict[str, Any]]:
    """Check that an estimator keeps the laws of a density and the manners of scikit-learn.

    Every check clones the estimator, sets its ``random_state`` and those of estimators inside it to 0, fits it to
    tables of some 100 rows, and looks at ``score_samples``, ``score`` and ``sample``, whose grammar is that of
    :class:`sklearn.neighbors.KernelDensity`. The user guide lists the checks.

    Parameters
    ----------
    estimator : estimator object
        An instance with ``fit(X, y=None, sample_weight=None)``, ``score_samples(X)``, ``score(X, y=None)``,
        which may take ``sample_weight`` too, and ``sample(n_samples=1, random_state=None)``.
    expected_failed_checks : dict of str to str, default=None
        The names of checks that may fail, each with the reason.
    on_fail : {"raise", "warn"} or None, default="raise"
        Whether the first check that fails, and was not expected to, raises its exception, whether each of them gives an
        :class:`~sklearn.exceptions.EstimatorCheckFailedWarning`, or whether the return value alone tells of them.

    Returns
    -------
    results : list of dict
        For every check, as from scikit-learn's `check_estimator`: "estimator", "check_name", "exception", "status",
        which is "passed", "failed", "skipped" (a package is missing, as the exception says) or "xfail" (failed, as
        expected), "expected_to_fail" and "expected_to_fail_reason".

    Raises
    ------
    Exception
        What the first failing check raised, if ``on_fail="raise"``.
    ValueError
        If ``expected_failed_checks`` names no check.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from sknvp.testing import check_density_estimator
    >>> results = check_density_estimator(KernelDensity(), on_fail=None)
    >>> status = {result["check_name"]: result["status"] for result in results}
    >>> status["check_weights_equal_repetition"], status["check_units_shift_scores_by_the_jacobian"]
    ('passed', 'failed')
    """
    if on_fail not in ("raise", "warn", None):
        raise ValueError(f"on_fail must be 'raise', 'warn' or None, got {on_fail!r}.")
    expected = _checked_names(expected_failed_checks)
    results = []
    for name, check in _CHECKS.items():
        result = _result(estimator, name, check, expected.get(name))
        if result["status"] == "failed" and on_fail == "raise":
            result["exception"].add_note(f"This is {name} of {estimator!r}.")
            raise result["exception"]
        if result["status"] == "failed" and on_fail == "warn":
            warnings.warn(EstimatorCheckFailedWarning(**result), stacklevel=2)
        results.append(result)
    return results


def parametrize_with_density_checks(
    estimators: Iterable[Any], *, expected_failed_checks: Callable[[Any], Mapping[str, str]] | None = None
) -> Any:
    """Make one pytest test of every check of every estimator.

    Parameters
    ----------
    estimators : iterable of estimator objects
        See :func:`check_density_estimator`.
    expected_failed_checks : callable, default=None
        Takes an estimator and returns the names of checks that may fail, each with the reason; they are marked xfail.

    Returns
    -------
    decorator : pytest.MarkDecorator
        For a test function with the arguments ``estimator`` and ``check``.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from sknvp.testing import parametrize_with_density_checks
    >>> @parametrize_with_density_checks([KernelDensity()])
    ... def test_density(estimator, check):
    ...     check(estimator)
    """
    import pytest

    cases = []
    for estimator in estimators:
        expected = _checked_names(expected_failed_checks(estimator) if expected_failed_checks else None)
        label = "".join(repr(estimator).split())
        for name, check in _CHECKS.items():
            marks = [pytest.mark.xfail(reason=expected[name])] if name in expected else []
            cases.append(pytest.param(estimator, check, marks=marks, id=f"{label}-{name}"))
    return pytest.mark.parametrize(("estimator", "check"), cases)


def _checked_names(expected_failed_checks: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the mapping, or an empty one for None; raise a ValueError if a name in it is not that of a check."""
    expected = expected_failed_checks or {}
    for name in expected:
        if name not in _CHECKS:
            raise ValueError(f"expected_failed_checks must name checks, one of {', '.join(_CHECKS)}; got {name!r}.")
    return expected


def _result(estimator: Any, name: str, check: Check, reason: str | None) -> dict[str, Any]:
    """Run one check and return its result."""
    status: str = "passed"
    exception: Exception | None = None
    try:
        check(estimator)
    except SkipTest as skipped:
        status, exception = "skipped", skipped
    except Exception as error:
        status, exception = ("failed" if reason is None else "xfail"), error
    return {
        "estimator": estimator,
        "check_name": name,
        "exception": exception,
        "status": status,
        "expected_to_fail": reason is not None,
        "expected_to_fail_reason": reason,
    }
