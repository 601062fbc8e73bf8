"""Weights reach the scores in searches, cross-validations, pipelines and calibrated classifiers."""

import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metadata_routing import get_routing_for_object

import sknvp
from sknvp.metrics import neg_crps_scorer, neg_energy_scorer

from .small import moons, normal_rows, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = moons(60)
JUNK = np.random.default_rng(0).normal(0, 100, (30, 2))
ROWS, WEIGHTS = np.r_[X, JUNK], np.r_[np.ones(60), np.zeros(30)]
FOLDS = [(np.flatnonzero(np.arange(90) % 3 != k), np.flatnonzero(np.arange(90) % 3 == k)) for k in range(3)]
CLEAN_FOLDS = [tuple(part[part < 60] for part in fold) for fold in FOLDS]


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def weighted(density):
    """The density asks for weights in `fit` and in `score`."""
    return density.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("stacking", [False, True])
def test_a_search_with_junk_of_weight_zero_is_one_without_the_junk(stacking):
    density, grid = weighted(small(max_iter=20, stacking=stacking)), {"n_layers": [1, 2]}
    search = GridSearchCV(density, grid, cv=FOLDS).fit(ROWS, sample_weight=WEIGHTS)
    clean = GridSearchCV(density, grid, cv=CLEAN_FOLDS).fit(X, sample_weight=WEIGHTS[:60])
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], clean.cv_results_["mean_test_score"])
    assert search.best_params_ == clean.best_params_
    assert search.score(ROWS, sample_weight=WEIGHTS) == pytest.approx(clean.score(X))


@pytest.mark.usefixtures("routing")
def test_a_cross_validation_scores_weights_as_repetitions():
    counts = 1 + np.arange(60) % 2
    places = np.repeat(np.arange(60), counts)
    folds = [(np.flatnonzero(np.arange(60) % 2 != k), np.flatnonzero(np.arange(60) % 2 == k)) for k in range(2)]
    repeated_folds = [tuple(np.flatnonzero(np.isin(places, part)) for part in fold) for fold in folds]
    density = weighted(small(max_iter=5))
    once = cross_validate(density, X, cv=folds, params={"sample_weight": counts}, return_train_score=True)
    repeated = cross_validate(density, X[places], cv=repeated_folds, return_train_score=True)
    for name in ("test_score", "train_score"):
        np.testing.assert_allclose(once[name], repeated[name], rtol=1e-9)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("scorer", [neg_crps_scorer, neg_energy_scorer])
def test_a_cross_validation_weighs_scores_of_draws(scorer):
    y, counts = X[:, 1], 1 + np.arange(60) % 3
    density = sknvp.ConditionalRealNVPDensity(n_layers=1, max_iter=1, random_state=0).set_fit_request(
        sample_weight=False
    )
    weighted = sklearn.base.clone(scorer).set_score_request(sample_weight=True)
    folds = [(np.arange(40), np.arange(40, 60))]
    (score,) = cross_val_score(density, X, y, scoring=weighted, cv=folds, params={"sample_weight": counts})
    fitted = density.fit(X[:40], y[:40])
    assert score == scorer(fitted, X[40:], y[40:], sample_weight=counts[40:]) != scorer(fitted, X[40:], y[40:])


@pytest.mark.usefixtures("routing")
def test_weights_pass_through_a_pipeline_to_the_score():
    pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), weighted(small(max_iter=5)))
    pipe.set_score_request(sample_weight=True)  # scikit-learn 1.6 asks the pipeline too
    scores = cross_val_score(pipe, ROWS, cv=FOLDS, params={"sample_weight": WEIGHTS})
    np.testing.assert_allclose(scores, cross_val_score(pipe, X, cv=CLEAN_FOLDS))


@pytest.mark.usefixtures("routing")
def test_weights_that_are_not_asked_for_are_refused_by_scikit_learn():
    density = small(max_iter=5).set_fit_request(sample_weight=True)
    with pytest.raises(ValueError, match=r"not explicitly set as requested .* for RealNVPDensity\.score"):
        GridSearchCV(density, {"n_layers": [1]}, cv=2).fit(ROWS, sample_weight=WEIGHTS)


@pytest.mark.usefixtures("routing")
def test_a_calibrated_classifier_scores_with_weights():
    classifier = sknvp.DensityClassifier(small(max_iter=5).set_fit_request(sample_weight=True))
    calibrated = CalibratedClassifierCV(classifier.set_fit_request(sample_weight=True), cv=2, ensemble=False)
    scored = calibrated.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    y = np.arange(90) % 2
    scores = cross_val_score(scored, ROWS, y, cv=FOLDS, params={"sample_weight": WEIGHTS})
    assert scores.shape == (3,)
    for score, (train, test) in zip(scores, FOLDS, strict=True):
        fitted = scored.fit(ROWS[train], y[train], sample_weight=WEIGHTS[train])
        assert score == np.average(fitted.predict(ROWS[test]) == y[test], weights=WEIGHTS[test])


def test_without_routing_a_pipeline_passes_weights_to_the_score():
    pipe = make_pipeline(StandardScaler(), small(max_iter=5)).fit(X)
    assert pipe.score(ROWS, sample_weight=WEIGHTS) == pytest.approx(pipe.score(X))


DISPLAYS = {name for name in sknvp.__all__ if name.endswith("Display")}
NO_DENSITIES = {*DISPLAYS, "RealNVPImputer", "flows", "show_versions"}


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("name", sorted(set(sknvp.__all__) - NO_DENSITIES))
def test_every_estimator_can_ask_for_weights_in_score(name):
    estimator = getattr(sknvp, name)()
    assert not get_routing_for_object(estimator).consumes("score", ["sample_weight"])
    estimator.set_score_request(sample_weight=True)
    assert get_routing_for_object(estimator).consumes("score", ["sample_weight"]) == {"sample_weight"}


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_a_row_of_no_density_and_no_weight_adds_nothing():
    """Outside of the bounds of a variational fit the log-density is minus infinity."""
    fit = sknvp.VariationalRealNVP(n_layers=2, n_estimators=1, max_iter=30, bounds=(0, 1), random_state=0)
    fit.fit(lambda x: x.sum(1) * 0, 1)
    assert fit.score([[0.5], [2.0]]) == -np.inf
    assert fit.score([[0.5], [2.0]], sample_weight=[3, 0]) == pytest.approx(3 * fit.score([[0.5]]))


def test_weights_of_score_are_not_rescaled():
    y = normal_rows(60, 1)[:, 0]
    conditional = sknvp.ConditionalRealNVPDensity(n_layers=2, max_iter=2, random_state=0).fit(X, y)
    for weight in (0.25, 3, 1000.0):
        expected = weight * conditional.score(X, y)
        assert conditional.score(X, y, sample_weight=np.full(60, weight)) == pytest.approx(expected)
