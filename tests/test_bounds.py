"""Densities with bounds and with values that have a probability: what scores mean, and what is drawn."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sknvp import DensityClassifier, RealNVPDensity, RealNVPOutlierDetector, RealNVPTransformer

from .small import full_batch, moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def claims(n=400, seed=0):
    """Amounts, many of them zero, and a number that depends on that."""
    rng = np.random.default_rng(seed)
    none = rng.uniform(size=n) < 0.4
    return np.c_[np.where(none, 0.0, rng.gamma(2.0, 3.0, n)), rng.normal(2.0 * none, 1.0)]


def log_density_of_claims(X):
    none = X[:, 0] == 0
    amount = np.log(0.6) + stats.gamma(2, scale=3).logpdf(np.where(none, 1.0, X[:, 0]))
    return np.where(none, np.log(0.4), amount) + stats.norm.logpdf(X[:, 1], 2.0 * none, 1.0)


AMOUNTS = np.geomspace(1e-5, 300, 601)


@pytest.mark.parametrize("make", [small, stacked])
def test_probability_and_density_add_up_to_one(make):
    """Over the amounts, all at one number: what is left is the density of that number, which the draws have."""
    density = make(coupling="spline").fit(claims())
    assert density.columns_ == ["0: continuous above 0, with a probability at 0", "1: continuous"]
    grid = np.linspace(-9, 11, 41)
    total = integrate.simpson([np.exp(density.score_samples([[0.0, at]])[0]) for at in grid], x=grid)
    each = [np.exp(density.score_samples(np.c_[AMOUNTS, np.full(601, at)])) for at in grid]
    total += integrate.simpson(integrate.simpson(each, x=AMOUNTS), x=grid)
    assert total == pytest.approx(1, abs=0.02)


def test_scores_are_near_the_density_that_rows_were_drawn_from():
    rows = claims(4000, 1)
    scores = stacked(coupling="spline", max_iter=100).fit(claims(1500)).score_samples(rows)
    truth = log_density_of_claims(rows)
    assert truth.mean() - 0.1 < scores.mean() < truth.mean()
    assert stats.spearmanr(scores, truth).statistic > 0.95


def test_draws_have_the_zeros_of_the_rows():
    density = stacked(coupling="spline", max_iter=60).fit(claims(1000))
    drawn, rows = density.sample(4000, random_state=0), claims(4000, 2)
    assert (drawn[:, 0] == 0).mean() == pytest.approx(0.4, abs=0.06)
    assert drawn[:, 0].min() == 0
    for part in (drawn[:, 0] == 0, drawn[:, 0] > 0):
        assert drawn[part, 1].mean() == pytest.approx(rows[(rows[:, 0] == 0) == part[part][0], 1].mean(), abs=2.5)
    assert abs(drawn[drawn[:, 0] == 0, 1].mean() - drawn[drawn[:, 0] > 0, 1].mean() - 2) < 0.4


@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_units_change_the_density_alone(unit):
    X = claims()
    density, other = small().fit(X), small().fit(X * [unit, 1])
    change = other.score_samples(X * [unit, 1]) - density.score_samples(X)
    np.testing.assert_allclose(change, np.where(X[:, 0] > 0, -np.log(unit), 0), atol=1e-4)


BOUNDS = {
    "below": ((0, np.inf), lambda n: np.exp(normal_rows(n, 2))),
    "above": ((-np.inf, [3, 3]), lambda n: 3 - np.exp(normal_rows(n, 2))),
    "both": (([0, -1], 1), lambda n: np.random.default_rng(0).uniform([0, -1], 1, (n, 2))),
}


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("make", [small, stacked])
def test_bounded_densities_have_no_mass_outside(make, kind):
    bounds, draw = BOUNDS[kind]
    X = draw(300)
    density = make(coupling="spline", bounds=bounds).fit(X)
    drawn = density.sample(20_000, random_state=0)
    low, high = np.broadcast_to(np.array(bounds[0], float), 2), np.broadcast_to(np.array(bounds[1], float), 2)
    assert ((low < drawn) & (drawn < high)).all()
    assert np.isfinite(density.score_samples(drawn)).all()
    inside = density.score_samples(X)
    for at_or_outside in (np.where(np.isfinite(low), low, high), np.where(np.isfinite(low), low - 1, high + 1)):
        assert density.score_samples([at_or_outside])[0] < inside.min() - 50


@pytest.mark.parametrize("make", [small, stacked])
def test_a_bounded_density_integrates_to_one(make):
    density = make(coupling="spline", bounds=([0, -1], [np.inf, 1])).fit(BOUNDS["below"][1](300)[:, :1] * [[1, 0]])
    first = np.geomspace(1e-5, 1e4, 4001)
    assert integrate.simpson(np.exp(density.score_samples(np.c_[first, np.zeros(4001)])), x=first) == pytest.approx(
        1, abs=1e-3
    )


def test_a_uniform_column_between_its_bounds_is_uniform():
    X = np.random.default_rng(0).uniform(2, 5, (2000, 1))
    scores = stacked(bounds=(2, 5)).fit(X).score_samples(np.linspace(2.05, 4.95, 50)[:, None])
    np.testing.assert_allclose(scores, -np.log(3), atol=0.15)


def test_values_at_a_bound_have_a_probability():
    X = np.clip(normal_rows(300, 2), -1, np.inf)
    density = stacked(bounds=(-1, np.inf), discrete_features=None).fit(X)
    assert density.columns_ == [f"{j}: continuous above -1, with a probability at -1" for j in (0, 1)]
    share = (density.sample(4000, random_state=0) == -1).mean(0)
    np.testing.assert_allclose(share, (X == -1).mean(0), atol=0.04)


def test_bounds_hold_for_whole_numbers():
    X = np.random.default_rng(0).binomial(10, 0.85, (300, 1))
    density = small(bounds=(0, 10)).fit(X)
    assert set(np.unique(density.sample(5000, random_state=0))) <= set(range(11))
    assert np.exp(density.score_samples(np.arange(11)[:, None])).sum() == pytest.approx(1, abs=0.01)
    assert density.score_samples([[11]]) < -60


def test_bounds_hold_for_whole_numbers_that_are_far_from_them():
    X = np.random.default_rng(0).poisson(3, (300, 1)) + 40.0
    density = small(bounds=(5, np.inf), max_iter=3).fit(X)
    at_the_bound, beyond = density.score_samples([[5], [4]])
    assert beyond < -60 < at_the_bound


def test_classes_behind_pipelines_must_agree_on_zeros():
    X, y = claims(300), np.arange(300) % 2
    X[y == 1, 0] += 1.0 + np.random.default_rng(0).uniform(size=150)
    with pytest.raises(ValueError, match="column 0 is continuous, with a probability at 0, in class 0 and continuous"):
        DensityClassifier(make_pipeline(FunctionTransformer(), small(max_iter=2))).fit(X, y)


def test_bounds_of_frames_with_categories():
    table = pd.DataFrame({"kind": np.array(list("ab"))[np.arange(200) % 2], "size": np.exp(normal_rows(200, 1)[:, 0])})
    density = small(bounds=(0, np.inf), max_iter=5).fit(table)
    assert density.columns_ == ["kind: category of 2 values", "size: continuous above 0"]
    assert (density.sample(500, random_state=0)["size"] > 0).all()


def test_weights_are_repetitions_and_zero_is_absence():
    X, counts = claims(60), np.arange(60) % 3
    weighted = full_batch(max_iter=3).fit(X, sample_weight=counts).score_samples(X)
    repeated = full_batch(max_iter=3).fit(np.repeat(X, counts, axis=0)).score_samples(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)
    odd = np.r_[X, [[-5.0, 0.0]]]
    absent = small(max_iter=3, bounds=([0, -np.inf], np.inf)).fit(odd, sample_weight=np.r_[np.ones(60), 0])
    gone = small(max_iter=3, bounds=([0, -np.inf], np.inf)).fit(X)
    np.testing.assert_array_equal(absent.score_samples(X), gone.score_samples(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_stay_inside_in_the_dtype_of_the_rows(dtype):
    low = 0.7  # single precision rounds it down
    X = np.maximum((low + 1e-7 * np.exp(normal_rows(200, 1))).astype(dtype), np.nextafter(dtype(low), dtype(1)))
    drawn = small(bounds=(low, np.inf), max_iter=3, discrete_features=None).fit(X).sample(5000, random_state=0)
    assert drawn.dtype == dtype
    assert (drawn.astype(float) > low).all()


def test_the_family_takes_bounds():
    X, y = np.exp(normal_rows(200, 2)), np.arange(200) % 2
    settings = {"bounds": (0, np.inf), **small(max_iter=10).get_params()}
    settings["bounds"] = (0, np.inf)
    detector = RealNVPOutlierDetector(**settings).fit(X)
    assert (detector.predict(-X) == -1).all()
    classifier = DensityClassifier(small(max_iter=5, bounds=(0, np.inf))).fit(X * (1 + y)[:, None], y)
    assert np.isfinite(classifier.predict_log_proba(X)).all()
    transformer = RealNVPTransformer(bounds=(0, np.inf), max_iter=5, random_state=0).fit(X)
    np.testing.assert_allclose(transformer.inverse_transform(transformer.transform(X)), X, rtol=1e-9)
    assert (transformer.inverse_transform(normal_rows(500, 2)) > 0).all()
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.score_samples(X), detector.score_samples(X))
    assert again.columns_ == detector.columns_ == ["0: continuous above 0", "1: continuous above 0"]


def test_a_stream_keeps_bounds_and_zeros():
    density = small().partial_fit(claims())
    before = density.score(claims())
    for seed in range(20):
        density.partial_fit(claims(200, seed))
    assert density.score(claims()) > before
    assert density.sample(500, random_state=0)[:, 0].min() == 0


def test_without_bounds_and_atoms_every_bit_stays():
    X = moons()
    free, none = small(bounds=(-np.inf, np.inf)).fit(X), small(discrete_features=None).fit(X)
    np.testing.assert_array_equal(free.score_samples(X), none.score_samples(X))


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((0, 1, 2), r"bounds must be None or a tuple \(low, high\)"),
        ((1, 0), "bounds must have low below high"),
        (([0, 0, 0], 9), r"bounds must be numbers of shape \(\) or \(2,\)"),
        ((0.5, np.inf), r"bounds must hold all values, got 0.5 for column 1, which has -"),
    ],
)
def test_bad_bounds_are_refused_and_nothing_is_lost(bounds, message):
    X = moons() + np.array([10, 0])
    density = small(max_iter=3).fit(X)
    before = density.score_samples(X)
    with pytest.raises(ValueError, match=message):
        clone(density).set_params(bounds=bounds).fit(X)
    with pytest.raises(ValueError, match=message):
        density.set_params(bounds=bounds).fit(X)
    np.testing.assert_array_equal(density.score_samples(X), before)


def test_the_kinds_of_constant_columns_are_told():
    X = np.c_[moons(60), np.ones(60), np.arange(60) % 4]
    assert RealNVPDensity(max_iter=2, random_state=0).fit(X).columns_ == [
        "0: continuous",
        "1: continuous",
        "2: constant",
        "3: whole numbers",
    ]


def test_amounts_with_zeros_have_no_tails_that_rows_have_not():
    x = np.where(np.random.default_rng(3).uniform(size=1500) < 0.4, 0.0, np.exp(1.5 * normal_rows(1500, 1)[:, 0]))
    drawn = small(coupling="spline", max_iter=20).fit(np.c_[x, normal_rows(1500, 1, 1)]).sample(50_000, random_state=0)
    assert drawn[:, 0].mean() < 2 * x.mean()
    assert (drawn[:, 0] > 10 * x.max()).mean() < 1e-4


def test_bounds_are_rounded_as_rows_are():
    X = np.array([[0.1], [0.05], [0.02], [0.03]] * 5, dtype=np.float32)
    density = small(bounds=(0, 0.1), max_iter=2, discrete_features=None).fit(X)
    assert density.columns_ == ["0: continuous above 0 and below 0.1, with a probability at 0.1"]
    assert density.sample(200, random_state=0).max() == np.float32(0.1)
