"""The distinct rows of a table, and fits to more rows than training can see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknvp import ConditionalRealNVPDensity
from sknvp._estimators import settings
from sknvp._estimators.distinct import Distinct, even_choice
from sknvp._estimators.rows import Rows

from .small import moons, normal_rows, stacked

values = st.sampled_from([-1.5, -0.0, 0.0, 2.0, np.nan])


@given(rows=st.lists(st.tuples(values, values, values), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_distinct_rows_are_those_that_numpy_finds(rows, seed):
    """They are in lexicographic order from the last column; the first of equal rows stands for all."""
    X = np.array(rows) + 0.0  # no negative zeros, which `np.unique` tells from others in rows
    found, weights = Distinct.of(X), np.random.default_rng(seed).integers(1, 9, len(X)).astype(float)
    complete = np.nan_to_num(X, nan=np.inf)  # NumPy finds no two rows with NaN equal
    _, first, numbers = np.unique(complete[:, ::-1], axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(found.first, first)
    np.testing.assert_array_equal(found.numbers, numbers)
    np.testing.assert_array_equal(found.sums(weights), np.bincount(numbers, weights))
    np.testing.assert_array_equal(Distinct.of(np.array(rows)).numbers, numbers)


def test_rows_come_as_often_as_their_weights_say():
    X = normal_rows(1000, 3)
    weights = np.random.default_rng(0).exponential(size=1000)
    first, expected = Distinct.of(X).first, weights * (300 / weights.sum())
    numbers, counts = even_choice(X, first, weights[first], 300)
    all_counts = np.zeros(1000)
    all_counts[first[numbers]] = counts
    assert np.abs(all_counts - expected).max() < 1 + 1e-9
    extreme = np.r_[X.argmin(0), X.argmax(0)]
    assert (all_counts[extreme] > 0).all()
    assert counts.sum() == pytest.approx(300, abs=expected[extreme].sum())
    assert (np.diff(numbers) > 0).all()


def test_the_choice_stands_for_all_rows():
    """Means of all columns and of their squares are those of the table, but for the error of a sample."""
    X = normal_rows(40_000, 3) * [1.0, 5.0, 0.1] + [3.0, 0.0, 0.0]
    rows = Rows.merged(X, np.ones(len(X)), at_most=4_000)
    assert 4_000 <= len(rows.x) <= 4_006
    for power in (1, 2):
        error = np.average(rows.x**power, axis=0, weights=rows.weights) - (X**power).mean(0)
        assert (np.abs(error) < 4 * (X**power).std(0) / np.sqrt(4_000)).all()


def test_a_column_does_not_become_constant_nor_lose_its_missing_cells():
    X = normal_rows(5_000, 3)
    X[:, 1] = 0.0
    X[1234, 1], X[::2, 2] = 7.0, np.nan
    rows = Rows.merged(X, np.ones(len(X)), at_most=100)
    assert set(rows.x[:, 1]) == {0.0, 7.0}
    assert rows.weights[rows.x[:, 1] == 7.0] < 0.05 * rows.weights.max()
    assert np.nanmax(rows.x[:, 2]) == np.nanmax(X[:, 2])
    assert np.average(np.isnan(rows.x[:, 2]), weights=rows.weights) == pytest.approx(0.5, abs=0.01)


@pytest.fixture
def few_rows_are_seen(monkeypatch):
    """Training takes few steps, and no more rows are kept than these have."""
    monkeypatch.setattr(settings, "MAX_STEPS", 3)
    monkeypatch.setattr(settings, "MAX_ROWS", 512)


@pytest.mark.usefixtures("few_rows_are_seen")
@pytest.mark.parametrize("n_rows", [511, 512, 513, 2000])
def test_only_with_more_rows_than_training_sees_some_are_left_out(n_rows):
    bounded = {"max_iter": "auto", "batch_size": 128}
    density = stacked(**bounded)  # 3 * 128 / (1 - 0.25) rows
    kept = len(density._rows_to_fit(normal_rows(n_rows, 2), np.ones(n_rows), None).x)
    assert kept == n_rows if n_rows <= 512 else 512 <= kept <= 512 + 4
    for other in ({"max_iter": 3}, {"early_stopping": False}):
        rows = stacked(**{**bounded, **other})._rows_to_fit(normal_rows(400, 2), np.ones(400), None)
        assert len(rows.x) == 400 if "max_iter" in other else 384 <= len(rows.x) <= 388


@pytest.mark.usefixtures("few_rows_are_seen")
def test_weights_are_repetitions_and_order_is_nothing_among_many_rows_too():
    X = normal_rows(1500, 2).astype(np.float32)
    counts, order = np.arange(len(X)) % 3, np.random.default_rng(0).permutation(len(X))
    weighted = stacked(max_iter="auto").fit(X[order], sample_weight=counts[order] * 0.5)
    repeated = stacked(max_iter="auto").fit(np.repeat(X, counts, axis=0))
    np.testing.assert_array_equal(weighted.score_samples(X), repeated.score_samples(X))
    np.testing.assert_array_equal(weighted.loc_, repeated.loc_)


@pytest.mark.usefixtures("few_rows_are_seen")
def test_groups_stay_whole_among_many_rows():
    X, labels = normal_rows(2000, 2), np.arange(2000) // 50
    density = stacked(max_iter="auto").fit(X, groups=labels)
    rows = density._rows_to_fit(X, np.ones(2000), labels)
    assert set(rows.groups) == set(range(40))
    of_row = dict(zip(map(tuple, X), labels, strict=True))
    pairs = {(of_row[tuple(x)], group) for x, group in zip(rows.x, rows.groups, strict=True)}
    assert len(pairs) == 40
    assert np.isfinite(density.score(X))


@pytest.mark.usefixtures("few_rows_are_seen")
def test_discrete_columns_and_conditions_of_many_rows():
    X = np.c_[normal_rows(2000, 1), np.arange(2000) % 3]
    density = stacked(max_iter="auto").fit(X)
    assert len(density._rows_to_fit(X, np.ones(2000), None).x) == 2000
    np.testing.assert_allclose(np.exp(density.score_samples([[np.nan, k] for k in range(3)])), 1 / 3, atol=0.2)
    of_targets = ConditionalRealNVPDensity(n_estimators=1, n_layers=2, random_state=0)
    assert np.isfinite(of_targets.fit(X[:, 1:], X[:, 0]).score(X[:, 1:], X[:, 0]))


@pytest.mark.usefixtures("few_rows_are_seen")
def test_a_memory_map_is_fitted_as_the_array(tmp_path):
    X = moons(1000).astype(np.float32)
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    fits = (stacked(max_iter="auto").fit(rows).score_samples(rows) for rows in (X, mapped))
    np.testing.assert_array_equal(*fits)
