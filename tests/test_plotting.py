"""Pictures of densities."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from sknvp import DensityDisplay

from .small import moons, normal_rows, small

plt.switch_backend("agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_heat_map_shows_the_density_that_is_scored():
    X = moons()
    estimator = small().fit(X)
    display = DensityDisplay.from_estimator(estimator, X, grid_resolution=30)
    point = [[display.grid[0][3], display.grid[1][20]]]
    assert display.density[3, 20] == pytest.approx(np.exp(estimator.score_samples(point)[0]))
    assert display.ax_.get_xlim()[0] < X[:, 0].min()
    display.figure_.canvas.draw()


def test_a_curve_covers_most_of_the_mass():
    X = normal_rows(200, 1)
    display = DensityDisplay.from_estimator(small().fit(X), X)
    assert integrate.simpson(display.density, x=display.grid[0]) == pytest.approx(1, abs=0.05)


def test_axes_carry_the_names_of_the_columns_and_go_where_told():
    table = pd.DataFrame(moons(), columns=["width", "height"])
    _, ax = plt.subplots()
    display = DensityDisplay.from_estimator(small(max_iter=3).fit(table), table, grid_resolution=5, ax=ax)
    assert display.ax_ is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")


def test_more_columns_cannot_be_drawn():
    X = normal_rows(20, 3)
    with pytest.raises(ValueError, match="one or two columns, got X with 3"):
        DensityDisplay.from_estimator(small(max_iter=3).fit(X), X)
