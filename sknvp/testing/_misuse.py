"""Misuse: what cannot be fitted, scored or sampled raises, and does no harm."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import NotFittedError

from ._tools import ensure_raises, ensure_same_density, fitted, fresh, table

BAD_INPUT_ERRORS = (ValueError, TypeError)


def _bad_rows(estimator: Any) -> dict[str, Any]:
    """Return rows that must be refused, by what they are; missing cells are allowed if the estimator's tags say so."""
    X = table(6)
    missing, infinite = X.copy(), X.copy()
    missing[2, 1], infinite[3, 0] = np.nan, -np.inf
    tags = getattr(estimator, "__sklearn_tags__", None)
    takes_missing = tags is not None and tags().input_tags.allow_nan
    return {
        **({} if takes_missing else {"NaN": missing}),
        "an infinite number": infinite,
        "one dimension": X[:, 0],
        "three dimensions": X[:, None],
        "no rows": X[:0],
        "no columns": X[:, :0],
        "complex numbers": X * 1j,
        "a sparse matrix": sparse.csr_matrix(X),
        "words": np.array([["a", "b"], ["c", "d"]], dtype=object),
        "None": None,
    }


def check_not_fitted(estimator: Any) -> None:
    """Before ``fit``, and after one that failed, every method raises `NotFittedError`."""
    density, X = fresh(estimator), table()
    for what in ("before fit", "after a first fit that failed"):
        calls: tuple[Callable[..., Any], ...] = (density.score_samples, density.score)
        for call in (*(partial(call, X) for call in calls), density.sample):
            ensure_raises(call, f"a method {what}", (NotFittedError,))
        ensure_raises(partial(density.fit, X * np.nan), "a table of NaN", BAD_INPUT_ERRORS)


def check_bad_rows_in_fit(estimator: Any) -> None:
    """``fit`` raises an error for infinity, wrong shapes, complex, sparse, words, None; NaN too, if tags allow none."""
    for what, X in _bad_rows(estimator).items():
        ensure_raises(partial(fresh(estimator).fit, X), f"fit to {what}", BAD_INPUT_ERRORS)


def check_bad_rows_in_scoring(estimator: Any) -> None:
    """``score_samples`` and ``score`` raise ValueError or TypeError for rows that ``fit`` must refuse."""
    density = fitted(estimator, table())
    for what, X in _bad_rows(estimator).items():
        for method in (density.score_samples, density.score):
            ensure_raises(partial(method, X), f"{method.__name__} of {what}", BAD_INPUT_ERRORS)


def check_number_of_columns(estimator: Any) -> None:
    """Rows with more or fewer columns than fitted raise ValueError."""
    density = fitted(estimator, table())
    for n_features in (1, 3):
        for method in (density.score_samples, density.score):
            ensure_raises(partial(method, table(9, n_features)), f"{method.__name__} of {n_features} columns, not 2")


def check_failed_fit_keeps_the_last(estimator: Any) -> None:
    """After a fit that failed by its rows the estimator scores and samples as before it."""
    density, before, wider = fitted(estimator, table()), fitted(estimator, table()), table(60, 3)
    for what, X in {
        "a wider table of NaN": wider * np.nan,
        "a wider table of no rows": wider[:0],
        **_bad_rows(estimator),
    }.items():
        ensure_raises(partial(density.fit, X), what, BAD_INPUT_ERRORS)
        ensure_same_density(density, before, f"after a fit that failed by {what}")


def check_bad_n_samples(estimator: Any) -> None:
    """``sample`` raises ValueError or TypeError unless ``n_samples`` is an integer of at least one."""
    density = fitted(estimator, table())
    for n_samples in (0, -1, 1.5, "3"):
        ensure_raises(partial(density.sample, n_samples), f"n_samples={n_samples!r}", BAD_INPUT_ERRORS)
