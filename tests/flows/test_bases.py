"""Base distributions, mixtures fitted to rows, and ensembles, against SciPy's and scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.neighbors import KernelDensity

from sknvp.flows import Beside, Chain, Ensemble, Flow, GaussianMixture, Kernels, StandardNormal, StudentT, mixture
from sknvp.flows.base import logsumexp
from sknvp.flows.mixture import expectation_maximization, precision_cholesky

from .builders import DTYPE, generator, randn, shaken, whole_flow


def random_mixture(n_members, n_components, n_features):
    factors = randn(n_members, n_components, n_features, n_features, seed=1)
    p = precision_cholesky(factors @ factors.mT, 0.1)
    log_weights = torch.log_softmax(randn(n_members, n_components, seed=2), -1)
    return GaussianMixture(log_weights, 3 * randn(n_members, n_components, n_features), p)


def random_kernels(n_members, n_features):
    log_weights = randn(n_members, 30, seed=3)
    log_weights[:, 4] = -torch.inf
    return Kernels(randn(n_members, 30, n_features), torch.log_softmax(log_weights, -1), 0.4)


BASES = {
    "standard normal": lambda m, d: StandardNormal(d),
    "gaussian mixture": lambda m, d: random_mixture(m, 3, d),
    "kernels": random_kernels,
    "student t": lambda m, d: StudentT(d, 4),
    "beside": lambda m, d: Beside(random_kernels(m, d - d // 2), torch.arange(0, d, 2), d),
}


@pytest.fixture(params=BASES, ids=str)
def make(request):
    return BASES[request.param]


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


def test_beside_is_the_product():
    base, z = random_kernels(2, 2), randn(2, 6, 5)
    columns = torch.tensor([3, 1])
    expected = base.log_prob(z[..., [3, 1]]) + StandardNormal(3).log_prob(z[..., [0, 2, 4]])
    torch.testing.assert_close(Beside(base, columns, 5).log_prob(z), expected)


@pytest.mark.parametrize("n_features", [1, 2])
def test_samples_have_the_density_that_is_scored(make, n_features):
    """Any direction's probability integral transform is uniform under the scored density (Kolmogorov-Smirnov)."""
    base = make(2, n_features)
    drawn = base.sample((2, 4000), randn(1), generator(1))
    axis = torch.linspace(-40, 40, 1601, dtype=DTYPE)
    grid = torch.cartesian_prod(*[axis] * n_features).view(-1, n_features)
    p = base.log_prob(grid.expand(2, -1, -1)).exp().view(2, *[len(axis)] * n_features)
    marginal = p if n_features == 1 else p.sum(-1) * (axis[1] - axis[0])
    cdf = torch.cumulative_trapezoid(marginal, axis)
    for m in range(2):
        assert cdf[m, -1] == pytest.approx(1, abs=1e-3)
        u = np.interp(drawn[m, :, 0], axis[1:], cdf[m])
        assert stats.kstest(u, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_has_the_dtype_and_is_what_the_seed_says(make, dtype):
    base, like = make(2, 3).to(dtype), randn(1).to(dtype)
    once = base.sample((2, 5), like, generator(3))
    assert once.dtype == dtype
    assert torch.equal(once, base.sample((2, 5), like, generator(3)))
    assert not torch.equal(once, base.sample((2, 5), like, generator(4)))


def clusters(n):
    return torch.cat([randn(n, 2), randn(n // 2, 2, seed=1) * 0.3 + 3, randn(n // 2, 2, seed=2) * 0.5 - 3])


def test_expectation_maximization_is_scikit_learns(monkeypatch):
    """From the same start to the same mixture, when both go on until nothing moves."""
    monkeypatch.setattr(mixture, "TOL", 1e-12)
    monkeypatch.setattr(mixture, "MAX_ITER", 5000)
    x = clusters(100)
    centres = x[[0, 120, 170]]
    ours = expectation_maximization(x, torch.ones(1, len(x), dtype=DTYPE), centres[None], 1e-3)
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
    monkeypatch.setattr(mixture, "CHUNK_NUMBERS", 64)  # several chunks
    monkeypatch.setattr(mixture, "TOL", -1.0)  # every step of every member
    x, counts = clusters(30), torch.arange(60) % 3
    weights = torch.stack([counts, counts.flip(0)]).to(x)
    centres = x[[0, 40]].expand(2, -1, -1)
    together = expectation_maximization(x, weights, centres, 1e-3)
    for m in range(2):
        rows = x.repeat_interleave(weights[m].long(), 0)
        alone = expectation_maximization(rows, torch.ones(1, len(rows), dtype=DTYPE), centres[:1], 1e-3)
        torch.testing.assert_close(together.log_prob(x.expand(2, -1, -1))[m], alone.log_prob(x[None])[0])


@pytest.mark.parametrize("max_iter", [100, 3])
def test_no_component_rests_on_fewer_rows_than_determine_it(monkeypatch, max_iter):
    """Not on an outlier alone, nor on two, converged or not; but one component there always is."""
    monkeypatch.setattr(mixture, "MAX_ITER", max_iter)
    x = torch.cat([clusters(100), torch.tensor([[40.0, 40.0], [-40.0, 0.0], [-40.0, 0.1]]).to(DTYPE)])
    fitted = expectation_maximization(x, torch.ones(1, len(x), dtype=DTYPE), x[None, [0, 120, 170, 200, 202]], 1e-3)
    assert fitted.log_weights.exp()[0, 3:].tolist() == [0, 0]
    torch.testing.assert_close(fitted.log_weights.exp().sum(), torch.tensor(1.0, dtype=DTYPE))
    log_density = fitted.log_prob(x[None])[0]
    assert log_density[200:].max() < log_density[:200].min()
    few = expectation_maximization(x[:2], torch.ones(1, 2, dtype=DTYPE), x[None, :2], 1e-3)
    assert few.log_prob(x[None]).isfinite().all()


def test_logsumexp_is_that_of_torch():
    """Where numbers are too small for the exponential, minus infinity or not a number, and in its gradients, too."""
    x = torch.cat([randn(3, 50), randn(3, 50) * 1e3, randn(1, 50).log().nan_to_num(-torch.inf)]).requires_grad_()
    torch.testing.assert_close(logsumexp(x, 1), torch.logsumexp(x, 1))
    of_ours, of_torch = (torch.autograd.grad(f(x, 1).sum(), x)[0] for f in (logsumexp, torch.logsumexp))
    torch.testing.assert_close(of_ours, of_torch)
    nothing = torch.tensor([[-torch.inf, -torch.inf], [0.0, torch.nan], [0.0, torch.inf]])
    torch.testing.assert_close(logsumexp(nothing, 1), torch.logsumexp(nothing, 1), equal_nan=True)


def test_memory_does_not_grow_with_rows_or_columns(monkeypatch):
    """The largest matrix of monomials stays within bounds."""
    seen, original = [], mixture._monomials
    monkeypatch.setattr(mixture, "_monomials", lambda x: seen.append(original(x)) or seen[-1])
    x = randn(3000, 40)
    expectation_maximization(x, torch.ones(1, 3000, dtype=DTYPE), x[None, :1], 1e-3)
    assert max(part.numel() for part in seen) <= mixture.CHUNK_NUMBERS


def test_an_ensemble_is_the_mixture_of_its_members():
    flows = [shaken(whole_flow(2, 3)), Flow(Chain(), random_mixture(3, 2, 3), 3)]
    log_weights = torch.tensor([0.3, 0.7], dtype=DTYPE).log()
    x = randn(7, 3)
    expected = 0.3 * flows[0].log_prob(x).exp().mean(0) + 0.7 * flows[1].log_prob(x).exp().mean(0)
    ensemble = Ensemble(flows, log_weights)
    torch.testing.assert_close(ensemble.log_prob(x), expected.log())
    assert ensemble.log_prob(x[:0]).shape == (0,)


def test_an_ensemble_survives_a_member_that_overflows():
    class Broken(StandardNormal):
        def log_prob(self, z):
            return torch.full(z.shape[:-1], math.nan, dtype=z.dtype)

    flows = [Flow(whole_flow(1, 2).transform, base(2)) for base in (Broken, StandardNormal)]
    x = randn(5, 2)
    ensemble = Ensemble(flows, torch.tensor([0.5, 0.5]).log())
    torch.testing.assert_close(ensemble.log_prob(x), flows[1].log_prob(x)[0] + math.log(0.5), check_dtype=False)


def test_an_ensemble_draws_from_each_member_its_share():
    """Members on separate points: the numbers of rows near each are multinomial (chi-square, 1 in 1000)."""
    points = torch.tensor([[[0.0]], [[100.0]], [[200.0]]], dtype=DTYPE)
    flows = [
        Flow(Chain(), Kernels(p, torch.zeros(len(p), 1, dtype=DTYPE), 1.0), len(p)) for p in (points[:2], points[2:])
    ]
    ensemble = Ensemble(flows, torch.tensor([0.6, 0.4], dtype=DTYPE).log())
    drawn = ensemble.sample(5000, generator(0))[:, 0]
    counts = torch.stack([((drawn - c).abs() < 50).sum() for c in (0, 100, 200)])
    assert stats.chisquare(counts.numpy(), [1500, 1500, 2000]).pvalue > 1e-3
    near = (drawn < 50).numpy()
    assert np.corrcoef(near[1:], near[:-1])[0, 1] == pytest.approx(0, abs=5 / 70)
