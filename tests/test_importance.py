"""What importance weights say, against SciPy's distributions."""

import math

import numpy as np
import pytest
from scipy import stats

from sknvp._variational.importance import _pareto_shape, effective_share, log_mean, pareto_k


@pytest.mark.parametrize("k", [-0.3, 0.0, 0.4, 0.7, 1.5])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 300.0])
def test_the_shape_of_a_pareto_distribution_is_found(k, scale):
    """Its estimator has standard deviation (1 + k) / sqrt(n) at least, by the Cramer-Rao bound."""
    n = 4000
    x = np.sort(stats.genpareto(k, scale=scale).rvs(n, random_state=0))
    assert _pareto_shape(x) == pytest.approx(k, abs=4 * max(1 + k, 0.7) / math.sqrt(n))


def test_the_shape_is_close_to_the_likeliest():
    x = np.sort(stats.genpareto(0.4).rvs(500, random_state=1))
    assert _pareto_shape(x) == pytest.approx(stats.genpareto.fit(x, floc=0)[0], abs=0.02)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_sees_the_tail_of_the_weights_alone(k):
    """Whatever the scale of the weights, and whatever the rest of them."""
    uniform = np.random.default_rng(0).uniform(size=100_000)
    log_weights = -k * np.log(uniform)
    assert pareto_k(log_weights) == pytest.approx(k, abs=0.15)
    assert pareto_k(log_weights + 1000) == pytest.approx(pareto_k(log_weights), abs=1e-6)
    assert pareto_k(np.where(uniform > 0.5, -np.inf, log_weights)) == pytest.approx(k, abs=0.15)


def test_a_normal_proposal_too_narrow_by_half_is_found_out():
    """Weights N(0, 1) / N(0, s^2) have a Pareto tail of shape 1 - s^2 for s below one, to leading order."""
    rng = np.random.default_rng(0)
    for s, trusted in ((1.2, True), (0.9, True), (0.4, False)):
        x = rng.normal(0, s, 20_000)
        assert (pareto_k(stats.norm.logpdf(x) - stats.norm(0, s).logpdf(x)) < 0.7) == trusted


def test_few_weights_draw_pareto_k_towards_a_half():
    """As ten draws more of that shape would."""
    log_weights = np.sort(-1.5 * np.log(np.random.default_rng(0).uniform(size=25)))
    alone = _pareto_shape(np.exp(log_weights[-5:]) - np.exp(log_weights[-6]))
    assert pareto_k(log_weights) == pytest.approx((5 * alone + 10 * 0.5) / 15)


def test_pareto_k_at_its_extremes():
    assert pareto_k(np.zeros(1000)) == -np.inf
    nearly_equal = stats.genpareto(1.5, scale=1e-8).rvs(1000, random_state=0)
    assert pareto_k(nearly_equal) == -np.inf
    assert pareto_k(1e4 * nearly_equal) > 0.7
    assert pareto_k(np.full(1000, -np.inf)) == np.inf
    assert pareto_k(np.r_[np.full(995, -np.inf), np.arange(5.0)]) == np.inf
    assert pareto_k(np.zeros(10)) == np.inf


def test_mean_and_effective_share_of_weights():
    weights = np.array([1.0, 2.0, 3.0, 0.0])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights) + 800
    assert log_mean(log_weights) == pytest.approx(math.log(1.5) + 800)
    assert effective_share(log_weights) == pytest.approx(36 / 14 / 4)
    assert effective_share(np.full(7, -900.0)) == pytest.approx(1)
