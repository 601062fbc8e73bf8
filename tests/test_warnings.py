"""Warnings point to the line of the caller, however deep in the library they arise."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknvp import (
    ConditionalRealNVPDensity,
    DensityClassifier,
    PlanarFlowDensity,
    RealNVPDensity,
    RealNVPOutlierDetector,
    RealNVPTransformer,
    VariationalRealNVP,
)
from sknvp.flows.train import loop as training

X = make_moons(60, noise=0.1, random_state=0)[0]
Y = X[:, 0]
ESTIMATORS = (
    RealNVPDensity,
    PlanarFlowDensity,
    RealNVPOutlierDetector,
    RealNVPTransformer,
    ConditionalRealNVPDensity,
)


def brief(estimator):
    return estimator(n_layers=2, max_iter=1, random_state=0)


def heavy_tails(x):
    return -3 * (1 + x.square()).log().sum(-1)


def lines_warned_of(call, message):
    """The lines in this file, less that of `call` itself, that warnings point to; all of them must be ours."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    chosen = [warning for warning in caught if message in str(warning.message)]
    assert {warning.filename for warning in chosen} == {__file__}
    return {warning.lineno - call.__code__.co_firstlineno for warning in chosen}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fit_that_has_not_settled_names_the_callers_line(estimator):
    def fit():
        density = brief(estimator)

        density.fit(X, Y)

    assert lines_warned_of(fit, "had not settled") == {3}


@pytest.mark.parametrize("estimator", [*ESTIMATORS, VariationalRealNVP])
@pytest.mark.parametrize("message", ["interrupted by user", "The loss was not finite"])
def test_an_interrupted_or_diverging_fit_names_the_callers_line(estimator, message, monkeypatch):
    """As Ctrl-C does, or a loss that is NaN once."""
    descend, calls = training.descend, []

    def once(*args):
        calls.append(args)
        if "interrupted" in message:
            raise KeyboardInterrupt
        return descend(*args) * (np.nan if len(calls) == 1 else 1)

    monkeypatch.setattr(training, "descend", once)
    rows = (heavy_tails, 2) if estimator is VariationalRealNVP else (X, Y)

    def fit():
        density = brief(estimator).set_params(max_iter=80)

        density.fit(*rows)

    assert lines_warned_of(fit, message) == {3}


def test_interrupted_stacking_names_the_callers_line(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sknvp._experts.unconditional.ExpertFitter.candidates", interrupted)

    def fit():
        brief(RealNVPDensity).fit(X)

    assert lines_warned_of(fit, "Stacking interrupted") == {1}


@pytest.mark.parametrize("estimator", [RealNVPDensity, RealNVPOutlierDetector])
def test_a_diverging_step_of_a_stream_names_the_callers_line(estimator, monkeypatch):
    descend = training.descend
    monkeypatch.setattr(training, "descend", lambda *args: descend(*args) * np.nan)

    def learn():
        brief(estimator).partial_fit(X)

    assert lines_warned_of(learn, "The loss was not finite") == {1}


def test_a_variational_fit_that_cannot_be_trusted_names_the_callers_line():
    def fit():
        flows = brief(VariationalRealNVP)

        flows.fit(lambda x: -0.6 * (1 + x.square()).log().sum(-1), 8)

    assert lines_warned_of(fit, "Pareto") == {3}


def test_behind_scikit_learns_own_tools_it_is_still_the_callers_line():
    def validate():
        pipe = make_pipeline(StandardScaler(), brief(RealNVPDensity))

        cross_val_score(pipe, X, cv=2)
        DensityClassifier(brief(RealNVPDensity)).fit(X, Y > 0)

    assert lines_warned_of(validate, "had not settled") == {3, 4}
