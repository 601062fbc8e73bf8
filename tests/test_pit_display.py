"""The probability integral transform of targets: even for right predictions, and drawn as what it is."""

import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sknvp import ConditionalRealNVPDensity, PITDisplay

from .small import normal_rows

plt.switch_backend("agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = normal_rows(400, 1)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def evenness(display):
    """The p-value of evenly spread numbers."""
    return stats.kstest(display.pit, "uniform").pvalue


TARGETS = {
    "numbers": X[:, 0] + normal_rows(400, 1, 1)[:, 0],
    "counts": RNG.poisson(np.exp(X[:, 0])).astype(float),
    "many zeros": np.where(RNG.uniform(size=400) < 0.5, 0.0, RNG.gamma(2, size=400)),
    "decimals": np.round(X[:, 0] + normal_rows(400, 1, 1)[:, 0], 1),
    "grades": pd.Series(pd.Categorical.from_codes(np.arange(400) % 3, ["low", "middle", "high"], ordered=True)),
    "one value": np.full(400, 0.1),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_draws_of_a_density_are_even(kind):
    """Whatever it has learned, it is right of its own draws. The distribution function alone is not even for steps."""
    y = TARGETS[kind]
    density = ConditionalRealNVPDensity(n_layers=2, hidden_layer_sizes=8, n_estimators=1, max_iter=3, random_state=0)
    density.fit(X, y)
    rows = np.repeat(X, 5, axis=0)
    drawn = density.sample(rows, random_state=0)[:, 0]
    drawn = pd.Series(pd.Categorical(drawn, y.cat.categories, ordered=True)) if kind == "grades" else drawn
    assert evenness(PITDisplay.from_estimator(density, rows, drawn, random_state=0)) > 1e-3
    if kind not in ("numbers", "decimals"):
        assert evenness(PITDisplay(pit=density.predict_cdf(rows, drawn))) < 1e-6


def test_places_among_draws_are_even_for_any_number_of_draws():
    rate = np.exp(normal_rows(3000, 1))
    for targets, drawn in (
        (RNG.normal(size=3000), RNG.normal(size=(3000, 2))),
        (RNG.poisson(rate[:, 0]), RNG.poisson(rate, (3000, 7))),
        (np.zeros(3000), np.zeros((3000, 3))),
    ):
        assert evenness(PITDisplay.from_predictions(targets, drawn, random_state=0)) > 1e-3


def test_a_distribution_function_of_anybody_will_do():
    normal = SimpleNamespace(predict_cdf=lambda X, y: stats.norm.cdf(y, X[:, 0], 2.0))
    y = TARGETS["numbers"]
    display = PITDisplay.from_estimator(normal, X, y)
    np.testing.assert_array_equal(display.pit, stats.norm.cdf(y, X[:, 0], 2.0))
    assert evenness(display) < 1e-6  # twice too wide
    assert display.name == "SimpleNamespace"
    heights = display.line_.get_ydata()[1:-1]
    assert heights[4] > 1.3 > 0.5 > heights[0]  # a hump


def test_a_histogram_has_the_area_one_and_a_curve_is_the_distribution_of_the_numbers():
    pit = RNG.uniform(size=137)
    histogram = PITDisplay(pit=pit, name="ours").plot(n_bins=7)
    edges, heights = histogram.line_.get_data()
    assert np.sum(np.diff(edges) * heights[:-1]) == pytest.approx(1)
    assert histogram.ax_.get_ylim()[1] > max(heights)
    curve = PITDisplay(pit=pit).plot(kind="cumulative")
    places, shares = curve.line_.get_data()
    for u in (0.0, 0.31, 0.9, 1.0):
        assert shares[np.searchsorted(places, u, side="right") - 1] == pytest.approx((pit <= u).mean())
    histogram.figure_.canvas.draw()


@pytest.mark.parametrize("kind", ["histogram", "cumulative"])
def test_right_predictions_leave_the_band_as_often_as_it_says(kind):
    inside, (_, ax) = [], plt.subplots()
    for seed in range(25):
        ax.clear()
        display = PITDisplay(pit=np.random.default_rng(seed).uniform(size=200)).plot(kind=kind, n_bins=5, ax=ax)
        band = display.ax_.collections[0].get_paths()[0]
        x, y = display.line_.get_data()
        middles = np.c_[x[1:-1] + 0.1, y[1:-1]] if kind == "histogram" else np.c_[x[1:-1:20], y[1:-1:20]]
        inside.append(band.contains_points(middles).mean())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.05)


def test_several_models_share_axes_and_styles_pass_through():
    first = PITDisplay(pit=RNG.uniform(size=50), name="first").plot()
    second = PITDisplay(pit=RNG.uniform(size=50)).plot(ax=first.ax_, name="second", line_kw={"c": "black", "lw": 3})
    assert second.ax_ is first.ax_
    assert (second.line_.get_color(), second.line_.get_linewidth()) == ("black", 3)
    assert len(first.ax_.collections) == 1  # one band
    assert [text.get_text() for text in first.ax_.get_legend().get_texts()] == ["right predictions", "first", "second"]


def test_wrong_arguments_are_named():
    display = PITDisplay(pit=[0.1, 0.5])
    with pytest.raises(ValueError, match="kind must be one of 'histogram', 'cumulative', got 'hist'"):
        display.plot(kind="hist")
    with pytest.raises(ValueError, match="n_bins must be an integer of at least 2, got 1"):
        display.plot(n_bins=1)
    with pytest.raises(ValueError, match=r"pit must hold numbers between 0 and 1, got 0\.5 to 3"):
        PITDisplay(pit=[0.5, 3.0]).plot()
    with pytest.raises(ValueError, match="y_true and y_drawn must have shapes"):
        PITDisplay.from_predictions(np.zeros((5, 2)), np.zeros((5, 2)))


def test_without_matplotlib_a_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"^PITDisplay needs matplotlib: pip install sknvp\[plot\]\.$"):
        PITDisplay.from_predictions([0.0, 1.0], np.zeros((2, 3)))


def test_the_reference_is_drawn_once_whatever_else_is_in_the_axes():
    ax = plt.subplots()[1]
    ax.axhline(1.2)
    for seed in range(3):
        PITDisplay(pit=np.random.default_rng(seed).uniform(size=100)).plot(ax=ax)
    labels = [line.get_label() for line in ax.lines]
    assert labels.count("right predictions") == 1
    assert len(labels) == 5
    assert len(ax.collections) == 1
