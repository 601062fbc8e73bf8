"""Parts of a table that are far narrower than the whole: experts follow the data's own resolution."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import KernelDensity

from sknvp._experts import unconditional
from sknvp._experts.unconditional import ExpertFitter, spacings

from .small import normal_rows
from .test_stacking import cross_fitted, kernels_on, table


def parts(n, scales, seed=0):
    """As many normal parts of equal share as there are rows of scales, five apart; return the true log-density too."""
    rng, scales = np.random.default_rng(seed), np.array(scales)
    centres = 5.0 * np.arange(len(scales))[:, None]
    part = rng.integers(len(scales), size=n)
    X = centres[part] + scales[part] * rng.standard_normal((n, scales.shape[1]))
    each = [stats.norm(centre, scale).logpdf(X).sum(1) for centre, scale in zip(centres, scales, strict=True)]
    return X, np.logaddexp.reduce(each, 0) - np.log(len(scales))


def best_mixture(X):
    rows = table(X)
    return rows, ExpertFitter(rows, np.random.RandomState(0)).best_mixture()


@pytest.mark.parametrize(
    "scales",
    [[[1.0], [1e-4]], [[1.0], [1e-2], [1e-4]], [[1.0, 1.0], [1e-4, 1.0]], [[1.0, 1.0], [1e-4, 1e-4]]],
    ids=["one column", "three scales", "narrow in one of two columns", "narrow in both"],
)
def test_the_mixture_is_as_good_as_the_truth_whatever_the_scales(scales):
    X, truth = parts(800, scales)
    rows, mixture = best_mixture(X)
    assert rows.cross_fitted_log_density(mixture.build()).mean() > truth.mean() - 0.1
    new, truth = parts(1000, scales, seed=1)
    assert float(mixture.build().log_prob(torch.tensor(new)).exp().mean(0).log().mean()) > truth.mean() - 0.1


def with_ties(n, seed):
    """Return rows of which three in ten share the value zero in their first column."""
    X = normal_rows(n, 2, seed)
    X[np.random.default_rng(seed + 1).random(n) < 0.3, 0] = 0.0
    return X


def test_ties_make_no_component_narrower_than_the_distance_to_their_neighbours(monkeypatch):
    """So the density stays finite, however often the value comes again. On new rows it is no worse than a wide one."""
    X, new = with_ties(600, 0), torch.tensor(with_ties(600, 2))
    _, mixture = best_mixture(X)
    variances = np.linalg.inv(mixture.precisions_cholesky @ mixture.precisions_cholesky.mT)[..., 0, 0]
    used = np.exp(mixture.log_weights) > 0.1
    nearest = np.abs(X[X[:, 0] != 0, 0]).min()
    assert variances[used].min() > 0.2 * nearest**2 / 12
    score = mixture.build().log_prob(new).mean()
    monkeypatch.setattr(unconditional, "FINER_RIDGES", ())
    assert score.isfinite()
    assert score > best_mixture(X)[1].build().log_prob(new).mean() - 0.01


def test_a_finer_ridge_must_pay():
    """On rows without narrow parts the mixture is the one that coarse ridges alone give, in every bit."""
    X = normal_rows(200, 2)
    fitted = best_mixture(X)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unconditional, "FINER_RIDGES", ())
        coarse = best_mixture(X)[1]
    np.testing.assert_array_equal(fitted.precisions_cholesky, coarse.precisions_cholesky)


def test_resolution_is_the_distance_to_the_nearest_other_value():
    z = torch.tensor([[0.0, 1.0], [0.0, 4.0], [0.5, 2.0], [3.0, 8.0]], dtype=torch.float64)
    expected = [[0.5, 1.0], [0.5, 2.0], [0.5, 1.0], [1.0, 1.0]]  # at most one, a standard deviation, at the ends
    np.testing.assert_allclose(spacings(z), expected, rtol=1e-6)
    np.testing.assert_allclose(spacings(torch.full((2, 1), 1e4).double()), 1.0, rtol=1e-3)


def test_resolution_is_no_finer_than_rounding():
    z = torch.tensor([[1e4], [1e4 + 1e-9]], dtype=torch.float64)
    assert (spacings(z) > 1e-3).all()


def test_clamped_rows_leave_covariances_positive():
    """The squares of numbers of 1e4 lose all digits of a variance of 1e-14; the density is finite nevertheless."""
    X = np.r_[normal_rows(60, 2), 1e4 + 1e-7 * normal_rows(40, 2, 1)]
    rows, mixture = best_mixture(X)
    assert np.isfinite(mixture.precisions_cholesky).all()
    assert rows.cross_fitted_log_density(mixture.build()).isfinite().all()


def test_kernels_may_be_as_narrow_as_near_duplicates():
    X = np.repeat(normal_rows(40, 2), 5, axis=0) + 1e-4 * normal_rows(200, 2, 1)
    rows = table(X)
    beside = rows.cross_fitted_log_density(best_mixture(X)[1].build())
    chosen = ExpertFitter(rows, np.random.RandomState(0)).best_kernels(beside)
    ours = rows.cross_fitted_log_density(kernels_on(rows, rows.training_weights, *chosen).build())
    grid = np.geomspace(1e-5, 1, 40)

    def typical(bandwidth):
        return np.median(
            cross_fitted(X, rows.validation, lambda Z: KernelDensity(bandwidth=bandwidth).fit(Z).score_samples)
        )

    assert ours.median() > max(map(typical, grid)) - 0.5


def test_kernels_are_no_narrower_than_rounding_errors():
    """Rows that differ by rounding errors alone: narrower kernels would score these errors, not distances."""
    rows = table(np.repeat(normal_rows(40, 2), 5, axis=0) + 1e-15 * normal_rows(200, 2, 1))
    fitter = ExpertFitter(rows, np.random.RandomState(0))
    beside = rows.cross_fitted_log_density(fitter.best_mixture().build())
    assert fitter.best_kernels(beside)[1] > 0.5 * unconditional.LEAST_BANDWIDTH
