"""Bands between quantiles."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sknvp import ConditionalDensityDisplay, ConditionalRealNVPDensity

from .small import normal_rows, small

plt.switch_backend("agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


class NormalLine:
    """A density with quantiles in closed form: normal, with a mean that is the sum of the columns and variance one."""

    def predict_quantile(self, X, q):
        return np.asarray(X).sum(1)[:, None] + stats.norm.ppf(q)


def test_along_one_column_the_bands_are_the_quantiles():
    X, y = normal_rows(50, 1), normal_rows(50, 1, seed=1)[:, 0]
    display = ConditionalDensityDisplay.from_estimator(NormalLine(), X, y, q=[0.9, 0.1, 0.5])
    np.testing.assert_array_equal(display.x[[0, -1]], [X.min(), X.max()])
    np.testing.assert_allclose(display.quantiles, display.x[:, None] + stats.norm.ppf([0.1, 0.5, 0.9]))
    (band,) = display.ax_.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(X.min() + stats.norm.ppf(0.1))
    assert corners[:, 1].max() == pytest.approx(X.max() + stats.norm.ppf(0.9))
    dots, median = display.ax_.lines
    np.testing.assert_array_equal(dots.get_xydata(), np.c_[X, y])
    np.testing.assert_allclose(median.get_ydata(), display.x, atol=1e-12)
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["0.1 to 0.9", "median"]
    display.figure_.canvas.draw()


def test_rows_of_several_columns_stand_in_the_order_of_their_medians():
    X = pd.DataFrame(normal_rows(30, 2), columns=["a", "b"])
    y = pd.Series(np.arange(30.0), name="target")
    display = ConditionalDensityDisplay.from_estimator(NormalLine(), X, y)
    order = np.argsort(X.sum(axis=1).to_numpy())
    np.testing.assert_array_equal(display.y, y[order])
    np.testing.assert_allclose(display.quantiles[:, 2], X.sum(axis=1)[order])
    outer, inner = display.ax_.collections
    assert outer.get_alpha() < inner.get_alpha()  # so that the legend tells them apart
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("rows in the order of their medians", "target")


def test_a_single_category_is_no_axis():
    X = pd.DataFrame({"kind": ["a", "b"] * 20})
    y = np.where(X["kind"] == "a", 0.0, 5.0) + normal_rows(40, 1)[:, 0]
    settings = {"n_layers": 2, "n_estimators": 1, "hidden_layer_sizes": (4,), "random_state": 0}
    density = ConditionalRealNVPDensity(**settings).fit(X, y)
    display = ConditionalDensityDisplay.from_estimator(density, X, y, q=[0.2, 0.8])
    assert len(display.x) == 40
    assert len(display.ax_.lines) == 1  # no median among the quantiles
    np.testing.assert_array_equal(np.sort(display.y), np.sort(y))


def test_styles_and_axes_pass_through():
    _, ax = plt.subplots()
    X, y = normal_rows(20, 1), normal_rows(20, 1)[:, 0]
    styles = {"band_kw": {"color": "red"}, "median_kw": {"lw": 5}, "rows_kw": {"marker": "x"}}
    display = ConditionalDensityDisplay.from_estimator(NormalLine(), X, y, ax=ax, **styles)
    dots, median = ax.lines
    assert display.ax_ is ax
    assert (dots.get_marker(), median.get_linewidth()) == ("x", 5)
    np.testing.assert_array_equal(ax.collections[0].get_facecolor()[0, :3], [1, 0, 0])


def test_arguments_that_break_a_rule_are_refused():
    X, y = normal_rows(20, 1), normal_rows(20, 1)[:, 0]
    with pytest.raises(ValueError, match=r"got RealNVPDensity, which has no predict_quantile. Take DensityDisplay"):
        ConditionalDensityDisplay.from_estimator(small(), X, y)
    with pytest.raises(ValueError, match=r"q must hold two probabilities or more, got 0.5. Pass"):
        ConditionalDensityDisplay.from_estimator(NormalLine(), X, y, q=0.5)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ConditionalDensityDisplay.from_estimator(NormalLine(), X, y[:-1])
