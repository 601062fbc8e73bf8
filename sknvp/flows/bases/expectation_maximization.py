"""Expectation-maximization for Gaussian mixtures, for all members at once.

The log-density of a normal distribution is linear in the monomials 1, z_i and z_i z_j of a row, and so are the sums
that its mean and covariance need. Both steps of expectation-maximization are therefore products with one matrix.
"""

import math

import torch
from torch import Tensor

from ..native import expected_moments, maximized_coefficients
from .base import LOG_2_PI, exp_
from .mixture import GaussianMixture

START_WIDTH = 0.1  # Components start with this standard deviation; the data have standard deviation one.
MAX_ITER = 100  # The algorithm stops after this many iterations.
TOL = 1e-3  # The algorithm stops when an iteration gains less than this many nats per row.
MAX_CHUNK_NUMBERS = 2**20  # Each array that is made of a chunk of rows has at most this many numbers.


def narrow_components(centres: Tensor) -> GaussianMixture:
    """Return mixtures of narrow components of equal weight around the centres.

    The centres have shape (n_members, n_components, n_features).
    """
    n_members, n_components, n_features = centres.shape
    narrow = torch.eye(n_features).to(centres).expand(n_members, n_components, -1, -1) / START_WIDTH
    return GaussianMixture(centres.new_full((n_members, n_components), -math.log(n_components)), centres, narrow)


def expectation_maximization(
    mixture: GaussianMixture, x: Tensor, weights: Tensor, ridge: float, noise: Tensor | None = None
) -> GaussianMixture:
    """Fit one mixture per member, starting from a given one.

    A covariance of d features needs at least d + 1 rows. A component with fewer rows makes an outlier look likely; it
    is removed, and the iterations go on with the other components.

    Parameters
    ----------
    mixture : GaussianMixture
        The start, which stays as it is.
    x : Tensor of shape (n_rows, n_features) or (n_members, n_rows, n_features), dtype float64
        The standardised rows, which all members share, or those of each member.
    weights : Tensor of shape (n_members, n_rows)
        The weight of each row for each member; zero if the member must not use the row.
    ridge : float
        A number that is added to the variances, so that no component collapses onto a row.
    noise : Tensor of shape (n_rows, n_features), optional
        The variance of the error in each number of ``x``. Its mean over the rows of a component is added to the
        variances of that component.

    Returns
    -------
    mixture : GaussianMixture

    References
    ----------
    Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Stat. Soc. B 39,
    1977.
    """
    least = (mixture.n_features + 1) / (weights > 0).sum(1, keepdim=True)
    weights = weights / weights.sum(1, keepdim=True)
    noise = x.new_empty(x.shape[-2], 0) if noise is None else noise
    coefficients, known, before = _coefficients(mixture), None, -math.inf
    for left in reversed(range(MAX_ITER)):
        moments, after = _expected(coefficients, x, weights, noise)
        if after - before < TOL or not left:
            if not (too_small := _too_small(moments[..., 0], least)).any():
                break
            moments[too_small] = 0
            after = -math.inf
        known, before = moments, after
        coefficients = _next_coefficients(moments, mixture.n_features, ridge)
    return mixture if known is None else _maximized(known, mixture.n_features, ridge)


def _too_small(shares: Tensor, least: Tensor) -> Tensor:
    """Return which components have a smaller share of the rows than ``least``.

    The largest component of a member is never among them.
    """
    return (shares > 0) & (shares < torch.minimum(least, shares.max(1, keepdim=True).values))


def _expected(coefficients: Tensor, x: Tensor, weights: Tensor, noise: Tensor) -> tuple[Tensor, float]:
    """Take the expectation step, given the coefficients of the monomials in each component's log-density.

    Returns
    -------
    moments : Tensor of shape (n_members, n_components, n_monomials + n_noise)
        The sum of the monomials, and of the columns of the noise, over the rows of each component.
    log_likelihood : float
        The mean log-likelihood of a row, in nats, averaged over the members.
    """
    if (found := expected_moments(coefficients, x, weights, noise)) is not None:
        return found
    if x.ndim == 2:
        return _moments(coefficients, x, weights, noise)
    parts = zip(torch.split(coefficients, 1), x, torch.split(weights, 1), strict=True)
    moments, log_likelihoods = zip(*(_moments(one, own, w, noise) for one, own, w in parts), strict=True)
    return torch.cat(moments), sum(log_likelihoods) / len(x)


def _moments(coefficients: Tensor, x: Tensor, weights: Tensor, noise: Tensor) -> tuple[Tensor, float]:
    """Take the expectation step for members with the same rows in PyTorch's operations."""
    shape, n_monomials = coefficients.shape[:2], coefficients.shape[2]
    moments, log_likelihood = coefficients.new_zeros(*shape, n_monomials + noise.shape[1]), 0.0
    chunk_size = max(1, MAX_CHUNK_NUMBERS // max(shape.numel(), moments.shape[2]))
    chunks = (torch.split(part, chunk_size, 1) for part in (x.T.contiguous(), weights, noise.T.contiguous()))
    for columns, w, errors in zip(*chunks, strict=True):
        summed = _monomials(columns, errors)
        joint = torch.unflatten(coefficients.flatten(0, 1) @ summed[:n_monomials], 0, shape)
        largest = joint.amax(1)
        densities = exp_(joint.sub_(largest.unsqueeze(1)))
        total = densities.sum(1)
        shares = densities.mul_((w / total).unsqueeze(1))
        moments += torch.unflatten(shares.flatten(0, 1) @ summed.T, 0, shape)
        log_likelihood += float((w * (total.log_() + largest)).sum(1).mean())
    return moments, log_likelihood


def _monomials(columns: Tensor, errors: Tensor) -> Tensor:
    """Compute ``1``, every ``x_i``, and ``x_i x_j`` for i <= j, and put the errors below.

    The shape changes from (n_features, n_rows) to (n_monomials + n_errors, n_rows).
    """
    i, j = torch.triu_indices(len(columns), len(columns), device=columns.device)
    products = columns.index_select(0, i).mul_(columns.index_select(0, j))
    return torch.cat([torch.ones_like(columns[:1]), columns, products, errors])


def _coefficients(mixture: GaussianMixture) -> Tensor:
    """Return the coefficients of the monomials in the logarithm of the weighted density of each component."""
    p, mean, d = mixture.precisions_cholesky, mixture.means, mixture.n_features
    precision = p @ p.mT
    linear = (precision @ mean.unsqueeze(-1)).squeeze(-1)
    log_det = p.diagonal(0, -2, -1).log().sum(-1)
    constant = mixture.log_weights + log_det - 0.5 * ((linear * mean).sum(-1) + d * LOG_2_PI)
    i, j = torch.triu_indices(d, d, device=p.device)
    quadratic = -precision[..., i, j] * torch.where(i == j, 0.5, 1.0)
    return torch.cat([constant.unsqueeze(-1), linear, quadratic], -1)


def _next_coefficients(moments: Tensor, n_features: int, ridge: float) -> Tensor:
    """Take the maximization step: return the coefficients of the mixtures with the given sums."""
    found = maximized_coefficients(moments, n_features, ridge)
    return _coefficients(_maximized(moments, n_features, ridge)) if found is None else found


def _maximized(moments: Tensor, n_features: int, ridge: float) -> GaussianMixture:
    """Take the maximization step: return the mixtures with the given sums over the rows of each component."""
    counts = moments[..., 0]
    parts = [n_features, n_features * (n_features + 3) // 2]
    means, products, noise = (moments[..., 1:] / counts.clamp(min=1e-10).unsqueeze(-1)).tensor_split(parts, -1)
    i, j = torch.triu_indices(n_features, n_features, device=moments.device)
    second = moments.new_empty(*products.shape[:-1], n_features, n_features)
    second[..., i, j] = second[..., j, i] = products
    covariances = second - means.unsqueeze(-1) * means.unsqueeze(-2)
    covariances.diagonal(0, -2, -1).add_(noise if noise.shape[-1] else 0)
    log_weights = (counts / counts.sum(1, keepdim=True)).log()
    return GaussianMixture(log_weights, means, precision_cholesky(covariances, ridge))


def precision_cholesky(covariances: Tensor, ridge: float) -> Tensor:
    """Return the upper triangular P for which ``P P^T`` is the inverse of the covariance plus ``ridge``.

    Both matrices have shape (..., d, d).
    """
    unit = torch.eye(covariances.shape[-1]).to(covariances)
    lower = torch.linalg.cholesky(covariances + ridge * unit)
    inverse: Tensor = torch.linalg.solve_triangular(lower, unit.expand_as(lower), upper=False)
    return inverse.mT
