"""Tables with far more columns than rows: covariances in the rank of the rows, and no matrix of columns by columns."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from scipy import stats

from sknvp._experts import covariance as covariances
from sknvp._experts.covariance import DenseCovariance, LowRankCovariance, covariance
from sknvp._experts.unconditional import ExpertFitter

from .small import normal_rows, stacked
from .test_stacking import table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WIDE = 6, 40


def wide_rows():
    z = torch.tensor(normal_rows(*WIDE) + normal_rows(1, 40, 1))
    return z, torch.tensor([[1.0, 2.0, 0.0, 1.0, 3.0, 0.5], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)


def both(monkeypatch, ridge):
    """Return the whitening of wide rows in low rank and by the whole matrix."""
    z, weights = wide_rows()
    low_rank = covariance(z, weights)
    monkeypatch.setattr(covariances, "COLUMNS_PER_ROW", 100)
    dense = covariance(z, weights)
    assert isinstance(low_rank, LowRankCovariance)
    assert isinstance(dense, DenseCovariance)
    return low_rank.whitening(ridge).build(), dense.whitening(ridge).build()


@pytest.mark.parametrize("ridge", [1e-6, 0.1])
def test_low_rank_and_dense_whitening_are_equal_but_for_a_rotation(monkeypatch, ridge):
    """All inner products between whitened rows, and the log-determinant, are equal."""
    low_rank, dense = both(monkeypatch, ridge)
    x = torch.tensor(normal_rows(7, 40, 2)).expand(2, -1, -1)
    (ours, our_log_det), (theirs, their_log_det) = low_rank(x), dense(x)
    torch.testing.assert_close(ours @ ours.mT, theirs @ theirs.mT, rtol=1e-8, atol=1e-6)
    torch.testing.assert_close(our_log_det, their_log_det)


def test_noise_comes_back_with_the_mean_and_the_covariance_of_the_rows():
    """The inverse maps the unit vectors to columns of a root of the covariance, weighted, plus the ridge."""
    z, weights = wide_rows()
    whiten = covariance(z, weights).whitening(0.1).build()
    root = whiten.inverse(torch.eye(40).double().expand(2, -1, -1))[0] - whiten.mean.unsqueeze(1)
    for member, w in enumerate(weights):
        np.testing.assert_allclose(whiten.mean[member], np.average(z, axis=0, weights=w))
        expected = np.cov(z.T, aweights=w, bias=True) + 0.1 * np.eye(40)
        np.testing.assert_allclose(root[member].T @ root[member], expected, atol=1e-12)


def test_the_experts_of_a_wide_table_are_normal_and_t_distributions():
    X = normal_rows(*WIDE)
    rows = table(X, n_members=2, validation_fraction=0.5)
    fitter = ExpertFitter(rows, np.random.RandomState(0))
    mixture, _, t = fitter.candidates(fitter.tail)
    matrix = np.cov(X.T, bias=True)
    scores = [
        stats.multivariate_normal(X[~held].mean(0), np.cov(X[~held].T, bias=True) + ridge * np.eye(40)).logpdf(X[held])
        for held, ridge in zip(rows.validation.numpy(), [mixture.compared.whiten.rest**-2] * 2, strict=True)
    ]
    ours = mixture.compared.build().log_prob(rows.x)
    np.testing.assert_allclose([each[held] for each, held in zip(ours, rows.validation, strict=True)], scores)
    theirs = stats.multivariate_t(X.mean(0), matrix + 1e-6 * np.eye(40), df=t.final.degrees_of_freedom).logpdf(X)
    np.testing.assert_allclose(t.final.build().log_prob(rows.x)[0], theirs, rtol=1e-6)


def arrays_of(value):
    """List all arrays that a specification holds."""
    if is_dataclass(value):
        return [array for field in fields(value) for array in arrays_of(getattr(value, field.name))]
    return [value] if isinstance(value, np.ndarray) else []


def test_no_expert_of_a_wide_table_holds_columns_by_columns():
    rows = table(normal_rows(*WIDE), n_members=2, validation_fraction=0.5)
    fitter = ExpertFitter(rows, np.random.RandomState(0))
    for candidate in fitter.candidates(fitter.tail):
        for specification in candidate:
            assert all(array.size < 40 * 40 for array in arrays_of(specification))


def test_a_wide_table_is_fitted_scored_and_drawn():
    X = normal_rows(*WIDE)
    density = stacked(max_iter=2).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.sample(5, random_state=0).shape == (5, 40)
