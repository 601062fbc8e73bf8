"""Weights of rows: a weight counts repetitions, and neither its unit nor the order of the rows says anything."""

from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from ._tools import ensure, ensure_close, ensure_raises, ensure_same, ensure_same_density, fitted, fresh, scores, table


def check_weights_equal_repetition(estimator: Any) -> None:
    """A row of weight k counts as k rows, to rounding; fits by mini-batches cannot keep this law."""
    X, rows = table(), table(50, seed=1)
    counts = 1 + np.arange(len(X)) % 3
    repeated = scores(estimator, np.repeat(X, counts, axis=0), rows)
    ensure_close(scores(estimator, X, rows, sample_weight=counts), repeated, "weighted, and repeated instead")


def check_zero_weight_is_absence(estimator: Any) -> None:
    """Rows of weight zero, strange ones at that, count as if they were absent."""
    X, rows = table(), table(50, seed=1)
    strange = np.concatenate([X[::3] * 100 + 50, X])
    weights = np.r_[np.zeros(len(strange) - len(X)), np.ones(len(X))]
    ensure_close(scores(estimator, strange, rows, sample_weight=weights), scores(estimator, X, rows), "absent rows")


def check_weights_are_heeded(estimator: Any) -> None:
    """A cluster with twenty times the weight of another loses more than half a nat per row if both exchange weights."""
    left, right = table(60) - 3, table(60, seed=1) + 3
    X, heavy = np.concatenate([left, right]), np.r_[np.full(60, 20.0), np.ones(60)]
    with_left, with_right = (fitted(estimator, X, sample_weight=w) for w in (heavy, heavy[::-1]))
    gains = [
        float(np.mean(with_left.score_samples(left) - with_right.score_samples(left))),
        float(np.mean(with_right.score_samples(right) - with_left.score_samples(right))),
    ]
    ensure(min(gains) > 0.5, f"a heavy cluster must gain more than 0.5 nats per row, the two gained {gains}.")


def check_weights_in_score_equal_repetition(estimator: Any) -> None:
    """If ``score`` takes weights, a row of weight k counts as k rows, and far rows of weight zero do not count."""
    density, rows = fitted(estimator, table()), table(50, seed=1)
    if "sample_weight" not in signature(density.score).parameters:
        return
    counts = np.arange(len(rows)) % 3
    repeated = density.score(np.repeat(rows, counts, axis=0))
    rows[counts == 0] *= 1e6
    ensure_close(density.score(rows, sample_weight=counts), repeated, "score with weights, and of repeated rows", 1e-8)


def check_only_ratios_of_weights_matter(estimator: Any) -> None:
    """Weights multiplied by a number, 1024 or its inverse, give the same density."""
    X, rows = table(), table(50, seed=1)
    weights = 1.0 + np.arange(len(X)) % 3
    expected = scores(estimator, X, rows, sample_weight=weights)
    for factor in (1024.0, 1 / 1024):
        ensure_close(scores(estimator, X, rows, sample_weight=weights * factor), expected, f"weights times {factor}")


def check_weights_of_one_are_none(estimator: Any) -> None:
    """Weights of one, be they floats, integers or in a list, are the same as no weights."""
    X, rows = table(), table(50, seed=1)
    expected = scores(estimator, X, rows)
    for weights in (np.ones(len(X)), np.ones(len(X), dtype=np.int8), [1] * len(X)):
        ensure_close(scores(estimator, X, rows, sample_weight=weights), expected, f"{type(weights).__name__} of ones")


def check_order_of_rows_in_fit(estimator: Any) -> None:
    """Rows in another order give the same density, to rounding; fits by mini-batches cannot keep this law."""
    X, rows = table(), table(50, seed=1)
    order = np.random.default_rng(0).permutation(len(X))
    ensure_close(scores(estimator, X[order], rows), scores(estimator, X, rows), "fitted to rows in another order")


def check_fit_leaves_weights_alone(estimator: Any) -> None:
    """``fit`` does not change the weights, and takes them read-only."""
    for read_only in (False, True):
        weights = 1.0 + np.arange(120) % 3
        weights.flags.writeable = not read_only
        fitted(estimator, table(), sample_weight=weights)
        ensure_same(weights, 1.0 + np.arange(120) % 3, "sample_weight after fit")


def check_bad_weights(estimator: Any) -> None:
    """Weights that are negative, NaN, infinite, of a wrong shape or all zero raise ValueError."""
    X = table()
    for what, weights in _bad_weights(len(X)).items():
        ensure_raises(partial(fresh(estimator).fit, X, sample_weight=weights), what)


def check_bad_weights_keep_the_last_fit(estimator: Any) -> None:
    """After a fit that failed by its weights the estimator scores and samples as before it."""
    density, before, wider = fitted(estimator, table()), fitted(estimator, table()), table(60, 3)
    for what, weights in _bad_weights(len(wider)).items():
        ensure_raises(partial(density.fit, wider, sample_weight=weights), what)
        ensure_same_density(density, before, f"after a fit that failed by {what}")


def _bad_weights(n_rows: int) -> dict[str, Any]:
    ones = np.ones(n_rows)
    return {
        "a negative weight": np.r_[-1.0, ones[1:]],
        "a weight of NaN": np.r_[np.nan, ones[1:]],
        "an infinite weight": np.r_[np.inf, ones[1:]],
        "a weight too few": ones[1:],
        "weights in two dimensions": np.ones((n_rows, 2)),
        "weights that are all zero": ones * 0,
    }
