"""Integrals over one unknown cell, and what proposals and mixtures are given the known cells, beside SciPy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from sknvp._missing.incomplete import Incomplete
from sknvp._missing.incomplete_mixture import _expected, _log_marginal, _total_spread
from sknvp._missing.marginal import log_marginal
from sknvp._missing.patterns import patterns_of
from sknvp._missing.proposal import Proposal
from sknvp._missing.quadrature import MAX_POINTS, N_POINTS, first_points, log_integrals
from sknvp.flows import Flow, masks, real_nvp
from sknvp.flows.builders.precision import SinglePrecision

FIRST = np.linspace(-6, 6, N_POINTS)
NOTHING = np.full(1, -np.inf)
DENSITIES = {
    "two peaks": lambda x: 0.3 * stats.norm.pdf(x, -2, 0.5) + 0.7 * stats.norm.pdf(x, 2, 0.2),
    "kink": lambda x: stats.laplace.pdf(x, 0.3),
    "heavy tails": lambda x: stats.t(3).pdf(x),
    "skewed": lambda x: stats.skewnorm(8).pdf(x),
    "far from the first points": lambda x: stats.norm.pdf(x, 11.0, 1.5),
    "a narrow part": lambda x: 0.5 * stats.norm.pdf(x) + 0.5 * stats.norm.pdf(x, 0.7, 0.15),
}


def counted(density):
    """A function for `log_integrals`, and the list of how many points it was asked for."""
    counts = []

    def log_density(rows, x):
        counts.append(x.size)
        with np.errstate(divide="ignore"):
            return np.log(density(x))

    return log_density, counts


@pytest.mark.parametrize("density", DENSITIES.values(), ids=list(DENSITIES))
def test_integrals_of_densities_are_one_and_errors_tell_how_far_they_are_off(density):
    log_density, counts = counted(density)
    log_integral, error = log_integrals(log_density, FIRST[None], NOTHING)
    assert abs(log_integral[0]) < 0.02
    assert abs(log_integral[0]) < 2 * error[0] + 1e-3
    assert N_POINTS <= sum(counts) < 2 * MAX_POINTS


@pytest.mark.parametrize("far", [30.0, 350.0])
def test_parabolas_that_rise_too_far_in_wide_gaps_are_not_believed(far):
    """The first points lie close together, and the density rises from both groups into the gap between them."""
    first = np.r_[-far, -11.4 + 0.05 * np.arange(6), -0.3 + 0.04 * np.arange(22), far]
    peaks = ((0.2, stats.norm(-11.1, 0.06)), (0.3, stats.norm(-0.36, 0.06)), (0.5, stats.t(3, 0.25, 0.125)))
    log_density, counts = counted(lambda x: sum(share * peak.pdf(x) for share, peak in peaks))
    log_integral, error = log_integrals(log_density, first[None], NOTHING)
    assert abs(log_integral[0]) < 0.02
    assert abs(log_integral[0]) < 2 * error[0] + 1e-3
    assert sum(counts) < 2 * MAX_POINTS


def test_a_normal_density_takes_no_more_points_and_has_no_error():
    log_density, counts = counted(lambda x: 3 * stats.norm.pdf(x, 0.2, 1.3))
    log_integral, error = log_integrals(log_density, FIRST[None], NOTHING)
    assert counts == [N_POINTS]
    np.testing.assert_allclose(log_integral, np.log(3), atol=1e-4)
    assert error[0] < 1e-3


def test_what_is_known_is_added_and_each_row_is_as_if_alone():
    log_density, _ = counted(DENSITIES["a narrow part"])
    rest, first = np.log([1e-6, 0.5, 99.0]), np.tile(FIRST, (3, 1))
    log_integral, error = log_integrals(log_density, first, rest)
    np.testing.assert_allclose(log_integral, np.log(1 + np.exp(rest)), atol=0.02)
    assert error[2] < error[0]
    each = [log_integrals(log_density, FIRST[None], rest[i : i + 1])[0][0] for i in range(3)]
    np.testing.assert_array_equal(log_integral, each)


@pytest.mark.filterwarnings("error")
def test_densities_that_are_zero_leave_what_is_known():
    log_density, _ = counted(lambda x: np.zeros_like(x))
    log_integral, error = log_integrals(log_density, FIRST[None], np.zeros(1))
    assert (log_integral[0], error[0]) == (0.0, 0.0)
    assert log_integrals(log_density, FIRST[None], NOTHING)[0][0] < -1e299


def mixture(n_features=4, n_components=3):
    rng = np.random.default_rng(2)
    factors = rng.normal(size=(n_components, n_features, n_features))
    covariances = factors @ factors.transpose(0, 2, 1) / n_features + 0.1 * np.eye(n_features)
    return Proposal(
        rng.normal(size=n_features),
        rng.uniform(0.5, 2, n_features),
        np.log(np.full(n_components, 1 / n_components)),
        rng.normal(size=(n_components, n_features)),
        covariances,
    )


def log_density_of(proposal, x, columns):
    """The log-density of some columns of rows, by SciPy."""
    z = (x - proposal.loc[columns]) / proposal.scale[columns]
    parts = [
        w + stats.multivariate_normal(m[columns], c[np.ix_(columns, columns)]).logpdf(z)
        for w, m, c in zip(proposal.log_weights, proposal.means, proposal.covariances, strict=True)
    ]
    return special.logsumexp(np.array(parts), 0) - np.log(proposal.scale[columns]).sum()


@pytest.mark.parametrize("distance", [1.0, 1e3])
def test_one_unknown_cell_is_integrated_out_of_a_mixture(distance):
    proposal, rng = mixture(), np.random.default_rng(0)
    rows = proposal.loc + distance * proposal.scale * rng.normal(size=(8, 4))
    rows[np.arange(8), np.arange(8) % 4] = np.nan
    every = np.arange(4)
    estimate, error = log_marginal(lambda y: log_density_of(proposal, y, every), Incomplete(rows, None, proposal))
    truth = [log_density_of(proposal, row[None, ~np.isnan(row)], np.flatnonzero(~np.isnan(row))) for row in rows]
    np.testing.assert_allclose(estimate, np.ravel(truth), atol=0.01)
    assert (error < 0.03).all()


def test_first_points_increase_and_share_out_the_mass():
    proposal = mixture()
    rows = np.array([[0.3, np.nan, -0.2, 1.0]])
    ((_, _, given),) = proposal.conditional(rows[:, None], ~np.isnan(rows))
    points = first_points(given)[0]
    assert (np.diff(points) > 0).all()

    def share(a, b):
        parts = zip(given.shares[0], given.means[0, :, 0], given.factors[0, :, 0, 0].abs(), strict=True)
        return float(sum(w * (stats.norm(m, s).cdf(b) - stats.norm(m, s).cdf(a)) for w, m, s in parts))

    shares = np.array([share(*ends) for ends in pairwise(points)])
    assert shares.max() < 0.3
    assert shares.sum() > 0.97


def test_incomplete_rows_have_the_densities_moments_and_spreads_of_textbooks():
    proposal, rng = mixture(), np.random.default_rng(1)
    parts = tuple(torch.tensor(part) for part in (proposal.log_weights, proposal.means, proposal.covariances))
    known = np.array([*np.ndindex(2, 2, 2, 2)], dtype=bool)
    z, plain = rng.normal(size=known.shape), Proposal(np.zeros(4), np.ones(4), *(part.numpy() for part in parts))
    held = _log_marginal(parts, torch.tensor(z), torch.tensor(known)).numpy()
    expected = _expected(parts, torch.tensor(np.where(known, z, 0.0)), list(patterns_of(known)))
    shares, total = torch.tensor(rng.uniform(size=(16, 3))), np.zeros((3, 4, 4))
    for i, row in enumerate(known):
        k, u = np.flatnonzero(row), np.flatnonzero(~row)
        if len(k):
            assert held[i] == pytest.approx(log_density_of(plain, z[i : i + 1, k], k).item(), rel=1e-9)
        for c, (m, s) in enumerate(zip(plain.means, plain.covariances, strict=True)):
            gain = s[np.ix_(u, k)] @ np.linalg.inv(s[np.ix_(k, k)]) if len(k) else np.zeros((len(u), 0))
            np.testing.assert_allclose(expected.means[i, c, u], m[u] + gain @ (z[i, k] - m[k]), rtol=1e-8, atol=1e-8)
            total[c][np.ix_(u, u)] += float(shares[i, c]) * (s[np.ix_(u, u)] - gain @ s[np.ix_(k, u)])
    assert held[0] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(_total_spread(expected, shares), total, rtol=1e-8, atol=1e-8)


def test_flows_in_single_precision_are_near_those_in_double():
    generator = torch.Generator().manual_seed(0)
    keep = masks.random(n_members=2, n_layers=2, n_features=3, generator=generator)
    loc, scale = torch.tensor([1e6, 0.0, -3.0]).double(), torch.tensor([1.0, 1e-3, 5.0]).double()
    flow = real_nvp(loc, scale, torch.arange(3), keep, generator=generator)
    x = loc + scale * torch.randn(50, 3, generator=generator).double()
    single = SinglePrecision(flow)
    with torch.inference_mode():
        np.testing.assert_allclose(single.log_prob(x), Flow.log_prob(single, x), rtol=1e-7)
        np.testing.assert_allclose(single.log_prob(x), flow.log_prob(x), atol=1e-3)
    assert single.chunk_size > flow.chunk_size


def test_integrals_agree_with_scipy_where_a_density_is_no_mixture():
    proposal = Proposal(np.zeros(2), np.ones(2), np.zeros(1), np.zeros((1, 2)), np.eye(2)[None])

    def log_density(y):
        return -np.abs(y[:, 0] - np.sin(3 * y[:, 1])) - 0.5 * y[:, 1] ** 2

    rows = np.c_[np.linspace(-2, 2, 5), np.full(5, np.nan)]
    estimate, error = log_marginal(log_density, Incomplete(rows, None, proposal))
    for x, value in zip(rows[:, 0], estimate, strict=True):
        truth = integrate.quad(lambda t, x=x: np.exp(log_density(np.array([[x, t]])))[0], -9, 9, limit=200)[0]
        assert value == pytest.approx(np.log(truth), abs=0.02)
    assert ((error > 0) & (error < 0.02)).all()
