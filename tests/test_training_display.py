"""Loss curves."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from sknvp import ConditionalDensityDisplay, DensityDisplay, PairDisplay, TrainingDisplay

from .small import moons, normal_rows, small

plt.switch_backend("agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_curves_are_those_of_the_estimator():
    density = small(max_iter=30).fit(moons())
    display = TrainingDisplay.from_estimator(density)
    losses, held_out = display.ax_.lines
    np.testing.assert_array_equal(losses.get_xdata(), np.arange(1, len(density.loss_curve_) + 1))
    np.testing.assert_array_equal(losses.get_ydata(), density.loss_curve_)
    np.testing.assert_array_equal(held_out.get_ydata(), np.negative(density.validation_scores_))
    assert len(held_out.get_xdata()) == len(losses.get_xdata())
    display.figure_.canvas.draw()


def in_a_stream():
    return small().partial_fit(moons()).partial_fit(moons(seed=1)).partial_fit(moons(seed=2))


UNVALIDATED = {
    "no early stopping": lambda: small(max_iter=5, early_stopping=False).fit(moons()),
    "a stream": in_a_stream,
}


@pytest.mark.parametrize("kind", UNVALIDATED)
def test_estimators_without_validation_have_one_curve(kind):
    estimator = UNVALIDATED[kind]()
    display = TrainingDisplay.from_estimator(estimator)
    (losses,) = display.ax_.lines
    np.testing.assert_array_equal(losses.get_ydata(), estimator.loss_curve_)


def test_styles_and_axes_pass_through():
    _, ax = plt.subplots()
    density = small(max_iter=5).fit(moons())
    display = TrainingDisplay.from_estimator(density, ax=ax, loss_kw={"c": "black"}, validation_kw={"ls": ":", "lw": 3})
    losses, held_out = display.ax_.lines
    assert display.ax_ is ax
    assert losses.get_color() == "black"
    assert (held_out.get_linestyle(), held_out.get_linewidth()) == (":", 3)


@pytest.mark.parametrize("estimator", [KernelDensity().fit(moons()), small()])
def test_estimators_without_a_curve_are_refused(estimator):
    with pytest.raises(ValueError, match=r"draws the loss_curve_ of a fitted estimator, got none from .* Call fit"):
        TrainingDisplay.from_estimator(estimator)


@pytest.mark.parametrize("display", [ConditionalDensityDisplay, DensityDisplay, PairDisplay, TrainingDisplay])
def test_without_matplotlib_a_message_says_what_to_install(display, monkeypatch):
    X = normal_rows(20, 2)
    n_arguments = {TrainingDisplay: 1, ConditionalDensityDisplay: 3}.get(display, 2)
    arguments = [small(max_iter=1).fit(X), X, X[:, 0]][:n_arguments]
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=rf"^{display.__name__} needs matplotlib: pip install sknvp\[plot\]\.$"):
        display.from_estimator(*arguments)
