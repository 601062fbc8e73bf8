"""Gaussian mixtures that are fitted to rows of which some cells are unknown, by expectation-maximization.

All rows with equally many unknown cells are computed at once.

References
----------
Z. Ghahramani and M. Jordan, "Supervised learning from incomplete data via an EM approach", NeurIPS 1993.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .conditioning import ConditionalComponents, condition
from .patterns import Patterns, patterns_of
from .proposal import Proposal, location_and_scale

Array = NDArray[Any]

N_COMPONENTS = (1, 2, 4, 8, 16)  # These numbers of components are tried.
MAX_ROWS = 2_000  # The mixture is fitted to about this many rows at most.
LEAST_KNOWN = 100  # Each column is known in at least this many of the rows, if there are so many.
MAX_ITERATIONS = 20  # Expectation-maximization takes at most this many iterations.
LEAST_GAIN = 3e-3  # A smaller gain, in nats a row, ends expectation-maximization.
RIDGE = 1e-3  # This is added to the variances of the components, whose columns have variance one.
LEAST_ROWS = 3  # Each component needs at least this many rows for each column.
Mixture = tuple[Tensor, Tensor, Tensor]  # The log-weights, the means and the covariances of the components.


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
    parts = z[n_held_out:], list(patterns_of(known[n_held_out:].numpy())), weight[n_held_out:]
    best = -math.inf
    fitted = normal = _expectation_maximization(*parts, _standard_normal(z.shape[1]))
    for n_components in N_COMPONENTS:
        if n_components > 1 and len(z) < LEAST_ROWS * n_components * z.shape[1]:
            break
        mixture = normal
        if n_components > 1:
            mixture = _expectation_maximization(*parts, _several(normal, n_components, *parts, rng))
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


def _log_marginal(mixture: Mixture, z: Tensor, known: Tensor) -> Tensor:
    """Return the log-density of the known cells of each row, in standard units, shape (n_rows,)."""
    return torch.logsumexp(_expected(mixture, z, list(patterns_of(known.numpy()))).log_joint, 1)


class _Expected(NamedTuple):
    """What rows are expected to be under each component, given their known cells."""

    log_joint: Tensor  # Log-weights plus log-densities of the known cells, of shape (n_rows, n_components).
    means: Tensor  # shape (n_rows, n_components, n_features)
    spreads: list[
        tuple[Tensor, ConditionalComponents]
    ]  # Numbers of rows, and the components given the known cells of these.
    unknown: list[Tensor]  # The unknown columns for each entry of ``spreads``, of shape (n_patterns, n_unknown).


def _expected(mixture: Mixture, z: Tensor, groups: list[Patterns]) -> _Expected:
    """Condition a mixture on the known cells of rows; numbers in unknown cells of ``z`` do not matter."""
    n_components = len(mixture[0])
    log_joint, means = z.new_empty(len(z), n_components), z.unsqueeze(1).repeat(1, n_components, 1)
    spreads, unknown = [], []
    for patterns in groups:
        rows, columns = torch.tensor(patterns.rows), torch.tensor(patterns.unknown)
        given = condition(mixture, z[rows], patterns.unknown, torch.tensor(patterns.pattern))
        log_joint[rows] = given.log_joint
        means[rows] = means[rows].scatter(
            2, columns[given.pattern].unsqueeze(1).expand(-1, n_components, -1), given.centres
        )
        spreads.append((rows, given))
        unknown.append(columns)
    return _Expected(log_joint, means, spreads, unknown)


def _total_spread(expected: _Expected, shares: Tensor) -> Tensor:
    """Return the sum over the rows of their shares times the covariances given the known cells.

    The shape is (n_components, n_features, n_features).
    """
    n_components, d = expected.means.shape[1:]
    total = shares.new_zeros(n_components, d * d)
    for (rows, given), columns in zip(expected.spreads, expected.unknown, strict=True):
        of_pattern = shares.new_zeros(len(columns), n_components).index_add(0, given.pattern, shares[rows])
        spread = (given.factors @ given.factors.mT) * of_pattern[..., None, None]
        places = (columns.unsqueeze(2) * d + columns.unsqueeze(1)).flatten()
        total.index_add_(1, places, spread.transpose(0, 1).flatten(1))
    return total.view(n_components, d, d)


def _standard_normal(n_features: int) -> Mixture:
    """Return the standard normal distribution."""
    covariance = torch.eye(n_features, dtype=torch.float64)
    return torch.zeros(1, dtype=torch.float64), torch.zeros(1, n_features, dtype=torch.float64), covariance[None]


def _several(
    normal: Mixture, n_components: int, z: Tensor, groups: list[Patterns], weights: Tensor, rng: np.random.RandomState
) -> Mixture:
    """Return equal components around some of the rows; unknown cells of these are set to their conditional means."""
    means, shares = _expected(normal, z, groups).means[:, 0], (weights / weights.sum()).numpy()
    centres = means[torch.tensor(rng.choice(len(z), n_components, replace=False, p=shares))]
    equal = torch.full((n_components,), -math.log(n_components), dtype=torch.float64)
    covariances = (normal[2] / n_components ** (2 / z.shape[1])).expand(n_components, -1, -1)
    return equal, centres, covariances


def _expectation_maximization(z: Tensor, groups: list[Patterns], weights: Tensor, mixture: Mixture) -> Mixture:
    """Fit a mixture, beginning with a given one, to rows with unknown cells, which are zero in ``z``."""
    weights = weights / weights.sum()
    before = -math.inf
    for _ in range(MAX_ITERATIONS):
        expected = _expected(mixture, z, groups)
        value = float(torch.logsumexp(expected.log_joint, 1) @ weights)
        if value - before < LEAST_GAIN:
            break
        before = value
        shares = torch.softmax(expected.log_joint, 1) * weights[:, None]
        mixture = _maximization(shares, expected.means, _total_spread(expected, shares), len(z))
    return mixture


def _maximization(shares: Tensor, mean: Tensor, spread: Tensor, n_rows: int) -> Mixture:
    """Return the mixture that is likeliest given the rows' shares in the components, their means and their spread."""
    d = mean.shape[-1]
    total = shares.sum(0) + 1e-12
    means = torch.einsum("nk,nkd->kd", shares, mean) / total[:, None]
    centred = (mean - means).transpose(0, 1)
    covariances = (centred * shares.T.unsqueeze(-1)).mT @ centred + spread
    ridge = RIDGE + 1 / n_rows
    covariances = covariances / total[:, None, None] + ridge * torch.eye(d, dtype=torch.float64)
    return (total / total.sum()).log(), means, covariances
