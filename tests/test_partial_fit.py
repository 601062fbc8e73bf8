"""Streams: `partial_fit` call by call."""

import pickle

import numpy as np
import pytest
import torch

from sknvp import ConditionalRealNVPDensity
from sknvp._estimators.conditional import standardized_context

from .small import moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def streamed(n_epochs=60, **settings):
    estimator = small(**settings)
    for _ in range(n_epochs):
        estimator.partial_fit(moons())
    return estimator


def test_a_stream_learns_as_a_fit_does():
    held_out = moons(seed=1)
    fitted = small(early_stopping=False, alpha=0.0, max_iter=60, n_estimators=1).fit(moons())
    once, often = streamed(1, n_estimators=1), streamed(60, n_estimators=1)
    assert often.n_iter_ == len(often.loss_curve_) == 60
    assert often.score(held_out) > once.score(held_out) + 100
    assert often.score(held_out) > fitted.score(held_out) - 20


@pytest.mark.parametrize("n_rows", [100, 400])
def test_more_rows_from_where_a_fit_was_do_not_spoil_it(n_rows):
    """Without a warm-up of the learning rate the first step costs more than 0.1 nats a row."""
    held_out = moons(2000, seed=2)
    estimator = small(coupling="spline", max_iter=60).fit(moons(1000))
    before = estimator.score_samples(held_out).mean()
    assert estimator.partial_fit(moons(n_rows, seed=1)).score_samples(held_out).mean() > before - 0.03


def test_a_stream_is_standardised_by_its_first_rows():
    first, later = normal_rows(100, 3), 3 + 2 * normal_rows(100, 3)
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


def test_experts_stay_and_are_weighed_anew_by_rows_that_the_flows_have_not_learned_from():
    estimator, rows = stacked().fit(moons()), moons(100, seed=1)
    experts, weights = estimator._experts.specifications, np.array(list(estimator.stacking_weights_.values()))
    weighted = estimator._density.weighted_log_probs(torch.tensor(rows))
    densities = weighted.exp().detach().numpy() / weights[:, None]
    estimator.partial_fit(rows)
    found = np.array(list(estimator.stacking_weights_.values()))
    assert all(now is before for now, before in zip(estimator._experts.specifications, experts, strict=True))

    def posterior(w):  # its mode is where the gradient is the same in every coordinate
        return densities @ (1 / (w @ densities)) + 1000 * weights / w

    np.testing.assert_allclose(posterior(found)[:-1], 1100, rtol=1e-3)
    assert found.sum() == pytest.approx(1)
    assert streamed(1).stacking_weights_ == {"flows": 1.0}


def test_experts_fade_where_the_source_has_moved():
    estimator = stacked().fit(moons())
    for seed in range(60):
        estimator.partial_fit(moons(100, seed) + 1.5)
    assert estimator.stacking_weights_["flows"] > 0.95
    drawn = estimator.sample(500, random_state=0)
    assert (np.abs(drawn - [2, 1.75]).max(1) < 2).mean() > 0.7


def test_a_weight_in_a_stream_says_how_far_experts_are_weighed_anew():
    rows = moons(100, seed=1) + 1
    once, twice = (stacked().fit(moons()).partial_fit(rows, sample_weight=np.full(100, w)) for w in (1, 2))
    assert once.stacking_weights_ == twice.stacking_weights_


@pytest.mark.parametrize("go_on", ["partial_fit", "fit"])
def test_rows_where_the_flow_cannot_follow_are_warned_of(go_on):
    X = np.c_[moons(), np.full(400, 7.0)]
    estimator = small(max_iter=3, warm_start=True).fit(X)
    continued = getattr(estimator, go_on)
    continued(X)
    with pytest.warns(UserWarning, match="Column 2 of X was constant, 7, in the first rows.*call fit on recent rows"):
        continued(np.c_[moons(), np.arange(400)])
    with pytest.warns(UserWarning, match="more than 5 scales from the location of column 1"):
        continued(X + np.array([0, 20, 0]))
    getattr(small(max_iter=3, warm_start=True, standardize=False).fit(moons()), go_on)(moons() + 20)


@pytest.mark.parametrize("step", [1.0, 0.1])
def test_discrete_values_that_no_margin_holds_are_warned_of(step):
    """Such values are no reason to warn if they have less than half of the weight, and neither are missing cells."""
    X, values, far = moons(), step * np.random.default_rng(0).poisson(2, 400), 10 * step
    table, target = small(max_iter=1).fit(np.c_[X, values]), conditional(max_iter=1).fit(X, values)
    near = np.arange(400) % 2
    table.partial_fit(np.c_[X, np.where(near, values, values + far)], sample_weight=1 + near)
    table.partial_fit(np.c_[X, np.where(near, values, np.nan)])
    for moved in (values + far, values - far):
        with pytest.warns(UserWarning, match=r"Most values of column 2 of X lie outside of 0 to .* The margins of"):
            table.partial_fit(np.c_[X, moved])
        with pytest.warns(UserWarning, match=r"Most values of column 0 of y lie outside of 0 to .* The margins of"):
            target.partial_fit(X, moved)


def test_a_first_chunk_without_spread_is_told_and_a_fit_mends_it():
    estimator = small().partial_fit(np.full((50, 2), 3.0))
    with pytest.warns(UserWarning, match="constant"):
        estimator.partial_fit(moons())
    mended = estimator.fit(moons()).score_samples(moons())
    np.testing.assert_array_equal(mended, small().fit(moons()).score_samples(moons()))


def test_a_bad_batch_costs_nothing():
    estimator = streamed(2)
    before = estimator.score_samples(moons())
    for bad, message in (
        (np.full((3, 2), np.inf), "infinity"),
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


def conditional(**settings):
    defaults = {"n_layers": 3, "hidden_layer_sizes": (16,), "n_estimators": 2, "random_state": 0}
    return ConditionalRealNVPDensity(**{**defaults, **settings})


def noisy_line(n=300, seed=0, shift=0.0):
    """A line around which the noise grows with x."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, 1))
    return x, shift + 2 * x[:, 0] + (0.5 + 0.4 * x[:, 0]) * normal_rows(n, 1, seed)[:, 0]


def streamed_pairs(n_epochs, estimator=None, **settings):
    estimator = conditional(**settings) if estimator is None else estimator
    for _ in range(n_epochs):
        estimator.partial_fit(*noisy_line())
    return estimator


def test_a_stream_of_pairs_learns_as_a_fit_does():
    fitted = conditional(early_stopping=False, alpha=0.0, max_iter=60).fit(*noisy_line())
    once, often = streamed_pairs(1, alpha=0.0), streamed_pairs(60, alpha=0.0)
    assert often.n_iter_ == len(often.loss_curve_) == 60
    held_out = noisy_line(seed=1)
    assert often.score(*held_out) > once.score(*held_out) + 50
    assert often.score(*held_out) > fitted.score(*held_out) - 20
    assert often.stacking_weights_ == {"flows": 1.0}


def test_a_pickled_stream_of_pairs_goes_on_as_if_it_had_never_stopped():
    whole = streamed_pairs(6)
    halves = streamed_pairs(3, pickle.loads(pickle.dumps(streamed_pairs(3))))
    np.testing.assert_array_equal(halves.score_samples(*noisy_line()), whole.score_samples(*noisy_line()))


def test_the_regression_is_weighed_anew_by_pairs_that_the_flows_have_not_learned_from():
    estimator, (X, y) = conditional(max_iter=20).fit(*noisy_line()), noisy_line(100, seed=1)
    weights = np.array(list(estimator.stacking_weights_.values()))
    context = torch.tensor(standardized_context(estimator._specification, X))
    weighted = estimator._density.weighted_log_probs(torch.tensor(y[:, None]), context)
    densities = weighted.exp().detach().numpy() / weights[:, None]
    found = np.array(list(estimator.partial_fit(X, y).stacking_weights_.values()))
    slope = densities @ (1 / (found @ densities)) + 1000 * weights / found  # equal where the posterior has its mode
    np.testing.assert_allclose(slope[found > 1.1e-3], 1100, rtol=1e-3)
    for seed in range(40):
        estimator.partial_fit(*noisy_line(100, seed, shift=1.5))
    assert estimator.stacking_weights_["flows"] > 0.95
    assert estimator.predict([[0.0]])[0] == pytest.approx(1.5, abs=0.3)


def test_a_stream_of_pairs_keeps_what_the_first_ones_set():
    X, y = noisy_line()
    estimator = conditional().partial_fit(X, y).partial_fit(X + 1, y + 1).partial_fit(X[:1], y[:1])
    np.testing.assert_allclose(estimator.loc_, y.mean())
    before = estimator.score_samples(X, y)
    for bad, message in (
        ((X, np.c_[y, y]), "y must have 1 column"),
        ((np.c_[X, X], y), "2 features"),
        ((X, None), "y"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.partial_fit(*bad)
    np.testing.assert_array_equal(estimator.score_samples(X, y), before)
    with pytest.warns(UserWarning, match="more than 5 scales from the location of column 0"):
        estimator.partial_fit(X, y + 50)


def test_weights_and_counts_in_a_stream_of_pairs():
    X, y = noisy_line()
    counts = np.floor(np.exp(y / 2)).astype(int)
    absent = conditional().partial_fit(np.r_[X, [[9.0]]], np.r_[counts, 99], sample_weight=np.r_[np.ones(300), 0])
    plain = conditional().partial_fit(X, counts)
    np.testing.assert_array_equal(absent.score_samples(X, counts), plain.score_samples(X, counts))
    for _ in range(30):
        plain.partial_fit(X, counts)
    total = sum(np.exp(plain.score_samples([[0.5]], [k])[0]) for k in range(60))
    assert total == pytest.approx(1, abs=1e-2)
