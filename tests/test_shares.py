"""The weights of estimates under whose mixture rows are likeliest."""

import numpy as np
import pytest

from sknvp._columns.shares import LEAST_SHARE, likeliest_shares


@pytest.mark.parametrize("seed", range(5))
def test_no_estimate_would_gain_by_a_larger_share(seed):
    """The Karush-Kuhn-Tucker conditions of the likeliest mixture, which is a concave problem."""
    rng = np.random.default_rng(seed)
    x, bandwidths = rng.standard_t(2, size=300), np.geomspace(0.01, 10, 9)
    gaps = (x - x[:, None]) / bandwidths[:, None, None]
    kernels = np.exp(-0.5 * gaps**2) / bandwidths[:, None, None]
    densities = (kernels.sum(-1) - kernels[:, 0, 0, None]) / (len(x) - 1)
    weights = rng.dirichlet(np.ones(len(x)))
    shares = likeliest_shares(densities, weights)
    gains = densities @ (weights / (shares @ densities))
    assert shares.sum() == pytest.approx(1, abs=len(shares) * LEAST_SHARE)
    assert (gains < 1.02).all()
    assert gains[shares > 0.05] == pytest.approx(1, abs=0.02)


def test_rows_that_no_estimate_explains_change_no_share():
    densities = np.random.default_rng(0).exponential(size=(3, 50))
    some = np.concatenate([densities, np.zeros((3, 50))], 1)
    shares = likeliest_shares(some, np.full(100, 1 / 100))
    np.testing.assert_allclose(shares / shares.sum(), likeliest_shares(densities, np.full(50, 1 / 50)), atol=1e-3)
    assert likeliest_shares(np.zeros((3, 50)), np.full(50, 1 / 50)) == pytest.approx(LEAST_SHARE)
