"""Pictures of densities."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknvp import ConditionalRealNVPDensity, DensityDisplay

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


class Mixture:
    """A density of one column, known in closed form."""

    def __init__(self, *parts, weights=(1.0,), n_outliers=0):
        self.parts, self.weights, self.n_outliers = parts, np.array(weights), n_outliers

    def score_samples(self, X):
        log_densities = [part.logpdf(X[:, 0]) for part in self.parts]
        return special.logsumexp(log_densities, 0, b=self.weights[:, None])

    def mass(self, low, high):
        return sum(w * (part.cdf(high) - part.cdf(low)) for w, part in zip(self.weights, self.parts, strict=True))

    def rows(self, n):
        rng = np.random.default_rng(0)
        part = rng.choice(len(self.parts), n, p=self.weights)
        drawn = np.choose(part, [part.rvs(n, random_state=rng) for part in self.parts])
        return np.r_[np.full(self.n_outliers, -999.0), drawn][:, None]


CURVES = {
    "normal": Mixture(stats.norm()),
    "narrow spike": Mixture(stats.norm(), stats.norm(2, 1e-3), weights=(0.5, 0.5)),
    "narrow spike of little weight": Mixture(stats.norm(), stats.norm(2, 1e-4), weights=(0.95, 0.05)),
    "log-normal": Mixture(stats.lognorm(1)),
    "steep at its end": Mixture(stats.gamma(0.3)),
    "with jumps": Mixture(stats.uniform(0, 1)),
    "heavy tails": Mixture(stats.cauchy()),
    "an outlier": Mixture(stats.norm(), n_outliers=1),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("grid_resolution", [200, 50])
def test_the_area_below_a_curve_is_the_mass_within_its_range(name, grid_resolution):
    density = CURVES[name]
    with np.errstate(divide="ignore"):
        display = DensityDisplay.from_estimator(density, density.rows(300), grid_resolution=grid_resolution)
    (grid,) = display.grid
    assert (np.diff(grid) > 0).all()
    assert len(grid) < 4 * grid_resolution + 600
    assert integrate.trapezoid(display.density, grid) == pytest.approx(density.mass(grid[0], grid[-1]), rel=0.01)
    assert density.mass(grid[0], grid[-1]) > 0.95
    np.testing.assert_allclose(display.density, np.exp(density.score_samples(grid[:, None])))


@pytest.mark.parametrize("n_features", [1, 2])
def test_gross_outliers_are_left_out_of_the_picture(n_features):
    X = normal_rows(300, n_features)
    clean = DensityDisplay.from_estimator(small(max_iter=3).fit(X), X, grid_resolution=20)
    far = np.r_[X, np.full((1, n_features), -999.0)]
    display = DensityDisplay.from_estimator(small(max_iter=3).fit(X), far, grid_resolution=20)
    np.testing.assert_array_equal(display.X, X)
    for ours, theirs in zip(display.grid, clean.grid, strict=True):
        assert ours[[0, -1]].tolist() == theirs[[0, -1]].tolist()
    assert display.ax_.get_xlim()[0] > -9


@pytest.mark.parametrize("value", [0.0, 5.0, -1e20])
@pytest.mark.parametrize("n_features", [1, 2])
def test_constant_columns_can_be_drawn(value, n_features):
    X = np.c_[normal_rows(50, n_features - 1), np.full(50, value)]
    display = DensityDisplay.from_estimator(small(max_iter=3).fit(X), X, grid_resolution=5)
    display.figure_.canvas.draw()
    for axis, column in zip(display.grid, X.T, strict=True):
        assert axis[0] < column.min()
        assert axis[-1] > column.max()
        assert (np.diff(axis) > 0).all()


def test_a_heat_map_has_a_regular_grid():
    display = DensityDisplay.from_estimator(small(max_iter=3).fit(moons()), moons(), grid_resolution=30)
    assert display.density.shape == (30, 30)
    for axis in display.grid:
        np.testing.assert_allclose(np.diff(axis), axis[1] - axis[0])


class NeedsTargets:
    """A density of targets given rows that is no regressor of scikit-learn."""

    def score_samples(self, X, y):
        return -np.square(y - X[:, 0])


@pytest.mark.parametrize("kind", ["ours", "in a pipeline", "of somebody else"])
def test_conditional_densities_are_refused(kind):
    X = normal_rows(60, 1)
    ours = ConditionalRealNVPDensity(n_layers=2, n_estimators=1, stacking=False, max_iter=1)
    estimator = {
        "ours": lambda: ours.fit(X, X[:, 0]),
        "in a pipeline": lambda: make_pipeline(StandardScaler(), ours).fit(X, X[:, 0]),
        "of somebody else": NeedsTargets,
    }[kind]()
    with pytest.raises(ValueError, match=r"densities without a condition, got .* Take ConditionalDensityDisplay"):
        DensityDisplay.from_estimator(estimator, X)


def test_axes_carry_the_names_of_the_columns_and_go_where_told():
    table = pd.DataFrame(moons(), columns=["width", "height"])
    _, ax = plt.subplots()
    display = DensityDisplay.from_estimator(small(max_iter=3).fit(table), table, grid_resolution=5, ax=ax)
    assert display.ax_ is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")


def test_more_columns_cannot_be_drawn_whatever_they_hold():
    X = pd.DataFrame(normal_rows(20, 2), columns=["a", "b"]).assign(kind=["u", "v"] * 10)
    with pytest.raises(ValueError, match="one or two columns, got X with 3"):
        DensityDisplay.from_estimator(small(max_iter=3).fit(X), X)


def test_rows_with_missing_cells_change_no_picture():
    X = normal_rows(60, 2)
    holed = np.r_[X, [[np.nan, 9.0]]]
    density = small(max_iter=3).fit(holed)
    first, second = (DensityDisplay.from_estimator(density, rows, grid_resolution=9) for rows in (X, holed))
    np.testing.assert_array_equal(first.density, second.density)
    np.testing.assert_array_equal(first.X, second.X)
    with pytest.raises(ValueError, match="rows without missing cells, got none among 1"):
        DensityDisplay.from_estimator(density, holed[60:])


def test_whole_numbers_are_drawn_at_the_values_that_they_can_have():
    counts = np.random.default_rng(0).poisson(3, (300, 1)).astype(float)
    density = small(max_iter=5).fit(10 * counts)
    display = DensityDisplay.from_estimator(density, 10 * counts)
    np.testing.assert_array_equal(display.grid[0] % 10, 0)
    assert display.density.sum() == pytest.approx(1, abs=0.05)
    mixed = np.c_[counts, normal_rows(300, 1)]
    display = DensityDisplay.from_estimator(small(max_iter=5).fit(mixed), mixed, grid_resolution=50)
    np.testing.assert_array_equal(display.grid[0], np.floor(display.grid[0]))
    assert display.density.shape == (len(display.grid[0]), 50)
    assert (display.density.sum(0) * np.diff(display.grid[1])[0]).sum() == pytest.approx(1, abs=0.05)


def test_styles_pass_through():
    X = normal_rows(60, 2)
    heat = DensityDisplay.from_estimator(
        small(max_iter=3).fit(X), X, grid_resolution=9, density_kw={"cmap": "cividis"}, rows_kw={"c": "red", "ms": 7}
    )
    assert heat.ax_.collections[0].get_cmap().name == "cividis"
    assert (heat.ax_.lines[0].get_color(), heat.ax_.lines[0].get_markersize()) == ("red", 7)
    curve = DensityDisplay.from_estimator(
        small(max_iter=3).fit(X[:, :1]), X[:, :1], density_kw={"ls": ":"}, rows_kw={"alpha": 0.1}
    )
    density, rows = curve.ax_.lines
    assert density.get_linestyle() == ":"
    assert (rows.get_alpha(), rows.get_linestyle()) == (0.1, "None")
