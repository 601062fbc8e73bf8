"""Margins of discrete columns: probabilities that add up to one, and intervals that values own."""

import numpy as np
import pytest
from scipy import stats

from sknvp._columns.margins import LOG_OTHER, Margin


def whole(values, weights=None):
    weights = np.ones(len(values)) if weights is None else weights
    return Margin.of_whole_numbers(np.asarray(values, dtype=float), weights, float(weights.sum()))


RNG = np.random.default_rng(0)
COLUMNS = {
    "counts": RNG.poisson(3, 500),
    "negative": RNG.poisson(3, 500) - 4,
    "tens": 10 * RNG.poisson(3, 500) + 5,
    "binary": RNG.integers(0, 2, 100),
    "equal": np.full(50, 7),
    "wide": (300 * RNG.normal(size=400)).round(),
    "two rows": np.array([3, 4]),
}


@pytest.mark.parametrize("column", COLUMNS)
def test_probabilities_of_all_whole_numbers_add_up_to_one(column):
    margin = whole(COLUMNS[column])
    values = np.arange(margin.first - 9_000, margin.first + margin.spacing * margin.n_values + 9_000)
    possible = margin.intervals(values.astype(float))[2]
    possible = possible[possible > LOG_OTHER]
    assert np.exp(possible).sum() == pytest.approx(1, abs=1e-6)
    assert len(possible) > len(np.unique(COLUMNS[column])) or column in ("binary", "two rows")


@pytest.mark.parametrize("column", COLUMNS)
def test_a_point_of_an_interval_is_that_value(column):
    margin = whole(COLUMNS[column])
    values = margin.first + margin.spacing * np.arange(-3, margin.n_values + 3)
    low, high, log_probability = margin.intervals(values.astype(float))
    possible = log_probability > LOG_OTHER
    for share in (0.001, 0.5, 0.999):
        np.testing.assert_array_equal(margin.values(low + share * (high - low))[possible], values[possible])
    np.testing.assert_allclose((high - low)[possible], np.exp(log_probability)[possible], rtol=1e-5)
    side_by_side = possible[1:] & possible[:-1]
    np.testing.assert_allclose(high[:-1][side_by_side], low[1:][side_by_side], atol=1e-12)


@pytest.mark.parametrize("column", ["negative", "wide"])
def test_mirrored_numbers_have_mirrored_probabilities_that_fall_beyond_the_table(column):
    drawn = COLUMNS[column].astype(float)
    margin, mirrored = whole(drawn), whole(-drawn)
    values = np.arange(drawn.min() - 300, drawn.max() + 300)
    log_probability = margin.intervals(values)[2]
    np.testing.assert_allclose(mirrored.intervals(-values)[2], log_probability, atol=1e-6)
    assert (np.diff(log_probability[values <= drawn.min() - 1]) > 0).all()


def test_probabilities_are_near_those_that_numbers_were_drawn_with():
    """The divergence from the truth is small for few rows, where frequencies miss values, and for many."""
    for n_rows, error in ((50, 0.2), (20_000, 0.002)):
        drawn = np.random.default_rng(1).poisson(30, n_rows)
        values, truth = np.arange(100), stats.poisson(30).pmf(np.arange(100))
        estimate = whole(drawn).intervals(values.astype(float))[2]
        assert (truth * (stats.poisson(30).logpmf(values) - estimate)).sum() < error


def test_frequencies_where_a_few_values_have_all_rows():
    drawn = np.repeat([0, 7, 100], [500, 300, 200])
    probabilities = np.exp(whole(drawn).intervals(np.array([0.0, 7.0, 100.0]))[2])
    np.testing.assert_allclose(probabilities, [0.5, 0.3, 0.2], rtol=0.01)


def test_weights_are_repetitions_and_a_factor_of_all_values_changes_nothing():
    values, counts = np.arange(9.0), np.arange(9) % 4 + 1
    repeated, weighted = whole(np.repeat(values, counts)), whole(values, counts.astype(float))
    np.testing.assert_allclose(repeated.edges, weighted.edges)
    tens = whole(10 * np.repeat(values, counts))
    np.testing.assert_array_equal(tens.edges, repeated.edges)
    np.testing.assert_allclose(tens.intervals(10 * values)[2], repeated.intervals(values)[2], atol=1e-5)


def test_what_cannot_be_has_next_to_no_probability():
    assert whole(COLUMNS["counts"]).intervals(np.array([-1.0, 2.5]))[2].tolist() == [LOG_OTHER] * 2
    assert whole(COLUMNS["binary"]).intervals(np.array([2.0]))[2].tolist() == [LOG_OTHER]
    between = whole(COLUMNS["tens"]).intervals(np.array([15.0, 16.0]))[2]
    assert LOG_OTHER < between[1] < between[0] - 10


def test_a_category_without_rows_has_a_small_probability():
    margin = Margin.of_categories(np.array([0.0, 2.0, 2.0, 2.0]), np.ones(4), 4.0, 4)
    probabilities = np.diff(margin.edges)
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[1] == pytest.approx(probabilities[3])
    assert 0 < probabilities[1] < probabilities[0] < probabilities[2]


def test_rounded_normal_numbers_are_told_nearly_as_well_as_by_their_mean_and_deviation():
    """Numbers above the greatest that was seen too, which frequencies know nothing of."""
    values, truth, divergences = np.arange(-20.0, 121.0), rounded(50, 10), []
    for seed in range(20):
        drawn = np.random.default_rng(seed).normal(50, 10, 400).round()
        estimates = whole(drawn).intervals(values)[2], np.log(rounded(drawn.mean(), drawn.std()))
        divergences.append([truth @ (np.log(truth) - estimate) for estimate in estimates])
    ours, fitted = np.mean(divergences, axis=0)
    assert ours < 1.7 * fitted


def test_numbers_above_the_greatest_have_half_of_what_one_more_row_would_have():
    drawn = np.random.default_rng(0).geometric(0.05, 400)
    above = np.arange(drawn.max() + 1.0, 9_000)
    probabilities = np.exp(whole(drawn).intervals(above)[2])
    assert probabilities.sum() >= 0.5 / 401 * (1 - 1e-9)
    assert (np.diff(probabilities) <= 0).all()


def rounded(mean, deviation):
    return np.diff(stats.norm(mean, deviation).cdf(np.arange(-20, 122) - 0.5))
