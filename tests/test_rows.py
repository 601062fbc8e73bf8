"""Location, scale and validation rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sknvp._estimators.groups import components, groups_of_equal_rows, join_groups, validation_rows
from sknvp._estimators.scaling import location_and_scale

from .small import normal_rows


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_location_and_scale_are_the_weighted_moments(dtype):
    X = (normal_rows(50, 3) * [1, 1e3, 1e-3] + [0, 5, 1e2]).astype(dtype)
    counts = np.arange(50) % 3 + 1
    repeated = np.repeat(X, counts, axis=0).astype(np.float64)
    loc, scale, varies = location_and_scale(X, counts.astype(float))
    np.testing.assert_allclose(loc, repeated.mean(0), rtol=1e-9)
    np.testing.assert_allclose(scale, repeated.std(0), rtol=1e-9)
    assert varies.all()


@pytest.mark.parametrize(("unit", "offset"), [(1e-30, 0.0), (1e30, 0.0), (1.0, 1e12), (1e200, 0.0), (1e-200, 0.0)])
def test_units_and_offsets_cost_no_digits(unit, offset):
    X = np.arange(1.0, 33)[:, None]
    loc, scale, _ = location_and_scale(X * unit + offset, np.ones(32))
    np.testing.assert_allclose(loc, [16.5 * unit + offset], rtol=1e-12)
    np.testing.assert_allclose(scale, [X.std() * unit], rtol=1e-12)


def test_rows_moved_without_losing_a_digit_give_the_same_numbers():
    X = np.random.default_rng(0).integers(-2048, 2048, (200, 3)) / 1024
    shift = np.array([1000.0, -30.0, 2.0**9])
    loc, scale, _ = location_and_scale(X, np.ones(200))
    moved_loc, moved_scale, _ = location_and_scale(X + shift, np.ones(200))
    np.testing.assert_array_equal((X + shift - moved_loc) / moved_scale, (X - loc) / scale)


def test_constant_columns_get_scale_one():
    X = np.c_[np.full(9, 1e9 / 3), np.arange(9)]
    loc, scale, varies = location_and_scale(X, np.ones(9))
    assert varies.tolist() == [False, True]
    assert (loc[0], scale[0]) == (1e9 / 3, 1.0)


def test_rounding_errors_are_no_variation():
    X = np.c_[np.full(9, 0.3), np.arange(9)]
    X[::2, 0] = 0.1 + 0.2
    loc, scale, varies = location_and_scale(X, np.ones(9))
    assert varies.tolist() == [False, True]
    assert loc[0] == pytest.approx(0.3)
    assert scale[0] == 1


@given(
    values=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_validation_rows(values, fraction, seed):
    """Equal rows fall on the same side, both sides get some if they can, and what validates is close to the fraction.

    It exceeds it by one group of equal rows at most. Neither order nor units change anything, and weights count as
    repetitions.
    """
    X = np.array(values, dtype=float)
    rng = np.random.default_rng(seed)
    distinct, sizes = np.unique(X, axis=0, return_counts=True)
    chosen = validation_rows(groups_of_equal_rows(X), np.ones(len(X)), 3, fraction, np.random.RandomState(seed))
    for side in chosen:
        inside, outside = ({tuple(row) for row in X[rows]} for rows in (side, ~side))
        assert not inside & outside
        assert outside
        assert bool(inside) == (len(distinct) > 1)
        assert side.sum() <= fraction * len(X) + sizes.max() + 1e-6
    order = rng.permutation(len(X))
    moved = X[order] * [3.0, 1e-9] + 1
    again = validation_rows(groups_of_equal_rows(moved), np.ones(len(X)), 3, fraction, np.random.RandomState(seed))
    np.testing.assert_array_equal(again, chosen[:, order])
    once, first = np.unique(X, axis=0, return_index=True)
    weighted = validation_rows(
        groups_of_equal_rows(once), sizes / sizes.max(), 3, fraction, np.random.RandomState(seed)
    )
    np.testing.assert_array_equal(weighted, chosen[:, first])


@pytest.mark.parametrize(("n_members", "fraction"), [(5, 0.2), (4, 0.1), (10, 0.3), (4, 0.3), (1, 0.25)])
def test_members_share_out_the_validation_rows(n_members, fraction):
    """Each row is held out as often as any other, as nearly as the numbers allow."""
    chosen = validation_rows(np.arange(100), np.ones(100), n_members, fraction, np.random.RandomState(0))
    assert chosen.sum(1).tolist() == [round(100 * fraction)] * n_members
    assert np.ptp(chosen.sum(0)) <= (1 if n_members * fraction % 1 else 0)
    assert len(np.unique(chosen, axis=0)) == n_members


def test_rounding_errors_do_not_move_rows_between_the_sides():
    """Weights of thirds add up to the arcs' starts but for rounding errors; repetitions do so exactly."""
    X, counts = normal_rows(45, 1), np.arange(45) % 3 + 1
    for seed in range(200):
        weighted = validation_rows(groups_of_equal_rows(X), counts / 3, 2, 0.25, np.random.RandomState(seed))
        repeated = validation_rows(
            groups_of_equal_rows(np.repeat(X, counts, axis=0)), np.ones(90), 2, 0.25, np.random.RandomState(seed)
        )
        np.testing.assert_array_equal(np.repeat(weighted, counts, axis=1), repeated)


def test_cross_fitting_holds_out_every_row_once():
    chosen = validation_rows(np.arange(103), np.ones(103), 5, 0.2, np.random.RandomState(0))
    assert (chosen.sum(0) == 1).all()


def test_one_row_repeated_often_stays_with_the_training_rows():
    X = np.r_[np.zeros((360, 2)), normal_rows(40, 2)]
    chosen = validation_rows(groups_of_equal_rows(X), np.ones(400), 20, 0.1, np.random.RandomState(0))
    assert not chosen[:, :360].any()
    assert chosen.sum(1).min() > 0


@pytest.mark.parametrize("n_rows", [2, 3, 19, 20, 21, 60, 100])
def test_equal_weights_count_like_any_others(n_rows):
    X = np.random.default_rng(n_rows).standard_cauchy((n_rows, 3))
    equal, nearly = np.full(n_rows, 0.7), np.full(n_rows, 0.7)
    nearly[0] += 1e-12
    for part, other in zip(location_and_scale(X, equal), location_and_scale(X, nearly), strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-9)


def test_only_gross_outliers_count_less_in_location_and_scale():
    X = normal_rows(200, 3)
    weights = np.random.default_rng(0).integers(0, 4, 200).astype(float) + 0.5
    loc, scale, _ = location_and_scale(X, weights)
    np.testing.assert_allclose(loc, np.average(X, axis=0, weights=weights))
    np.testing.assert_allclose(scale**2, np.average((X - loc) ** 2, axis=0, weights=weights))
    X[7] = 1e9
    farther = X.copy()
    farther[7] = 1e250
    spoilt, more = location_and_scale(X, weights), location_and_scale(farther, weights)
    np.testing.assert_allclose(spoilt[:2], more[:2])
    assert (spoilt[1] < 4 * scale).all()
    np.testing.assert_allclose(location_and_scale(np.repeat(X, 3, 0), np.repeat(weights, 3) / 3)[:2], spoilt[:2])


def test_a_column_of_ties_has_no_outliers():
    """Where the outer twentieths agree, nothing tells what is far."""
    column = np.r_[np.zeros(97), 1.0, 2.0, 1e6][:, None]
    loc, scale, varies = location_and_scale(column, np.ones(100))
    np.testing.assert_allclose([loc[0], scale[0]], [column.mean(), column.std()])
    assert varies.all()


@given(
    edges=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30),
)
def test_components_are_those_of_a_graph(edges):
    """The oracle is SciPy's; components are numbered in the order of their first nodes."""
    first, second = np.array(edges, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), (first, second)), shape=(20, 20))
    expected = connected_components(graph, directed=False)[1]
    found = components(20, first, second)
    np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)
    assert (np.diff(np.unique(found, return_index=True)[1]) > 0).all()


def test_groups_join_rows_that_share_a_label_or_are_equal():
    X = np.array([[1.0], [2.0], [2.0], [3.0], [4.0], [5.0]])
    labels = np.array(["a", "a", "b", "b", "c", "c"])
    joined = join_groups(groups_of_equal_rows(X), labels)
    np.testing.assert_array_equal(joined, [0, 0, 0, 0, 1, 1])


def test_rows_of_a_group_are_held_out_together():
    groups = np.repeat(np.arange(20), 5)
    chosen = validation_rows(groups, np.ones(100), 4, 0.25, np.random.RandomState(0))
    np.testing.assert_array_equal(chosen, np.repeat(chosen[:, ::5], 5, axis=1))
    assert (chosen.sum(0) == 1).all()
