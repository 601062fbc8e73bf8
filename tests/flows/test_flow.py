"""Whole flows: samples, contexts and chunks."""

import pytest
import torch
from scipy import stats
from torch.autograd.functional import jacobian

from sknvp.flows import (
    SplineCoupling,
)
from sknvp.flows.bases.base import MAX_CHUNK_NUMBERS

from .builders import generator, randn, shaken, whole_flow


def test_samples_have_the_density_that_is_scored():
    """In one dimension the probability integral transform of samples is uniform (Kolmogorov-Smirnov, 1 in 1000)."""
    flow = shaken(whole_flow(2, 1, n_layers=2), size=0.7)
    with torch.no_grad():
        drawn = flow.sample(4000, generator=generator(1))
        grid = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
        density = flow.log_prob(grid[:, None]).exp()
        cdf = torch.cumulative_trapezoid(density, grid)
    torch.testing.assert_close(cdf[:, -1], torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)
    for m in range(2):
        u = cdf[m][torch.searchsorted(grid, drawn[m, :, 0]) - 1]
        assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_flow_draws_in_its_own_dtype_what_the_seed_says(dtype):
    flow = shaken(whole_flow(2, 3)).to(dtype)
    once = flow.sample(5, generator=generator(3))
    assert once.dtype == dtype
    assert torch.equal(once, flow.sample(5, generator=generator(3)))
    assert not torch.equal(once, flow.sample(5, generator=generator(4)))


def test_context_reaches_every_coupling():
    """A whole flow with context keeps the change of variables, and another context gives another density."""
    flow = shaken(whole_flow(2, 3, n_context=2))
    x, context = randn(4, 3), randn(4, 2, seed=1)
    expected = flow.base.log_prob(flow.transform(x.expand(2, 4, 3), context.expand(2, 4, 2))[0])
    for m, i in ((0, 0), (1, 3)):

        def image(row, m=m, i=i):
            rows = row.expand(2, 1, -1)
            return flow.transform(rows, context[i].expand(2, 1, -1))[0][m, 0]

        expected[m, i] += torch.linalg.slogdet(jacobian(image, x[i])).logabsdet
        torch.testing.assert_close(flow.log_prob(x, context)[m, i], expected[m, i])
    assert not torch.allclose(flow.log_prob(x, context + 1), flow.log_prob(x, context))
    drawn = [flow.sample(4, context + shift, generator=generator(0)) for shift in (0, 1)]
    assert not torch.allclose(*drawn)
    back = flow.transform(drawn[1], (context + 1).expand(2, 4, 2))[0]
    noise = flow.base.sample((2, 4), drawn[1], generator(0))
    torch.testing.assert_close(back, noise)


@pytest.mark.parametrize("n_members", [1, 8])
def test_chunks_shrink_as_flows_widen(n_members):
    narrow, wide = whole_flow(n_members, 2).chunk_size, whole_flow(n_members, 2, hidden=(512,)).chunk_size
    assert narrow == pytest.approx(64 * wide, rel=0.01)
    assert wide * 512 * n_members <= MAX_CHUNK_NUMBERS


def test_chunks_heed_what_networks_put_out():
    """The parameters of a spline outnumber the hidden units."""
    flow = whole_flow(2, 8, "spline", mask="half")
    assert flow.chunk_size == MAX_CHUNK_NUMBERS // (2 * 4 * SplineCoupling.N_PARAMETERS)
