"""Densities of rows with missing cells: closed forms, laws, and draws of what is missing."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import integrate, stats
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from sknvp import DensityClassifier, RealNVPDensity, RealNVPOutlierDetector
from sknvp._estimators import missing

from .small import full_batch, moons, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MEAN, COVARIANCE = np.array([1.0, -2.0, 0.5]), np.array([[1.0, 0.7, 0.2], [0.7, 1.0, -0.3], [0.2, -0.3, 0.5]])


def normal(n=800, seed=0):
    return np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, n)


def with_holes(X, share=0.3, seed=1):
    """Rows with some cells missing at random; each row keeps one."""
    rng = np.random.default_rng(seed)
    holes = rng.uniform(size=X.shape) < share
    holes[np.arange(len(X)), rng.integers(0, X.shape[1], len(X))] = False
    return np.where(holes, np.nan, X)


def log_marginal(row):
    known = ~np.isnan(row)
    return stats.multivariate_normal(MEAN[known], COVARIANCE[np.ix_(known, known)]).logpdf(row[known])


@pytest.fixture(scope="module")
def fitted():
    return stacked(coupling="spline", max_iter=30).fit(with_holes(normal()))


def test_marginals_of_a_normal_distribution(fitted):
    rows = with_holes(normal(400, 2))
    truth = np.array([log_marginal(row) for row in rows])
    scores = fitted.score_samples(rows)
    assert abs((scores - truth).mean()) < 0.05
    assert np.abs(scores - truth).mean() < 0.2


@pytest.mark.parametrize("make", [small, stacked])
def test_the_density_of_known_cells_is_the_integral_over_the_others(make):
    density = make(coupling="spline").fit(moons())
    grid = np.linspace(-5, 5, 2001)
    for at in (-0.5, 0.2, 1.4):
        expected = integrate.simpson(np.exp(density.score_samples(np.c_[np.full(2001, at), grid])), x=grid)
        assert np.exp(density.score_samples([[at, np.nan]])[0]) == pytest.approx(expected, rel=0.1)


def test_marginals_integrate_to_one(fitted):
    grid = np.linspace(-8, 8, 401)
    for j in range(3):
        rows = np.full((401, 3), np.nan)
        rows[:, j] = grid
        assert integrate.simpson(np.exp(fitted.score_samples(rows)), x=grid) == pytest.approx(1, abs=0.02)


def test_standard_errors_tell_how_far_estimates_are_off():
    density, X = small(coupling="spline").fit(moons()), moons(60)[:, :1]
    rows, grid = np.c_[X, np.full(60, np.nan)], np.linspace(-5, 5, 2001)
    estimate, std = density.score_samples(rows, return_std=True)
    np.testing.assert_array_equal(estimate, density.score_samples(rows))
    exact = [integrate.simpson(np.exp(density.score_samples(np.c_[np.full(2001, x), grid])), x=grid) for x in X[:, 0]]
    assert (std > 0).all()
    assert (std < 0.2).all()
    assert (np.abs(estimate - np.log(exact)) < 3 * std + 1e-4).mean() > 0.9
    complete, std = density.score_samples(moons(), return_std=True)
    np.testing.assert_array_equal(complete, density.score_samples(moons()))
    assert (std == 0).all()
    with pytest.raises(ValueError, match="return_std must be True or False, got 2"):
        density.score_samples(rows, return_std=2)


def test_what_a_density_was_asked_before_does_not_matter():
    """Proposals are fitted when they are first needed, and anew once the density has changed."""
    X, rows = normal(200), with_holes(normal(40, 2))
    asked, not_asked = (small(max_iter=2).fit(X) for _ in range(2))
    asked.score_samples(rows)
    for density in (asked, not_asked):
        density.partial_fit(X)
    np.testing.assert_array_equal(asked.score_samples(rows), not_asked.score_samples(rows))


def test_a_row_without_known_cells_has_density_one(fitted):
    assert fitted.score_samples([[np.nan] * 3]) == 0


def test_rows_are_scored_one_by_one_and_always_alike(fitted):
    """Integrals are computed in single precision, whose rounding errors depend on the other rows of a batch."""
    rows = with_holes(normal(30, 3))
    together = fitted.score_samples(rows)
    np.testing.assert_array_equal(fitted.score_samples(rows), together)
    np.testing.assert_allclose([fitted.score_samples(row[None])[0] for row in rows], together, atol=2e-5)
    np.testing.assert_allclose(fitted.score_samples(rows[::-1])[::-1], together, atol=2e-5)


def test_complete_rows_keep_their_scores_beside_incomplete_ones(fitted):
    rows = normal(20, 4)
    beside = fitted.score_samples(np.r_[rows, with_holes(rows)])[:20]
    np.testing.assert_allclose(beside, fitted.score_samples(rows), rtol=1e-12)


def test_incomplete_rows_teach_as_much_as_complete_ones_nearly():
    X, rows = normal(800), normal(2000, 5)
    holes = with_holes(X, 0.2)
    truth = stats.multivariate_normal(MEAN, COVARIANCE).logpdf(rows).mean()
    score = stacked().fit(holes).score(rows) / 2000
    assert truth - 0.06 < score < truth + 0.01


def test_draws_have_the_conditional_distribution(fitted):
    at = 2.0
    drawn = fitted.impute([[at, np.nan, np.nan]], n_samples=4000, random_state=0)[0]
    assert (drawn[:, 0] == at).all()
    gain = COVARIANCE[1:, 0] / COVARIANCE[0, 0]
    np.testing.assert_allclose(drawn[:, 1:].mean(0), MEAN[1:] + gain * (at - MEAN[0]), atol=0.15)
    expected = COVARIANCE[1:, 1:] - np.outer(gain, COVARIANCE[0, 1:])
    np.testing.assert_allclose(np.cov(drawn[:, 1:].T), expected, atol=0.12)


def test_a_row_without_known_cells_is_drawn_from_the_density(fitted):
    drawn = fitted.impute([[np.nan] * 3], n_samples=3000, random_state=0)[0]
    np.testing.assert_allclose(drawn.mean(0), MEAN, atol=0.25)
    np.testing.assert_allclose(np.cov(drawn.T), COVARIANCE, atol=0.25)


def test_draws_are_seeded_and_known_cells_stay(fitted):
    rows = with_holes(normal(20, 6))
    first = fitted.impute(rows, 3, random_state=0)
    assert first.shape == (20, 3, 3)
    np.testing.assert_array_equal(fitted.impute(rows, 3, random_state=0), first)
    assert not np.array_equal(fitted.impute(rows, 3, random_state=1), first)
    known = np.broadcast_to(~np.isnan(rows)[:, None], first.shape)
    np.testing.assert_array_equal(first[known], np.repeat(rows[:, None], 3, axis=1)[known])
    assert np.isfinite(first).all()
    complete = normal(5)
    np.testing.assert_array_equal(fitted.impute(complete)[:, 0], complete)


def test_cells_are_scored_given_the_others(fitted):
    rows = with_holes(normal(200, 7))
    cells = fitted.score_cells(rows)
    assert (np.isnan(cells) == np.isnan(rows)).all()
    truth = np.full(rows.shape, np.nan)
    for i, row in enumerate(rows):
        for j in np.flatnonzero(~np.isnan(row)):
            without = row.copy()
            without[j] = np.nan
            truth[i, j] = log_marginal(row) - (0 if np.isnan(without).all() else log_marginal(without))
    assert np.nanmean(np.abs(cells - truth)) < 0.15
    odd = np.array([[1.0, 5.0, 0.5]])
    assert fitted.score_cells(odd).argmin() == 1


def survey(n=500, seed=0):
    """A table as people have them."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b"], n)
    age = rng.poisson(np.where(kind == "a", 3.0, 8.0))
    return pd.DataFrame({"kind": kind, "age": age, "size": rng.normal(age, 1.0)})


def frame_with_holes(n=500, seed=0):
    table, rng = survey(n, seed), np.random.default_rng(9)
    for name in table:
        table[name] = table[name].astype({"kind": object, "age": "Int64", "size": float}[name])
        table.loc[rng.uniform(size=n) < 0.25, name] = pd.NA if name == "age" else None
    return table


def test_cells_of_lone_rows_are_scored_right_though_the_density_has_learned_them(monkeypatch):
    """Around a lone row the density is narrow, where no proposal of its cells given the others would look."""
    monkeypatch.setattr(missing, "N_DRAWN", 40_000)
    X = np.random.default_rng(0).multivariate_normal([0.0, 0.0], [[1.0, 0.99], [0.99, 1.0]], 400)
    X[:3] = [[-999.0, 1.0], [2.0, -9.0], [30.0, -999.0]]
    X += 100.0
    density = RealNVPDensity(random_state=0).fit(X)
    scores = density.score_cells(X[:8])
    for i, j in np.ndindex(8, 2):
        far = 100 + np.sinh(np.linspace(-12, 12, 8001)) / 50  # as far as the row of -999 is spread
        fine = np.sort(np.r_[far, X[i, j] + np.sinh(np.linspace(-9, 9, 2001)) / 1000])
        rows = np.repeat(X[i : i + 1], len(fine), axis=0)
        rows[:, j] = fine
        others = integrate.trapezoid(np.exp(density.score_samples(rows)), fine)
        assert scores[i, j] == pytest.approx(density.score_samples(X[i : i + 1])[0] - np.log(others), abs=0.4)


def test_frames_with_holes():
    table = frame_with_holes()
    with pytest.warns(UserWarning, match=r"\d+ of 500 rows have no known cell, and are left out"):
        density = stacked().fit(table)
    assert density.columns_ == ["kind: category of 2 values", "age: whole numbers", "size: continuous"]
    assert np.isfinite(density.score_samples(table)).all()
    each = [density.score_samples(pd.DataFrame({"kind": [k], "age": [pd.NA], "size": [np.nan]})) for k in "ab"]
    assert np.exp(each).sum() == pytest.approx(1, abs=0.1)
    drawn = density.impute(table, n_samples=2, random_state=0)
    assert len(drawn) == 1000
    assert not drawn.isna().any().any()
    assert (drawn.dtypes == table.dtypes).all()
    known = table["age"].notna().to_numpy()
    assert (drawn["age"].to_numpy()[::2][known] == table["age"].to_numpy()[known]).all()
    ages = drawn.groupby("kind")["age"].mean()
    assert ages["b"] - ages["a"] > 3
    shuffled = table.sample(frac=1, random_state=0)
    assert density.impute(shuffled, n_samples=2).index.equals(shuffled.index.repeat(2))


def test_frames_of_polars_with_holes():
    table = survey()
    holes = np.random.default_rng(0).uniform(size=500) < 0.2
    frame = pl.DataFrame({name: table[name].tolist() for name in table})
    frame = frame.with_columns(pl.when(pl.Series(holes)).then(None).otherwise(pl.col("age")).alias("age"))
    density = small(max_iter=5).fit(frame)
    drawn = density.impute(frame, random_state=0)
    assert drawn.schema == frame.schema
    assert drawn["age"].null_count() == 0


def test_weights_are_repetitions_and_zero_is_absence():
    X, counts = with_holes(normal(60)), np.arange(60) % 3
    weighted = full_batch(max_iter=3).fit(X, sample_weight=counts)
    repeated = full_batch(max_iter=3).fit(np.repeat(X, counts, axis=0))
    rows = normal(50, 8)
    assert abs(weighted.score(rows) - repeated.score(rows)) / 50 < 0.2
    odd = np.r_[X, [[1e6, np.nan, 0]]]
    absent = small(max_iter=3).fit(odd, sample_weight=np.r_[np.ones(60), 0]).score_samples(X)
    np.testing.assert_array_equal(absent, small(max_iter=3).fit(X).score_samples(X))


def test_the_family_takes_missing_cells():
    X, y = with_holes(normal(300)), np.arange(300) % 2
    detector = RealNVPOutlierDetector(contamination=0.1, **{**small(max_iter=5).get_params()}).fit(X)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.1, abs=0.01)
    shifted = X + 3 * y[:, None]
    classifier = DensityClassifier(small(max_iter=5)).fit(shifted, y)
    assert classifier.score(shifted, y) > 0.9
    assert np.isfinite(cross_val_score(small(max_iter=3), X, cv=3)).all()
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.score_samples(X), detector.score_samples(X))
    assert small().__sklearn_tags__().input_tags.allow_nan


def test_a_stream_takes_missing_cells():
    density = small().partial_fit(with_holes(normal(300)))
    for seed in range(10):
        density.partial_fit(with_holes(normal(200, seed), seed=seed))
    assert np.isfinite(density.score_samples(with_holes(normal(50)))).all()
    complete = small().partial_fit(normal(300)).partial_fit(with_holes(normal(300)))
    assert np.isfinite(complete.score(normal(50)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_stay(dtype):
    X = with_holes(normal(200)).astype(dtype)
    density = small(max_iter=3).fit(X)
    assert density.impute(X, random_state=0).dtype == dtype
    assert density.score_samples(X).dtype == np.float64
    complete = small(max_iter=3).fit(normal(200).astype(dtype))
    assert complete.impute(X, random_state=0).dtype == dtype


def test_bad_tables_are_refused_and_nothing_is_lost(fitted):
    before = fitted.score_samples(normal(20))
    holes = with_holes(normal(20))
    for X, message in (
        (np.where([[0, 1, 0]], np.nan, normal(20)), "Column 1 of X must have a known value"),
        (np.where(np.isnan(holes), np.inf, holes), "infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.fit(X)
    with pytest.raises(ValueError, match="n_samples must be an integer of at least 1"):
        fitted.impute(holes, 0)
    for method in (RealNVPDensity().impute, RealNVPDensity().score_cells):
        with pytest.raises(NotFittedError):
            method(holes)
    np.testing.assert_array_equal(fitted.score_samples(normal(20)), before)


@pytest.mark.parametrize("value", [0.1, 3.0, 7.0])
def test_a_missing_cell_of_a_constant_column_is_its_value(value):
    X = np.c_[normal_column(), np.full(300, value)]
    holes = X.copy()
    holes[::3, 1] = np.nan
    for table in (X, holes):
        density = stacked(max_iter=5).fit(table)
        assert density.columns_[1] == "1: constant"
        np.testing.assert_allclose(density.score_samples(holes), density.score_samples(X), rtol=1e-9)
        assert (density.impute(holes, 2, random_state=0)[..., 1] == value).all()
    continued = small(max_iter=3, warm_start=True).fit(X).fit(holes).partial_fit(holes)
    np.testing.assert_allclose(continued.score_samples(holes), continued.score_samples(X), rtol=1e-9)


def normal_column():
    return np.random.default_rng(0).normal(size=300)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_another_number_in_a_constant_column_is_the_oddest_cell(value):
    X = np.c_[normal_column(), np.full(300, value), normal_column() + normal_column()[::-1]]
    usual, odd = stacked(max_iter=3).fit(X).score_cells([[0.1, value, 0.2], [0.1, value + 5, 0.2]])
    np.testing.assert_allclose(odd - usual, [0.0, np.log(1e-30), 0.0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_rows_of_which_only_constant_columns_are_known_need_no_integral(value):
    density = stacked(max_iter=3).fit(np.c_[normal_column(), np.full(300, value)])
    scores = density.score_samples([[np.nan, value], [np.nan, value + 5], [np.nan, np.nan]])
    np.testing.assert_allclose(scores, [0.0, np.log(1e-30), 0.0], atol=1e-12)
    rows = np.array([[0.1, value], [0.1, value + 5]])
    np.testing.assert_allclose(density.score_cells(rows).sum(1), density.score_samples(rows), rtol=1e-9)


def test_rows_with_holes_beyond_all_numbers_have_finite_scores():
    X = np.random.default_rng(0).normal(size=(200, 3)) * [1e-3, 1, 1]
    density = stacked(max_iter=3).fit(X)
    rows = np.array([[1e306, np.nan, 0.0], [np.nan, -1.7e308, np.nan], [1e300, 1e30, np.nan]])
    scores = density.score_samples(rows)
    assert np.isfinite(scores).all()
    assert (scores < -1000).all()
    assert np.isfinite(density.score_cells(rows[:1])[0, [0, 2]]).all()


def test_a_stream_without_a_column_keeps_what_is_known_of_it():
    """Unknown cells are drawn as the fitted density says, so that no row seems to have moved away."""
    density, rows = small().fit(normal(400)), normal(200, 1)
    before = density.score(normal(200, 2))
    rows[:, 0] = np.nan
    assert density.partial_fit(rows).score(normal(200, 2)) > before - 10


def test_scores_of_the_cells_of_a_row_depend_on_no_other_row():
    table = survey(60)
    density = stacked(max_iter=3, discrete_features="auto").fit(table)
    np.testing.assert_allclose(density.score_cells(table[7:9]), density.score_cells(table)[7:9], rtol=1e-6)


def test_a_column_that_is_constant_in_one_class_may_have_holes():
    X, y = normal(200)[:, :2], np.arange(200) % 2
    X[y == 1, 1] = 3.0
    X[(y == 0) & (np.arange(200) % 5 == 0), 1] = np.nan
    assert DensityClassifier(small(max_iter=3)).fit(X, y).score(X[~np.isnan(X[:, 1])], y[~np.isnan(X[:, 1])]) == 1


def test_columns_that_few_rows_know_keep_their_spread():
    X = np.random.default_rng(0).normal(size=(20_000, 2))
    X[40:, 1] = np.nan
    X[:40, 1] = 1e4 + 100 * X[:40, 1]
    drawn = small(max_iter=1).fit(X).impute(X[100:1100], random_state=0)[:, 0, 1]
    assert 60 < drawn.std() < 160
    assert drawn.mean() == pytest.approx(1e4, abs=60)


def test_streams_may_lack_a_column_for_a_while():
    density = small().partial_fit(normal(100))
    density.partial_fit([[np.nan, 1.0, 0.0]])
    assert np.isfinite(density.score(normal(20)))


@pytest.mark.parametrize("unit", [1e-170, 1e160])
def test_units_do_not_matter_for_marginals(unit):
    X = with_holes(normal(200))
    change = small(max_iter=2).fit(X * unit).score_samples(X * unit) - small(max_iter=2).fit(X).score_samples(X)
    np.testing.assert_allclose(change, -(~np.isnan(X)).sum(1) * np.log(unit), rtol=1e-3)
