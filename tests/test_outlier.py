"""The outlier detector: its threshold against brute force, and the grammar of scikit-learn's own."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.base import is_outlier_detector
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknvp import RealNVPDensity, RealNVPOutlierDetector
from sknvp._experts.table import Table
from sknvp._outliers.pooling import Standardization
from sknvp._outliers.threshold import threshold
from sknvp._outliers.trimming import without_least_likely
from sknvp.flows.builders.specification import Scaling

from .small import full_batch, moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class PlainDensity(RealNVPDensity):
    """A density of flows that see the columns as they are, as those of a detector do."""

    @property
    def _uses_normal_scores(self):
        return False


def plain(density):
    return PlainDensity(**density.get_params())


def detector(make=small, **settings):
    """A detector with the settings of a small density."""
    contamination = settings.pop("contamination", "auto")
    return RealNVPOutlierDetector(contamination=contamination, **make(**settings).get_params())


@parametrize_with_checks(
    [
        detector(full_batch, max_iter=5, contamination=0.2),
        detector(stacked, max_iter=5),
    ]
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_the_parameters_are_the_densitys_and_contamination():
    assert RealNVPOutlierDetector().get_params() == {**RealNVPDensity().get_params(), "contamination": "auto"}
    assert is_outlier_detector(RealNVPOutlierDetector())
    values = {name: object() for name in RealNVPOutlierDetector().get_params()}
    assert vars(RealNVPOutlierDetector(**values)) == values


def test_the_density_is_real_nvp_densitys_of_plain_flows():
    ours, theirs = detector(stacked).fit(moons()), plain(stacked()).fit(moons())
    assert ours.score(moons()) == theirs.score(moons())
    assert ours.score(moons(), sample_weight=np.arange(400)) == theirs.score(moons(), sample_weight=np.arange(400))
    np.testing.assert_array_equal(ours.sample(50, random_state=0), theirs.sample(50, random_state=0))
    assert ours.stacking_weights_ == theirs.stacking_weights_


def typical_rows(fitted):
    """The rows that the kernels stand on."""
    kernels = fitted._scoring_experts[1]
    return kernels.points[np.isfinite(kernels.log_weights[0])] * kernels.scaling.scale + kernels.scaling.loc


def log_densities(fitted, X, rows):
    """Those of the three densities by other means: flows fitted alone, SciPy's normals, scikit-learn's kernels."""
    mixture, loc, scale = fitted._scoring_experts[0], X.mean(0), X.std(0)
    z, members = (rows - loc) / scale, []
    for shares, means, precisions in zip(mixture.log_weights, mixture.means, mixture.precisions_cholesky, strict=True):
        covariances = [np.linalg.inv(each @ each.T) for each in precisions]
        parts = [multivariate_normal.logpdf(z, *moments) for moments in zip(means, covariances, strict=True)]
        members.append(np.logaddexp.reduce(np.array(parts) + shares[:, None]))
    centres = typical_rows(fitted)
    kernels = KernelDensity(bandwidth=len(centres) ** (-1 / 6)).fit((centres - loc) / scale)
    of_mixture = np.logaddexp.reduce(members) - np.log(len(members)) - np.log(scale).sum()
    of_kernels = kernels.score_samples(z) - np.log(scale).sum()
    return np.array([plain(small(max_iter=20)).fit(X).score_samples(rows), of_mixture, of_kernels])


def test_the_score_pools_three_standardised_densities():
    """By its formula; the ordinary rows that standardise are drawn as the detector draws them."""
    X = moons()
    rows, fitted = np.r_[X[:50], normal_rows(50, 2)], detector(stacked).fit(X)
    drawn = log_densities(fitted, X, fitted.sample(1000, random_state=fitted._split_seed))
    z = (log_densities(fitted, X, rows) - drawn.mean(1, keepdims=True)) / drawn.std(1, keepdims=True)
    np.testing.assert_allclose(fitted.score_samples(rows), np.log(3) - logsumexp(-z, axis=0), rtol=1e-5)


def test_mixture_and_kernels_leave_out_the_least_likely_rows():
    """Five percent of the rows, with the odd ones among them; the whole density learns from all rows."""
    odd = np.array([[6.0, -6.0], [6.1, -6.0], [6.0, -6.1], [-9.0, 9.0]])
    X = np.r_[odd, normal_rows(396, 2)]
    fitted = detector(stacked, n_estimators=4).fit(X)
    typical = typical_rows(fitted)
    assert len(typical) == 380
    assert np.abs(typical).max() < 5
    assert fitted.score(X) == plain(stacked(n_estimators=4)).fit(X).score(X)
    mixture, kernels = (each.score_samples(odd) for each in fitted._scoring_densities()[1:])
    of_all = KernelDensity(bandwidth=0.37).fit(X / X.std(0)).score_samples(odd / X.std(0)) - np.log(X.std(0)).sum()
    assert (kernels < of_all - 5).all()
    assert (mixture < of_all - 5).all()


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), min_size=2), st.floats(0, 1))
def test_the_rows_left_out_have_the_least_log_densities(pairs, share):
    """By counting repeated rows: as many as the share allows. Rows of an unknown density stay."""
    log_density, counts = np.array(pairs, dtype=float).T
    log_density[log_density == 5] = np.nan
    log_density[log_density == -5] = -np.inf
    rows = torch.zeros(len(pairs), 1), torch.tensor(counts), torch.zeros(1, len(pairs), dtype=torch.bool)
    table = Table(Scaling(np.zeros(1), np.ones(1), np.arange(1)), *rows)
    left = without_least_likely(table, torch.tensor(log_density), share).weights.numpy()
    repeated = np.repeat(log_density, counts.astype(int))
    gone = [not np.isnan(d) and (repeated <= d).sum() <= share * len(repeated) * (1 + 1e-9) for d in log_density]
    np.testing.assert_array_equal(left, np.where(gone, 0, counts))


@given(
    arrays(float, (3, 5), elements=st.floats(-50, 50)),
    arrays(float, (3, 40), elements=st.floats(-1000, 1000)),
)
def test_the_pooled_score_lies_between_the_least_and_the_mean(rows, ordinary):
    standardization = Standardization.of(ordinary)
    z = (rows - standardization.mean) / standardization.std
    score = standardization.pooled(rows)
    assert (score >= z.min(0) - 1e-9).all()
    assert (score <= z.mean(0) + 1e-9).all()
    for k in range(3):  # the bound of the error is the slope
        step = np.zeros_like(rows)
        step[k] = 1e-4 * standardization.std[k]
        slope = (standardization.pooled(rows + step) - standardization.pooled(rows - step)) / 2
        np.testing.assert_allclose(standardization.pooled_errors(rows, step), slope, rtol=1e-3, atol=1e-9)


def test_kernels_see_the_middles_of_cells():
    """In a table of counts; of a row with a missing cell they leave the column out."""
    X = np.random.default_rng(0).poisson([3.0, 8.0], (400, 2)).astype(float)
    X[:, 1] += X[:, 0]
    fitted = detector(stacked, max_iter=5, discrete_features=[0, 1]).fit(X)
    kernels, (cells, expert) = fitted._scoring_densities()[2], (fitted._cell_map.cells(X), fitted._scoring_experts[1])
    z = (norm.ppf((cells.low + cells.high) / 2) - expert.scaling.loc) / expert.scaling.scale
    for known in ([0, 1], [1]):
        rows = np.where(np.isin([0, 1], known), X, np.nan)
        typical = np.isfinite(expert.log_weights[0])
        oracle = KernelDensity(bandwidth=expert.bandwidth).fit(expert.points[typical][:, known])
        expected = oracle.score_samples(z[:, known]) - np.log(expert.scaling.scale[known]).sum()
        np.testing.assert_allclose(kernels._score_rows(rows), expected, atol=1e-6 if len(known) == 2 else 0.3)


def test_a_row_with_almost_no_density_has_a_finite_score():
    standardization = Standardization.of(np.zeros((2, 3)))
    assert standardization.pooled(np.full((2, 1), -1e300)) == pytest.approx(-1e301)
    assert np.isfinite(detector(stacked, max_iter=5).fit(moons()).score_samples([[1e30, 1e30]])).all()


@pytest.mark.parametrize("unit", [1e-4, 1024.0])
def test_scores_do_not_depend_on_units(unit):
    X = moons()
    plain, other = detector(stacked, max_iter=5).fit(X), detector(stacked, max_iter=5).fit(X * unit)
    np.testing.assert_allclose(other.score_samples(X * unit), plain.score_samples(X), atol=0.02)


def test_odd_training_rows_hide_no_others_like_them():
    """New rows near a few odd ones in training rank lower than they do by the density, which has learned those."""
    X, rng = normal_rows(400, 4), np.random.default_rng(1)
    odd = np.array([4.0, -4.0, 4.0, -4.0]) + 0.1 * rng.standard_normal((16, 4))
    fitted = detector(stacked, n_estimators=4).fit(np.r_[X, odd[:8]])
    new = np.r_[normal_rows(400, 4, seed=2), odd[8:]]
    labels = np.r_[np.zeros(400), np.ones(8)]
    density = stacked(n_estimators=4).fit(np.r_[X, odd[:8]])
    ours, theirs = (roc_auc_score(labels, -each.score_samples(new)) for each in (fitted, density))
    assert ours > theirs


def test_a_cell_counts_as_its_row_does_without_it():
    """Up to the errors of the integrals over the cell; and the cell that is off has the least value."""
    X = normal_rows(300, 2) @ [[1.0, 0.9], [0.0, 0.4]]
    fitted = detector(stacked, max_iter=5).fit(X)
    rows = np.array([[0.5, 0.5], [-1.0, -0.7], [0.0, np.nan]])
    without = np.stack([fitted.score_samples(np.where(np.arange(2) == j, np.nan, rows)) for j in range(2)], 1)
    cells = fitted.score_cells(rows)
    assert np.isnan(cells[2, 1])
    np.testing.assert_allclose(cells[:2], (fitted.score_samples(rows)[:, None] - without)[:2], atol=0.2)
    triples = np.random.default_rng(0).multivariate_normal(np.zeros(3), 0.9 + 0.1 * np.eye(3), 300)
    odd = detector(stacked, max_iter=5).fit(triples).score_cells([[1.0, -2.0, 1.0]])
    assert odd[0].argmin() == 1


def test_scores_of_incomplete_rows_have_errors():
    """Zero for complete rows, positive for others."""
    fitted = detector(stacked, max_iter=5).fit(normal_rows(300, 3))
    rows = np.array([[0.0, 1.0, np.nan], [0.0, 1.0, 0.5]])
    scores, errors = fitted.score_samples(rows, return_std=True)
    np.testing.assert_array_equal(scores, fitted.score_samples(rows))
    assert 0 < errors[0] < 0.5
    assert errors[1] == 0


def test_a_fit_forgets_the_densities_of_the_fit_before():
    once = detector(stacked, max_iter=5).fit(moons())
    once.set_params(stacking=False).fit(moons())
    fresh = detector(small, max_iter=5).fit(moons())
    np.testing.assert_array_equal(once.score_samples(moons()), fresh.score_samples(moons()))
    alone = plain(small(max_iter=5)).fit(moons()).score_samples(moons())
    np.testing.assert_array_equal(np.argsort(fresh.score_samples(moons())), np.argsort(alone))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slip", [-15.0, -40.0])
def test_a_slip_among_the_rows_that_are_fitted_is_found(slip, seed):
    """Whatever stands beside the flows: no component of the mixture may make the row its own."""
    X = np.random.default_rng(seed).multivariate_normal([0, 0, 0], [[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]], 300)
    X[11, 0] = slip
    fitted = detector(stacked, contamination=0.03, n_estimators=4, validation_fraction=0.25, max_iter=5).fit(X)
    assert fitted.predict(X[[11]]) == [-1]


@pytest.mark.parametrize("contamination", [0.001, 0.0999, 0.1, 1 / 3, 0.41, 0.5])  # 0.41 * 300 is less than 123
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_contamination_is_met_exactly_on_the_training_rows(contamination, dtype):
    for n in (300, 301):
        X = moons(n).astype(dtype)
        labels = detector(contamination=contamination, max_iter=20).fit_predict(X)
        assert (labels == -1).sum() == int(contamination * n + 1e-9)


def test_predict_and_decision_function_agree():
    fitted = detector(contamination=0.1).fit(moons())
    rows = np.r_[moons(), normal_rows(200, 2) * 3]
    decision = fitted.decision_function(rows)
    np.testing.assert_array_equal(decision, fitted.score_samples(rows) - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(rows), np.where(decision < 0, -1, 1))
    assert type(fitted.offset_) is float
    assert fitted.predict([[1e30, 1e30]]).tolist() == [-1]


@pytest.mark.parametrize("make", [small, stacked])
def test_auto_calls_one_in_twenty_of_the_densitys_own_rows_outliers(make):
    """Within five standard errors of both the rows that set the threshold and those that try it."""
    fitted = detector(make).fit(moons())
    drawn = fitted.sample(20_000, random_state=1)
    error = np.sqrt(0.05 * 0.95 * (1 / 20_000 + 1 / 10_000))
    assert (fitted.predict(drawn) == -1).mean() == pytest.approx(0.05, abs=5 * error)


def test_auto_calls_few_new_rows_outliers_and_strange_ones_all():
    fitted = detector(stacked, max_iter=100).fit(moons(1000))
    assert (fitted.predict(moons(1000, seed=1)) == -1).mean() < 0.12
    assert (fitted.predict(moons(1000, seed=1) + 5) == -1).all()


@pytest.mark.parametrize("contamination", ["auto", 0.13])
def test_a_weight_is_a_repetition(contamination):
    """In the threshold as in the density; zero weight is absence, of a gross outlier too."""
    X = np.r_[moons(60), [[50.0, 50.0]]]
    counts = np.r_[np.arange(60) % 4, 0]
    weighted = detector(full_batch, contamination=contamination).fit(X, sample_weight=counts)
    repeated = detector(full_batch, contamination=contamination).fit(np.repeat(X, counts, axis=0))
    assert weighted.offset_ == pytest.approx(repeated.offset_, rel=1e-6)
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), min_size=2).filter(lambda rows: any(w for _, w in rows)),
    st.floats(0.01, 0.5),
    st.sampled_from([1.0, 1 / 3, 1e-200]),
)
def test_the_threshold_is_that_of_the_repeated_rows(pairs, share, unit):
    """By counting: as many rows below as the share allows, and half-way up to the next."""
    scores, counts = np.array(pairs).T
    rows = np.sort(np.repeat(scores, counts))
    below = [r for r in rows if (rows <= r).sum() <= share * len(rows) * (1 + 1e-9)]
    rest = rows[len(below) :]
    expected = (below[-1] + rest[0]) / 2 if below else rest[0]
    assert threshold(scores.astype(float), counts * unit, share) == expected


def test_the_threshold_is_a_quantile():
    """Where the share is a whole number of rows NumPy's averaged inverted distribution function gives the same."""
    scores, counts = np.random.default_rng(0).standard_normal(500), np.random.default_rng(1).integers(0, 5, 500)
    counts[0] += -counts.sum() % 10
    expected = np.quantile(np.sort(scores), 0.1, method="averaged_inverted_cdf")
    assert threshold(scores, np.ones(500), 0.1) == expected
    repeated = np.repeat(scores, counts)
    n_below = (repeated < threshold(scores, counts, 0.1)).sum()
    assert 0 <= 0.1 * len(repeated) - n_below < counts.max()


def test_equal_rows_stay_on_one_side_of_the_threshold():
    """Though the last bits of their scores can differ with their place in the table: the cut is put where they do."""
    X, settings = np.tile(normal_rows(301, 5), (7, 1)), {"coupling": "spline", "max_iter": 2}
    scores = detector(**settings).fit(X).score_samples(X).reshape(7, 301)
    apart = np.ptp(scores, axis=0)[scores[0].argsort()][:150] > 0
    for rank in np.flatnonzero(apart)[:2] if apart.any() else [75]:
        labels = detector(contamination=(7 * rank + 6) / 2107, **settings).fit_predict(X).reshape(7, 301)
        assert (labels == labels[0]).all()
        assert (labels[0] == -1).sum() == rank


def test_data_frames_weights_and_searches_pass_through():
    table = pd.DataFrame(moons(), columns=["width", "height"])
    for contamination in ("auto", 0.1):
        labels = detector(contamination=contamination, max_iter=5).fit_predict(table, sample_weight=np.ones(400))
        assert set(labels) <= {-1, 1}
    search = GridSearchCV(detector(max_iter=5), {"n_layers": [2, 4]}, cv=2).fit(table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("contamination", ["none", 0, 0.51, -0.1, True, None, np.nan])
def test_a_contamination_out_of_range_is_refused_and_changes_nothing(contamination):
    fitted = detector(max_iter=2).fit(moons())
    before = fitted.decision_function(moons())
    with pytest.raises(
        ValueError, match=r"contamination must be one of 'auto' or a number greater than 0 and at most 0.5"
    ):
        fitted.set_params(contamination=contamination).fit(moons())
    np.testing.assert_array_equal(fitted.decision_function(moons()), before)


def test_a_fit_that_fails_at_the_threshold_changes_nothing(monkeypatch):
    fitted = detector(max_iter=2).fit(moons())
    before, offset = fitted.score_samples(moons()), fitted.offset_

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(RealNVPOutlierDetector, "sample", fail)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(moons(300))
    np.testing.assert_array_equal(fitted.score_samples(moons()), before)
    assert fitted.offset_ == offset


def test_pickles_decide_alike_and_a_seed_decides_every_bit():
    fitted = detector(stacked).fit(moons())
    twin = pickle.loads(pickle.dumps(fitted))
    again = detector(stacked).fit(moons())
    for other in (twin, again):
        np.testing.assert_array_equal(other.decision_function(moons()), fitted.decision_function(moons()))
    assert detector(stacked, random_state=1).fit(moons()).offset_ != fitted.offset_


def test_the_threshold_follows_a_stream():
    for contamination in (0.1, "auto"):
        streamed = detector(contamination=contamination)
        for start in range(0, 400, 100):
            rows = moons()[start : start + 100]
            before = getattr(streamed, "offset_", None)
            streamed.partial_fit(rows)
            assert streamed.offset_ != before
        if contamination == 0.1:
            assert (streamed.predict(rows) == -1).sum() == 10


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_another_value_than_a_constant_is_an_outlier_in_whatever_units(unit, value, contamination):
    equal = detector(max_iter=2, contamination=contamination).fit(np.full((15, 2), value * unit))
    rows = np.array([[value, value], [value + 2, value], [value, value - 1e-3]]) * unit
    np.testing.assert_array_equal(equal.predict(rows), [1, -1, -1])
    varying = np.c_[moons(200), np.full(200, value)] * unit
    watching = detector(max_iter=5, contamination=contamination).fit(varying)
    assert (watching.predict(varying + np.array([0, 0, unit])) == -1).all()
