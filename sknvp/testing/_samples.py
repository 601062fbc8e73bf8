"""Samples: rows of the density that is scored, repeatable where that is asked for."""

from typing import Any

import numpy as np
from scipy import stats

from ._cells import Box
from ._tools import draw, ensure, ensure_finite, ensure_same, fitted, table

N_SAMPLES = 10_000
FALSE_ALARM_PROBABILITY = 1e-6  # The samples of a right estimator are called wrong with this probability.
MIN_EXPECTED_SAMPLES = 25  # Chi-square needs this many expected samples in a cell; rarer cells join another one.


def check_sample_returns_rows(estimator: Any) -> None:
    """``sample(n)`` returns an array of shape (n, n_features) of finite floats; n is one if not given."""
    for n_features in (1, 3):
        density = fitted(estimator, table(n_features=n_features))
        for n_samples in (1, 7, 3000):
            rows = draw(density, n_samples)
            ensure(np.issubdtype(rows.dtype, np.floating), f"samples must be floats, got {rows.dtype}.")
            ensure_finite(rows, "samples")
        shape = np.shape(density.sample())
        ensure(shape == (1, n_features), f"sample() must have shape (1, {n_features}), got {shape}.")


def check_samples_follow_the_density_in_one_dimension(estimator: Any) -> None:
    """Samples fall into 20 cells as often as the density says; chi-square gives one false alarm in a million."""
    _check_draws_follow_density(estimator, table(n_features=1))


def check_samples_follow_the_density_in_two_dimensions(estimator: Any) -> None:
    """Samples fall into 6 x 6 cells as often as the density says; chi-square gives one false alarm in a million."""
    _check_draws_follow_density(estimator, table(n_features=2))


def _check_draws_follow_density(estimator: Any, X: Any) -> None:
    density, box = fitted(estimator, X), Box(X)
    expected, found = N_SAMPLES * box.shares(density), box.counts(draw(density, N_SAMPLES))
    rare = expected < MIN_EXPECTED_SAMPLES
    kept = np.arange(len(expected))
    kept[rare] = np.argmin(np.where(rare, np.inf, expected))  # Each rare cell joins the rarest of the other cells.
    p, q = np.bincount(kept, expected)[~rare], np.bincount(kept, found)[~rare]
    surprise, limit = ((q - p) ** 2 / p).sum(), stats.chi2.isf(FALSE_ALARM_PROBABILITY, len(p) - 1)
    ensure(surprise < limit, f"samples do not follow the density: chi-square is {surprise:.0f}, not below {limit:.0f}.")


def check_sample_random_state(estimator: Any) -> None:
    """An int gives the same samples at every call, another int others; an instance moves on; None never repeats."""
    density = fitted(estimator, table())
    first = draw(density, 9, 3)
    ensure_same(draw(density, 9, 3), first, "sample(9, random_state=3), twice")
    once, again = (draw(density, 9, np.random.RandomState(3)) for _ in range(2))
    ensure_same(again, once, "sample(9, random_state=RandomState(3)), twice")
    ensure(not np.array_equal(draw(density, 9, 4), first), "random_state=4 must not sample as random_state=3.")
    rng = np.random.RandomState(3)
    ensure(not np.array_equal(draw(density, 9, rng), draw(density, 9, rng)), "a RandomState must move on.")
    ensure(not np.array_equal(draw(density, 9, None), draw(density, 9, None)), "random_state=None must not repeat.")
