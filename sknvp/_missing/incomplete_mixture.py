"""Gaussian mixtures that are fitted to rows of which some cells are unknown, by expectation-maximization.

All rows are computed at once. For that the rows and columns of a covariance that belong to unknown cells are replaced
by those of the identity, whose factor leaves the known block alone, and the other way round for the covariance of the
unknown cells given the known ones.

References
----------
Z. Ghahramani and M. Jordan, "Supervised learning from incomplete data via an EM approach", NeurIPS 1993.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .proposal import Proposal, location_and_scale

Array = NDArray[Any]

N_COMPONENTS = (1, 2, 4, 8, 16)  # the numbers of components that are tried
MAX_ROWS = 2_000  # that the mixture is fitted to
LEAST_KNOWN = 100  # of these rows each column is known in so many, if there are
MAX_ITERATIONS = 20  # of expectation-maximization
LEAST_GAIN = 3e-3  # nats a row; a smaller gain ends expectation-maximization
RIDGE = 1e-3  # added to the variances of the components, whose columns have variance one
LEAST_ROWS = 3  # that a component needs for each of its columns
LOG_2_PI = math.log(2 * math.pi)
Mixture = tuple[Tensor, Tensor, Tensor]  # log-weights, means, covariances


def fit_mixture(y: Array, weights: Array, rng: np.random.RandomState) -> Proposal:
    """Fit a mixture to rows in which unknown cells are NaN; the rows held out choose the number of components.

    Parameters
    ----------
    y : ndarray of shape (n_rows, n_features)
    weights : ndarray of shape (n_rows,)
    rng : RandomState
        The source of the rows held out and of the first means.
    """
    loc, scale = location_and_scale(y, weights)
    chosen = _choose_rows(~np.isnan(y), rng)
    y, w = y[chosen].astype(np.float64), weights[chosen] / weights[chosen].mean()
    z, known = torch.tensor((y - loc) / scale), torch.tensor(~np.isnan(y))
    z, weight = z.nan_to_num(0.0), torch.tensor(w)
    n_held_out = len(z) // 4
    parts = (z[n_held_out:], known[n_held_out:], weight[n_held_out:])
    best, fitted = -math.inf, _expectation_maximization(*parts, 1, rng)
    for n_components in N_COMPONENTS:
        if n_components > 1 and len(z) < LEAST_ROWS * n_components * z.shape[1]:
            break
        mixture = fitted if n_components == 1 else _expectation_maximization(*parts, n_components, rng)
        held_out = slice(0, max(1, n_held_out))
        score = float((_log_marginal(mixture, z[held_out], known[held_out]) * weight[held_out]).mean())
        if score <= best:
            break
        best, fitted = score, mixture
    return Proposal(loc, scale, *(part.numpy() for part in fitted))


def _choose_rows(known: Array, rng: np.random.RandomState) -> Array:
    """Choose rows at random, among them some in which each column is known."""
    order = rng.permutation(len(known))
    if len(known) <= MAX_ROWS:
        return order
    first = [order[known[order, j]][:LEAST_KNOWN] for j in range(known.shape[1])]
    chosen = np.unique(np.concatenate([*first, order[:MAX_ROWS]]))
    return order[np.isin(order, chosen)]


def _known_factors(mixture: Mixture, known: Tensor) -> Tensor:
    """Return the Cholesky factors of the covariances of the known cells, shape (n_rows, n_components, d, d)."""
    both = (known.unsqueeze(-1) & known.unsqueeze(-2)).unsqueeze(1)
    identity = torch.eye(known.shape[1], dtype=torch.float64)
    factors: Tensor = torch.linalg.cholesky(torch.where(both, mixture[2], identity))
    return factors


def _given_known(mixture: Mixture, factors: Tensor, z: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log of weight and density of the known cells, and the means of all cells given these.

    The shapes are (n_rows, n_components) and (n_rows, n_components, n_features).
    """
    log_weights, means, covariances = mixture
    known = known.unsqueeze(1)
    difference = torch.where(known, z.unsqueeze(1) - means, 0.0).unsqueeze(-1)
    half = torch.linalg.solve_triangular(factors, difference, upper=False)
    log_det = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_evidence = log_weights - 0.5 * half.square().sum((-2, -1)) - log_det - 0.5 * LOG_2_PI * known.sum(-1)
    solved = torch.linalg.solve_triangular(factors.mT, half, upper=True)
    predicted = means + (covariances @ solved).squeeze(-1)
    return log_evidence, torch.where(known, z.unsqueeze(1), predicted)


def _unknown_covariance(mixture: Mixture, factors: Tensor, known: Tensor) -> Tensor:
    """Return the covariances of the unknown cells given the known ones, the identity where a cell is known."""
    covariances = mixture[2]
    cross = covariances * (known.unsqueeze(-1) & ~known.unsqueeze(-2)).unsqueeze(1)  # rows known, columns unknown
    half = torch.linalg.solve_triangular(factors, cross, upper=False)
    unknown = ~known
    both = (unknown.unsqueeze(-1) & unknown.unsqueeze(-2)).unsqueeze(1)
    identity = torch.eye(known.shape[1], dtype=torch.float64)
    return torch.where(both, covariances - half.mT @ half, identity)


def _log_marginal(mixture: Mixture, z: Tensor, known: Tensor) -> Tensor:
    """Return the log-density of the known cells of each row, in standard units, shape (n_rows,)."""
    evidence, _ = _given_known(mixture, _known_factors(mixture, known), z, known)
    return torch.logsumexp(evidence, -1)


def _expectation_maximization(
    z: Tensor, known: Tensor, weights: Tensor, n_components: int, rng: np.random.RandomState
) -> Mixture:
    """Fit a mixture to rows of which some cells are unknown; those of ``z`` are zero."""
    d = z.shape[1]
    identity = torch.eye(d, dtype=torch.float64)
    weights = weights / weights.sum()
    mixture: Mixture = (torch.zeros(1, dtype=torch.float64), torch.zeros(1, d, dtype=torch.float64), identity[None])
    if n_components > 1:
        mixture = _expectation_maximization(z, known, weights, 1, rng)
        means = _given_known(mixture, _known_factors(mixture, known), z, known)[1][:, 0]
        centres = means[torch.tensor(rng.choice(len(z), n_components, replace=False, p=weights.numpy()))]
        equal = torch.full((n_components,), -math.log(n_components), dtype=torch.float64)
        mixture = equal, centres, (mixture[2] / n_components ** (2 / d)).expand(n_components, d, d)
    before = -math.inf
    for _ in range(MAX_ITERATIONS):
        factors = _known_factors(mixture, known)
        evidence, mean = _given_known(mixture, factors, z, known)
        value = float(torch.logsumexp(evidence, -1) @ weights)
        if value - before < LEAST_GAIN:
            break
        before = value
        unknown = (~known).unsqueeze(-1) & (~known).unsqueeze(-2)
        spread = _unknown_covariance(mixture, factors, known) * unknown.unsqueeze(1)
        mixture = _maximization(torch.softmax(evidence, -1) * weights[:, None], mean, spread, len(z))
    return mixture


def _maximization(shares: Tensor, mean: Tensor, spread: Tensor, n_rows: int) -> Mixture:
    """Return the mixture that is likeliest given the rows' shares in the components, their means and their spreads."""
    d = mean.shape[-1]
    total = shares.sum(0) + 1e-12
    means = torch.einsum("nk,nkd->kd", shares, mean) / total[:, None]
    centred = mean - means
    covariances = torch.einsum("nk,nki,nkj->kij", shares, centred, centred) + torch.einsum(
        "nk,nkij->kij", shares, spread
    )
    ridge = RIDGE + 1 / n_rows
    covariances = covariances / total[:, None, None] + ridge * torch.eye(d, dtype=torch.float64)
    return (total / total.sum()).log(), means, covariances
