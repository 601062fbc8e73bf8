"""The parts that integrate over unknown cells: proposals, importance sampling, and completed batches."""

import numpy as np
import pytest
import torch
from scipy import stats

from sknvp._estimators.rows import Draws
from sknvp._experts.table import Table
from sknvp._missing.conditioning import N_LIKELIEST, NEAR_SHARE, WIDE_SHARE
from sknvp._missing.experts import KnownCells
from sknvp._missing.incomplete import Incomplete
from sknvp._missing.incomplete_mixture import _choose_rows, fit_mixture
from sknvp._missing.marginal import log_marginal, resampled
from sknvp._missing.proposal import RIDGE, Proposal
from sknvp.flows import Flow
from sknvp.flows.bases import StandardNormal
from sknvp.flows.builders.expert_specification import (
    DenseWhitening,
    GaussianMixtureSpecification,
    KernelsSpecification,
    LowRankWhitening,
    NormalSpecification,
    StudentTSpecification,
)
from sknvp.flows.builders.specification import Scaling
from sknvp.flows.layers import AdditiveConditioning, Standardize
from sknvp.flows.train.completions import EVALUATIONS_PER_WEIGHING, Completions

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


def mixture(n_features=3):
    """A mixture of two correlated normal distributions."""
    factors = np.random.default_rng(1).normal(size=(2, n_features, n_features))
    means = np.array([np.full(n_features, -1.0), np.full(n_features, 2.0)])
    covariances = factors @ factors.transpose(0, 2, 1) / n_features + 0.2 * np.eye(n_features)
    return Proposal(np.ones(n_features), np.full(n_features, 3.0), np.log([0.3, 0.7]), means, covariances)


@pytest.mark.parametrize(("distance", "tolerance"), [(0.0, 0.05), (40.0, 0.25)])
@pytest.mark.parametrize("n_known", [1, 2])
def test_marginals_of_a_distribution_with_heavy_tails_near_and_far(n_known, distance, tolerance):
    shape, known = np.array([[9.0, 4.0, 2.0], [4.0, 9.0, 1.0], [2.0, 1.0, 9.0]]), np.arange(n_known)
    target = stats.multivariate_t(np.full(3, 2.0), shape, df=4)
    cells = np.random.default_rng(0).normal(2.0 + distance, 3.0, size=(200, 3))
    cells[:, n_known:] = np.nan
    estimate, _ = log_marginal(target.logpdf, Incomplete(cells, None, mixture()))
    truth = stats.multivariate_t(np.full(n_known, 2.0), shape[np.ix_(known, known)], df=4).logpdf(cells[:, :n_known])
    assert abs((estimate - truth).mean()) < tolerance
    assert np.abs(estimate - truth).mean() < 0.2 + tolerance


def test_proposals_have_the_density_that_they_claim():
    """Cut at the median of the claimed distribution of the second column, half of the draws are on either side."""
    proposal, n = mixture(2), 4000
    rows = np.tile([[2.0, np.nan]], (1, 1))
    uniform = np.random.default_rng(0).random((1, n, 2))
    drawn, log_density = proposal.draw(rows[:, None], ~np.isnan(rows), uniform)
    grid = np.linspace(-60, 60, 4001)
    given = np.stack([np.full_like(grid, 2.0), grid], 1)
    parts = [
        np.exp(log_weight) * stats.multivariate_normal(1 + 3 * mean, 9 * covariance).pdf(given)
        for log_weight, mean, covariance in zip(proposal.log_weights, proposal.means, proposal.covariances, strict=True)
    ]
    exact = sum(parts) / (sum(parts).sum() * (grid[1] - grid[0]))
    ratio = np.interp(drawn[0, :, 1], grid, exact) / np.exp(log_density[0])
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)  # of the conditional density over the claimed one
    assert ratio.max() < 1 / (1 - WIDE_SHARE) + 0.01
    in_share = np.sort(drawn[0, :, 1])[n // 2]
    assert np.interp(in_share, grid, exact.cumsum() * (grid[1] - grid[0])) == pytest.approx(0.5, abs=0.03)


def test_a_share_of_proposals_lies_near_given_values():
    """The claimed density holds there too: another density over it has the mean one."""
    proposal, n = mixture(2), 4000
    rows, uniform = np.array([[2.0, np.nan]]), np.random.default_rng(0).random((1, n, 2))
    drawn, log_density = proposal.draw(rows[:, None], ~np.isnan(rows), uniform, np.array([[2.0, 70.0]]))
    near = np.abs(drawn[0, :, 1] - 70) < 20
    assert near.mean() == pytest.approx(NEAR_SHARE, abs=0.02)
    assert (np.abs(drawn[0, :, 1] - 70) < 0.5).mean() > NEAR_SHARE / 3
    ratio = stats.norm(70, 0.3).pdf(drawn[0, :, 1]) / np.exp(log_density[0])
    assert ratio.mean() == pytest.approx(1, abs=0.1)


def test_more_components_where_rows_ask_for_them_and_rows_of_rare_columns_among_the_chosen():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + np.repeat([[0.0], [30.0]], 150, axis=0)
    holes = np.where(rng.random(one.shape) < 0.2, np.nan, 0.0)
    sizes = [len(fit_mixture(y + holes, np.ones(300), np.random.RandomState(0)).log_weights) for y in (one, two)]
    assert sizes[0] == 1 < sizes[1]
    known = np.ones((5000, 2), dtype=bool)
    known[10:, 1] = False
    chosen = _choose_rows(known, np.random.RandomState(0))
    assert set(range(10)) <= set(chosen.tolist())
    assert len(set(chosen.tolist())) == len(chosen)
    assert chosen[: len(chosen) // 4].mean() == pytest.approx(2500, abs=300)  # the rows held out are any


def test_draws_may_be_fewer_than_experts_ask_for():
    x, points = np.arange(6.0).reshape(3, 2), np.full((1, 2, 2), 7.0)
    draws, log_weights = Draws(np.array([1]), points, np.array([[1.0, 2.0]])).of_all(x, 4)
    np.testing.assert_array_equal(draws, [[[0, 1], [7, 7], [4, 5]]] * 2)
    np.testing.assert_array_equal(log_weights, [[0, 1, 0], [0, 2, 0]])


def test_a_mixture_of_draws_is_conditioned_as_their_source():
    rng = np.random.RandomState(0)
    draws = rng.multivariate_normal([1.0, -2.0], 4 * CORRELATED, 5000)
    rows = np.array([[1.0, np.nan], [3.0, np.nan]])
    uniform = np.random.default_rng(0).random((2, 2000, 2))
    proposal = Proposal.of_draws(draws, rng)
    parts = np.exp(proposal.log_weights), proposal.means, proposal.covariances
    second_moments = sum(w * (covariance + np.outer(mean, mean)) for w, mean, covariance in zip(*parts, strict=True))
    np.testing.assert_allclose(second_moments, np.corrcoef(draws.T), atol=2 * RIDGE)
    drawn, _ = proposal.draw(rows[:, None], ~np.isnan(rows), uniform)
    np.testing.assert_allclose(np.median(drawn[..., 1], 1), [-2.0, -0.8], atol=0.15)


def test_rows_with_other_cells_known_are_drawn_as_alone():
    known = np.array([[True, False, True], [False, False, True], [True, False, True], [False, False, False]])
    rows = np.where(known, 1.0, np.nan)
    uniform = np.random.default_rng(0).random((4, 5, 3))
    drawn, log_density = mixture().draw(rows[:, None], known, uniform)
    assert np.isfinite(drawn).all()
    for i in range(4):
        alone = mixture().draw(rows[i : i + 1, None], known[i : i + 1], uniform[i : i + 1])
        np.testing.assert_allclose(alone[0][0], drawn[i], rtol=1e-10)
        np.testing.assert_allclose(alone[1][0], log_density[i], rtol=1e-10)


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
    for _ in range(EVALUATIONS_PER_WEIGHING):
        draws.weigh(shifted(0.3), generator)
    expected = 1 / (1 + np.exp(-2 * 2 * 0.3))  # of phi(2 - 0.3) against phi(-2 - 0.3)
    later = draws.drawn(x, chosen, generator)[0, ::2, 1]
    assert (later == 2).double().mean() == pytest.approx(expected, abs=0.03)


def test_draws_are_weighed_by_the_density_given_the_context_of_their_row():
    """The context moves the density up in every fourth row, and down in the other ones that are incomplete."""
    draws, x = completions(), torch.full((1, 4000, 2), 7.0, dtype=torch.float64)
    chosen, generator = torch.arange(4000).remainder(40).unsqueeze(0), torch.Generator().manual_seed(0)
    line = AdditiveConditioning(torch.tensor([[[0.0], [0.3]]], dtype=torch.float64))
    context = torch.where(torch.arange(40) % 4 == 0, 1.0, -1.0).double().unsqueeze(1)
    context[1::2] = torch.nan  # of complete rows, on which nothing depends
    for _ in range(EVALUATIONS_PER_WEIGHING):
        draws.weigh(Flow(line, StandardNormal(2)), generator, context)
    later = draws.drawn(x, chosen, generator)[0, :, 1]
    expected = 1 / (1 + np.exp(-2 * 2 * 0.3))
    for first, share in ((0, expected), (2, 1 - expected)):
        assert (later[first::4] == 2).double().mean() == pytest.approx(share, abs=0.05)


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
    table = Table(scaling, x, weights, torch.ones(1, 3, dtype=torch.bool), draws=(points, log_weights))
    flow = shifted(0.0)
    each = torch.stack([flow.log_prob(part)[0] for part in points]) + log_weights
    np.testing.assert_allclose(table.cross_fitted_log_density(flow), torch.logsumexp(each, 0) - np.log(2), rtol=1e-12)


LOC, SCALE = np.array([1.0, 5.0, -2.0]), np.array([2.0, 1.0, 0.5])
FACTORS = np.random.default_rng(3).normal(size=(2, 3, 3)) + 2 * np.eye(3)  # of the covariances of two members
MEANS = np.array([[0.5, 0.0, -0.5], [0.0, 1.0, 0.0]])


def upper(covariances):
    """The upper triangular P whose P P^T is the inverse of a covariance."""
    return np.stack([np.linalg.inv(np.linalg.cholesky(covariance)).T for covariance in covariances])


def expert_and_density(kind):
    """A specification with two members, and the density that it stands for, of some columns of a row."""
    scaling, covariances = Scaling(LOC, SCALE, np.arange(3)), FACTORS @ FACTORS.transpose(0, 2, 1)
    whiten = DenseWhitening(MEANS, upper(covariances))
    points, log_weights = np.random.default_rng(4).normal(size=(5, 3)), np.log(np.full((2, 5), 0.2))

    def normal(mean, covariance):
        return lambda x, k: stats.multivariate_normal(
            (LOC + SCALE * mean)[k], (covariance * np.outer(SCALE, SCALE))[np.ix_(k, k)]
        ).pdf(x)

    if kind == "normal":
        return NormalSpecification(scaling=scaling, whiten=whiten), [
            [normal(*part)] for part in zip(MEANS, covariances, strict=True)
        ]
    if kind == "mixture":
        means, parts = MEANS[:, None] + np.array([[0.0], [2.0]]), np.stack([covariances, 2 * covariances], 1)
        factors = np.stack([upper(part) for part in parts])
        mixture = GaussianMixtureSpecification(
            scaling=scaling, log_weights=np.log(np.full((2, 2), 0.5)), means=means, precisions_cholesky=factors
        )
        return mixture, [[normal(means[m, c], parts[m, c]) for c in range(2)] for m in range(2)]
    if kind == "student t":
        t = StudentTSpecification(scaling=scaling, whiten=whiten, degrees_of_freedom=4)

        def heavy(mean, covariance):
            return lambda x, k: stats.multivariate_t(
                (LOC + SCALE * mean)[k], (covariance * np.outer(SCALE, SCALE))[np.ix_(k, k)], df=4
            ).pdf(x)

        return t, [[heavy(*part)] for part in zip(MEANS, covariances, strict=True)]
    shapes = covariances
    if kind == "plain kernels":
        whiten = LowRankWhitening(MEANS, np.empty((2, 3, 0)), np.empty((2, 0)), 1.0)
        shapes = np.stack([np.eye(3)] * 2)
    kernels = KernelsSpecification(
        scaling=scaling, whiten=whiten, points=points, log_weights=log_weights, bandwidth=0.7
    )
    return kernels, [[normal(point, 0.49 * shape) for point in points] for shape in shapes]


@pytest.mark.parametrize("kind", ["normal", "mixture", "student t", "kernels", "plain kernels"])
def test_experts_have_the_marginals_of_their_distributions(kind):
    """The density of the known cells is the mean over members and components, in the units of the table."""
    specification, members = expert_and_density(kind)
    experts = KnownCells([specification], np.log([0.25]))
    y = LOC + SCALE * np.random.default_rng(5).normal(size=(7, 2, 3))
    known = np.array([*np.ndindex(2, 2, 2)][1:], dtype=bool)
    log_density = experts.log_density(np.where(known[:, None], y, np.nan), known)
    for i, row in enumerate(known):
        k = np.flatnonzero(row)
        truth = np.mean([[part(y[i][:, k], k) for part in member] for member in members], axis=(0, 1))
        np.testing.assert_allclose(log_density[i], np.log(0.25 * truth), rtol=1e-10)


def test_constant_columns_have_probabilities_beside_experts():
    scaling = Scaling(LOC, SCALE, np.array([0, 2]))
    whiten = DenseWhitening(np.zeros((1, 2)), np.eye(2)[None])
    experts = KnownCells([NormalSpecification(scaling=scaling, whiten=whiten)], np.zeros(1))
    y, known = np.array([[[1.0, 5.0, 0.0]], [[1.0, 6.0, 0.0]]]), np.array([[True, True, False]] * 2)
    expected = stats.norm(1.0, 2.0).logpdf(1.0) + np.array([[0.0], [np.log(1e-30)]])
    np.testing.assert_allclose(experts.log_density(y, known), expected, rtol=1e-12)
    known[:] = [False, True, False]
    np.testing.assert_allclose(experts.log_density(y, known), [[0.0], [np.log(1e-30)]], atol=1e-12)


def test_experts_add_their_density_to_that_of_the_flows():
    """Half of the mass lies in an expert that is far narrower than the proposals; the sum is exact in its part."""
    scaling = Scaling(np.zeros(2), np.ones(2), np.arange(2))
    narrow = NormalSpecification(scaling=scaling, whiten=DenseWhitening(np.zeros((1, 2)), 1e4 * np.eye(2)[None]))
    incomplete, half = rows()._replace(rows=np.c_[np.linspace(-2e-4, 2e-4, 50), np.full(50, np.nan)]), np.log(0.5)
    estimate, error = log_marginal(lambda y: half + other_log_density(y), incomplete, KnownCells([narrow], [half]))
    x = incomplete.rows[:, 0]
    truth = np.log(0.5 * stats.norm.pdf(x) + 0.5 * stats.norm(0, 1e-4).pdf(x))
    np.testing.assert_allclose(estimate, truth, atol=1e-3)
    assert error.max() < 1e-3


def spiral(n, rng):
    """A spiral in three columns beside a normal column that says nothing of it."""
    t = rng.uniform(0, 6 * np.pi, n)
    return np.c_[np.stack([t * np.cos(t), t * np.sin(t), t], 1) + 0.3 * rng.normal(size=(n, 3)), rng.normal(size=n)]


def test_known_cells_that_say_nothing_leave_all_components_in_the_proposal():
    """No part of the distribution is left to the wide tails alone."""
    rng = np.random.RandomState(0)
    proposal = Proposal.of_draws(spiral(20_000, rng), rng)
    assert len(proposal.log_weights) > 3 * N_LIKELIEST
    rows, n = np.array([[np.nan, np.nan, np.nan, 0.3]]), 20_000
    drawn, _ = proposal.draw(rows[:, None], ~np.isnan(rows), np.random.default_rng(0).random((1, n, 4)))
    truth = spiral(n, np.random.RandomState(1))
    assert stats.ks_2samp(drawn[0, :, 2], truth[:, 2]).statistic < 0.03


def test_one_component_is_the_mean_and_the_covariance_of_the_draws():
    rng = np.random.RandomState(0)
    draws = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20))
    proposal = Proposal.of_draws(draws, rng)
    np.testing.assert_allclose(proposal.loc, draws.mean(0))
    np.testing.assert_allclose(proposal.covariances[0], np.corrcoef(draws.T) + RIDGE * np.eye(20), atol=1e-12)


def test_batches_hold_a_row_at_least(monkeypatch):
    monkeypatch.setattr("sknvp._missing.incomplete.MAX_NUMBERS", 1)
    assert [len(batch) for batch in rows(3).batches(16)] == [1, 1, 1]
