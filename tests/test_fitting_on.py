"""Fits in pieces: streams, interruptions, callbacks."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn

from sknvp import RealNVPDensity

from .small import moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
with_callbacks = pytest.mark.skipif(not hasattr(RealNVPDensity, "set_callbacks"), reason="scikit-learn before 1.9")


def streamed(n_epochs=60, **settings):
    estimator = small(**settings)
    for _ in range(n_epochs):
        estimator.partial_fit(moons())
    return estimator


def test_a_stream_learns_as_a_fit_does():
    held_out = moons(seed=1)
    fitted = small(early_stopping=False, alpha=0.0, max_iter=60).fit(moons())
    once, often = streamed(1), streamed(60)
    assert often.n_iter_ == len(often.loss_curve_) == 60
    assert often.score(held_out) > once.score(held_out) + 100
    assert often.score(held_out) > fitted.score(held_out) - 20


def test_a_stream_is_standardised_by_its_first_rows():
    first, later = normal_rows(100, 3), 5 + 3 * normal_rows(100, 3)
    estimator = small().partial_fit(first).partial_fit(later)
    np.testing.assert_allclose(estimator.loc_, first.mean(0))
    np.testing.assert_allclose(estimator.scale_, first.std(0))
    assert estimator.partial_fit(later[:1]).n_iter_ == 3


def test_a_pickled_stream_goes_on_as_if_it_had_never_stopped():
    whole = streamed(6)
    halves = pickle.loads(pickle.dumps(streamed(3)))
    assert b"torch" not in pickle.dumps(halves)
    for _ in range(3):
        halves.partial_fit(moons())
    np.testing.assert_array_equal(halves.score_samples(moons()), whole.score_samples(moons()))


def test_weights_count_in_a_stream():
    heavy = moons()[:, 0] > 0.5
    estimator = small()
    for _ in range(30):
        estimator.partial_fit(moons(), sample_weight=np.where(heavy, 10, 1))
    scores = estimator.score_samples(moons()) - streamed(30).score_samples(moons())
    assert scores[heavy].mean() > 0 > scores[~heavy].mean()
    absent = small().partial_fit(np.r_[moons(), [[9.0, 9.0]]], sample_weight=np.r_[np.ones(400), 0])
    np.testing.assert_array_equal(absent.score_samples(moons()), streamed(1).score_samples(moons()))


def test_what_stands_beside_the_flows_stays_while_they_learn_on():
    estimator = stacked().fit(moons())
    weights = estimator.stacking_weights_
    before = estimator.score(moons())
    estimator.partial_fit(moons())
    assert estimator.stacking_weights_ == weights
    assert len(weights) > 1
    assert estimator.score(moons()) != before
    assert streamed(1).stacking_weights_ == {"flows": 1.0}


def test_a_bad_batch_costs_nothing():
    estimator = streamed(2)
    before = estimator.score_samples(moons())
    for bad, message in (
        (np.full((3, 2), np.nan), "NaN"),
        (normal_rows(3, 5), "5 features"),
        ([[1, 2], [3, 1e999]], "inf"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.partial_fit(bad)
    with pytest.raises(ValueError, match="n_layers must stay"):
        estimator.set_params(n_layers=9).partial_fit(moons())
    estimator.set_params(n_layers=4)
    np.testing.assert_array_equal(estimator.score_samples(moons()), before)
    assert estimator.n_iter_ == 2


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


@with_callbacks
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


@with_callbacks
def test_a_callback_ends_training_early():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = small(max_iter=500).set_callbacks(Listener(stop_after=2)).fit(moons())
    assert len(estimator.loss_curve_) == 2
    assert np.isfinite(estimator.score(moons()))


@with_callbacks
def test_a_callback_is_torn_down_after_an_error_and_nothing_is_lost():
    listener = Listener()
    estimator = small(max_iter=3).fit(moons())
    before = estimator.score(moons())
    with pytest.raises(ValueError, match="NaN"):
        estimator.set_callbacks(listener).fit(np.full((5, 2), np.nan))
    assert listener.heard[-1] == "teardown"
    assert estimator.score(moons()) == before


@with_callbacks
def test_callbacks_change_no_bit_of_the_density(capsys):
    from sklearn.callback import ProgressBar, ScoringMonitor

    alone = stacked().fit(moons()).score_samples(moons())
    watched = stacked().set_callbacks(ProgressBar(), ScoringMonitor(scoring=None)).fit(moons())
    np.testing.assert_array_equal(watched.score_samples(moons()), alone)


def test_without_callbacks_in_scikit_learn_there_are_none(monkeypatch):
    """Before version 1.9."""
    import importlib
    import sys

    import sknvp._estimators.callbacks as ours

    monkeypatch.delattr(sklearn, "callback", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    try:
        importlib.reload(ours)
        task = ours.Task.whole_fit(RealNVPDensity.__new__(object), 2)
        assert not task.begin().part("train", 3).end()
        assert ours.with_callbacks(len)([1, 2]) == 2
    finally:
        monkeypatch.undo()
        importlib.reload(ours)
