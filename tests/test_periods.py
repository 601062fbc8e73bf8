"""Columns with a period: what scores mean, and what is drawn."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sknvp import (
    DensityClassifier,
    PlanarFlowDensity,
    RealNVPDensity,
    RealNVPImputer,
    RealNVPOutlierDetector,
    RealNVPTransformer,
)
from sknvp._columns.cells import CellMap
from sknvp._columns.circle import Circle
from sknvp._columns.kinds import Column

from .small import small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DEGREE = np.pi / 180


def ring(n=400, seed=0):
    """An angle that is uniform, and a number that depends on it."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-180, 180, n)
    return np.c_[angle, rng.normal(np.sin(DEGREE * angle), 0.4)]


def log_density_of_ring(X):
    return stats.norm.logpdf(X[:, 1], np.sin(DEGREE * X[:, 0]), 0.4) - np.log(360)


def on_ring(**settings):
    return stacked(**{"coupling": "spline", "periods": {0: 360}, "max_iter": 60, **settings})


@pytest.fixture(scope="module")
def fitted():
    return on_ring().fit(ring(1000))


def integral(density, start, numbers=None):
    """The integral of the density over one period of the first column and all numbers of the second."""
    numbers = np.linspace(-5, 5, 201) if numbers is None else numbers
    angles = start + np.arange(0.5, 90) * 4
    grid = np.stack(np.meshgrid(angles, numbers), -1).reshape(-1, 2)
    return np.exp(density.score_samples(grid)).sum() * 4 * (numbers[1] - numbers[0])


@pytest.mark.parametrize("start", [-180, 17])
def test_density_integrates_to_one_over_a_period(fitted, start):
    assert integral(fitted, start) == pytest.approx(1, abs=2e-3)


def test_density_is_equal_a_period_apart(fitted):
    X = ring(50, 1)
    for k in (-2, -1, 1, 3):
        np.testing.assert_allclose(
            fitted.score_samples(X + np.array([360.0 * k, 0])), fitted.score_samples(X), atol=1e-6
        )


OTHERS = {
    "transformer": lambda: RealNVPTransformer(
        n_layers=4, hidden_layer_sizes=16, max_iter=60, periods={0: 360}, random_state=0
    ),
    "planar": lambda: PlanarFlowDensity(n_layers=6, n_estimators=1, max_iter=15, periods=[360, np.nan], random_state=0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_densities_have_circles_too(name):
    density, X = OTHERS[name]().fit(ring(1000)), ring(50, 1)
    assert density.columns_ == ["0: continuous with period 360", "1: continuous"]
    assert integral(density, 17) == pytest.approx(1, abs=5e-3)
    np.testing.assert_allclose(density.score_samples(X + np.array([360.0, 0.0])), density.score_samples(X), atol=1e-6)
    new = ring(3000, 1)
    assert 0 < (log_density_of_ring(new) - density.score_samples(new)).mean() < 0.3
    drawn = density.sample(5000, random_state=0)[:, 0]
    assert ((drawn >= -180) & (drawn < 180)).all()
    assert stats.kstest(drawn, stats.uniform(-180, 360).cdf).statistic < 0.1


def test_rows_on_a_circle_become_noise_and_come_back():
    transformer, X = OTHERS["transformer"]().fit(ring(1000)), ring(3000, 1)
    noise = transformer.transform(X)
    for column in noise.T:
        assert stats.kstest(column, "norm").statistic < 0.06
    turns = (transformer.inverse_transform(noise) - X) / [360, 1]
    np.testing.assert_allclose(turns - np.rint(turns) * [1, 0], 0, atol=1e-9)


def test_density_is_continuous_around_the_circle(fitted):
    """At the ends of the range, at the cut, and opposite to it, where another copy becomes the nearest."""
    cut = fitted._cell_map.margins[0].cut
    for at in (180.0, cut, cut + 180):
        X = np.array([[at - 1e-4, 0.1], [at + 1e-4, 0.1]])
        below, above = fitted.score_samples(X)
        assert below == pytest.approx(above, abs=1e-3)
    sides = np.exp(fitted.score_samples([[179.9, 0.0], [-179.9, 0.0]]))
    assert sides[0] == pytest.approx(sides[1], rel=0.01)


def test_scores_are_near_the_truth_and_better_than_without_periods(fitted):
    X = ring(3000, 1)
    short = (log_density_of_ring(X) - fitted.score_samples(X)).mean()
    line = on_ring(periods=None).fit(ring(1000))
    assert 0 < short < 0.06
    assert short < (log_density_of_ring(X) - line.score_samples(X)).mean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_draw_lies_off_the_circle(dtype):
    for first, X in ((-180, ring()), (0, ring() % [360, 1e9])):
        drawn = on_ring(max_iter=3).fit(X.astype(dtype)).sample(20_000, random_state=0)
        assert drawn.dtype == dtype
        assert (first <= drawn[:, 0]).all()
        assert (drawn[:, 0] < first + 360).all()
        assert stats.kstest(drawn[:, 0], stats.uniform(first, 360).cdf).statistic < 0.1


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(0.1, 1e3), st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_wrapping_finds_unwrapped_values_again(shift, period, values):
    x = np.array(values) + shift
    circle = Circle.of(x, np.ones(len(x)), period)
    inner, outer, share = circle.copies(x)
    assert (circle.cut - 1e-9 * period <= inner).all()
    assert (inner <= circle.cut + period * (1 + 1e-9)).all()
    np.testing.assert_allclose(np.abs(outer - inner), period)
    assert ((share >= 0.5 - 1e-9) & (share <= 1)).all()
    for points in (inner, outer):
        back = circle.values_at(points)
        assert ((circle.first <= back) & (back < circle.first + period)).all()
        np.testing.assert_allclose(np.exp(2j * np.pi * (back - x) / period), 1, atol=1e-9)


def test_rounding_moves_no_number_off_the_circle():
    circle = Circle(360.0, 0.0, 0.0)
    assert circle.values_at(np.array([-1e-18, 0.0, 360.0])).tolist() == [0, 0, 0]
    assert circle.values_at(np.array([-1e-6, 720.0], dtype=np.float32)).tolist() == [0, 0]
    radians = Circle(2 * np.pi, -np.pi, 0.0).values_at(np.array([np.pi, -np.pi, 1.0], dtype=np.float32))
    assert radians.dtype == np.float32
    assert (-np.pi <= radians.astype(float)).all()  # the float32 nearest to -pi is less
    np.testing.assert_allclose(np.cos(radians), np.cos([np.pi, np.pi, 1.0]), atol=1e-6)


def test_the_circle_is_cut_open_where_it_is_empty():
    values = np.random.default_rng(0).vonmises(1.0, 8, 500)
    assert Circle.of(values, np.ones(500), 2 * np.pi).cut % (2 * np.pi) == pytest.approx(1 + np.pi, abs=0.3)
    arc = np.linspace(0, 300, 400)
    assert Circle.of(arc, np.ones(400), 360).cut == pytest.approx(330, abs=5)
    assert Circle.of(arc, np.where(arc < 200, 1.0, 1e-9), 360).cut == pytest.approx(280, abs=5)


def test_the_mean_over_random_places_is_the_sum_over_both():
    """What training averages is what scores add up, for a density of the line that is small far from the circle."""
    x = np.linspace(0, 1, 40, endpoint=False)[:, None]
    cells = CellMap.of(x, np.ones(40), 40, [Column("0", "continuous", period=1.0)]).cells(x)
    cut = cells.point.min()
    density = stats.norm(cut + 0.5, 0.25)
    total = sum(density.pdf(part.points(x, np.zeros((40, 1)))[:, 0]) for part in cells.copies())
    draws = [cells.points(x, np.full((40, 1), u)) for u in np.arange(0.5, 2000) / 2000]
    mean = np.mean([np.exp(density.logpdf(y[:, 0]) + cells.log_measure_at(y)) for y in draws], axis=0)
    np.testing.assert_allclose(mean, total, rtol=0.02)


def hours(n=600, seed=0):
    """Whole hours around midnight, and a number that tells which side of it."""
    rng = np.random.default_rng(seed)
    hour = np.floor(rng.vonmises(0.0, 2.0, n) / np.pi * 12 % 24) % 24
    return np.c_[hour, rng.normal(np.sin(hour * np.pi / 12), 0.5)]


def test_whole_hours_have_probabilities():
    density = on_ring(periods={0: 24}).fit(hours())
    assert density.columns_ == ["0: whole numbers with period 24", "1: continuous"]
    numbers = np.linspace(-5, 5, 101)
    grid = np.stack(np.meshgrid(np.arange(24.0), numbers), -1).reshape(-1, 2)
    assert np.exp(density.score_samples(grid)).sum() * 0.1 == pytest.approx(1, abs=0.02)
    drawn = density.sample(5000, random_state=0)
    assert set(np.unique(drawn[:, 0])) <= set(range(24))
    new = hours(3000, 1)
    assert (
        np.abs(
            np.bincount(drawn[:, 0].astype(int), minlength=24) / 5000
            - np.bincount(new[:, 0].astype(int), minlength=24) / 3000
        ).sum()
        < 0.25
    )
    np.testing.assert_allclose(density.score_samples(new + np.array([24, 0])), density.score_samples(new), atol=1e-9)
    assert density.score_samples([[3.5, 0.0]])[0] < -60


def test_decimals_keep_their_places():
    X = hours()
    X[:, 0] = (X[:, 0] + np.random.default_rng(0).integers(0, 2, len(X)) / 2) % 24
    density = on_ring(periods={0: 24}, max_iter=3).fit(X)
    assert density.columns_[0] == "0: numbers 0.5 apart with period 24"
    drawn = density.sample(500, random_state=0)[:, 0]
    assert (drawn * 2 == np.floor(drawn * 2)).all()
    assert ((drawn >= 0) & (drawn < 24)).all()


def test_whole_numbers_on_a_circle_of_no_whole_length_are_continuous():
    X = np.c_[np.arange(60) % 6, np.arange(60) % 7]
    assert on_ring(periods={0: 2 * np.pi}, max_iter=1).fit(X).columns_[0] == "0: continuous with period 6.28319"


def test_unknown_cells_are_integrated_out_around_the_cut(fitted):
    """By quadrature of the density of whole rows."""
    numbers = np.linspace(-5, 5, 401)
    cut = fitted._cell_map.margins[0].cut
    for angle in (cut - 5.0, cut + 5.0, cut + 170):
        whole = np.exp(fitted.score_samples(np.c_[np.full(401, angle), numbers])).sum() * 0.025
        known = fitted.score_samples(np.full((20, 1), [angle]) + np.c_[np.zeros(20), np.full(20, np.nan)])
        assert known.mean() == pytest.approx(np.log(whole), abs=0.15)
    angles = np.arange(0.5, 360)
    whole = np.exp(fitted.score_samples(np.c_[angles, np.full(360, 0.7)])).sum()
    assert fitted.score_samples([[np.nan, 0.7]])[0] == pytest.approx(np.log(whole), abs=0.15)


def test_fits_to_rows_with_missing_cells():
    X = ring(1000)
    X[::4, 0], X[1::4, 1] = np.nan, np.nan
    density = on_ring().fit(X)
    assert integral(density, 0.0) == pytest.approx(1, abs=2e-3)
    assert (log_density_of_ring(ring(2000, 1)) - density.score_samples(ring(2000, 1))).mean() < 0.12
    drawn = density.impute([[np.nan, 1.0], [-90.0, np.nan]], 400, random_state=0)
    assert ((drawn[0, :, 0] >= -180) & (drawn[0, :, 0] < 180)).all()
    assert np.sin(DEGREE * drawn[0, :, 0]).mean() > 0.4
    assert drawn[1, :, 1].mean() == pytest.approx(-1, abs=0.2)
    assert (drawn[1, :, 0] == -90).all()


def test_missing_angles_get_their_mean_direction():
    """Around 180 degrees the mean of numbers would be zero."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 500)
    angle = (rng.vonmises(np.pi * side, 20) / DEGREE + 180) % 360 - 180
    X = np.c_[angle, side + 0.1 * rng.normal(size=500)]
    imputer = RealNVPImputer(on_ring(periods={0: 360}), random_state=0).fit(X)
    filled = imputer.transform([[np.nan, 1.0], [np.nan, 0.0]])[:, 0]
    np.testing.assert_allclose(np.cos(DEGREE * filled), [-1, 1], atol=0.05)
    assert (np.abs(filled) <= 180).all()


@pytest.mark.parametrize("unit", [2.0**10, 2.0**-7])
def test_units_of_angles_change_the_density_alone(unit):
    X, units = ring(), np.array([unit, 1])
    other = on_ring(periods={0: 360 * unit}, max_iter=5).fit(X * units)
    scores = on_ring(max_iter=5).fit(X).score_samples(X)
    np.testing.assert_allclose(other.score_samples(X * units), scores - np.log(unit), atol=1e-8)


def test_a_weight_of_two_is_an_angle_twice_in_any_order():
    X, counts = ring(100), 1 + np.arange(100) % 2
    weighted = on_ring(max_iter=5).fit(X, sample_weight=counts)
    repeated = on_ring(max_iter=5).fit(np.repeat(X, counts, axis=0)[::-1])
    np.testing.assert_array_equal(weighted.score_samples(X), repeated.score_samples(X))


def test_periods_by_name_number_or_column():
    frame = pd.DataFrame(ring(60), columns=["angle", "number"])
    kinds = ["angle: continuous with period 360", "number: continuous"]
    for periods in ({"angle": 360}, {0: 360.0}, [360, None], np.array([360, np.nan])):
        density = small(periods=periods, max_iter=1).fit(frame)
        assert density.columns_ == kinds
        assert list(density.sample(3, random_state=0).columns) == ["angle", "number"]
    assert small(periods=360, max_iter=1).fit(frame).columns_[1] == "number: continuous with period 360"
    assert small(periods={0: 360}, discrete_features=None, max_iter=1).fit(ring(60)).columns_[0] == (
        "0: continuous with period 360"
    )


def test_a_constant_angle_is_found_again_a_period_away():
    density = small(periods={0: 360}, max_iter=3).fit(np.c_[np.full(40, 10.0), ring(40)[:, 1]])
    assert density.columns_[0] == "0: constant"
    scores = density.score_samples([[10.0, 0.0], [370.0, 0.0], [11.0, 0.0]])
    assert scores[0] == pytest.approx(scores[1])
    assert scores[2] < scores[0] - 60


def test_training_scores_are_below_the_log_likelihood(fitted):
    """The validation score is a bound: a mean over few places of each value."""
    truth = log_density_of_ring(ring(20_000, 2)).mean()
    assert truth - 0.3 < fitted.best_validation_score_ < truth + 0.1


def test_pickles_streams_and_warm_starts(fitted):
    X = ring(100, 1)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
    stream = on_ring().partial_fit(ring(200)).partial_fit(ring(200, 3) + np.array([360, 0]))
    assert integral(stream, 0.0) == pytest.approx(1, abs=2e-3)
    warm = on_ring(warm_start=True, max_iter=3).fit(ring(200)).fit(ring(200, 1))
    assert integral(warm, 0.0) == pytest.approx(1, abs=2e-3)


def test_outliers_on_a_circle():
    rng = np.random.default_rng(0)
    X = np.c_[rng.vonmises(np.pi, 6, 500) / DEGREE, rng.normal(size=500)]
    detector = RealNVPOutlierDetector(periods={0: 360}, n_estimators=1, max_iter=30, random_state=0).fit(X)
    assert detector.predict([[180, 0], [-180, 0], [540, 0], [0, 0]]).tolist() == [1, 1, 1, -1]


def test_classes_on_a_circle():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    X = (rng.vonmises(np.pi * y, 4) / DEGREE % 360)[:, None]
    classifier = DensityClassifier(on_ring(), random_state=0).fit(X, y)
    assert classifier.score(X, y) > 0.95
    np.testing.assert_array_equal(classifier.predict([[1.0], [359.0], [181.0], [179.0]]), [0, 0, 1, 1])


def test_an_angle_alone():
    X = np.random.default_rng(0).uniform(0, 360, (300, 1))
    density = RealNVPDensity(periods=360, n_estimators=2, max_iter=60, random_state=0).fit(X)
    grid = np.arange(0.5, 360)[:, None]
    probability = np.exp(density.score_samples(grid))
    assert probability.sum() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.log(probability * 360)).max() < 0.5


WRONG = {
    "negative": (-360, "periods must be finite numbers greater than 0"),
    "zero": ({0: 0}, "periods must be finite numbers greater than 0"),
    "infinite": ({0: np.inf}, "periods must be finite numbers greater than 0"),
    "an unknown name": ({"hour": 24}, "periods must name columns of X or hold their numbers"),
    "an unknown number": ({7: 24}, "periods must name columns of X or hold their numbers"),
    "a word": ({0: "day"}, "periods must be numbers"),
    "another length": ([1, 2, 3], "periods must be numbers of shape"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_periods(what):
    periods, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        small(periods=periods).fit(ring(20))


def test_no_period_with_bounds_or_categories():
    with pytest.raises(ValueError, match=r"has bounds. Leave it out of periods or of bounds."):
        small(periods={0: 360}, bounds=([-180, -np.inf], np.inf)).fit(ring(20))
    small(periods={0: 360}, bounds=([-np.inf, -50], np.inf), max_iter=1).fit(ring(20))
    frame = pd.DataFrame({"day": ["mon", "tue"] * 10})
    with pytest.raises(ValueError, match=r"has categories. Leave it out of periods."):
        small(periods={"day": 7}).fit(frame)


def test_eight_periods_at_most():
    X = np.random.default_rng(0).uniform(0, 1, (30, 9))
    with pytest.raises(ValueError, match="of 8 columns at most"):
        small(periods=1).fit(X)
