"""Discrete columns: their values have probabilities. Estimators without ``discrete_features`` pass at once."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._tools import draw, ensure, ensure_close, fitted, scores


def check_probabilities_of_discrete_rows_add_up_to_one(estimator: Any) -> None:
    """Summed over all whole numbers that two columns can be, the probabilities come to one, within 0.02."""
    if _has_discrete_columns(estimator):
        rows = np.array(list(product(range(-2, 4), range(-5, 40))), dtype=np.float64)
        total = np.exp(fitted(estimator, _counts()).score_samples(rows)).sum()
        ensure(abs(total - 1) < 0.02, f"the probabilities of all rows must add up to one, got {total:.4f}.")


def check_samples_are_possible_values(estimator: Any) -> None:
    """Samples of columns of whole numbers are whole, and those of a column of zeros and ones are zero or one."""
    if _has_discrete_columns(estimator):
        rows = draw(fitted(estimator, _counts()), 500)
        ensure((rows == np.floor(rows)).all(), "samples of columns of whole numbers must be whole.")
        ensure(np.isin(rows[:, 0], (0, 1)).all(), "samples of a column of zeros and ones must be zeros and ones.")


def check_whole_numbers_in_other_units_have_equal_probabilities(estimator: Any) -> None:
    """Ten times the whole numbers, or three more, have equal probabilities, within 0.001 nats."""
    if _has_discrete_columns(estimator):
        X = _counts()
        expected = scores(estimator, X, X)
        for factor, shift in ((10, 0), (1, 3)):
            Z = X * [factor, 1] + [shift, 0]
            ensure_close(scores(estimator, Z, Z), expected, f"scores of {factor} x + {shift}", 1e-3)


def _has_discrete_columns(estimator: Any) -> bool:
    """Tell whether an estimator finds columns that are discrete."""
    return estimator.get_params().get("discrete_features") is not None


def _counts() -> NDArray[np.float64]:
    """Return rows of two dependent columns of whole numbers, the first of zeros and ones."""
    rng = np.random.default_rng(0)
    first = rng.uniform(size=120) < 0.15
    return np.stack([first, rng.poisson(2 + 3 * first)], 1).astype(np.float64)
