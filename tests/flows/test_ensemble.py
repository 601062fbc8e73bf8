"""Ensembles of flows."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sknvp.flows import Chain, Ensemble, Flow, Kernels, StandardNormal

from .builders import DTYPE, generator, randn, random_mixture, shaken, whole_flow


def test_an_ensemble_is_the_mixture_of_its_members():
    flows = [shaken(whole_flow(2, 3)), Flow(Chain(), random_mixture(3, 2, 3), 3)]
    log_weights = torch.tensor([0.3, 0.7], dtype=DTYPE).log()
    x = randn(7, 3)
    expected = 0.3 * flows[0].log_prob(x).exp().mean(0) + 0.7 * flows[1].log_prob(x).exp().mean(0)
    ensemble = Ensemble(flows, log_weights)
    torch.testing.assert_close(ensemble.log_prob(x), expected.log())
    assert ensemble.log_prob(x[:0]).shape == (0,)


def test_members_of_the_first_flow_count_by_their_shares():
    flows = [shaken(whole_flow(2, 3)), Flow(Chain(), random_mixture(3, 2, 3), 3)]
    log_weights, shares, x = (
        torch.tensor([0.3, 0.7], dtype=DTYPE).log(),
        torch.tensor([0.9, 0.1], dtype=DTYPE),
        randn(7, 3),
    )
    expected = 0.3 * shares @ flows[0].log_prob(x).exp() + 0.7 * flows[1].log_prob(x).exp().mean(0)
    torch.testing.assert_close(Ensemble(flows, log_weights, shares.log()).log_prob(x), expected.log())


def test_an_ensemble_survives_a_member_that_overflows():
    class Broken(StandardNormal):
        def log_prob(self, z):
            return torch.full(z.shape[:-1], math.nan, dtype=z.dtype)

    flows = [Flow(whole_flow(1, 2).transform, base(2)) for base in (Broken, StandardNormal)]
    x = randn(5, 2)
    ensemble = Ensemble(flows, torch.tensor([0.5, 0.5]).log())
    torch.testing.assert_close(ensemble.log_prob(x), flows[1].log_prob(x)[0] + math.log(0.5), check_dtype=False)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [(None, [1500, 1500, 2000]), (torch.tensor([0.9, 0.1], dtype=DTYPE), [2700, 300, 2000])],
    ids=["equal", "given"],
)
def test_an_ensemble_draws_from_each_member_its_share(shares, expected):
    """Members sit on separate points; the numbers of rows near each are multinomial (chi-square, 1 in 1000)."""
    points = torch.tensor([[[0.0]], [[100.0]], [[200.0]]], dtype=DTYPE)
    flows = [
        Flow(Chain(), Kernels(p, torch.zeros(len(p), 1, dtype=DTYPE), 1.0), len(p)) for p in (points[:2], points[2:])
    ]
    ensemble = Ensemble(flows, torch.tensor([0.6, 0.4], dtype=DTYPE).log(), None if shares is None else shares.log())
    drawn = ensemble.sample(5000, generator=generator(0))[:, 0]
    counts = torch.stack([((drawn - c).abs() < 50).sum() for c in (0, 100, 200)])
    assert stats.chisquare(counts.numpy(), expected).pvalue > 1e-3
    near = (drawn < 50).numpy()
    assert np.corrcoef(near[1:], near[:-1])[0, 1] == pytest.approx(0, abs=5 / 70)
