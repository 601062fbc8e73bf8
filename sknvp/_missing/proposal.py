"""Proposals for unknown cells: a Gaussian mixture, which given the known cells is a mixture again.

The mixture is fitted by expectation-maximization to rows of which some cells are unknown. A component with mean m and
covariance S gives, for known cells K and unknown cells U of a row x,

    x_U | x_K  ~  N(m_U + S_UK S_KK^-1 (x_K - m_K),  S_UU - S_UK S_KK^-1 S_KU).

All rows are computed at once. For that the rows and columns of S that belong to unknown cells are replaced by those of
the identity, whose factor leaves the known block alone, and the other way round for the conditional covariance.

References
----------
Z. Ghahramani and M. Jordan, "Supervised learning from incomplete data via an EM approach", NeurIPS 1993.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

N_COMPONENTS = (1, 2, 4, 8, 16)  # the numbers of components that are tried
MAX_ROWS = 2_000  # that the mixture is fitted to
LEAST_KNOWN = 100  # of these rows each column is known in so many, if there are
MAX_ITERATIONS = 20  # of expectation-maximization
LEAST_GAIN = 3e-3  # nats a row; a smaller gain ends expectation-maximization
RIDGE = 1e-3  # added to the variances of the components, whose columns have variance one
LEAST_ROWS = 3  # that a component needs for each of its columns
WIDE_SHARE = 0.1  # of the proposals that come from components with twice the width, so that weights stay bounded
WIDTH = 2.0
LOG_2_PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A Gaussian mixture of all columns, in standard units."""

    loc: Array  # shape (n_features,)
    scale: Array  # shape (n_features,)
    log_weights: Array  # shape (n_components,)
    means: Array  # shape (n_components, n_features), in standard units
    covariances: Array  # shape (n_components, n_features, n_features), in standard units

    @classmethod
    def fit(cls, y: Array, weights: Array, rng: np.random.RandomState) -> Self:
        """Fit the mixture to rows in which unknown cells are NaN; the rows held out choose the number of components.

        Parameters
        ----------
        y : ndarray of shape (n_rows, n_features)
        weights : ndarray of shape (n_rows,)
        rng : RandomState
            The source of the rows held out and of the first means.
        """
        loc, scale = _location_and_scale(y, weights)
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
        return cls(loc, scale, *(part.numpy() for part in fitted))

    def draw(self, y: Tensor, known: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the unknown cells of rows given the known ones.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_draws, n_features) or (n_rows, 1, n_features), dtype float64
            The rows, once for each draw if the known cells differ from draw to draw.
        known : Tensor of shape (n_rows, n_features), dtype bool
        uniform : Tensor of shape (n_rows, n_draws, n_features + 1), dtype float64
            Numbers between 0 and 1, of which the last one chooses the component.

        Returns
        -------
        drawn : Tensor of shape (n_rows, n_draws, n_features)
            The rows with their unknown cells drawn.
        log_density : Tensor of shape (n_rows, n_draws)
            The logarithm of the density that these cells were drawn with.
        """
        loc, scale = torch.tensor(self.loc), torch.tensor(self.scale)
        mixture = self._with_wide_components()
        factors = _known_factors(mixture, known)
        z = torch.where(known.unsqueeze(1), (y - loc) / scale, 0.0)
        evidence, mean = _given_known(mixture, factors, z, known)
        covariance = _unknown_covariance(mixture, factors, known)
        lower = torch.linalg.cholesky(covariance)
        shares = torch.softmax(evidence, -1)  # (n_rows, n_draws, n_components)
        chosen = (shares.cumsum(-1) < uniform[..., -1:]).sum(-1).clamp(max=shares.shape[-1] - 1)
        mean = mean.expand(-1, chosen.shape[1], -1, -1)
        rows = torch.arange(len(z)).unsqueeze(1)
        noise = torch.special.ndtri(uniform[..., :-1].clamp(1e-12, 1 - 1e-12)) * ~known.unsqueeze(1)
        picked = mean.gather(2, chosen[..., None, None].expand(-1, -1, 1, z.shape[-1])).squeeze(2)
        drawn = picked + (lower[rows, chosen] @ noise.unsqueeze(-1)).squeeze(-1)
        log_density = _log_density_of_unknown(drawn, mean, lower, shares.log(), known)
        log_density = log_density - (scale.log() * ~known).sum(-1, keepdim=True)
        return torch.where(known.unsqueeze(1), y, drawn * scale + loc), log_density

    def _with_wide_components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mixture with a part of its weight on components of twice the width."""
        log_weights, means, covariances = (torch.tensor(a) for a in (self.log_weights, self.means, self.covariances))
        both = torch.cat([log_weights + math.log1p(-WIDE_SHARE), log_weights + math.log(WIDE_SHARE)])
        return both, means.repeat(2, 1), torch.cat([covariances, WIDTH**2 * covariances])


Mixture = tuple[Tensor, Tensor, Tensor]  # log-weights, means, covariances


def _location_and_scale(y: Array, weights: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of the known cells of each column."""
    known = ~np.isnan(y)
    unit = np.maximum(np.where(known, np.abs(y), 0.0).max(0), np.finfo(np.float64).tiny)  # squares must not overflow
    y, w = y / unit, known * weights[:, None]
    total = np.maximum(w.sum(0), np.finfo(np.float64).tiny)
    loc = np.where(known, y * w, 0.0).sum(0) / total
    variance = np.where(known, (y - loc) ** 2 * w, 0.0).sum(0) / total
    return loc * unit, np.where(variance > 0, np.sqrt(variance), 1.0) * unit


def _choose_rows(known: Array, rng: np.random.RandomState) -> Array:
    """Choose rows at random, among them some in which each column is known."""
    order = rng.permutation(len(known))
    if len(known) <= MAX_ROWS:
        return order
    first = [order[known[order, j]][:LEAST_KNOWN] for j in range(known.shape[1])]
    return np.unique(np.concatenate([*first, order[:MAX_ROWS]]))


def _known_factors(mixture: Mixture, known: Tensor) -> Tensor:
    """Return the Cholesky factors of the covariances of the known cells, shape (n_rows, n_components, d, d)."""
    both = (known.unsqueeze(-1) & known.unsqueeze(-2)).unsqueeze(1)
    identity = torch.eye(known.shape[1], dtype=torch.float64)
    factors: Tensor = torch.linalg.cholesky(torch.where(both, mixture[2], identity))
    return factors


def _given_known(mixture: Mixture, factors: Tensor, z: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log of weight and density of the known cells, and the means of all cells, for rows in some draws each.

    ``z`` has shape (n_rows, n_draws, n_features), and the results (n_rows, n_draws, n_components, ...).
    """
    log_weights, means, covariances = mixture
    known = known[:, None, None]
    difference = torch.where(known, z.unsqueeze(2) - means, 0.0)  # (n_rows, n_draws, n_components, d)
    columns = difference.permute(0, 2, 3, 1)  # (n_rows, n_components, d, n_draws)
    half = torch.linalg.solve_triangular(factors, columns, upper=False)
    log_det = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    n_known = known.sum(-1)[..., 0]
    log_evidence = (
        log_weights - 0.5 * half.square().sum(-2).mT - log_det.unsqueeze(1) - 0.5 * LOG_2_PI * n_known[..., None]
    )
    solved = torch.linalg.solve_triangular(factors.mT, half, upper=True)
    predicted = means + (covariances @ solved).permute(0, 3, 1, 2)
    return log_evidence, torch.where(known, z.unsqueeze(2), predicted)


def _unknown_covariance(mixture: Mixture, factors: Tensor, known: Tensor) -> Tensor:
    """Return the covariances of the unknown cells given the known ones, the identity where a cell is known."""
    covariances = mixture[2]
    cross = covariances * (known.unsqueeze(-1) & ~known.unsqueeze(-2)).unsqueeze(1)  # rows known, columns unknown
    half = torch.linalg.solve_triangular(factors, cross, upper=False)
    unknown = ~known
    both = (unknown.unsqueeze(-1) & unknown.unsqueeze(-2)).unsqueeze(1)
    identity = torch.eye(known.shape[1], dtype=torch.float64)
    return torch.where(both, covariances - half.mT @ half, identity)


def _log_density_of_unknown(drawn: Tensor, mean: Tensor, lower: Tensor, log_shares: Tensor, known: Tensor) -> Tensor:
    """Return the log-density of the unknown cells of draws under the conditional mixtures, shape (n_rows, n_draws)."""
    difference = torch.where(known[:, None, None], 0.0, drawn.unsqueeze(2) - mean).permute(0, 2, 3, 1)
    half = torch.linalg.solve_triangular(lower, difference, upper=False)
    log_det = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1).unsqueeze(1)
    n_unknown = (~known).sum(-1)[:, None, None]
    each = log_shares - 0.5 * half.square().sum(-2).mT - log_det - 0.5 * LOG_2_PI * n_unknown
    return torch.logsumexp(each, -1)


def _log_marginal(mixture: Mixture, z: Tensor, known: Tensor) -> Tensor:
    """Return the log-density of the known cells of each row, in standard units, shape (n_rows,)."""
    evidence, _ = _given_known(mixture, _known_factors(mixture, known), z.unsqueeze(1), known)
    return torch.logsumexp(evidence[:, 0], -1)


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
        means = _given_known(mixture, _known_factors(mixture, known), z.unsqueeze(1), known)[1][:, 0, 0]
        centres = means[torch.tensor(rng.choice(len(z), n_components, replace=False, p=weights.numpy()))]
        equal = torch.full((n_components,), -math.log(n_components), dtype=torch.float64)
        mixture = equal, centres, (mixture[2] / n_components ** (2 / d)).expand(n_components, d, d)
    before = -math.inf
    for _ in range(MAX_ITERATIONS):
        factors = _known_factors(mixture, known)
        evidence, mean = (part[:, 0] for part in _given_known(mixture, factors, z.unsqueeze(1), known))
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
