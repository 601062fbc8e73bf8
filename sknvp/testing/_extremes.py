"""Extremes: rows far away, strange units, degenerate tables, outliers; nothing is ever NaN."""

import warnings
from typing import Any

import numpy as np

from ._tools import draw, ensure, ensure_finite, fitted, table

DISTANCES = np.array([10.0, 1e2, 1e3, 1e6, 1e12, 1e20, 1e30])  # The unit is the standard deviation of a column.


def check_rows_far_away(estimator: Any) -> None:
    """As a row moves away its score falls, stays finite out to 1e30 standard deviations, and nothing warns."""
    _check_far_away(estimator, table(n_features=3))


def check_rows_far_away_in_float32(estimator: Any) -> None:
    """Fitted to a table in float32, where squares overflow from 1.8e19 on, scores of far rows fall and stay finite."""
    _check_far_away(estimator, table(n_features=3).astype(np.float32))


def _check_far_away(estimator: Any, X: Any) -> None:
    density = fitted(estimator, X)
    directions = np.concatenate([np.eye(3), -np.eye(3), [[1, 1, 1], [1, -1, 1], [-1, -1, -1]]])
    for direction in directions:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            log_density = density.score_samples(X.mean(0) + X.std(0) * direction * DISTANCES[:, None])
        ensure_finite(log_density, f"scores of rows {DISTANCES} standard deviations along {direction}")
        ensure((np.diff(log_density) < 0).all(), f"scores must fall along {direction}, got {log_density}.")


def check_extreme_units(estimator: Any) -> None:
    """Columns in units of 1e-30 or 1e30, or with 1e12 added to them, give finite scores and samples."""
    for unit, offset in ((1e-30, 0.0), (1e30, 0.0), (np.array([1e-30, 1e30]), 0.0), (1.0, 1e12)):
        _check_finite(estimator, table() * unit + offset, f"units of {unit} and an offset of {offset}")


def check_degenerate_tables(estimator: Any) -> None:
    """Constant, doubled, collinear and discrete columns, and few rows, give finite scores and samples."""
    X = table()
    for name, degenerate in {
        "a constant column": np.c_[X, np.full(len(X), 7.0)],
        "nothing but constants": np.full((20, 2), 0.1),
        "a column twice": X[:, [0, 0, 1]],
        "columns that almost determine each other": np.c_[X, X.sum(1) + 1e-9 * table(n_features=1, seed=1)[:, 0]],
        "heavy ties": np.round(X),
        "one row many times": np.concatenate([np.zeros((100, 2)), X[:20]]),
        "3 rows and 10 columns": table(3, 10),
        "two rows": table(2, 2),
    }.items():
        _check_finite(estimator, degenerate, name)


def _check_finite(estimator: Any, X: Any, name: str) -> None:
    density = fitted(estimator, X)
    ensure_finite(density.score_samples(X), f"scores of a table with {name}")
    ensure_finite(draw(density, 100), f"samples of a table with {name}")


def check_gross_outlier(estimator: Any) -> None:
    """If one row is a million standard deviations away, scores stay finite and are highest in the bulk."""
    X = table(n_features=3)
    density = fitted(estimator, np.concatenate([X, np.full((1, 3), 1e6)]))
    bulk = density.score_samples(X)
    empty = density.score_samples(np.concatenate([-1e6 * np.eye(3), [[-1e6] * 3, [-1e7] * 3, [1e7] * 3]]))
    ensure_finite(bulk, "scores in the bulk")
    ensure_finite(empty, "scores in empty space")
    ensure_finite(density.score_samples(np.full((1, 3), 1e6)), "the outlier's own score")
    ensure(bulk.min() > empty.max(), f"the bulk, {bulk.min()} at least, must score above empty space, {empty.max()}.")
    ensure_finite(draw(density, 100), "samples")
