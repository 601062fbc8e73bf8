"""Missing cells where an estimator takes none: refused in words that name the cure, with nothing fitted lost."""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from sknvp import (
    ConditionalRealNVPDensity,
    DensityClassifier,
    PlanarFlowDensity,
    RealNVPTransformer,
    VariationalRealNVP,
)

from .small import moons

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = moons(40), np.arange(40) % 2
HOLED = np.where(np.arange(80).reshape(40, 2) == 7, np.nan, X)  # one cell of X's fourth row
SMALL = {"n_layers": 2, "n_estimators": 1, "max_iter": 1, "random_state": 0}
ONE_FLOW = {name: SMALL[name] for name in ("n_layers", "max_iter", "random_state")}

FITTED = {
    "planar": (PlanarFlowDensity(**SMALL), ["score_samples", "score"]),
    "transformer": (RealNVPTransformer(**ONE_FLOW), ["transform", "inverse_transform", "score_samples"]),
    "classifier": (DensityClassifier(PlanarFlowDensity(**SMALL)), ["predict", "predict_proba", "score_samples"]),
}


@pytest.mark.parametrize(("estimator", "methods"), FITTED.values(), ids=list(FITTED))
def test_missing_cells_of_x_are_refused_with_the_cure(estimator, methods):
    name = type(getattr(estimator, "estimator", estimator)).__name__  # a classifier leaves it to its densities
    estimator.fit(X, Y)
    before = estimator.score_samples(X)
    for call in (lambda rows: estimator.fit(rows, Y), *(getattr(estimator, method) for method in methods)):
        with pytest.raises(ValueError, match=rf"X contains NaN\.\n{name} .* imputer .* or drop samples"):
            call(HOLED)
    np.testing.assert_array_equal(estimator.score_samples(X), before)


def test_missing_cells_are_refused_by_a_flow_that_saw_no_rows():
    fitted = VariationalRealNVP(**SMALL, batch_size=16).fit(lambda x: -(x**2).sum(-1), 2)
    with pytest.raises(ValueError, match=r"X contains NaN\.\nVariationalRealNVP .* imputer .* or drop samples"):
        fitted.score_samples(HOLED)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_missing_targets_are_refused_with_the_cure(n_outputs):
    y = X[:, :n_outputs] + 0.0
    fitted = ConditionalRealNVPDensity(**SMALL).fit(X, y)
    y[[2, 5], -1] = np.nan
    for call in (fitted.fit, fitted.score_samples, fitted.score):
        with pytest.raises(ValueError, match=r"y contains NaN in 2 of 40 rows\. Drop these rows.*predict or sample"):
            call(X, y)


@pytest.mark.parametrize(("estimator", "methods"), FITTED.values(), ids=list(FITTED))
def test_the_cure_works(estimator, methods):
    filled = make_pipeline(SimpleImputer(), estimator).fit(HOLED, Y)
    if "predict" in methods:
        assert np.isfinite(filled.predict(HOLED)).all()
    assert np.isfinite(filled.score_samples(HOLED)).all()
