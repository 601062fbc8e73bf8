"""The parts that integrate over unknown cells: proposals, importance sampling, and completed batches."""

import numpy as np
import pytest
import torch
from scipy import stats

from sknvp._experts.table import Table
from sknvp._missing.marginal import Incomplete, log_marginal, resampled
from sknvp._missing.proposal import Proposal
from sknvp.flows import Flow
from sknvp.flows.bases import StandardNormal
from sknvp.flows.builders.specification import Scaling
from sknvp.flows.layers import Standardize
from sknvp.flows.train.completions import EVALUATIONS_BETWEEN, Completions

CORRELATED = np.array([[1.0, 0.6], [0.6, 1.0]])


def proposal(mean=0.0, deviation=1.0):
    """A normal distribution of two columns."""
    return Proposal(np.zeros(2), np.ones(2), np.zeros(1), np.full((1, 2), mean), deviation**2 * CORRELATED[None])


def other_log_density(x):
    """A density that is not the proposal's: the columns are independent, and the second is narrow and far."""
    return stats.norm.logpdf(x[:, 0]) + stats.norm(1.0, 0.5).logpdf(x[:, 1])


def rows(n=50):
    known = np.random.default_rng(0).normal(size=n)
    return Incomplete(np.c_[known, np.full(n, np.nan)], None, proposal())


def test_marginals_do_not_hang_on_the_proposal():
    incomplete = rows()
    estimate, error = log_marginal(other_log_density, incomplete)
    truth = stats.norm.logpdf(incomplete.rows[:, 0])
    assert np.abs(estimate - truth).mean() < 0.1
    assert abs((estimate - truth).mean()) < 0.03
    assert (error >= 0).all()
    assert error.max() < 0.5


def test_draws_follow_the_density_and_not_the_proposal():
    drawn = resampled(other_log_density, rows(5), 4000, seed=0)[..., 1]
    np.testing.assert_allclose(drawn.mean(1), 1.0, atol=0.05)
    np.testing.assert_allclose(drawn.std(1), 0.5, atol=0.05)


def completions(n_rows=40, n_draws=8):
    """Every second row is incomplete; its draws lie at -2 and 2, in turn."""
    place = torch.where(torch.arange(n_rows) % 2 == 0, torch.arange(n_rows) // 2, -1)
    signs = torch.tensor([-2.0, 2.0], dtype=torch.float64).repeat(n_draws // 2)
    points = torch.stack([torch.zeros(n_draws, dtype=torch.float64), signs], -1).expand(n_rows // 2, n_draws, 2)
    return Completions(place, points, torch.zeros(n_rows // 2, n_draws, dtype=torch.float64), 1)


def shifted(mean):
    """A normal distribution around a mean in the second column."""
    loc, scale = torch.tensor([0.0, mean], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    return Flow(Standardize(loc, scale), StandardNormal(2))


def test_batches_are_completed_by_draws_in_proportion_to_the_present_density():
    draws, x = completions(), torch.full((1, 4000, 2), 7.0, dtype=torch.float64)
    chosen, generator = torch.arange(4000).remainder(40).unsqueeze(0), torch.Generator().manual_seed(0)
    first = draws.drawn(x, chosen, generator)[0, :, 1]
    assert (first[1::2] == 7).all()
    assert (first[::2] == 2).double().mean() == pytest.approx(0.5, abs=0.05)
    for _ in range(EVALUATIONS_BETWEEN):
        draws.weigh(shifted(0.3), generator)
    expected = 1 / (1 + np.exp(-2 * 2 * 0.3))  # of phi(2 - 0.3) against phi(-2 - 0.3)
    later = draws.drawn(x, chosen, generator)[0, ::2, 1]
    assert (later == 2).double().mean() == pytest.approx(expected, abs=0.03)


def test_validation_averages_densities_over_draws():
    draws, flow = completions(), shifted(0.3)
    draws.log_weights = draws.log_weights + 5.0
    x = torch.zeros(1, 2, 2, dtype=torch.float64)
    value = draws.log_prob(flow, x, torch.tensor([[0, 1]]), None)[0].numpy()
    incomplete = stats.norm.logpdf(0) + np.log((stats.norm.pdf(2 - 0.3) + stats.norm.pdf(-2 - 0.3)) / 2) + 5
    complete = stats.norm.logpdf(0) + stats.norm.logpdf(-0.3)
    np.testing.assert_allclose(value, [incomplete, complete], rtol=1e-12)


def test_experts_are_compared_by_densities_of_known_cells():
    x, weights = torch.zeros(3, 2, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    points = torch.stack([x - 1, x + 2])
    log_weights = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], dtype=torch.float64)
    scaling = Scaling(np.zeros(2), np.ones(2), np.arange(2))
    table = Table(scaling, x, weights, torch.ones(1, 3, dtype=torch.bool), None, (points, log_weights))
    flow = shifted(0.0)
    each = torch.stack([flow.log_prob(part)[0] for part in points]) + log_weights
    np.testing.assert_allclose(table.cross_fitted_log_density(flow), torch.logsumexp(each, 0) - np.log(2), rtol=1e-12)
