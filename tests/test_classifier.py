"""The classifier: Bayes' rule against scikit-learn's own, and any density in it."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_blobs, make_moons
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknvp import DensityClassifier, RealNVPDensity

from .small import full_batch, moons, normal_rows, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
FAR = np.array([[1e3] * 4, [1e9] * 4, [1e30] * 4, [1e160] * 4, [-1e300] * 4])


class Normal(BaseEstimator):
    """A normal distribution by SciPy; ``ddof`` as NumPy's."""

    def __init__(self, ddof=1, diagonal=False):
        self.ddof = ddof
        self.diagonal = diagonal

    def fit(self, X, y=None, sample_weight=None):
        weights = np.ones(len(X)) if sample_weight is None else sample_weight
        self.mean_ = np.average(X, axis=0, weights=weights)
        covariance = np.cov(X.T, aweights=weights, ddof=self.ddof)
        self.covariance_ = np.diag(np.diag(covariance)) if self.diagonal else covariance
        return self

    def score_samples(self, X):
        return stats.multivariate_normal(self.mean_, self.covariance_).logpdf(X).reshape(len(X))


@parametrize_with_checks(
    [
        DensityClassifier(full_batch(max_iter=5)),
        DensityClassifier(small(max_iter=5, random_state=None)),
        DensityClassifier(KernelDensity()),
        DensityClassifier(make_pipeline(FunctionTransformer(), KernelDensity())),
    ]
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_normal_densities_are_quadratic_discriminant_analysis():
    theirs = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, Y)
    unbiased = np.allclose(theirs.covariance_[0], np.cov(X[Y == 0].T))  # depends on the version
    ours = DensityClassifier(Normal(ddof=int(unbiased))).fit(X, Y)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.class_prior_, theirs.priors_)
    ours.fit(X, Y > 0), theirs.fit(X, Y > 0)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), rtol=1e-6, atol=1e-6)


def test_the_decision_is_the_log_odds_of_two_classes_and_the_log_probability_of_more():
    two = DensityClassifier(Normal()).fit(X, Y > 0)
    np.testing.assert_allclose(special.expit(two.decision_function(X)), two.predict_proba(X)[:, 1])
    three = DensityClassifier(Normal()).fit(X, Y)
    np.testing.assert_array_equal(three.decision_function(X), three.predict_log_proba(X))


def test_calibration_makes_probabilities_less_sure():
    """Densities of 40 rows in 12 columns that tell nothing: too sure, until rows held out say how sure they may be."""
    rows, y = normal_rows(400, 12), np.arange(400) % 2
    losses = [
        log_loss(y[80:], classifier.fit(rows[:80], y[:80]).predict_proba(rows[80:]))
        for classifier in (DensityClassifier(Normal()), CalibratedClassifierCV(DensityClassifier(Normal()), cv=3))
    ]
    assert losses[0] > 2 * np.log(2)
    assert losses[1] == pytest.approx(np.log(2), abs=0.15)


@pytest.mark.parametrize("weights", [None, np.arange(150) % 4])
@pytest.mark.parametrize("priors", [None, [0.2, 0.3, 0.5]])
def test_normal_columns_are_naive_bayes(weights, priors):
    ours = DensityClassifier(Normal(ddof=0, diagonal=True), priors=priors).fit(X, Y, sample_weight=weights)
    theirs = GaussianNB(priors=priors, var_smoothing=0).fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), theirs.predict_joint_log_proba(X), rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(ours.class_prior_, theirs.class_prior_)


@pytest.mark.parametrize("density", [KernelDensity(bandwidth=0.3), GaussianMixture(2, random_state=0)], ids=str)
def test_bayes_rule_holds_for_any_density(density):
    names = np.array(["rose", "iris", "lily"])[Y]
    classifier = DensityClassifier(density).fit(X, names)
    assert classifier.classes_.tolist() == ["iris", "lily", "rose"]
    joint = [clone(density).fit(X[names == c]).score_samples(X) + np.log(1 / 3) for c in classifier.classes_]
    np.testing.assert_allclose(classifier.predict_joint_log_proba(X), np.transpose(joint))
    np.testing.assert_allclose(classifier.score_samples(X), special.logsumexp(joint, 0))
    np.testing.assert_allclose(classifier.predict_proba(X), special.softmax(joint, 0).T)
    np.testing.assert_array_equal(classifier.predict(X), classifier.classes_[np.argmax(joint, 0)])


def test_the_density_of_the_rows_integrates_to_one():
    rows, y = make_moons(200, noise=0.2, random_state=0)
    classifier = DensityClassifier(small(max_iter=20, n_estimators=1)).fit(rows, y)  # without narrow parts
    x = np.linspace(-8, 9, 601)
    p = np.exp(classifier.score_samples(np.stack(np.meshgrid(x, x), -1).reshape(-1, 2))).reshape(601, 601)
    assert integrate.simpson(integrate.simpson(p, x=x), x=x) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("density", [Normal(), KernelDensity(kernel="tophat"), full_batch(max_iter=3)], ids=str)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_probabilities_add_up_to_one_however_far_outside(density):
    rows = np.r_[X[::10], FAR] if isinstance(density, Normal) else np.r_[X[::10], FAR[:3]]
    classifier = DensityClassifier(density).fit(X, Y)
    proba = classifier.predict_proba(rows)
    np.testing.assert_allclose(proba.sum(1), 1)
    assert (proba >= 0).all()
    np.testing.assert_array_equal(classifier.predict(rows), proba.argmax(1))
    assert not np.isnan(classifier.score_samples(rows)).any()


def test_where_no_class_has_any_density_the_priors_stay():
    classifier = DensityClassifier(KernelDensity(kernel="tophat"), priors=[0.2, 0.5, 0.3]).fit(X, Y)
    np.testing.assert_allclose(classifier.predict_proba(FAR[:1]), [[0.2, 0.5, 0.3]])
    assert classifier.predict(FAR[:1]).tolist() == [1]
    assert classifier.score_samples(FAR[:1]).tolist() == [-np.inf]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never = DensityClassifier(KernelDensity(kernel="tophat"), priors=[0, 0.5, 0.5]).fit(X, Y)
        np.testing.assert_array_equal(never.predict_proba(np.r_[X, FAR[:1]])[:, 0], 0)


def test_rows_of_no_class_score_below_all_others():
    classifier = DensityClassifier(small()).fit(X, Y)
    assert classifier.score_samples(FAR[:3]).max() < classifier.score_samples(X).min()


def test_curved_classes_are_told_apart():
    """Two moons, which normal distributions cannot tell apart so well."""
    rows, y = make_moons(800, noise=0.1, random_state=0)
    classifier = DensityClassifier(small(coupling="spline"), random_state=0).fit(rows[:400], y[:400])
    normal = QuadraticDiscriminantAnalysis().fit(rows[:400], y[:400])
    assert classifier.score(rows[400:], y[400:]) > max(0.97, normal.score(rows[400:], y[400:]))


@pytest.mark.parametrize("density", [KernelDensity(), full_batch()], ids=str)
def test_a_weight_is_a_repetition(density):
    """In the densities as in the priors; a class of which all rows weigh zero is absent."""
    counts = np.where(Y == 1, 0, np.arange(150) % 3)
    weighted = DensityClassifier(density).fit(X, Y, sample_weight=counts)
    repeated = DensityClassifier(density).fit(np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    np.testing.assert_array_equal(weighted.classes_, [0, 2])
    np.testing.assert_allclose(weighted.class_prior_, repeated.class_prior_)
    np.testing.assert_allclose(
        weighted.predict_joint_log_proba(X), repeated.predict_joint_log_proba(X), rtol=1e-6, atol=1e-6
    )


def test_a_row_of_weight_two_is_two_rows():
    rows, y = np.r_[moons(20), [[9.0, 9.0]]], np.repeat([0, 1], [20, 1])
    weighted = DensityClassifier(small(max_iter=2)).fit(rows, y, sample_weight=[1] * 20 + [2])
    repeated = DensityClassifier(small(max_iter=2)).fit(np.r_[rows, rows[-1:]], np.r_[y, 1])
    np.testing.assert_allclose(weighted.predict_joint_log_proba(rows), repeated.predict_joint_log_proba(rows))
    with pytest.raises(ValueError, match="class 1 "):
        DensityClassifier(small(max_iter=2)).fit(rows, y, sample_weight=[1] * 21)


def test_a_seed_gives_each_class_its_own():
    rows = np.r_[moons(40), moons(40)]
    y = np.repeat([0, 1], 40)
    twins = DensityClassifier(small(max_iter=2)).fit(rows, y)
    np.testing.assert_allclose(twins.predict_proba(rows), 0.5)
    fits = [DensityClassifier(small(max_iter=2), random_state=seed).fit(rows, y) for seed in (0, 0, 1)]
    a, b, c = (fit.predict_joint_log_proba(rows) for fit in fits)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a[:, 0], a[:, 1])
    seeds = [estimator.random_state for estimator in fits[0].estimators_]
    assert len(set(seeds)) == 2
    assert small().random_state == 0 != seeds[0]


def test_a_seed_reaches_into_pipelines():
    pipe = make_pipeline(StandardScaler(), small(max_iter=2, random_state=None))
    a, b = (DensityClassifier(pipe, random_state=0).fit(X, Y).predict_joint_log_proba(X) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_classes_at_once_as_one_after_the_other():
    series, parallel = (DensityClassifier(small(max_iter=2), n_jobs=n, random_state=0).fit(X, Y) for n in (1, 2))
    np.testing.assert_array_equal(series.predict_joint_log_proba(X), parallel.predict_joint_log_proba(X))


def test_searches_reach_the_density():
    grid = {"estimator__n_layers": [1, 2], "priors": [None, [1 / 3] * 3]}
    search = GridSearchCV(DensityClassifier(small(max_iter=2)), grid, cv=2, scoring="neg_log_loss").fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert [fit.n_layers for fit in search.best_estimator_.estimators_] == [
        search.best_params_["estimator__n_layers"]
    ] * 3
    assert cross_val_score(DensityClassifier(Normal()), X, Y).mean() > 0.95


def test_the_default_is_real_nvp_density_left_alone_by_clones():
    classifier = DensityClassifier()
    assert classifier.estimator is None
    assert classifier._checked_estimator(weighted=True).get_params() == RealNVPDensity().get_params()
    density = small(max_iter=2)
    twin = clone(DensityClassifier(density, priors=[0.5, 0.5]))
    assert twin.estimator is not density
    assert not hasattr(DensityClassifier(density).fit(X, Y).estimator, "n_iter_")


def test_tables_and_pickles():
    table = pd.DataFrame(X, columns=list("abcd"))
    classifier = DensityClassifier(small(max_iter=2)).fit(table, pd.Series(Y).astype("category"))
    assert classifier.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(classifier.predict(table), DensityClassifier(small(max_iter=2)).fit(X, Y).predict(X))
    twin = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(twin.predict_proba(table), classifier.predict_proba(table))
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(table[list("badc")])


def test_one_class_is_certain():
    rows = make_blobs(20, random_state=0)[0]
    np.testing.assert_array_equal(DensityClassifier(KernelDensity()).fit(rows, np.ones(20)).predict_proba(rows), 1)


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([0.5, 0.5], r"priors must have shape \(n_classes,\) = \(3,\), got \(2,\)"),
        ([0.5, 0.6, 0.5], r"must add up to 1, got \[0.5, 0.6, 0.5\]"),
        ([-0.5, 1, 0.5], "priors must not be negative"),
        ([np.nan, 0.5, 0.5], "priors must not be negative and must add up to 1"),
        ({0: 0.2, 1: 0.3, 2: 0.5}, r"priors must be None or an array of 3 probabilities, got \{0: 0.2"),
        ("uniform", "priors must be None or an array of 3 probabilities, got 'uniform'. List them in the order of"),
    ],
)
def test_priors_that_are_none_are_refused(priors, message):
    with pytest.raises(ValueError, match=message):
        DensityClassifier(KernelDensity(), priors=priors).fit(X, Y)


def test_what_cannot_be_fitted_is_named():
    y = np.array(["many"] * 149 + ["one"])
    with pytest.raises(ValueError, match=r"class 'one' .* 1 row\(s\): .*minimum of 2 is required"):
        DensityClassifier(small(max_iter=2)).fit(X, y)
    with pytest.raises(ValueError, match="sample_weight must be None with GaussianMixture"):
        DensityClassifier(GaussianMixture()).fit(X, Y, sample_weight=np.ones(150))
    with pytest.raises(ValueError, match="estimator must have score_samples, got GaussianNB"):
        DensityClassifier(GaussianNB()).fit(X, Y)
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        DensityClassifier(KernelDensity()).fit(X, Y, sample_weight=-np.ones(150))
    with pytest.raises(NotFittedError, match="not fitted"):
        DensityClassifier().predict(X)


def test_a_failed_fit_changes_nothing():
    classifier = DensityClassifier(small(max_iter=2)).fit(X, Y)
    before = pickle.dumps(classifier)
    with pytest.raises(ValueError, match="class 7"):
        classifier.fit(moons(5), [7, 8, 8, 8, 8])
    assert pickle.dumps(classifier) == before


def constant_in_one_class(n, unit, value=0.0, seed=0):
    """Rows of two classes; the second column has one value in the first class, and is exponential in the other."""
    rng, y = np.random.default_rng(seed), np.arange(n) % 2
    return np.c_[rng.normal(size=n), unit * (value + y * rng.exponential(size=n))], y


@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("unit", [2.0**-10, 1.0, 2.0**10])
@pytest.mark.parametrize(
    "make",
    [
        small,
        lambda: make_pipeline(FunctionTransformer(), small()),
        lambda: GridSearchCV(small(max_iter=3), {"alpha": [0.1]}, cv=2),
    ],
    ids=["density", "pipeline", "search"],
)
def test_a_column_that_is_constant_in_one_class_decides_in_whatever_units(make, unit, value):
    classifier = DensityClassifier(make()).fit(*constant_in_one_class(100, unit, value))
    X, y = constant_in_one_class(400, unit, value, seed=1)
    right = classifier.predict_proba(X)[np.arange(400), y]
    assert right.min() > 0.99
    in_units_of_one = DensityClassifier(make()).fit(*constant_in_one_class(100, 1.0, value))
    ones = constant_in_one_class(400, 1.0, value, seed=1)[0]
    change = classifier.score_samples(X) - in_units_of_one.score_samples(ones)
    np.testing.assert_allclose(change[y == 1], -np.log(unit), rtol=1e-9, atol=1e-9)
    has_probability = make is small and value == 0  # behind pipelines each class describes its own columns
    np.testing.assert_allclose(change[y == 0], 0 if has_probability else -np.log(unit), rtol=1e-9, atol=1e-9)


def test_two_constants_tell_two_classes_apart():
    X, y = normal_rows(60, 2), np.arange(60) % 2
    X[:, 1] = np.where(y, 5.0, 3.0)
    assert DensityClassifier(small(max_iter=3)).fit(X, y).score(X, y) == 1


def test_weights_are_repetitions_where_a_column_is_constant():
    X, y = constant_in_one_class(40, 1.0)
    counts = np.arange(40) % 3
    weighted = DensityClassifier(full_batch(max_iter=2)).fit(X, y, sample_weight=counts)
    repeated = DensityClassifier(full_batch(max_iter=2)).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.predict_log_proba(X), repeated.predict_log_proba(X), rtol=1e-6)
