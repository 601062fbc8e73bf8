"""Corner plots of rows beside draws."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_rgb
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknvp import ConditionalRealNVPDensity, PairDisplay

from .small import normal_rows, small

plt.switch_backend("agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


class Copies:
    """A density that draws given rows."""

    def __init__(self, table):
        self.table = table

    def sample(self, n_samples):
        return self.table[:n_samples]


def mixed_table(n=200):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "kind": rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
            "count": rng.poisson(2, n),
            "size": pd.Categorical(rng.choice(["small", "large"], n), ["small", "middle", "large"]),
            "tenths": rng.integers(0, 20, n) / 10,
            "x": rng.normal(size=n),
        }
    )


def bars(panel):
    """The histograms of rows and of draws."""
    return [patch.get_data() for patch in panel.patches]


def test_every_pair_has_a_panel_with_rows_and_draws():
    X = normal_rows(60, 3)
    display = PairDisplay.from_estimator(small(max_iter=3).fit(X), X, random_state=0)
    for i in range(3):
        for j in range(i):
            rows, draws = display.axes_[i, j].lines
            for line, values in ((rows, display.rows), (draws, display.draws)):
                np.testing.assert_array_equal(line.get_xydata(), values[:, [j, i]])
    assert all(panel is None for panel in display.axes_[np.triu_indices(3, 1)])
    assert len(display.figure_.axes) == 6
    np.testing.assert_array_equal(np.sort(display.rows, axis=0), np.sort(X, axis=0))
    display.figure_.canvas.draw()


def test_histograms_show_shares():
    table = mixed_table()
    display = PairDisplay.from_estimator(small(max_iter=3).fit(table), table, random_state=0)
    for j, name in enumerate(table):
        (rows, edges, _), (draws, same, _) = bars(display.axes_[j, j])
        np.testing.assert_array_equal(edges, same)
        assert rows.sum() == pytest.approx(1)
        assert 0.9 < draws.sum() < 1 + 1e-9
        if name in ("kind", "count", "tenths"):
            shares = table[name].value_counts(normalize=True).sort_index()
            found = rows[rows > 0]
            np.testing.assert_allclose(found, shares)
    display.figure_.canvas.draw()


def test_categories_are_named_in_their_order_and_points_lie_near_their_values():
    table = mixed_table()
    display = PairDisplay.from_estimator(small(max_iter=3).fit(table), table, random_state=0)
    assert display.categories == [["a", "b", "c"], None, ["small", "middle", "large"], None, None]
    labels = [label.get_text() for label in display.axes_[2, 0].get_yticklabels()]
    assert labels == ["small", "middle", "large"]
    for j, step in enumerate([1, 1, 1, 0.1]):
        x = display.axes_[4, j].lines[0].get_xdata()
        distance = np.abs(x - display.rows[:, j])
        assert 0 < distance.max() < step / 2
    np.testing.assert_array_equal(display.axes_[4, 0].lines[0].get_ydata(), display.rows[:, 4])


def test_bins_of_many_whole_numbers_hold_as_many_values_each():
    """Otherwise some bars would be higher just because more whole numbers fall into their bins."""
    ages = np.repeat(np.arange(0, 100), 5)[:, None]
    display = PairDisplay.from_estimator(Copies(ages), ages)
    rows, edges, _ = bars(display.axes_[0, 0])[0]
    np.testing.assert_allclose(np.diff(edges), 4)
    np.testing.assert_allclose(rows, 1 / 25)


def test_whole_numbers_lie_in_the_middle_of_their_bins_whatever_the_draws():
    counts = np.random.default_rng(0).poisson(2.0, (300, 1)).astype(float)
    display = PairDisplay.from_estimator(Copies(counts + normal_rows(300, 1)), counts)
    rows, edges, _ = bars(display.axes_[0, 0])[0]
    np.testing.assert_allclose((edges[1:] + edges[:-1]) / 2 % 1, 0, atol=1e-9)
    shares = np.bincount(counts[:, 0].astype(int)) / 300
    np.testing.assert_allclose(rows[rows > 0], shares[shares > 0])


def test_equal_rows_and_draws_look_equal():
    X = normal_rows(100, 2)
    display = PairDisplay.from_estimator(Copies(X), X)
    for panel in np.diag(display.axes_):
        rows, draws = bars(panel)
        np.testing.assert_allclose(rows.values, draws.values)


def test_gross_outliers_lie_outside_and_missing_cells_are_left_out():
    X = np.r_[normal_rows(200, 2), [[-999.0, 0.0], [np.nan, 0.0]]]
    display = PairDisplay.from_estimator(Copies(X), X)
    assert display.axes_[0, 0].get_xlim()[0] > -9
    assert display.axes_[1, 0].get_xlim() == display.axes_[0, 0].get_xlim()
    assert bars(display.axes_[0, 0])[0].values.sum() == pytest.approx(200 / 201)
    display.figure_.canvas.draw()


@pytest.mark.parametrize("value", [0.0, 7.0, -1e20])
def test_constant_columns_can_be_drawn(value):
    X = np.c_[normal_rows(30, 1), np.full(30, value)]
    display = PairDisplay.from_estimator(Copies(X), X)
    low, high = display.axes_[1, 0].get_ylim()
    assert low < value < high
    display.figure_.canvas.draw()


@pytest.mark.parametrize("estimator", [GaussianMixture(2, random_state=0), KernelDensity()])
def test_densities_of_scikit_learn_can_be_drawn(estimator):
    X = normal_rows(50, 2)
    display = PairDisplay.from_estimator(estimator.fit(X), X, random_state=0)
    assert display.draws.shape == (50, 2)


def test_frames_of_polars_look_like_frames_of_pandas():
    table = mixed_table()[["kind", "count", "x"]]
    ours = [PairDisplay.from_estimator(Copies(t), t, random_state=0) for t in (table, pl.from_pandas(table))]
    np.testing.assert_array_equal(ours[0].rows, ours[1].rows)
    assert ours[0].categories == ours[1].categories
    assert ours[0].names == ours[1].names


@pytest.mark.parametrize("features", [["x", "kind"], [4, 0]])
def test_features_choose_columns_and_random_state_repeats_the_picture(features):
    table = mixed_table()
    density = small(max_iter=3).fit(table)
    first, second = (PairDisplay.from_estimator(density, table, features=features, random_state=3) for _ in range(2))
    assert first.names == ["x", "kind"]
    np.testing.assert_array_equal(first.draws, second.draws)
    np.testing.assert_array_equal(first.rows, second.rows)


def test_so_many_rows_are_shown_at_most():
    X = np.arange(300.0).reshape(100, 3)
    display = PairDisplay.from_estimator(Copies(X), X, n_samples=40, random_state=0)
    assert display.rows.shape == display.draws.shape == (40, 3)
    assert len(set(display.rows[:, 0])) == 40


def test_styles_and_axes_pass_through():
    X = normal_rows(30, 2)
    _, axes = plt.subplots(2, 2)
    display = PairDisplay.from_estimator(
        Copies(X), X, axes=axes, rows_kw={"c": "black", "ms": 9}, draws_kw={"marker": "x"}, hist_kw={"lw": 5}
    )
    rows, draws = display.axes_[1, 0].lines
    assert display.axes_[1, 0] is axes[1, 0]
    assert (rows.get_color(), rows.get_markersize(), rows.get_linestyle()) == ("black", 9, "None")
    assert draws.get_marker() == "x"
    patch = display.axes_[0, 0].patches[0]
    assert patch.get_linewidth() == 5
    assert patch.get_facecolor()[:3] == to_rgb("black")
    with pytest.raises(TypeError, match="alias"):
        display.plot(rows_kw={"c": "black", "color": "red"})
    with pytest.raises(ValueError, match=r"axes must have shape .* = \(2, 2\), got \(2,\)"):
        display.plot(axes=axes[0])


def test_bad_input_is_refused():
    X = normal_rows(30, 12)
    with pytest.raises(ValueError, match=r"shows 1 to 10 columns, got 12. Choose some by features"):
        PairDisplay.from_estimator(Copies(X), X)
    with pytest.raises(ValueError, match=r"features must be names or numbers of columns of X, .* got 12"):
        PairDisplay.from_estimator(Copies(X), X, features=[0, 12])
    with pytest.raises(ValueError, match=r"must have the 12 columns .* got 3"):
        PairDisplay.from_estimator(Copies(X), X[:, :3])
    with pytest.raises(ValueError, match="must have rows and columns, got shape"):
        PairDisplay.from_estimator(Copies(X), X[:, 0])
    with pytest.raises(ValueError, match="n_samples must be an integer of at least 1"):
        PairDisplay.from_estimator(Copies(X), X, n_samples=0)
    conditional = ConditionalRealNVPDensity(n_layers=2, n_estimators=1, stacking=False, max_iter=1).fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"PairDisplay draws densities without a condition, got .* Draw targets"):
        PairDisplay.from_estimator(conditional, X)


def test_the_cure_for_a_pipeline_works():
    X = normal_rows(30, 2)
    pipeline = make_pipeline(StandardScaler(), KernelDensity()).fit(X)
    with pytest.raises(ValueError, match=r"that is pipeline\[-1\], and its rows are pipeline\[:-1\]\.transform"):
        PairDisplay.from_estimator(pipeline, X)
    assert PairDisplay.from_estimator(pipeline[-1], pipeline[:-1].transform(X)).rows.shape == (30, 2)


@pytest.mark.parametrize("estimator", [GaussianMixture(2), KernelDensity()])
def test_a_seed_gives_the_same_picture_and_changes_no_estimator(estimator):
    """`GaussianMixture` draws by a parameter of its own, which is None here."""
    estimator.fit(normal_rows(100, 2))
    before = estimator.get_params()
    first, second, other = (
        PairDisplay.from_estimator(estimator, normal_rows(100, 2), random_state=seed).draws for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert estimator.get_params() == before
