"""Bad input gets an error that names the argument, the rule and the value, and nothing fitted is lost."""

import datetime
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.mixture import GaussianMixture

from sknvp import ConditionalRealNVPDensity, DensityClassifier, RealNVPImputer, TransformedDensity

from .small import moons, small

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
]

BAD_PARAMETERS = [
    ("n_layers", 0, "n_layers must be an integer of at least 1, got 0"),
    ("n_layers", 2.0, "n_layers must be an integer of at least 1, got 2.0 of type float"),
    ("n_layers", True, "n_layers must be an integer"),
    ("hidden_layer_sizes", 0, "hidden_layer_sizes must be an integer of at least 1 or a sequence"),
    ("hidden_layer_sizes", (8, -1), "hidden_layer_sizes must be"),
    ("hidden_layer_sizes", "64", "hidden_layer_sizes must be"),
    ("activation", "sigmoid", "activation must be one of 'elu', 'leaky_relu', 'relu', 'silu', 'tanh', got 'sigmoid'"),
    ("coupling", "additive", "coupling must be one of 'affine', 'spline'"),
    ("coupling", None, "coupling must be one of"),
    ("mask", "checkerboard", "mask must be one of"),
    ("mask", 3, "mask must be one of"),
    ("mask", [[1, 0]], r"mask must have shape \(n_layers, n_features\) = \(4, 2\), got \(1, 2\)"),
    ("mask", [[1, 0]] * 3 + [[1, 2]], "mask must hold zeros and ones"),
    ("mask", [[1, 0]] * 3 + [[1, 1]], r"mask must have a one .* and a zero .* in layer 3"),
    ("standardize", "yes", "standardize must be True or False"),
    ("n_estimators", -1, "n_estimators must be an integer of at least 1"),
    ("batch_norm", 1, "batch_norm must be True or False"),
    ("stacking", "yes", "stacking must be True or False"),
    ("max_iter", "all", "max_iter must be an integer of at least 1 or one of 'auto'"),
    ("alpha", -1e-3, "alpha must be a finite number of at least 0, got -0.001"),
    ("alpha", np.nan, "alpha must be a finite number"),
    ("batch_size", 0, "batch_size must be an integer of at least 1 or one of 'auto'"),
    ("batch_size", "all", "batch_size must be an integer of at least 1 or one of 'auto', got 'all'"),
    ("learning_rate_init", 0, "learning_rate_init must be a finite number greater than 0"),
    ("learning_rate_init", np.inf, "learning_rate_init must be a finite number"),
    ("max_iter", 0, "max_iter must be an integer of at least 1"),
    ("early_stopping", 1, "early_stopping must be True or False"),
    ("validation_fraction", 0.0, "validation_fraction must be a number strictly between 0 and 1"),
    ("validation_fraction", 1.0, "validation_fraction must be"),
    ("n_iter_no_change", 0, "n_iter_no_change must be an integer of at least 1"),
    ("tol", -1, "tol must be a finite number of at least 0"),
    ("warm_start", None, "warm_start must be True or False"),
    ("verbose", -1, "verbose must be"),
    ("random_state", "seed", "cannot be used to seed"),
    ("device", "gpu9", "device must name a torch device that this machine has, got 'gpu9'"),
    ("device", 3.5, "device must name a torch device"),
    ("device", "meta", "device must name a torch device"),
    ("device", "hpu", "device must name a torch device"),
    ("mask", [[1], [1, 0]], "mask must be one of .* or an array of shape"),
]

BAD_ROWS = {
    "infinite": ([[1.0, np.inf], [0.0, 1.0]], "infinity"),
    "sparse": (sp.csr_matrix(np.eye(3)), "dense data is required"),
    "strings": ([["a", "b"], ["c", "d"]], "Column 0 of X must hold numbers, got 'a'"),
    "no rows": (np.empty((0, 2)), r"0 sample\(s\)"),
    "no columns": (np.empty((5, 0)), r"0 feature\(s\)"),
    "one row": ([[1.0, 2.0]], r"1 sample\(s\).*minimum of 2 is required by RealNVPDensity"),
    "one dimension": ([1.0, 2.0, 3.0], "Reshape your data"),
    "three dimensions": (np.zeros((4, 2, 2)), "dim 3"),
    "nothing": (None, "Expected 2D array"),
}

DAYS = pd.date_range("2020-01-01", periods=60)
NO_NUMBERS = [
    ("dates", DAYS.to_numpy()),
    ("dates", np.array(DAYS.date)),
    ("dates", np.array(list(DAYS.tz_localize("UTC")))),
    ("durations", (DAYS - DAYS[0]).to_numpy() // 2),
    ("times of day", np.array([datetime.time(hour % 24) for hour in range(60)])),
    ("complex numbers", np.arange(60) * 1j),
    ("complex numbers", np.arange(60).astype(object) * 1j),
]

BAD_WEIGHTS = {
    "negative": (np.r_[-1.0, np.ones(399)], "sample_weight must not be negative, got -1.0"),
    "all zero": (np.zeros(400), "sample_weight must leave at least 2 rows of weight above zero, got 0"),
    "all zero but one": (np.r_[1.0, np.zeros(399)], "at least 2 rows"),
    "a number": (2.0, r"sample_weight must have shape \(n_samples,\), got \(\)"),
    "too short": (np.ones(399), "inconsistent numbers of samples"),
    "two-dimensional": (np.ones((400, 2)), "sample_weight must have shape"),
    "missing": (np.r_[np.nan, np.ones(399)], "sample_weight contains NaN"),
}


@pytest.fixture
def fitted():
    """A fitted estimator that must still give the same scores when the test is over."""
    table = pd.DataFrame(moons(), columns=["a", "b"])
    estimator = small(max_iter=3).fit(table)
    before, state = estimator.score_samples(table), set(vars(estimator))
    yield estimator
    np.testing.assert_array_equal(estimator.score_samples(table), before)
    assert set(vars(estimator)) == state
    assert estimator.feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize(("name", "value", "message"), BAD_PARAMETERS, ids=[f"{n}={v}" for n, v, _ in BAD_PARAMETERS])
def test_parameters_are_checked_at_fit_not_before(fitted, name, value, message):
    good = getattr(fitted, name)
    fitted.set_params(**{name: value})
    with pytest.raises(ValueError, match=message):
        fitted.fit(moons())
    fitted.set_params(**{name: good})


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_rows(fitted, kind):
    X, message = BAD_ROWS[kind]
    with pytest.raises((ValueError, TypeError), match=message):
        fitted.fit(X)
    if kind != "one row":
        with pytest.raises((ValueError, TypeError), match=message):
            fitted.score_samples(X)


@pytest.mark.parametrize(("what", "column"), NO_NUMBERS)
def test_dates_and_complex_numbers(fitted, what, column):
    values = np.stack([column] * 2, 1)
    conditional = ConditionalRealNVPDensity(n_layers=2, max_iter=1).fit(moons(60), moons(60))
    for table in (pd.DataFrame({0: values[:, 0], 1: 1.0}), values, values.tolist()):
        message = f"Column 0 of X must hold real numbers or categories, got {what} of type"
        for method in (fitted.fit, fitted.score_samples, lambda X: conditional.fit(X, moons(60)), conditional.predict):
            with pytest.raises(ValueError, match=message):
                method(table)
        for method in (conditional.fit, conditional.score_samples):
            with pytest.raises(ValueError, match=message.replace("X", "y")):
                method(moons(60), table)


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_columns_that_share_a_name(fitted):
    X, y = moons(60), np.arange(60) % 2
    conditional = ConditionalRealNVPDensity(n_layers=2, max_iter=1).fit(X, X)
    table = pd.DataFrame(X, columns=["a", "a"])
    imputer, transformed = RealNVPImputer(fitted).fit(X), TransformedDensity(fitted).fit(X)
    classifier = DensityClassifier(GaussianMixture())
    calls = (
        *(fitted.fit, fitted.score_samples, lambda X: conditional.fit(X, y), conditional.predict, imputer.fit),
        *(
            imputer.transform,
            transformed.fit,
            transformed.score_samples,
            lambda X: classifier.fit(X, y),
        ),
        *(lambda y: conditional.fit(X, y.map(str)), lambda y: conditional.score_samples(X, y)),
    )
    for call, name in zip(calls, "X" * 9 + "y" * 2, strict=True):
        with pytest.raises(ValueError, match=rf"{name} must have a different name for each column.*names \['a'\]"):
            call(table)


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
def test_weights(fitted, kind):
    weights, message = BAD_WEIGHTS[kind]
    with pytest.raises(ValueError, match=message):
        fitted.fit(moons(), sample_weight=weights)


@pytest.mark.parametrize("kind", [kind for kind in BAD_WEIGHTS if not kind.startswith("all zero")])
def test_weights_of_score(fitted, kind):
    weights, message = BAD_WEIGHTS[kind]
    with pytest.raises(ValueError, match=message):
        fitted.score(moons(), sample_weight=weights)


def test_batch_norm_heeds_no_weights(fitted):
    fitted.set_params(batch_norm=True)
    with pytest.raises(ValueError, match="batch_norm must be False if sample_weight tells rows apart"):
        fitted.fit(moons(), sample_weight=np.arange(400))
    fitted.set_params(batch_norm=False)


def test_other_columns_than_fitted(fitted):
    with pytest.raises(ValueError, match="3 features, but RealNVPDensity is expecting 2"):
        fitted.score_samples(np.ones((4, 3)))


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3", None])
def test_number_of_samples(fitted, n_samples):
    with pytest.raises(ValueError, match=re.escape(f"n_samples must be an integer of at least 1, got {n_samples!r}")):
        fitted.sample(n_samples)


def test_no_gpu_here(fitted):
    fitted.set_params(device=f"cuda:{torch.cuda.device_count()}")  # one more than there are
    with pytest.raises(ValueError, match="device='cpu' always works"):
        fitted.fit(moons())


def test_an_error_in_the_midst_of_training_loses_nothing(fitted, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("in the midst")

    parts = (
        "training.train",
        "specify.RealNVPSpecification",
        "fitter.FlowFitter._set_fitted_state",
        "fitter.FlowFitter._set_history",
    )
    for part in parts:
        with monkeypatch.context() as patch:
            patch.setattr(f"sknvp._estimators.{part}", broken)
            with pytest.raises(RuntimeError, match="in the midst"):
                fitted.fit(np.ones((9, 5)) * np.arange(9)[:, None])


def test_columns_that_span_more_than_float64():
    with pytest.raises(ValueError, match=r"X must span less than 1.8e\+308 in every column, got more in column 1"):
        small().fit([[0, 1.5e308], [1, -1.5e308], [2, 3.0]])


def test_ctrl_c_keeps_a_usable_fit(monkeypatch):
    def interrupt(history):
        raise KeyboardInterrupt

    monkeypatch.setattr("sknvp._estimators.fitter.report", interrupt)
    with pytest.warns(UserWarning, match="interrupted by user"):
        estimator = small(verbose=True).fit(moons())
    assert len(estimator.loss_curve_) == 1
    assert np.isfinite(estimator.score(moons()))
