"""Base distributions, against SciPy and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.neighbors import KernelDensity

from sknvp.flows import PointMass, Product, StandardNormal, StudentT
from sknvp.flows.bases.base import logsumexp
from sknvp.flows.native import torch_only

from .builders import DTYPE, generator, randn, random_kernels, random_mixture

BASES = {
    "standard normal": lambda m, d: StandardNormal(d),
    "gaussian mixture": lambda m, d: random_mixture(m, 3, d),
    "kernels": random_kernels,
    "student t": lambda m, d: StudentT(d, 4),
    "product": lambda m, d: Product(random_kernels(m, d - d // 2), torch.arange(0, d, 2), StandardNormal(d // 2)),
}


@pytest.fixture(params=BASES, ids=str)
def make(request):
    return BASES[request.param]


def test_the_standard_normal_is_scipys():
    z = randn(3, 7, 4)
    expected = stats.multivariate_normal(cov=torch.eye(4).numpy()).logpdf(z.numpy())
    torch.testing.assert_close(StandardNormal(4).log_prob(z), torch.tensor(expected))
    assert StandardNormal(1).log_prob(torch.zeros(1)).item() == pytest.approx(-0.5 * math.log(2 * math.pi))


def test_a_mixture_is_scikit_learns():
    ours, z = random_mixture(2, 3, 4), randn(2, 20, 4) * 3
    for m in range(2):
        theirs = SklearnMixture(3)
        theirs.weights_, theirs.means_ = ours.log_weights[m].exp().numpy(), ours.means[m].numpy()
        theirs.precisions_cholesky_ = ours.precisions_cholesky[m].numpy()
        np.testing.assert_allclose(ours.log_prob(z)[m], theirs.score_samples(z[m].numpy()), rtol=1e-10)


def test_kernels_are_scikit_learns():
    ours, z = random_kernels(2, 3), randn(2, 20, 3) * 2
    for m in range(2):
        weights = ours.log_weights[m].exp().numpy()
        theirs = KernelDensity(bandwidth=0.4).fit(
            ours.points[m].numpy()[weights > 0], sample_weight=weights[weights > 0]
        )
        np.testing.assert_allclose(ours.log_prob(z)[m], theirs.score_samples(z[m].numpy()), rtol=1e-7)


def test_the_t_distribution_is_scipys():
    z = randn(2, 20, 3) * 10
    expected = stats.multivariate_t(np.zeros(3), np.eye(3), df=4).logpdf(z.numpy())
    np.testing.assert_allclose(StudentT(3, 4).log_prob(z), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_t_distribution_stays_finite(dtype):
    exponents = [10, 20, 38] if dtype == torch.float32 else [10, 160, 300]
    far = (10.0 ** torch.tensor(exponents, dtype=dtype))[None, :, None].expand(1, 3, 5)
    log_prob = StudentT(5, 4).log_prob(far)
    assert torch.isfinite(log_prob).all()
    assert (log_prob.diff() < 0).all()


def test_a_product_adds_the_log_densities_of_its_parts():
    base, z = random_kernels(2, 2), randn(2, 6, 5)
    columns = torch.tensor([3, 1])
    expected = base.log_prob(z[..., [3, 1]]) + StandardNormal(3).log_prob(z[..., [0, 2, 4]])
    torch.testing.assert_close(Product(base, columns, StandardNormal(3)).log_prob(z), expected)


@pytest.mark.parametrize("n_features", [1, 2])
def test_samples_have_the_density_that_is_scored(make, n_features):
    """The probability integral transform of samples is uniform under the scored density (Kolmogorov-Smirnov)."""
    base = make(2, n_features)
    drawn = base.sample((2, 4000), randn(1), generator(1))
    axis, other = (torch.linspace(-40, 40, n, dtype=DTYPE) for n in (1601, 401))
    grid = torch.cartesian_prod(*[axis, other][:n_features]).view(-1, n_features)
    p = base.log_prob(grid.expand(2, -1, -1)).exp().view(2, len(axis), -1)
    marginal = p[..., 0] if n_features == 1 else p.sum(-1) * (other[1] - other[0])
    cdf = torch.cumulative_trapezoid(marginal, axis)
    for m in range(2):
        assert cdf[m, -1] == pytest.approx(1, abs=1e-3)
        u = np.interp(drawn[m, :, 0], axis[1:], cdf[m])
        assert stats.kstest(u, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_has_the_dtype_and_is_what_the_seed_says(make, dtype):
    base, reference = make(2, 3).to(dtype), randn(1).to(dtype)
    once = base.sample((2, 5), reference, generator(3))
    assert once.dtype == dtype
    assert torch.equal(once, base.sample((2, 5), reference, generator(3)))
    assert not torch.equal(once, base.sample((2, 5), reference, generator(4)))


@pytest.mark.parametrize("name", ["gaussian mixture", "kernels"])
def test_rows_pass_pytorch_a_few_at_a_time(name, monkeypatch):
    """Memory does not grow with the number of rows, and nothing depends on how many pass at once."""
    base, z, seen = BASES[name](2, 3), randn(2, 50, 3), []
    whole = base.log_prob(z)
    monkeypatch.setattr("sknvp.flows.bases.base.MAX_CHUNK_NUMBERS", 128)
    monkeypatch.setattr("sknvp.flows.bases.kernels.logsumexp", lambda x, dim: seen.append(x) or logsumexp(x, dim))
    monkeypatch.setattr("sknvp.flows.bases.mixture.logsumexp", lambda x, dim: seen.append(x) or logsumexp(x, dim))
    with torch_only():
        torch.testing.assert_close(base.log_prob(z), whole)
    assert len(seen) > 5
    assert max(part.numel() for part in seen) <= 128


def test_logsumexp_is_that_of_torch():
    """Values and gradients agree, also where exponentials underflow and for minus infinity and NaN."""
    x = torch.cat([randn(3, 50), randn(3, 50) * 1e3, randn(1, 50).log().nan_to_num(-torch.inf)]).requires_grad_()
    torch.testing.assert_close(logsumexp(x, 1), torch.logsumexp(x, 1))
    of_ours, of_torch = (torch.autograd.grad(f(x, 1).sum(), x)[0] for f in (logsumexp, torch.logsumexp))
    torch.testing.assert_close(of_ours, of_torch)
    nothing = torch.tensor([[-torch.inf, -torch.inf], [0.0, torch.nan], [0.0, torch.inf]])
    torch.testing.assert_close(logsumexp(nothing, 1), torch.logsumexp(nothing, 1), equal_nan=True)


def test_the_distribution_function_of_a_product_is_that_of_its_parts():
    z, columns = randn(2, 6, 3), torch.tensor([2, 0])
    below = Product(StudentT(2, 4), columns, StandardNormal(1)).cdf(z)
    torch.testing.assert_close(below[..., columns], StudentT(2, 4).cdf(z[..., columns]), rtol=0, atol=0)
    np.testing.assert_allclose(below[..., 1], stats.norm.cdf(z[..., 1]), rtol=1e-12)
    nothing_varies = Product(StudentT(0, 4), torch.arange(0), StandardNormal(1))
    np.testing.assert_allclose(nothing_varies.cdf(z[..., :1]), stats.norm.cdf(z[..., :1]), rtol=1e-12)


def test_a_point_mass_is_a_probability_at_zero():
    base = PointMass(torch.tensor([0.0, 1e-9], dtype=DTYPE))
    z = torch.tensor([[0.0, 0.0], [0.0, 1e-10], [1e-300, 0.0], [-5.0, 1e-8]], dtype=DTYPE)
    expected = torch.tensor([0.0, 0.0, 1.0, 2.0], dtype=DTYPE) * math.log(1e-30)
    torch.testing.assert_close(base.log_prob(z), expected)
    torch.testing.assert_close(base.cdf(z)[:, 0], torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=DTYPE))
    assert not base.sample((2, 3), randn(1)).any()
    assert not base.grad_log_prob(z).any()
