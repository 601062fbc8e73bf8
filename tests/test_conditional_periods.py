"""Targets with a period: densities around a circle given rows, against integrals, draws and the truth."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone

from sknvp import ConditionalRealNVPDensity, PITDisplay
from sknvp._columns.cells import CellMap
from sknvp._columns.kinds import Column
from sknvp.metrics import energy_score

from .test_conditional import full_batch, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DEGREE = np.pi / 180
ROWS = np.array([[-0.9], [0.0], [0.4], [1.3]])  # the last one lies outside of all others
AROUND = np.arange(0.5, 3600) / 10  # degrees


def turn(n=600, seed=0):
    """Angles whose mean goes around the circle with the column, by 180 degrees at zero."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 1))
    return X, (rng.vonmises(np.pi * (1 + X[:, 0]), 4) / DEGREE + 180) % 360 - 180


def truth(X, y):
    return stats.vonmises.logpdf(DEGREE * y, 4, np.pi * (1 + X[:, 0])) + np.log(DEGREE)


def circular(**settings):
    return small(**{"periods": 360, "max_iter": 60, **settings})


@pytest.fixture(scope="module")
def fitted():
    return circular().fit(*turn(1000))


def around(density, row, angles=AROUND):
    return np.exp(density.score_samples(np.tile(row, (len(angles), 1)), angles))


def on_circle(angles):
    return np.stack([np.cos(DEGREE * angles), np.sin(DEGREE * angles)], -1)


def apart(a, b, period=360):
    """The distance between numbers on a circle."""
    return np.abs((np.asarray(a) - b + period / 2) % period - period / 2)


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("start", [0, -180, 1234.5])
def test_integrates_to_one_over_a_period_for_every_row(fitted, row, start):
    assert around(fitted, row, start + AROUND).sum() / 10 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_two_angles_integrate_to_one(coupling):
    X, y = turn(300)
    both = np.c_[y, (2 * y + 10 * np.random.default_rng(0).normal(size=300)) % 360]
    density = circular(coupling=coupling, max_iter=10).fit(X, both)
    grid = np.stack(np.meshgrid(*[np.arange(1.0, 360, 2)] * 2), -1).reshape(-1, 2)
    for x in (0.3, 1.5):
        assert np.exp(density.score_samples(np.full((len(grid), 1), x), grid)).sum() * 4 == pytest.approx(1, abs=2e-3)


def test_scores_add_up_three_places_of_the_line_that_are_a_period_apart():
    _, y = turn(50)
    cells = CellMap.of(y[:, None], np.ones(50), 50, [Column("0", "continuous", period=360.0)]).cells(y[:, None])
    places = np.sort([part.points(y[:, None], np.zeros((50, 1)))[:, 0] for part in cells.copies(3)], axis=0)
    np.testing.assert_allclose(np.diff(places, axis=0), 360)
    np.testing.assert_allclose(places[1], cells.point[:, 0])


def test_all_draws_lie_where_scores_look_for_them_however_far_the_row(fitted):
    """Quadrature fails there, since the density may be a spike; three periods of the line are added up."""
    cut = fitted._cell_map.margins[0].cut
    for x in (-1e9, -30.0, 30.0, 1e6):
        points = fitted._draw(5000, 0, fitted._context(np.full((5000, 1), x)))
        assert ((points > cut - 360) & (points < cut + 720)).all()


def test_integrates_to_one_where_a_regression_leads_around_the_circle(monkeypatch):
    """All weight at a line of eight columns, each of which moves the angle by ten degrees a standard deviation."""
    monkeypatch.setattr("sknvp._experts.stacking.MIN_TAIL_WEIGHT", 1e9)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8))
    y = 180 + X.sum(1) * 10 + rng.normal(size=200) * 5
    density = circular(max_iter=1).fit(X, y)
    for x in (0.0, 1.0, 3.0, 6.0, 9.0, -1e9):
        assert around(density, np.full(8, x)).sum() / 10 == pytest.approx(1, abs=1e-3)
    far = np.tile([[2.5], [3.5]], 8)  # 200 and 280 degrees farther
    assert (apart(density.predict(far), [20, 100]) < 15).all()


def test_is_equal_a_period_apart(fitted):
    X, y = turn(50, 1)
    for k in (-2, -1, 1, 3):
        np.testing.assert_allclose(fitted.score_samples(X, y + 360.0 * k), fitted.score_samples(X, y), atol=1e-6)


@pytest.mark.parametrize("row", ROWS[:3], ids=str)
def test_has_no_jump_at_the_ends_at_the_cut_and_opposite_to_it(fitted, row):
    cut = fitted._cell_map.margins[0].cut
    for at in (180.0, cut, cut + 180):
        below, above = around(fitted, row, np.array([at - 1e-4, at + 1e-4]))
        assert below == pytest.approx(above, rel=1e-3)
    low, high = around(fitted, row, np.array([-179.9, 179.9]))
    assert low == pytest.approx(high, rel=0.02)


def test_scores_are_near_the_truth_and_better_than_without_a_period(fitted):
    X, y = turn(4000, 1)
    short = (truth(X, y) - fitted.score_samples(X, y)).mean()
    line = circular(periods=None).fit(*turn(1000))
    assert 0 < short < 0.06
    assert short < (truth(X, y) - line.score_samples(X, y)).mean()


def test_training_weighs_the_places_by_the_density_given_the_row():
    """Two angles on opposite sides of the cut, of which the column tells the side: only one of their places is near."""
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], (800, 1))
    y = (X[:, 0] * 8 + rng.normal(size=800)) % 360
    density = circular(max_iter=60).fit(X, y)
    expected = stats.norm.logpdf((y + 180) % 360 - 180, X[:, 0] * 8)
    assert (expected - density.score_samples(X, y)).mean() < 0.1


@pytest.mark.parametrize("dtypes", [(float, float), ("f4", "f4"), (float, "f4")], ids=str)
@pytest.mark.parametrize("first", [0, -180])
def test_no_draw_and_no_mean_lies_off_the_circle(dtypes, first):
    X, y = turn()
    targets = ((y - first) % 360 + first).astype(dtypes[1])
    density = circular(max_iter=3).fit(X.astype(dtypes[0]), np.where(targets >= first + 360, first, targets))
    for values in (density.sample(X, 200, random_state=0), density.predict(np.linspace(-1, 1, 5000)[:, None])):
        assert values.dtype == dtypes[1]
        assert (first <= values).all()
        assert (values < first + 360).all()


def test_rounding_to_the_dtype_of_the_targets_moves_none_off_the_circle(fitted):
    density = circular(max_iter=1).fit(turn()[0], (turn()[1] % 360).astype("f4"))
    assert density._targets_to_input_format(np.array([[360 - 1e-9], [0.0]])).tolist() == [0, 0]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_draws_and_the_mean_direction_are_those_of_the_integrated_density(fitted, row):
    p, drawn = around(fitted, row) / 10, fitted.sample([row], 20_000, random_state=0)[0] % 360
    shares = np.histogram(drawn, np.arange(0, 361, 20))[0] / 20_000
    np.testing.assert_allclose(shares, p.reshape(18, -1).sum(1), atol=0.015)
    mean = np.angle((p * np.exp(1j * DEGREE * AROUND)).sum()) / DEGREE
    assert apart(fitted.predict([row])[0], mean) < 0.5


def test_the_mean_direction_is_near_the_true_one(fitted):
    X = np.linspace(-0.95, 0.95, 50)[:, None]
    assert apart(fitted.predict(X), 180 + 180 * X[:, 0]).max() < 15


def test_several_targets_are_averaged_each_by_its_kind():
    X, y = turn(800)
    side = np.where(np.cos(DEGREE * y) > 0, "east", "west")
    targets = pd.DataFrame({"angle": y, "height": np.sin(DEGREE * y), "side": side})
    density = circular(periods={"angle": 360}).fit(X, targets)
    assert density.columns_ == ["angle: continuous with period 360", "height: continuous", "side: category of 2 values"]
    angle, height, side = density.predict([[0.0], [0.5]]).T
    assert (apart(angle.astype(float), [180, 270]) < 15).all()
    np.testing.assert_allclose(height.astype(float), [0, -0.86], atol=0.25)
    assert side[0] == "west"
    drawn = density.sample([[0.0]], 2000, random_state=0)[0]
    points = np.exp(1j * DEGREE * drawn[:, 0].astype(float)).mean()
    assert apart(angle[0], np.angle(points) / DEGREE) < 3


def hours(n=800):
    """Whole hours whose mean goes around the clock with the column."""
    X, y = turn(n)
    return X, pd.Series(y % 360 // 15, name="hour")


@pytest.mark.parametrize("step", [1.0, 0.5])
def test_hours_have_probabilities(step):
    X, hour = hours()
    hour = hour + step * np.random.default_rng(0).integers(0, round(1 / step), len(hour))
    density = circular(periods={"hour": 24}).fit(X, hour)
    kind = "whole numbers" if step == 1 else "numbers 0.5 apart"
    assert density.columns_ == [f"hour: {kind} with period 24"]
    values = np.arange(0, 24, step)
    rows, width = np.array([[0.0], [0.5], [-0.9]]), 1.0 if step == 1 else step
    p = np.stack([around(density, row, values) for row in rows]) * width
    np.testing.assert_allclose(p.sum(1), 1, atol=2e-3)  # numbers between decimals have the rest
    np.testing.assert_allclose(np.stack([around(density, row, values + 24) for row in rows]) * width, p)
    means = np.angle(p @ np.exp(2j * np.pi * values / 24)) * 12 / np.pi
    assert (apart(density.predict(rows), means, 24) < 1e-4).all()
    drawn = density.sample(rows, 4000, random_state=0)
    assert set(np.unique(drawn)) <= set(values)
    np.testing.assert_allclose([np.mean(each == values[9]) for each in drawn], p[:, 9], atol=0.03)
    nearest = np.rint(density.predict(rows) / step) * step
    np.testing.assert_allclose(density.score_samples(rows), density.score_samples(rows, nearest))


def test_a_whole_turn_of_all_targets_changes_no_bit():
    X, y = turn(100)
    y = np.round(y % 360 * 64) / 64
    scores = circular(max_iter=5).fit(X, y).score_samples(X, y)
    np.testing.assert_array_equal(circular(max_iter=5).fit(X, y + 720).score_samples(X, y), scores)


def test_another_origin_of_the_angles_changes_the_scores_hardly():
    X, y = turn(1000)
    new = turn(4000, 1)
    scores = [circular().fit(X, (y + by) % 360).score_samples(new[0], (new[1] + by) % 360) for by in (0, 70, 200)]
    means = np.mean(scores, 1)
    assert np.ptp(means) < 0.03


def test_units_change_the_density_alone():
    X, y = turn(200)
    scores = circular(max_iter=5).fit(X, y).score_samples(X, y)
    other = circular(max_iter=5, periods=360 * 1024).fit(X, y * 1024).score_samples(X, y * 1024)
    np.testing.assert_allclose(other, scores - np.log(1024), atol=1e-8)


def test_a_weight_is_a_repetition_zero_is_absence_and_the_order_nothing():
    X, y = turn(80)
    counts, order = np.arange(80) % 3, np.random.default_rng(0).permutation(80)
    for make in (full_batch, small):
        weighted = make(periods=360, max_iter=3).fit(X, y, sample_weight=counts)
        repeated = make(periods=360, max_iter=3).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
        shuffled = make(periods=360, max_iter=3).fit(X[order], y[order], sample_weight=counts[order])
        for other in (repeated, shuffled):
            np.testing.assert_array_equal(other.score_samples(X, y), weighted.score_samples(X, y))


def test_rows_may_have_missing_cells():
    X, y = turn(1000)
    X = np.c_[X, np.where(np.arange(1000) % 3 > 0, X[:, 0], np.nan)]
    X[::4, 0] = np.nan
    density = circular().fit(X, y)
    for row in ([0.5, np.nan], [np.nan, 0.5], [np.nan, np.nan]):
        assert around(density, row).sum() / 10 == pytest.approx(1, abs=1e-3)
    known, unknown = np.exp(1j * DEGREE * density.sample([[0.5, np.nan], [np.nan, np.nan]], 2000, 0)).mean(1)
    assert abs(known) > abs(unknown) + 0.3


def test_clones_pickles_streams_and_warm_starts(fitted):
    X, y = turn(100, 1)
    assert clone(fitted).get_params()["periods"] == 360
    assert ConditionalRealNVPDensity().get_params()["periods"] is None
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(X, y), fitted.score_samples(X, y))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    stream = circular().partial_fit(X, y).partial_fit(X, y + 360)
    after_fit = circular(max_iter=3).fit(X, y).partial_fit(X, y)
    warm = circular(warm_start=True, max_iter=3).fit(X, y).fit(*turn(100, 2))
    for density in (stream, after_fit, warm):
        assert around(density, [0.2]).sum() / 10 == pytest.approx(1, abs=1e-3)


def test_a_constant_angle_is_found_again_a_period_away():
    X, _ = turn(40)
    density = circular(max_iter=1).fit(X, np.full(40, 10.0))
    assert density.columns_ == ["0: constant"]
    assert density.predict(X[:1]) == pytest.approx(10)
    scores = density.score_samples(X[:3], [10.0, 370.0, 11.0])
    assert scores[0] == scores[1]
    assert scores[2] < scores[0] - 60


def test_periods_of_targets_by_name_number_or_column():
    X, y = turn(60)
    targets = pd.DataFrame({"angle": y, "number": X[:, 0]})
    for periods in ({"angle": 360}, {0: 360.0}, [360, None], np.array([360, np.nan])):
        assert circular(periods=periods, max_iter=1).fit(X, targets).columns_[0] == "angle: continuous with period 360"
    declared = circular(discrete_targets=None, max_iter=1).fit(X, y)
    assert declared.columns_ == ["0: continuous with period 360"]
    assert circular(periods={"angle": 360}, max_iter=1).fit(X, targets["angle"]).sample(X).shape == (60, 1)


WRONG = {
    "negative": (-360, r"periods must be finite numbers greater than 0, of 5 columns at most, got -360. None"),
    "an unknown name": ({"hour": 24}, r"periods must name columns of y or hold their numbers, of \[0\], got 'hour'"),
    "a word": ("day", r"periods must be numbers of shape \(\) or \(1,\), got 'day'"),
    "another length": ([360, None], r"periods must be numbers of shape \(\) or \(1,\), got \[360, None\]"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_periods_change_nothing(what):
    periods, message = WRONG[what]
    X, y = turn(40)
    density = circular(max_iter=1).fit(X, y)
    before = density.score_samples(X, y)
    with pytest.raises(ValueError, match=message):
        density.set_params(periods=periods).fit(X, y)
    np.testing.assert_array_equal(density.score_samples(X, y), before)


def test_no_period_with_bounds_or_categories_and_five_at_most():
    X, y = turn(40)
    with pytest.raises(ValueError, match=r"has bounds. Leave it out of periods or of bounds."):
        circular(bounds=(-180, 180)).fit(X, y)
    with pytest.raises(ValueError, match=r"has categories. Leave it out of periods."):
        circular().fit(X, np.where(y > 0, "up", "down"))
    with pytest.raises(ValueError, match="of 5 columns at most"):
        circular().fit(X, np.random.default_rng(0).uniform(0, 360, (40, 6)))


def test_a_circle_has_no_distribution_function_and_no_quantiles(fitted):
    X, y = turn(60, 1)
    rule = "needs a target without a period, since a circle has no least value, "
    cure = r"got one with period 360 in fit. Take shares or quantiles of draws, sample\(X, n_samples\)"
    for call in (
        lambda: fitted.predict_quantile(X),
        lambda: fitted.predict_cdf(X, y),
        lambda: PITDisplay.from_estimator(fitted, X, y),
    ):
        with pytest.raises(ValueError, match=rule + cure):
            call()


def test_the_cures_work(fitted):
    """Numbers measured from the predicted direction have quantiles, and places among draws are even."""
    X, y = turn(1000, 1)
    drawn, middle = fitted.sample(X, 200, random_state=0), fitted.predict(X)
    low, high = np.quantile((drawn - middle[:, None] + 180) % 360 - 180, [0.1, 0.9], axis=1)
    inside = (low <= (y - middle + 180) % 360 - 180) & ((y - middle + 180) % 360 - 180 <= high)
    assert inside.mean() == pytest.approx(0.8, abs=0.05)
    display = PITDisplay.from_predictions(y, drawn, random_state=0)
    assert stats.kstest(display.pit, "uniform").statistic < 0.06
    even = np.random.default_rng(0).uniform(0, 360, drawn.shape)
    scores = [energy_score(on_circle(y), on_circle(draws)) for draws in (drawn, drawn + 90, even)]
    assert scores[0] < min(scores[1:])
