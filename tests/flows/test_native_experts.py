"""Mixtures and kernels in the native library, against PyTorch's operations."""

import math

import pytest
import torch

from sknvp.flows.bases import GaussianMixture, Kernels
from sknvp.flows.bases import expectation_maximization as em
from sknvp.flows.native import torch_only

from .builders import DTYPE, randn, random_mixture

SHAPES = [(1, 1, 1, 1), (1, 3, 2, 129), (4, 7, 9, 300), (2, 64, 5, 40), (9, 2, 30, 17)]  # members, parts, columns, rows


def kernels(n_members, n_points, n_features):
    log_weights = torch.log_softmax(randn(n_members, n_points, seed=3), -1)
    log_weights[:, 1::5] = -torch.inf
    return Kernels(randn(n_members, n_points, n_features), log_weights, 0.4)


def mixture(n_members, n_components, n_features):
    """A mixture of which every fifth component was removed."""
    mixture = random_mixture(n_members, n_components, n_features)
    mixture.log_weights[:, 1::5] = -torch.inf
    return mixture


@pytest.mark.parametrize("make", [kernels, mixture])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("far", [1.0, 1e4])
def test_log_densities_are_those_of_torch(make, shape, far):
    *parts, n_features, n_rows = shape
    base, z = make(*parts, n_features), far * randn(parts[0], n_rows, n_features)
    with torch_only():
        expected = base.log_prob(z)
    for same in (z, z.mT.contiguous().mT):
        torch.testing.assert_close(base.log_prob(same), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [kernels, mixture])
@pytest.mark.parametrize("value", [1e200, -1e200, math.inf, math.nan])
def test_what_is_a_number_in_torch_is_the_same_one(make, value):
    base, z = make(2, 7, 3), randn(2, 9, 3)
    z[:, 3, 1] = value
    with torch_only():
        expected = base.log_prob(z)
    known = ~expected.isnan()
    torch.testing.assert_close(base.log_prob(z)[known], expected[known], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [kernels, mixture])
def test_rows_that_need_gradients_get_them(make):
    base, z = make(2, 7, 3), randn(2, 9, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(base.log_prob(z).sum(), z)
    torch.testing.assert_close(gradient, base.grad_log_prob(z.detach()))
    assert gradient.any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n_noise", [0, 2])
@pytest.mark.parametrize("own_rows", [False, True])
def test_the_expectation_step_is_that_of_torch(shape, n_noise, own_rows):
    """Of rows that all members have, and of rows of each."""
    *parts, n_features, n_rows = shape
    weights = torch.rand(parts[0], n_rows, dtype=DTYPE) * (torch.rand(parts[0], n_rows) < 0.8)
    weights[:, 0] = 1
    x = 2 * randn(*parts[: int(own_rows)], n_rows, n_features)
    inputs = em._coefficients(mixture(*parts, n_features)), x, weights, randn(n_rows, n_noise).square()
    with torch_only():
        expected = em._expected(*inputs)
    torch.testing.assert_close(em._expected(*inputs), expected, rtol=1e-9, atol=1e-9)
    removed = em._expected(*inputs)[0][:, 1::5, 0]
    assert not removed.any(), "what was removed stays so, in every bit"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("has_noise", [False, True])
@pytest.mark.parametrize("ridge", [1e-1, 1e-3])
def test_the_maximization_step_is_that_of_torch(shape, has_noise, ridge):
    """Of components with all rows, with some, and with none."""
    *parts, n_features, n_rows = shape
    n_rows = max(n_rows, 3 * n_features)
    x, noise = 2 * randn(n_rows, n_features), randn(n_rows, n_features * has_noise).square()
    coefficients = em._coefficients(mixture(*parts, n_features))
    moments = em._expected(coefficients, x, torch.rand(parts[0], n_rows, dtype=DTYPE), noise)[0]
    found = em._next_coefficients(moments, n_features, ridge)
    with torch_only():
        expected = em._next_coefficients(moments, n_features, ridge)
    enough = moments[..., 0] > 1e-3 * moments[..., :1].sum(1)
    torch.testing.assert_close(found[enough], expected[enough], rtol=1e-6, atol=1e-6)
    assert (found[~enough][:, 0] < 0).all()
    assert found[:, 1::5, 0].isneginf().all(), "what was removed stays so"


@pytest.mark.parametrize("value", [-1.0, torch.nan])
def test_a_covariance_that_is_none_is_the_same_error(value):
    moments = em._expected(em._coefficients(mixture(2, 3, 4)), randn(50, 4), torch.ones(2, 50).double(), randn(50, 0))[
        0
    ]
    moments[1, 2, 5] = value
    with torch_only(), pytest.raises(torch.linalg.LinAlgError):
        em._next_coefficients(moments, 4, 1e-4)
    with pytest.raises(torch.linalg.LinAlgError):
        em._next_coefficients(moments, 4, 1e-4)


def test_no_member_depends_on_another_in_any_bit():
    together, z = mixture(3, 8, 4), randn(3, 200, 4)
    parts = together.log_weights, together.means, together.precisions_cholesky
    alone = GaussianMixture(*(part[1:2] for part in parts))
    torch.testing.assert_close(alone.log_prob(z[1:2])[0], together.log_prob(z)[1], rtol=1e-12, atol=1e-12)
