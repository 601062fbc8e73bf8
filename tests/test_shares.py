"""The weights of densities under whose mixture rows are likeliest."""

import numpy as np
import pytest

from sknvp._shares import LEAST_SHARE, likeliest_shares, shares_of_estimates


def densities_and_weights(seed):
    """The densities of 300 values by kernels of nine bandwidths on the other values, and random weights."""
    rng = np.random.default_rng(seed)
    x, bandwidths = rng.standard_t(2, size=300), np.geomspace(0.01, 10, 9)[:, None, None]
    kernels = np.exp(-0.5 * ((x - x[:, None]) / bandwidths) ** 2) / bandwidths
    return (kernels.sum(-1) - kernels[:, :1, 0]) / (len(x) - 1), rng.dirichlet(np.ones(len(x)))


@pytest.mark.parametrize("seed", range(5))
def test_no_density_would_gain_by_a_larger_share(seed):
    """The Karush-Kuhn-Tucker conditions of the likeliest mixture, which is a concave problem."""
    densities, weights = densities_and_weights(seed)
    shares = likeliest_shares(densities, weights, n_iterations=10_000, tol=1e-9)
    gains = densities @ (weights / (shares @ densities))
    assert shares.sum() == pytest.approx(1)
    assert (gains < 1 + 1e-3).all()
    assert gains[shares > 0.01] == pytest.approx(1, abs=1e-3)


def test_earlier_shares_are_rows_that_each_density_explains_alone():
    densities, weights = densities_and_weights(0)
    prior = np.random.default_rng(1).dirichlet(np.ones(9))
    rows = np.concatenate([densities, np.eye(9)], 1)
    with_rows = likeliest_shares(rows, np.append(weights, 0.3 * prior) / 1.3, tol=0, n_iterations=2000)
    np.testing.assert_allclose(likeliest_shares(densities, weights, prior, 0.3, tol=0, n_iterations=2000), with_rows)


def test_the_unit_of_a_row_changes_no_share():
    densities, weights = densities_and_weights(0)
    shares = likeliest_shares(densities, weights)
    np.testing.assert_allclose(likeliest_shares(densities * np.geomspace(1e-9, 1e9, 300), weights), shares)


def test_every_estimate_of_a_margin_has_a_share_though_no_row_has_a_density():
    assert shares_of_estimates(np.zeros((3, 50)), np.full(50, 1 / 50)) == pytest.approx(LEAST_SHARE)
    densities, weights = densities_and_weights(0)
    assert shares_of_estimates(densities, weights).min() == LEAST_SHARE
