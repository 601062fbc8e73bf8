"""What the checks share: tables, fits, draws, comparisons, and optional packages."""

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import gen_batches


def ensure(holds: Any, message: str) -> None:
    """Raise an AssertionError with the message unless ``holds``, also under ``python -O``, unlike `assert`."""
    if not holds:
        raise AssertionError(message)


def ensure_same(actual: Any, expected: Any, what: str) -> None:
    """Raise an AssertionError unless every bit is equal."""
    np.testing.assert_array_equal(actual, expected, err_msg=what)


def ensure_close(actual: Any, expected: Any, what: str, tolerance: float = 1e-6) -> None:
    """Raise an AssertionError unless all numbers are equal up to a tolerance, relative plus absolute."""
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)


def ensure_finite(values: Any, what: str) -> None:
    """Raise an AssertionError if a number is NaN or infinite."""
    finite = np.isfinite(values)
    ensure(finite.all(), f"{what} must be finite, got {(~finite).sum()} of {finite.size} that are not.")


def ensure_raises(
    call: Callable[[], Any], what: str, errors: tuple[type[Exception], ...] = (ValueError,), match: str = ""
) -> None:
    """Raise an AssertionError unless the call raises one of these errors, with words that the pattern matches."""
    names = " or ".join(error.__name__ for error in errors)
    try:
        call()
    except errors as error:
        ensure(re.search(match, str(error)), f"the {names} for {what} must match {match!r}, says {error}")
    except Exception as error:
        raise AssertionError(f"{what} must raise {names}, raised {type(error).__name__}: {error}") from error
    else:
        raise AssertionError(f"{what} must raise {names}, raised nothing.")


def table(n_rows: int = 120, n_features: int = 2, seed: int = 0) -> NDArray[np.float64]:
    """Return rows with smooth, dependent columns that are not normal, around zero and of about unit size."""
    Z = np.random.default_rng(seed).standard_normal((n_rows, n_features))
    return Z + 0.5 * np.tanh(2 * np.roll(Z, 1, axis=1))


def fresh(estimator: Any) -> Any:
    """Return an unfitted copy, deterministic if it and the estimators inside it have a ``random_state``."""
    copy = clone(estimator)
    seeds = [name for name in copy.get_params() if name.split("__")[-1] == "random_state"]
    return copy.set_params(**dict.fromkeys(seeds, 0))


def fitted(estimator: Any, X: Any, **arguments: Any) -> Any:
    """Return a copy of an estimator that is fitted to X."""
    copy = fresh(estimator)
    copy.fit(X, **arguments)
    return copy


def scores(estimator: Any, X: Any, rows: Any, **arguments: Any) -> NDArray[Any]:
    """Return the log-densities of rows under a copy fitted to X."""
    values: NDArray[Any] = fitted(estimator, X, **arguments).score_samples(rows)
    return values


def draw(density: Any, n_samples: int, random_state: Any = 0) -> NDArray[Any]:
    """Return ``n_samples`` samples, which must be rows and nothing else."""
    rows: NDArray[Any] = density.sample(n_samples, random_state=random_state)
    ensure(isinstance(rows, np.ndarray), f"sample must return an array of rows, got a {type(rows).__name__}.")
    expected = (n_samples, density.n_features_in_)
    ensure(rows.shape == expected, f"sample({n_samples}) must have shape {expected}, got {rows.shape}.")
    return rows


def ensure_same_density(actual: Any, expected: Any, what: str) -> None:
    """Raise an AssertionError unless two densities give the same scores and samples, bit for bit."""
    rows = table(50, expected.n_features_in_, seed=1)
    ensure_same(actual.score_samples(rows), expected.score_samples(rows), f"score_samples {what}")
    ensure_same(draw(actual, 5), draw(expected, 5), f"sample(5, random_state=0) {what}")


def in_parts(function: Callable[[NDArray[Any]], Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return the function's values at many rows, some thousands at a time, to spare memory."""
    values: NDArray[Any] = np.concatenate([function(rows[part]) for part in gen_batches(len(rows), 20_000)])
    return values


def optional(name: str) -> Any:
    """Import a package that a check needs, or skip the check if it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise SkipTest(f"{name.partition('.')[0]} is not installed") from error
