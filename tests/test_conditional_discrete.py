"""Conditional densities of counts, classes and amounts with zeros, given columns of which some are no numbers."""

import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.model_selection import cross_val_score

from sknvp import ConditionalRealNVPDensity
from sknvp._estimators import conditional

from .test_conditional import full_batch, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def table(n=600, seed=0):
    """Columns, and the rate of the counts given these."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {"size": rng.uniform(0, 2, n), "kind": rng.choice(["u", "v", "w"], n), "old": rng.uniform(size=n) < 0.5}
    )
    return X, np.exp(0.8 * X["size"].to_numpy() + (X["kind"] == "v").to_numpy())


def counts(n=600, seed=0):
    X, rate = table(n, seed)
    return X, np.random.default_rng(seed + 1).poisson(rate)


@pytest.fixture(scope="module")
def of_counts():
    return small(max_iter=60).fit(*counts(1500))


def test_counts_have_the_probabilities_that_they_were_drawn_with(of_counts):
    X, y = counts(3000, 5)
    truth = stats.poisson(table(3000, 5)[1]).logpmf(y)
    assert truth.mean() - 0.08 < of_counts.score_samples(X, y).mean() < truth.mean() + 0.01
    assert of_counts.columns_ == ["0: whole numbers"]


def test_probabilities_of_all_counts_add_up_to_one(of_counts):
    X, _ = table(5)
    for i in range(5):
        each = of_counts.score_samples(X.iloc[[i] * 200], np.arange(200))
        assert np.exp(each).sum() == pytest.approx(1, abs=1e-3)
    assert (of_counts.score_samples(X, np.full(5, 1.5)) < -60).all()


def test_counts_far_out_have_finite_scores_that_fall(of_counts):
    X, _ = table(1)
    far = of_counts.score_samples(X.iloc[[0] * 6], [100, 200, 400, 800, 1600, 3200])
    assert (np.diff(far) < 0).all()
    assert far.min() > -3000


def test_points_of_cells_agree_with_differences_of_the_distribution_function(of_counts, monkeypatch):
    """Points take over where differences have too few digits."""
    X, y = counts(200, 5)
    exact = of_counts.score_samples(X, y)
    monkeypatch.setattr(conditional, "MIN_DIFFERENCE", 2.0)
    by_points = of_counts.score_samples(X, y)
    np.testing.assert_allclose(by_points, exact, atol=0.1)
    assert 0 < np.abs(by_points - exact).mean() < 0.01


def test_means_quantiles_and_draws_belong_to_these_probabilities(of_counts):
    X, _ = table(4)
    values = np.arange(200)
    p = np.stack([np.exp(of_counts.score_samples(X.iloc[[i] * 200], values)) for i in range(4)])
    np.testing.assert_allclose(of_counts.predict(X), p @ values, rtol=0.02)
    for q in (0.1, 0.5, 0.9):
        expected = [values[np.searchsorted(np.cumsum(row), q)] for row in p]
        np.testing.assert_array_equal(of_counts.predict_quantile(X, q), expected)
    drawn = of_counts.sample(X, 4000, random_state=0)
    assert set(np.unique(drawn)) <= set(values)
    for row, draws in zip(p, drawn.astype(int), strict=True):
        np.testing.assert_allclose(np.bincount(draws, minlength=200)[:200] / 4000, row, atol=0.03)


def test_without_targets_the_nearest_counts_to_the_means_are_scored(of_counts):
    X, _ = table(50)
    expected = of_counts.score_samples(X, np.rint(of_counts.predict(X)))
    np.testing.assert_array_equal(of_counts.score_samples(X), expected)


@pytest.mark.parametrize("kind", ["list", "series", "category", "polars"])
def test_classes_are_targets_too(kind):
    X, y = counts()
    names = np.array(["none", "some", "many"])[np.minimum(y, 2)]
    targets = {"list": names.tolist(), "series": pd.Series(names), "category": pd.Series(names, dtype="category")}
    targets["polars"] = pl.Series(names)
    density = small().fit(X, targets[kind])
    assert density.columns_[0].endswith("category of 3 values")
    totals = [np.exp(density.score_samples(X, [name] * 600)) for name in np.unique(names)]
    np.testing.assert_allclose(np.sum(totals, 0), 1, atol=1e-3)
    assert (density.predict(X) == np.unique(names)[np.argmax(totals, 0)]).mean() > 0.98
    assert (density.predict(X) == names).mean() > 0.6
    assert set(density.sample(X, 3, random_state=0).ravel()) == set(names)
    with pytest.raises(ValueError, match="predict_quantile needs a target of numbers or of ordered categories"):
        density.predict_quantile(X)


def test_ordered_categories_have_quantiles():
    X, y = counts()
    ratings = pd.Series(pd.Categorical(np.array(list("abc"))[np.minimum(y, 2)], categories=list("abc"), ordered=True))
    density = small().fit(X, ratings)
    low, high = density.predict_quantile(X, [0.01, 0.99]).T
    assert set(low) | set(high) <= set("abc")
    assert (low <= high).all()


def test_several_targets_of_different_kinds():
    X, y = counts()
    targets = pd.DataFrame(
        {"count": y, "is zero": np.where(y == 0, "yes", "no"), "size": y + np.random.default_rng(0).normal(size=600)}
    )
    density = small(max_iter=60).fit(X, targets)
    assert density.columns_ == ["count: whole numbers", "is zero: category of 2 values", "size: continuous"]
    drawn = density.sample(X, 2, random_state=0)
    assert drawn.shape == (600, 2, 3)
    agree = (drawn[..., 0] == 0) == (drawn[..., 1] == "yes")
    assert agree.mean() > 0.9
    assert np.isfinite(density.score_samples(X, targets)).all()
    assert set(density.predict(X)[:, 1]) <= {"yes", "no"}


def test_amounts_with_zeros():
    X, rate = table(1500)
    rng = np.random.default_rng(7)
    y = np.where(rng.uniform(size=1500) < 0.5, 0.0, rng.gamma(2.0, rate))
    density = small(max_iter=60).fit(X, y)
    assert density.columns_ == ["0: continuous above 0, with a probability at 0"]
    np.testing.assert_allclose(np.exp(density.score_samples(X, np.zeros(1500))).mean(), 0.5, atol=0.05)
    quantiles = density.predict_quantile(X, [0.2, 0.9])
    assert (quantiles[:, 0] == 0).mean() > 0.98
    assert stats.spearmanr(quantiles[:, 1], rate).statistic > 0.9
    assert (density.sample(X, 5, random_state=0) >= 0).all()
    grid = np.geomspace(1e-6, 1e3, 4001)
    each = np.exp(density.score_samples(X.iloc[[0] * 4001], grid))
    total = np.exp(density.score_samples(X[:1], [0.0]))[0] + np.sum(np.diff(grid) * (each[1:] + each[:-1]) / 2)
    assert total == pytest.approx(1, abs=0.01)


def test_bounded_targets():
    X, rate = table()
    y = stats.beta(rate, 2).rvs(random_state=0)
    density = small(bounds=(0, 1)).fit(X, y)
    drawn = density.sample(X, 20, random_state=0)
    assert ((drawn > 0) & (drawn < 1)).all()
    with pytest.raises(ValueError, match=r"bounds must hold all values, got 0.5 for column 0, which has"):
        small(bounds=(0.5, 1)).fit(X, y)


def test_declared_continuous_they_are_numbers():
    X, y = counts()
    numbers = X["size"].to_numpy()[:, None]
    declared = small(max_iter=3, discrete_targets=None).fit(numbers, y)
    assert declared.columns_ == ["0: continuous"]
    assert (declared.sample(numbers) % 1 != 0).any()
    assert small(max_iter=3, discrete_targets=[0]).fit(numbers, y).columns_ == ["0: whole numbers"]


def test_categories_of_x_are_indicators():
    """Numbers that stand for the categories, one column each, say as much."""
    X, y = counts()
    by_hand = np.c_[X["size"], X["kind"].to_numpy()[:, None] == ["u", "v", "w"], X["old"].to_numpy()[:, None] == [0, 1]]
    scores = small(max_iter=3).fit(X, y).score_samples(X, y)
    np.testing.assert_array_equal(scores, small(max_iter=3).fit(by_hand.astype(float), y).score_samples(by_hand, y))


def test_decimals_are_numbers_on_both_sides():
    X, y = counts(60)
    floats, prices = X[["size"]].round(2), y / 4
    decimals, targets = floats.map(lambda value: Decimal(str(value))), [Decimal(value) for value in prices]
    density = small(max_iter=3).fit(decimals, targets)
    expected = small(max_iter=3).fit(floats, prices).score_samples(floats, prices)
    np.testing.assert_array_equal(density.score_samples(decimals, targets), expected)


def test_weights_are_repetitions_and_zero_is_absence():
    (X, y), weights = counts(60), np.arange(60) % 3
    repeated = X.loc[np.repeat(np.arange(60), weights)]
    weighted = full_batch(max_iter=3).fit(X, y, sample_weight=weights).score_samples(X, y)
    expected = full_batch(max_iter=3).fit(repeated, np.repeat(y, weights)).score_samples(X, y)
    np.testing.assert_allclose(weighted, expected, rtol=1e-6)
    odd = pd.concat([X, X[:1].assign(kind="x")], ignore_index=True)
    absent = small(max_iter=3).fit(odd, np.r_[y, 0.5], sample_weight=np.r_[np.ones(60), 0])
    np.testing.assert_array_equal(absent.score_samples(X, y), small(max_iter=3).fit(X, y).score_samples(X, y))


def test_searches_and_pickles():
    X, y = counts(200)
    assert np.isfinite(cross_val_score(small(max_iter=5), X, y, cv=3)).all()
    density = small(max_iter=5).fit(X, np.where(y > 1, "many", "few"))
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.sample(X, 2, random_state=0), density.sample(X, 2, random_state=0))


def test_bad_tables_are_refused_and_nothing_is_lost():
    X, y = counts(60)
    density = small(max_iter=3).fit(X, np.where(y > 1, "many", "few"))
    before = density.predict(X)
    for given, message in (
        (
            (X.assign(kind="x"), ["few"] * 60),
            "Column kind of X must hold categories that were there in fit, 'u', 'v', 'w'",
        ),
        (
            (X, ["several"] * 60),
            "Column 0 of y must hold categories that were there in fit, 'few', 'many', got 'several'",
        ),
        ((X.assign(kind=None), ["few"] * 60), "columns that had some in fit, got 60 in column kind"),
    ):
        with pytest.raises(ValueError, match=message):
            density.score_samples(*given)
    with pytest.raises(ValueError, match="discrete_targets must name columns of y or hold their numbers"):
        density.set_params(discrete_targets=[5]).fit(X, y)
    with pytest.raises(ValueError, match="discrete_targets must be one of 'auto' or None"):
        density.set_params(discrete_targets="all").fit(X, y)
    np.testing.assert_array_equal(density.predict(X), before)
    assert isinstance(ConditionalRealNVPDensity().get_params()["discrete_targets"], str)


def test_words_among_targets_of_numbers_are_named():
    X, y = counts(60)
    words = ["u", "v"] * 30
    of_numbers = small(max_iter=3).fit(X, y)
    for score in (of_numbers.score_samples, of_numbers.predict_cdf, small(max_iter=3).fit(X, y + 0.5).score_samples):
        with pytest.raises(ValueError, match="Column 0 of y must hold numbers, got 'u'"):
            score(X, words)
    mixed = pd.DataFrame({"num": y, "kind": words})
    with pytest.raises(ValueError, match="Column num of y must hold numbers, got 'u'"):
        small(max_iter=3).fit(X, mixed).score_samples(X, mixed.assign(num=words))


@pytest.mark.parametrize(("labels", "others"), [("uv", "vu"), ("uv", "uw"), ([0, 1], [1, 0])])
def test_targets_keep_their_names_and_their_order(labels, others):
    X, y = counts(60)
    targets = pd.DataFrame(dict(zip(labels, (y, X["size"]), strict=True)))
    density = small(max_iter=3).fit(X, targets)
    with pytest.raises(ValueError, match="y must have the columns of fit in the same order"):
        density.score_samples(X, targets.set_axis(list(others), axis=1))
    of_array = density.score_samples(X, targets.to_numpy())
    for table in (targets, targets.set_axis([0, 1], axis=1)):
        np.testing.assert_array_equal(density.score_samples(X, table), of_array)
    for declared in ("auto", None):
        density = small(max_iter=3, discrete_targets=declared).fit(X, targets.to_numpy())
        assert np.isfinite(density.score(X, targets))


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_arrays_must_hold_the_categories_of_the_frame_too():
    X, y = counts(60)
    density = small(max_iter=3).fit(X, y)
    np.testing.assert_array_equal(density.predict(X.to_numpy()), density.predict(X))
    with pytest.raises(ValueError, match="Column kind of X must hold categories"):
        density.predict(np.zeros((3, 3)))
