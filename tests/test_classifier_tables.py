"""The classifier leaves its rows as they come: tables of any kind, and what `fit` passes to pipelines inside."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from scipy import special
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object

from sknvp import DensityClassifier, RealNVPDensity

from .small import full_batch, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X, Y = X[::3], Y[::3]
HOLED = np.where(np.arange(200).reshape(50, 4) % 7, X, np.nan)
NAMES = list("abcd")
KIND = np.array(["wild", "garden"])[np.arange(50) % 2]
FRAME = pd.DataFrame(X, columns=NAMES).assign(kind=KIND)
KERNELS = KernelDensity(bandwidth=0.5)
BY_NAME = make_column_transformer(("passthrough", ["d", "b"]))
ORDINAL = make_column_transformer((OrdinalEncoder(categories=[["garden", "wild"]]), ["kind"]), remainder="passthrough")
ONE_HOT = make_column_transformer(
    (OneHotEncoder(categories=[["garden", "wild"]], sparse_output=False), ["kind"]), remainder="passthrough"
)
DENSE = FunctionTransformer(lambda table: table.toarray(), accept_sparse=True)


class Record(BaseEstimator):
    """It keeps what its `fit` got; every row has the density one."""

    def fit(self, X, y=None, sample_weight=None, groups=None, note=None):
        self.got_ = {"X": X, "sample_weight": sample_weight, "groups": groups, "note": note}
        return self

    def score_samples(self, X):
        return np.zeros(len(X))


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def taken(table, places):
    """The rows of any table at these places."""
    if isinstance(table, list):
        return [table[place] for place in places]
    return table.iloc[places] if isinstance(table, pd.DataFrame) else table[places]


CASES = {
    "missing cells": (HOLED, make_pipeline(SimpleImputer(), KERNELS)),
    "columns by name, pandas": (FRAME, make_pipeline(BY_NAME, KERNELS)),
    "columns by name, polars": (pl.DataFrame(X, schema=NAMES), make_pipeline(BY_NAME, KERNELS)),
    "strings as numbers": (FRAME, make_pipeline(ORDINAL, KERNELS)),
    "strings as indicators": (FRAME, make_pipeline(ONE_HOT, KERNELS)),
    "lists": (HOLED.tolist(), make_pipeline(SimpleImputer(), KERNELS)),
    "sparse": (sp.csr_array(X), make_pipeline(DENSE, KERNELS)),
    "texts": (KIND.tolist(), make_pipeline(CountVectorizer(vocabulary=["garden", "wild"]), DENSE, KERNELS)),
    "a flow behind an imputer": (pd.DataFrame(HOLED), make_pipeline(SimpleImputer(), small(max_iter=2))),
}
every_table = pytest.mark.parametrize(("table", "density"), CASES.values(), ids=CASES)


@every_table
def test_each_density_is_fitted_to_the_rows_of_its_class_as_they_are(table, density):
    classifier = DensityClassifier(density).fit(table, Y)
    joint = [
        clone(density).fit(taken(table, np.flatnonzero(c == Y))).score_samples(table) + np.log(np.mean(c == Y))
        for c in range(3)
    ]
    np.testing.assert_allclose(classifier.predict_joint_log_proba(table), np.transpose(joint))
    np.testing.assert_allclose(classifier.predict_proba(table), special.softmax(joint, 0).T)


@every_table
def test_scikit_learns_meta_estimators_take_the_table(table, density):
    plain = DensityClassifier(density)
    folds = [(np.flatnonzero(np.arange(50) % 2 != k), np.flatnonzero(np.arange(50) % 2 == k)) for k in range(2)]
    by_hand = [plain.fit(taken(table, train), Y[train]).score(taken(table, test), Y[test]) for train, test in folds]
    np.testing.assert_allclose(cross_val_score(plain, table, Y, cv=folds), by_hand)
    voting = VotingClassifier([("one", plain)], voting="soft").fit(table, Y)
    np.testing.assert_allclose(voting.predict_proba(table), plain.fit(table, Y).predict_proba(table))
    calibrated = CalibratedClassifierCV(plain, cv=2).fit(table, Y)
    np.testing.assert_allclose(calibrated.predict_proba(table).sum(1), 1)


def test_searches_reach_into_pipelines():
    holed, pipe = CASES["missing cells"]
    grid = {"estimator__simpleimputer__strategy": ["mean", "constant"], "estimator__kerneldensity__bandwidth": [0.3, 3]}
    search = GridSearchCV(DensityClassifier(pipe), grid, cv=3, scoring="neg_log_loss").fit(holed, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    for density in search.best_estimator_.estimators_:
        assert density["simpleimputer"].strategy == search.best_params_["estimator__simpleimputer__strategy"]


@pytest.mark.parametrize("density", [KERNELS, small(max_iter=1), make_pipeline(SimpleImputer(), KERNELS)], ids=str)
@pytest.mark.parametrize("table", [FRAME[NAMES], pl.DataFrame(X, schema=NAMES)], ids=["pandas", "polars"])
def test_columns_are_remembered_and_compared(table, density):
    classifier = DensityClassifier(density).fit(table, Y)
    for fitted in (classifier, *classifier.estimators_):
        assert fitted.feature_names_in_.tolist() == NAMES
        assert fitted.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(table[NAMES[::-1]])
    with pytest.raises(ValueError, match="expecting 4 features"):
        classifier.fit(X, Y).predict(X[:, :3])
    assert not hasattr(classifier, "feature_names_in_")


def test_columns_are_compared_where_the_density_compares_none():
    classifier = DensityClassifier(Record()).fit(FRAME, Y)
    assert classifier.predict_proba(FRAME).shape == (50, 3)
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(FRAME[FRAME.columns[::-1]])


def test_a_density_that_picks_columns_by_name_takes_them_in_any_order():
    table, density = CASES["columns by name, pandas"]
    classifier = DensityClassifier(density).fit(table, Y)
    np.testing.assert_array_equal(
        classifier.predict_proba(table[["kind", *NAMES[::-1]]]), classifier.predict_proba(table)
    )


COUNTS = np.arange(50) % 3
FILLED = make_pipeline(SimpleImputer(strategy="constant"), full_batch(max_iter=5))


def assert_weights_repeat(classifier, **weights):
    weighted, plain = (clone(classifier).fit(X, Y, **given).predict_joint_log_proba(X) for given in (weights, {}))
    repeated = clone(classifier).fit(np.repeat(X, COUNTS, axis=0), np.repeat(Y, COUNTS)).predict_joint_log_proba(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6, atol=1e-6)
    assert abs(weighted - plain).max() > 0.01


@pytest.mark.parametrize("density", [FILLED, make_pipeline(FILLED), make_pipeline(BY_NAME, KERNELS)[1:]], ids=len)
def test_weights_go_to_the_last_step_of_a_pipeline(density):
    assert_weights_repeat(DensityClassifier(density), sample_weight=COUNTS)


@pytest.mark.usefixtures("routing")
def test_weights_go_to_every_step_that_requests_them():
    scaler = StandardScaler().set_fit_request(sample_weight=True)
    density = full_batch(max_iter=5, standardize=False).set_fit_request(sample_weight=True)
    assert_weights_repeat(DensityClassifier(make_pipeline(scaler, density)), sample_weight=COUNTS)


@pytest.mark.usefixtures("routing")
def test_weights_go_into_a_search_of_each_class():
    density = small(max_iter=5).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(density, {"alpha": [0.1, 1.0]}, cv=2)
    found = DensityClassifier(search).fit(X, Y, sample_weight=COUNTS).estimators_
    for c, ours in enumerate(found):
        rows = (c == Y) & (COUNTS > 0)
        theirs = clone(search).fit(X[rows], sample_weight=COUNTS[rows])
        np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
        np.testing.assert_array_equal(ours.score_samples(X), theirs.score_samples(X))


@pytest.mark.usefixtures("routing")
def test_the_default_density_requests_all_that_it_takes():
    requests = get_routing_for_object(DensityClassifier())
    of_density = dict(requests)["estimator"].router.fit.requests
    assert of_density["sample_weight"] is True
    assert set(of_density.values()) == {True}
    assert requests.consumes("fit", ["sample_weight"]) == {"sample_weight"}
    assert get_routing_for_object(RealNVPDensity()).fit.requests["sample_weight"] is None


@pytest.mark.usefixtures("routing")
def test_with_routing_rows_of_weight_zero_are_absent_from_a_cross_validation():
    density = small(max_iter=5).set_fit_request(sample_weight=True)
    classifier = DensityClassifier(density).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    rows, y, weights = np.r_[X, 50 + X[::2]], np.r_[Y, Y[::2]], np.r_[np.ones(50), np.zeros(25)]
    folds = [(np.flatnonzero(np.arange(75) % 3 != k), np.flatnonzero(np.arange(75) % 3 == k)) for k in range(3)]
    clean = [tuple(part[part < 50] for part in fold) for fold in folds]
    scores = cross_val_score(classifier, rows, y, cv=folds, params={"sample_weight": weights})
    np.testing.assert_allclose(scores, cross_val_score(classifier, X, Y, cv=clean))


GROUPS = np.arange(50) // 5
AS_GROUPS = {
    "array": GROUPS,
    "list": GROUPS.tolist(),
    "tuple": tuple(GROUPS.tolist()),
    "pandas": pd.Series(GROUPS, index=range(100, 150)),
    "polars": pl.Series(GROUPS),
}


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("groups", AS_GROUPS.values(), ids=AS_GROUPS)
def test_further_parameters_reach_each_density_with_its_rows(groups, routed):
    with sklearn.config_context(enable_metadata_routing=routed):
        density = Record()
        if routed:
            density.set_fit_request(sample_weight=True, groups=True, note=True)
        note = "n" * 50  # a text as long as there are rows is no array of them
        fitted = DensityClassifier(density).fit(X, Y, sample_weight=COUNTS, groups=groups, note=note)
    for c, estimator in enumerate(fitted.estimators_):
        rows = (c == Y) & (COUNTS > 0)
        np.testing.assert_array_equal(estimator.got_["X"], X[rows])
        np.testing.assert_array_equal(estimator.got_["groups"], GROUPS[rows])
        np.testing.assert_array_equal(estimator.got_["sample_weight"], COUNTS[rows])
        assert estimator.got_["note"] == note


def test_parameters_of_steps_pass_without_routing():
    pipe = make_pipeline(SimpleImputer(), Record())
    fitted = DensityClassifier(pipe).fit(X, Y, record__groups=GROUPS, record__note=np.arange(3))
    for c, estimator in enumerate(fitted.estimators_):
        np.testing.assert_array_equal(estimator["record"].got_["groups"], GROUPS[c == Y])
        np.testing.assert_array_equal(estimator["record"].got_["note"], np.arange(3))


def test_a_single_row_of_weight_two_is_two_rows_of_any_table():
    table, y = FRAME.iloc[[0, 1, 40]], [0, 0, 1]
    got = DensityClassifier(Record()).fit(table, y, sample_weight=[1, 1, 3], groups=[4, 5, 6]).estimators_[1].got_
    pd.testing.assert_frame_equal(got["X"], FRAME.iloc[[40, 40]])
    assert got["groups"] == [6, 6]
    assert got["sample_weight"].tolist() == [1.5, 1.5]


@pytest.mark.usefixtures("routing")
def test_with_routing_a_density_gets_what_it_requests_and_nothing_else():
    unasked = DensityClassifier(Record().set_fit_request(sample_weight=False, groups="families"))
    fitted = unasked.fit(X, Y, sample_weight=COUNTS, families=GROUPS)
    np.testing.assert_allclose(fitted.class_prior_, np.bincount(Y, COUNTS) / COUNTS.sum())
    assert fitted.estimators_[0].got_["sample_weight"] is None
    np.testing.assert_array_equal(fitted.estimators_[0].got_["groups"], GROUPS[(Y == 0) & (COUNTS > 0)])
    with pytest.raises(UnsetMetadataPassedError, match=r"not explicitly set .* Record\.fit"):
        DensityClassifier(Record()).fit(X, Y, sample_weight=COUNTS)
    with pytest.raises(TypeError, match=r"DensityClassifier\.fit got unexpected argument.*colours"):
        DensityClassifier(Record()).fit(X, Y, colours=GROUPS)


@pytest.mark.parametrize("routed", [False, True])
def test_weights_that_would_not_arrive_are_refused(routed):
    densities = (
        [GaussianMixture()] if routed else [GaussianMixture(), make_pipeline(StandardScaler(), GaussianMixture())]
    )
    for density in densities:
        message = rf"sample_weight must be None with {type(density).__name__}.*takes weights"
        with sklearn.config_context(enable_metadata_routing=routed), pytest.raises(ValueError, match=message):
            DensityClassifier(density).fit(X, Y, sample_weight=COUNTS)


def test_a_fit_that_fails_in_a_pipeline_loses_nothing():
    table, density = CASES["strings as numbers"]
    classifier = DensityClassifier(density).fit(table, Y)
    before = pickle.dumps(classifier)
    strange = table.assign(kind=np.where(Y == 2, "rare", KIND), e=0)
    for bad in (
        lambda: classifier.fit(strange, Y),
        lambda: classifier.fit(table, Y, sample_weight=-COUNTS),
        lambda: classifier.fit(None, Y),
        lambda: classifier.fit(table[:0], Y[:0]),
        lambda: classifier.fit(table, Y[1:]),
        lambda: classifier.fit(table, None),
    ):
        with pytest.raises(
            ValueError, match=r"class 2 .*rare|not be negative|at least one row, got|inconsistent|target y is None"
        ):
            bad()
        assert pickle.dumps(classifier) == before
    with pytest.raises(TypeError, match="colours"):
        classifier.fit(table, Y, kerneldensity__colours=3)
    assert pickle.dumps(classifier) == before


def test_the_density_says_which_rows_are_taken():
    class Tolerant(Record):
        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = tags.input_tags.sparse = True
            return tags

    for density, takes in ((Tolerant(), (True, True)), (Record(), (False, False)), (None, (True, False))):
        tags = get_tags(DensityClassifier(density)).input_tags
        assert (tags.allow_nan, tags.sparse) == takes
