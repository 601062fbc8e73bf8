"""Filling missing cells: means and draws of a known distribution, and an imputer's citizenship of scikit-learn."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknvp import RealNVPImputer

from .small import small, stacked
from .test_incomplete_rows import COVARIANCE, MEAN, frame_with_holes, normal, with_holes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:.* rows have no known")


@parametrize_with_checks([RealNVPImputer(small(max_iter=3), random_state=0)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def conditional_means(rows):
    """The means of all cells given the known ones."""
    means = rows.copy()
    for row in means:
        known = ~np.isnan(row)
        gain = np.linalg.solve(COVARIANCE[np.ix_(known, known)], COVARIANCE[np.ix_(known, ~known)]).T
        row[~known] = MEAN[~known] + gain @ (row[known] - MEAN[known])
    return means


def test_cells_get_their_means_given_the_known_ones():
    rows = with_holes(normal(300, 2))
    filled = RealNVPImputer(stacked(), random_state=0).fit(with_holes(normal())).transform(rows)
    known = ~np.isnan(rows)
    np.testing.assert_array_equal(filled[known], rows[known])
    error = filled - conditional_means(rows)
    assert np.sqrt(np.mean(error[~known] ** 2)) < 0.25
    assert abs(error[~known].mean()) < 0.05


def test_means_of_a_row_are_equal_at_every_call_and_depend_on_no_other_row():
    for X in (with_holes(normal(60, 2)), frame_with_holes(60)):
        imputer = RealNVPImputer(small(max_iter=3, discrete_features="auto")).fit(X)
        filled = pd.DataFrame(imputer.transform(X))
        pd.testing.assert_frame_equal(pd.DataFrame(imputer.transform(X)), filled)
        some = pd.DataFrame(imputer.transform(X[20:40])).set_axis(range(20, 40))
        pd.testing.assert_frame_equal(some, filled[20:40])


def test_draws_keep_the_covariances_that_means_lose():
    X = with_holes(normal(1500), 0.4)
    density = stacked()
    drawn = RealNVPImputer(density, sample_posterior=True, random_state=0).fit(X).transform(X)
    means = RealNVPImputer(density, random_state=0).fit(X).transform(X)
    np.testing.assert_allclose(np.cov(drawn.T), COVARIANCE, atol=0.15)
    assert (means.var(0) < drawn.var(0)).all()


def test_equal_seeds_give_equal_tables():
    X = with_holes(normal(200))
    for sample_posterior in (False, True):
        first, second = (
            RealNVPImputer(small(max_iter=3), sample_posterior=sample_posterior, random_state=0).fit_transform(X)
            for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("sample_posterior", [False, True])
def test_frames_come_back_as_they_were(sample_posterior):
    table = frame_with_holes()
    imputer = RealNVPImputer(small(max_iter=10), sample_posterior=sample_posterior, random_state=0).fit(table)
    filled = imputer.transform(table)
    assert not filled.isna().any().any()
    assert (filled.dtypes == table.dtypes).all()
    assert list(filled.columns) == list(table.columns) == list(imputer.get_feature_names_out())
    shifted = table.set_index(np.arange(100, 600))
    assert (imputer.transform(shifted).index == shifted.index).all()
    known = table.notna()
    assert (filled[known["kind"]]["kind"] == table[known["kind"]]["kind"]).all()
    assert set(filled["kind"]) == {"a", "b"}
    again = pickle.loads(pickle.dumps(imputer)).transform(table)
    pd.testing.assert_frame_equal(again, filled)


def test_it_works_in_pipelines_and_searches():
    X, y = with_holes(normal(300)), normal(300)[:, 0] > 1
    pipeline = make_pipeline(RealNVPImputer(small(max_iter=5), random_state=0), LogisticRegression())
    grid = {"realnvpimputer__sample_posterior": [False, True]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.7
    frame = pd.DataFrame(X, columns=list("abc"))
    filled = RealNVPImputer(small(max_iter=3), random_state=0).set_output(transform="pandas").fit_transform(frame)
    assert list(filled.columns) == list("abc")
    assert (
        make_pipeline(RealNVPImputer(small(max_iter=3)), HistGradientBoostingClassifier()).fit(X, y).score(X, y) > 0.9
    )


def test_bad_input_is_refused_and_nothing_is_lost():
    X = with_holes(normal(60))
    imputer = RealNVPImputer(small(max_iter=2), random_state=0).fit(X)
    before = imputer.transform(X)
    with pytest.raises(ValueError, match="X must have a known cell, got missing ones alone"):
        imputer.fit(np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        imputer.fit(np.where([[0, 1, 0]], np.inf, X))
    with pytest.raises(ValueError, match="estimator must be None or a RealNVPDensity, got LogisticRegression"):
        RealNVPImputer(LogisticRegression()).fit(X)
    with pytest.raises(ValueError, match="sample_posterior must be"):
        RealNVPImputer(sample_posterior="no").fit(X)
    with pytest.raises(NotFittedError):
        RealNVPImputer().transform(X)
    np.testing.assert_array_equal(imputer.transform(X), before)


@pytest.mark.parametrize("library", [None, "pandas", "polars"])
@pytest.mark.parametrize("add_indicator", [False, True])
@pytest.mark.parametrize("keep_empty_features", [False, True])
def test_empty_columns_and_indicators_are_those_of_scikit_learns_imputers(library, add_indicator, keep_empty_features):
    X = with_holes(normal(60))
    X[:, 1] = np.nan
    options = {"add_indicator": add_indicator, "keep_empty_features": keep_empty_features}
    ours, theirs = RealNVPImputer(small(max_iter=2), **options), SimpleImputer(**options)
    if keep_empty_features:
        expected = theirs.fit(X).transform(X)
    else:
        with pytest.warns(UserWarning, match="without any observed"):
            expected = theirs.fit(X).transform(X)
    table = X if library is None else pytest.importorskip(library).DataFrame(dict(zip("abc", X.T, strict=True)))
    if keep_empty_features:
        ours.fit(table)
    else:
        with pytest.warns(UserWarning, match=r"Column (1|b) of X has no known value, and is left out"):
            ours.fit(table)
    filled = ours.transform(table)
    names = ["a", "b", "c"] if library else ["x0", "x1", "x2"]
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out(names).tolist()
    if library:
        assert list(filled.columns) == ours.get_feature_names_out().tolist()
        filled = filled.to_numpy()
    assert filled.shape == expected.shape
    known = ~np.isnan(X[:, 0])
    np.testing.assert_array_equal(filled[known, 0], X[known, 0])
    n_filled = 3 if keep_empty_features else 2
    np.testing.assert_array_equal(filled[:, n_filled:], expected[:, n_filled:])
    assert (filled[:, 1] == 0).all() == keep_empty_features
