"""Type hints as users see them: mypy checks this file in its strict mode, and pytest that the hints are true.

`make release` has mypy check it once more where sknvp is installed, without the settings of this project.
"""

from typing import Any, Self, assert_type

import numpy as np
from numpy.typing import NDArray

from sknvp import (
    ConditionalRealNVPDensity,
    DensityClassifier,
    DensityDisplay,
    RealNVPDensity,
    RealNVPImputer,
    RealNVPOutlierDetector,
    RealNVPTransformer,
    TransformedDensity,
    VariationalRealNVP,
)
from sknvp.flows import Density
from sknvp.metrics import crps

Floats = NDArray[np.float64]

X: Floats = np.random.default_rng(0).normal(size=(40, 2))
QUICK: dict[str, Any] = {"n_layers": 2, "n_estimators": 1, "hidden_layer_sizes": (4,), "random_state": 0}


def test_density() -> None:
    density = RealNVPDensity(coupling="affine", stacking=False, **QUICK).fit(X, sample_weight=[1.0] * 40)
    assert_type(density, RealNVPDensity)
    scores = assert_type(density.score_samples(X), Floats)
    assert scores.dtype == np.float64
    with_errors = assert_type(density.score_samples(X, return_std=True), tuple[Floats, Floats])
    assert len(with_errors) == 2
    assert isinstance(assert_type(density.score(X), float), float)
    assert_type(density.sample(3, random_state=np.random.RandomState(0)), Any)  # a DataFrame if one was fitted
    assert isinstance(assert_type(density.score_cells(X[:1]), Floats), np.ndarray)
    assert isinstance(assert_type(density.stacking_weights_, dict[str, float]), dict)
    assert isinstance(assert_type(density.columns_, list[str]), list)
    assert isinstance(assert_type(density.density_, Density), Density)
    assert isinstance(assert_type(density.loss_curve_, list[float]), list)


def test_outlier_detector() -> None:
    detector = RealNVPOutlierDetector(contamination=0.1, **QUICK).fit(X)
    assert_type(detector, RealNVPOutlierDetector)
    assert assert_type(detector.predict(X), NDArray[np.intp]).dtype == np.intp
    assert assert_type(detector.decision_function(X), Floats).dtype == np.float64
    assert_type(detector.score_samples(X), Floats)
    assert isinstance(assert_type(detector.offset_, float), float)


def test_conditional_density() -> None:
    density = ConditionalRealNVPDensity(**QUICK).fit(X[:, :1], X[:, 1])
    assert_type(density, ConditionalRealNVPDensity)
    assert assert_type(density.score_samples(X[:, :1], X[:, 1]), Floats).shape == (40,)
    draws = density.sample(X[:, :1], n_samples=5, random_state=0)
    assert isinstance(assert_type(draws, NDArray[Any]), np.ndarray)
    assert isinstance(assert_type(density.predict(X[:, :1]), NDArray[Any]), np.ndarray)
    assert isinstance(assert_type(density.predict_quantile(X[:, :1], [0.1, 0.9]), NDArray[Any]), np.ndarray)
    assert isinstance(assert_type(crps(X[:, 1], draws), float), float)


def test_transformer_and_imputer() -> None:
    transformer = RealNVPTransformer(**{k: v for k, v in QUICK.items() if k != "n_estimators"}).fit(X)
    assert isinstance(assert_type(transformer.transform(X), NDArray[Any]), np.ndarray)
    assert_type(transformer.inverse_transform(X), Any)  # a DataFrame if one was fitted
    imputer = RealNVPImputer(RealNVPDensity(**QUICK)).fit(X)
    assert_type(imputer.transform(X), Any)  # of whatever kind set_output says


def test_classifier() -> None:
    classifier = DensityClassifier(RealNVPDensity(**QUICK), n_jobs=1).fit(X, X[:, 0] > 0)
    assert_type(classifier, DensityClassifier)
    assert assert_type(classifier.predict_proba(X), Floats).shape == (40, 2)
    assert isinstance(assert_type(classifier.predict(X), NDArray[Any]), np.ndarray)


def test_other_densities() -> None:
    transformed = TransformedDensity(RealNVPDensity(**QUICK), func=np.exp, inverse_func=np.log).fit(X)
    assert isinstance(assert_type(transformed.score_samples(X), Floats), np.ndarray)
    variational = VariationalRealNVP(max_iter=2, **QUICK).fit(lambda x: -0.5 * (x**2).sum(-1), n_features=2)
    assert_type(variational, VariationalRealNVP)
    assert isinstance(assert_type(variational.score_samples(X), Floats), np.ndarray)


class Subclass(RealNVPDensity):
    """A density of a user, with a parameter less."""

    def fit_twice(self) -> Self:
        return self.fit(X).fit(X)


def _wrong() -> None:  # not called: mypy would say that an "ignore" is unused if a mistake went unseen
    RealNVPDensity(n_layer=5)  # type: ignore[call-arg]
    RealNVPDensity(n_layers="six")  # type: ignore[arg-type]
    RealNVPDensity().fit(X, sample_weights=None)  # type: ignore[call-arg]
    RealNVPDensity().score_samples(X, return_std="yes")  # type: ignore[call-overload]
    RealNVPOutlierDetector().predict()  # type: ignore[call-arg]
    ConditionalRealNVPDensity().fit(X)  # type: ignore[call-arg]
    RealNVPTransformer(n_estimators=4)  # type: ignore[call-arg]
    VariationalRealNVP().fit(X, 2)  # type: ignore[arg-type]
    DensityDisplay.from_estimator(RealNVPDensity())  # type: ignore[call-arg]
