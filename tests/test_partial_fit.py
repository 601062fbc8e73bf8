"""Streams: `partial_fit` call by call."""

import pickle

import numpy as np
import pytest

from .small import moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
