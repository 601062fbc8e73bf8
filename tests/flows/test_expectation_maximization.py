"""Expectation-maximization, against scikit-learn."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture

from sknvp.flows.bases import expectation_maximization as mixture
from sknvp.flows.bases.expectation_maximization import expectation_maximization, narrow_components
from sknvp.flows.native import torch_only

from .builders import DTYPE, randn


def fitted_from(centres, x, weights, ridge=1e-3):
    return expectation_maximization(narrow_components(centres), x, weights, ridge)


@pytest.fixture(params=["native", "torch"], autouse=True)
def path(request):
    """Every law holds by either path."""
    with nullcontext() if request.param == "native" else torch_only():
        yield


def clusters(n):
    return torch.cat([randn(n, 2), randn(n // 2, 2, seed=1) * 0.3 + 3, randn(n // 2, 2, seed=2) * 0.5 - 3])


def test_expectation_maximization_is_scikit_learns(monkeypatch):
    """Both start from the same mixture, and go on until nothing changes."""
    monkeypatch.setattr(mixture, "TOL", 1e-12)
    monkeypatch.setattr(mixture, "MAX_ITER", 5000)
    x = clusters(100)
    centres = x[[0, 120, 170]]
    ours = fitted_from(centres[None], x, torch.ones(1, len(x), dtype=DTYPE))
    theirs = SklearnMixture(
        3,
        tol=1e-12,
        max_iter=5000,
        reg_covar=1e-3,
        weights_init=np.full(3, 1 / 3),
        means_init=centres.numpy(),
        precisions_init=np.stack([np.eye(2) / mixture.START_WIDTH**2] * 3),
    ).fit(x.numpy())
    np.testing.assert_allclose(ours.log_weights.exp()[0], theirs.weights_, rtol=1e-5)
    np.testing.assert_allclose(ours.means[0], theirs.means_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.precisions_cholesky[0], theirs.precisions_cholesky_, rtol=1e-4, atol=1e-5)


def test_weights_are_repetitions_and_members_see_their_own_rows_only(monkeypatch):
    monkeypatch.setattr(mixture, "MAX_CHUNK_NUMBERS", 64)  # The rows pass in several chunks.
    monkeypatch.setattr(mixture, "TOL", -1.0)  # No member stops early.
    x, counts = clusters(30), torch.arange(60) % 3
    weights = torch.stack([counts, counts.flip(0)]).to(x)
    centres = x[[0, 40]].expand(2, -1, -1)
    together = fitted_from(centres, x, weights)
    for m in range(2):
        rows = x.repeat_interleave(weights[m].long(), 0)
        alone = fitted_from(centres[:1], rows, torch.ones(1, len(rows), dtype=DTYPE))
        torch.testing.assert_close(together.log_prob(x.expand(2, -1, -1))[m], alone.log_prob(x[None])[0])


@pytest.mark.parametrize("max_iter", [100, 3])
def test_no_component_rests_on_fewer_rows_than_determine_it(monkeypatch, max_iter):
    """No component stays on one or two outliers, converged or not. But one component always remains."""
    monkeypatch.setattr(mixture, "MAX_ITER", max_iter)
    x = torch.cat([clusters(100), torch.tensor([[40.0, 40.0], [-40.0, 0.0], [-40.0, 0.1]]).to(DTYPE)])
    fitted = fitted_from(x[None, [0, 120, 170, 200, 202]], x, torch.ones(1, len(x), dtype=DTYPE))
    assert fitted.log_weights.exp()[0, 3:].tolist() == [0, 0]
    torch.testing.assert_close(fitted.log_weights.exp().sum(), torch.tensor(1.0, dtype=DTYPE))
    log_density = fitted.log_prob(x[None])[0]
    assert log_density[200:].max() < log_density[:200].min()
    few = fitted_from(x[None, :2], x[:2], torch.ones(1, 2, dtype=DTYPE))
    assert few.log_prob(x[None]).isfinite().all()


def test_memory_does_not_grow_with_rows_or_columns(monkeypatch):
    """The largest matrix of monomials stays within bounds."""
    seen, original = [], mixture._monomials
    monkeypatch.setattr(mixture, "_monomials", lambda *parts: seen.append(original(*parts)) or seen[-1])
    x = randn(3000, 40)
    with torch_only():
        fitted_from(x[None, :1], x, torch.ones(1, 3000, dtype=DTYPE))
    assert max(part.numel() for part in seen) <= mixture.MAX_CHUNK_NUMBERS


def test_noise_widens_the_component_of_its_rows(monkeypatch):
    """Two clusters far apart: the covariance of each is that of its rows, plus the weighted mean of their noise."""
    monkeypatch.setattr(mixture, "MAX_CHUNK_NUMBERS", 64)  # The rows pass in several chunks.
    x = torch.cat([randn(20, 3), randn(30, 3, seed=1) * 0.1 + 50])
    noise, weights = randn(50, 3, seed=2).square(), randn(1, 50, seed=3).exp()
    start = narrow_components(x[None, [0, 20]])
    fitted = expectation_maximization(start, x, weights, 1e-3, noise)
    for component, rows in enumerate((slice(0, 20), slice(20, 50))):
        w = weights[0, rows].numpy()
        extra = np.diag(np.average(noise[rows], axis=0, weights=w) + 1e-3)
        precision = fitted.precisions_cholesky[0, component] @ fitted.precisions_cholesky[0, component].T
        expected = np.cov(x[rows].T, aweights=w, bias=True) + extra
        np.testing.assert_allclose(np.linalg.inv(precision), expected, rtol=1e-6, atol=1e-9)


def test_a_converged_mixture_stays():
    x, weights = clusters(50), torch.ones(1, 100, dtype=DTYPE)
    first = fitted_from(x[None, [0, 60, 80]], x, weights)
    again = expectation_maximization(first, x, weights, 1e-3)
    before, after = (float(each.log_prob(x[None]).mean()) for each in (first, again))
    assert after == pytest.approx(before, abs=5 * mixture.TOL)
