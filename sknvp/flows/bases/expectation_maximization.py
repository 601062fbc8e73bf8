"""Expectation-maximization for Gaussian mixtures, for all members at once.

The log-density of a normal distribution is linear in the monomials 1, z_i and z_i z_j of a row, and so are the sums
that its mean and covariance need. Both steps of expectation-maximization are therefore products with one matrix.
"""

import math

import torch
from torch import Tensor

from .base import LOG_2_PI, exp_
from .mixture import GaussianMixture

START_WIDTH = 0.1  # Components start with this standard deviation; the data have standard deviation one.
MAX_ITER = 100  # The algorithm stops after this many iterations.
TOL = 1e-3  # The algorithm stops when an iteration gains less than this many nats per row.
MAX_CHUNK_NUMBERS = 2**20  # A chunk of rows may become this many numbers.


def expectation_maximization(x: Tensor, weights: Tensor, centres: Tensor, ridge: float) -> GaussianMixture:
    """Fit one mixture per member, starting from narrow components of equal weight.

    A covariance of d features needs at least d + 1 rows. A component with fewer rows makes an outlier look likely; it
    is removed, and the iterations go on with the other components.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features), dtype float64
        The rows, standardised.
    weights : Tensor of shape (n_members, n_rows)
        The weight of each row for each member; zero if the member must not use the row.
    centres : Tensor of shape (n_members, n_components, n_features)
        The means at the start.
    ridge : float
        A number that is added to the variances, so that no component collapses onto a row.

    Returns
    -------
    mixture : GaussianMixture

    References
    ----------
    Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Stat. Soc. B 39,
    1977.
    """
    n_members, n_components, n_features = centres.shape
    narrow = torch.eye(n_features).to(x).expand(n_members, n_components, -1, -1) / START_WIDTH
    mixture = GaussianMixture(x.new_full((n_members, n_components), -math.log(n_components)), centres, narrow)
    least = (n_features + 1) / (weights > 0).sum(1, keepdim=True)
    weights = weights / weights.sum(1, keepdim=True)
    before = -math.inf
    for left in reversed(range(MAX_ITER)):
        moments, after = _expected(mixture, x, weights)
        if after - before < TOL or not left:
            if not (too_small := _too_small(moments[..., 0], least)).any():
                break
            moments[too_small] = 0
            after = -math.inf
        mixture, before = _maximized(moments, ridge), after
    return mixture


def _too_small(shares: Tensor, least: Tensor) -> Tensor:
    """Return which components have a smaller share of the rows than the least; a member's largest is never one."""
    return (shares > 0) & (shares < torch.minimum(least, shares.max(1, keepdim=True).values))


def _expected(mixture: GaussianMixture, x: Tensor, weights: Tensor) -> tuple[Tensor, float]:
    """Take the expectation step.

    Returns
    -------
    moments : Tensor of shape (n_members, n_components, n_monomials)
        The sum of the monomials over the rows of each component.
    log_likelihood : float
        The mean log-likelihood of a row, in nats, averaged over the members.
    """
    coefficients = _coefficients(mixture)
    moments, log_likelihood = torch.zeros_like(coefficients), 0.0
    chunk_size = max(1, MAX_CHUNK_NUMBERS // max(coefficients.shape[:2].numel(), coefficients.shape[2]))
    chunks = (torch.split(part, chunk_size, 1) for part in (x.T.contiguous(), weights))
    for columns, w in zip(*chunks, strict=True):
        monomials = _monomials(columns)
        joint = torch.unflatten(coefficients.flatten(0, 1) @ monomials, 0, coefficients.shape[:2])
        largest = joint.amax(1)
        densities = exp_(joint.sub_(largest.unsqueeze(1)))
        total = densities.sum(1)
        shares = densities.mul_((w / total).unsqueeze(1))
        moments += torch.unflatten(shares.flatten(0, 1) @ monomials.T, 0, coefficients.shape[:2])
        log_likelihood += float((w * (total.log_() + largest)).sum(1).mean())
    return moments, log_likelihood


def _monomials(columns: Tensor) -> Tensor:
    """Compute ``1``, every ``x_i``, and ``x_i x_j`` for i <= j.

    The shape changes from (n_features, n_rows) to (n_monomials, n_rows).
    """
    i, j = torch.triu_indices(len(columns), len(columns), device=columns.device)
    products = columns.index_select(0, i).mul_(columns.index_select(0, j))
    return torch.cat([torch.ones_like(columns[:1]), columns, products])


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


def _maximized(moments: Tensor, ridge: float) -> GaussianMixture:
    """Take the maximization step: return the mixtures with the given sums of the monomials in each component."""
    n_features = (math.isqrt(8 * moments.shape[-1] + 1) - 3) // 2
    counts = moments[..., 0]
    means, products = (moments[..., 1:] / counts.clamp(min=1e-10).unsqueeze(-1)).tensor_split([n_features], -1)
    i, j = torch.triu_indices(n_features, n_features, device=moments.device)
    second = moments.new_empty(*products.shape[:-1], n_features, n_features)
    second[..., i, j] = second[..., j, i] = products
    covariances = second - means.unsqueeze(-1) * means.unsqueeze(-2)
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
