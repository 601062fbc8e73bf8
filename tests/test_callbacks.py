"""scikit-learn's callbacks, which came with version 1.9; before it this file is left out (see conftest)."""

import importlib
import sys
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.callback import ProgressBar, ScoringMonitor

import sknvp._estimators.callbacks as ours
from sknvp import RealNVPDensity

from .small import moons, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Listener:
    """A callback that notes what it hears and asks to stop after some evaluations."""

    def __init__(self, stop_after=10**9):
        self.heard = []
        self.scores = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(f"{context.task_name} begins")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.heard.append(f"{context.task_name} ends")
        if context.task_name != "evaluation":
            return False
        self.scores.append(fitted_estimator.score_samples(moons()).mean())
        return len(self.scores) >= self.stop_after


def test_callbacks_hear_of_every_part_of_a_fit():
    listener = Listener()
    estimator = stacked(max_iter=50).set_callbacks(listener).fit(moons())
    evaluations = ["evaluation begins", "evaluation ends"] * len(estimator.loss_curve_)
    assert listener.heard == [
        "setup",
        "fit begins",
        "train begins",
        *evaluations,
        "train ends",
        "stack begins",
        "stack ends",
        "fit ends",
        "teardown",
    ]
    assert listener.scores[-1] > listener.scores[0]


def test_a_callback_ends_training_early():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = small(max_iter=500).set_callbacks(Listener(stop_after=2)).fit(moons())
    assert len(estimator.loss_curve_) == 2
    assert np.isfinite(estimator.score(moons()))


def test_a_callback_is_torn_down_after_an_error_and_nothing_is_lost():
    listener = Listener()
    estimator = small(max_iter=3).fit(moons())
    before = estimator.score(moons())
    with pytest.raises(ValueError, match="infinity"):
        estimator.set_callbacks(listener).fit(np.full((5, 2), np.inf))
    assert listener.heard[-1] == "teardown"
    assert estimator.score(moons()) == before


def test_callbacks_change_no_bit_of_the_density(capsys):
    alone = stacked().fit(moons()).score_samples(moons())
    watched = stacked().set_callbacks(ProgressBar(), ScoringMonitor(scoring=None)).fit(moons())
    np.testing.assert_array_equal(watched.score_samples(moons()), alone)


def test_without_callbacks_in_scikit_learn_there_are_none(monkeypatch):
    """Before version 1.9."""
    monkeypatch.delattr(sklearn, "callback", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    try:
        importlib.reload(ours)
        task = ours.Task.root(RealNVPDensity.__new__(object), 2)
        assert not task.begin().part("train", 3).end()
        assert ours.with_callbacks(len)([1, 2]) == 2
    finally:
        monkeypatch.undo()
        importlib.reload(ours)
