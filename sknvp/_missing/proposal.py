"""Proposals for unknown cells: a Gaussian mixture, which given the known cells is a mixture again.

A component with mean m and covariance S gives, for the known cells K and the unknown cells U of a row x,

    x_U | x_K  ~  N(m_U + S_UK S_KK^-1 (x_K - m_K),  S_UU - S_UK S_KK^-1 S_KU),

with a weight in proportion to its own weight and its density at x_K.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from ..flows.bases.expectation_maximization import expectation_maximization, narrow_components

Array = NDArray[Any]

MAX_COMPONENTS = 64  # of a mixture that is fitted to draws
DRAWS_PER_PARAMETER = 3  # that such a mixture needs at least
RIDGE = 1e-3  # added to the variances of the components, whose columns have variance one
N_LIKELIEST = 16  # components given the known cells that are drawn from
WIDE_SHARE = 0.1  # of what each component draws comes from a wider one with the same mean, so that weights stay bounded
LEAST_WIDTH = 2.0  # of the wider components
DEGREES_OF_FREEDOM = 4  # of a t-distribution, which given known cells far out is as wide as the wider components
NEAR_SHARE = 0.25  # of draws near given values, ...
NEAR_WIDTHS = (1 / 2, 1 / 8, 1 / 32, 1 / 128)  # ... in widths of the likeliest component
FARTHEST = 1e100  # scales; the squares of distances are finite
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
    def of_draws(cls, y: Array, rng: np.random.RandomState) -> Self:
        """Fit a mixture to draws from a density, shape (n_draws, n_features)."""
        loc, scale = location_and_scale(y, np.ones(len(y)))
        z, n_features = (y - loc) / scale, y.shape[1]
        n_parameters = (n_features + 1) * (n_features + 2) // 2  # of one component
        n_components = int(np.clip(len(z) // (DRAWS_PER_PARAMETER * n_parameters), 1, MAX_COMPONENTS))
        centres = kmeans_plusplus(z, n_components, random_state=rng)[0]
        start, weights = narrow_components(torch.tensor(centres[None])), torch.ones(1, len(z), dtype=torch.float64)
        mixture = expectation_maximization(start, torch.tensor(z), weights, RIDGE)
        used = mixture.log_weights[0] > -math.inf
        lower = torch.linalg.inv(mixture.precisions_cholesky[0, used]).mT
        parts = mixture.log_weights[0, used], mixture.means[0, used], lower @ lower.mT
        return cls(loc, scale, *(part.numpy() for part in parts))

    def draw(self, y: Array, known: Array, uniform: Array, near: Array | None = None) -> tuple[Array, Array]:
        """Draw the unknown cells of rows given the known ones.

        Parameters
        ----------
        y : ndarray of shape (n_rows, n_draws, n_features) or (n_rows, 1, n_features)
            The rows, once for each draw if the known cells differ from draw to draw.
        known : ndarray of shape (n_rows, n_features), dtype bool
        uniform : ndarray of shape (n_rows, n_draws, n_features)
            Numbers between 0 and 1. A row with m unknown cells uses the first m numbers of each draw.
        near : ndarray of shape (n_rows, n_features), optional
            Rows near which a share of the unknown cells is drawn; near the mean of a column where they are NaN.

        Returns
        -------
        drawn : ndarray of shape (n_rows, n_draws, n_features)
            The rows with their unknown cells drawn.
        log_density : ndarray of shape (n_rows, n_draws)
            The logarithm of the density that these cells were drawn with.
        """
        n_draws = uniform.shape[1]
        drawn = np.repeat(y, n_draws, axis=1) if y.shape[1] < n_draws else y.copy()
        log_density = np.zeros(drawn.shape[:2])
        mixture = tuple(torch.tensor(part) for part in (self.log_weights, self.means, self.covariances))
        patterns, pattern = np.unique(known, axis=0, return_inverse=True)
        by_pattern = np.split(np.argsort(pattern, kind="stable"), np.bincount(pattern).cumsum()[:-1])
        for is_known, rows in zip(patterns, by_pattern, strict=True):
            unknown = np.flatnonzero(~is_known)
            if not len(unknown):
                continue
            with np.errstate(over="ignore"):  # another number than that of a constant column
                z = (y[rows][..., is_known] - self.loc[is_known]) / self.scale[is_known]
            z = z.clip(-FARTHEST, FARTHEST)
            given = _given(mixture, torch.tensor(z).flatten(0, 1), is_known)
            if near is not None:
                close = np.nan_to_num((near[rows][:, unknown] - self.loc[unknown]) / self.scale[unknown])
                given = given.also_near(torch.tensor(np.repeat(close, len(given.shares) // len(rows), axis=0)))
            shape = len(given.shares), -1, len(unknown)  # of known cells that differ from draw to draw, one each
            numbers = torch.tensor(uniform[rows][..., : len(unknown)]).reshape(shape)
            cells, log_prob = (part.numpy() for part in given.draw(numbers))
            places = np.ix_(rows, np.arange(n_draws), unknown)
            drawn[places] = cells.reshape(len(rows), n_draws, -1) * self.scale[unknown] + self.loc[unknown]
            log_density[rows] = log_prob.reshape(len(rows), n_draws) - np.log(self.scale[unknown]).sum()
        return drawn, log_density


Mixture = tuple[Tensor, ...]  # log-weights, means, covariances


class Given(NamedTuple):
    """The mixtures of the unknown cells given the known ones, of rows in which the same cells are known."""

    shares: Tensor  # shape (n_rows, n_components): the weights
    means: Tensor  # shape (n_rows, n_components, n_unknown)
    lower: Tensor  # shape (n_rows, n_components, n_unknown, n_unknown): Cholesky factors of the covariances
    precision: Tensor  # of the same shape: the inverses of these factors
    width: Tensor  # shape (n_rows, n_components): how much wider the wider components are

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return draws of shape (n_rows, n_draws, n_unknown) and their log-densities, shape (n_rows, n_draws).

        The first number of each draw chooses the component, and the place that it has among the numbers that choose
        this one is as good as a new number: so there are no more numbers than unknown cells.
        """
        rows = torch.arange(len(self.shares)).unsqueeze(1)
        chosen, rest = _choose(self.shares.unsqueeze(1), uniform[..., 0])
        shares = torch.tensor([1 - WIDE_SHARE, WIDE_SHARE], dtype=torch.float64)
        wide, rest = _choose(shares, rest)
        numbers = torch.cat([rest.unsqueeze(-1), uniform[..., 1:]], -1).clamp(1e-12, 1 - 1e-12)
        noise = torch.special.ndtri(numbers) * torch.where(wide == 1, self.width[rows, chosen], 1.0).unsqueeze(-1)
        drawn = self.means[rows, chosen] + (self.lower[rows, chosen] @ noise.unsqueeze(-1)).squeeze(-1)
        return drawn, self._log_prob(drawn)

    def also_near(self, cells: Tensor) -> "Given":
        """Add components around values of the unknown cells, shape (n_rows, n_unknown), of several widths."""
        n_near = len(NEAR_WIDTHS)
        factor = torch.tensor(NEAR_WIDTHS, dtype=torch.float64).view(1, n_near, 1, 1)
        equal = torch.full((len(cells), n_near), NEAR_SHARE / n_near, dtype=torch.float64)
        return Given(
            torch.cat([self.shares * (1 - NEAR_SHARE), equal], 1),
            torch.cat([self.means, cells.unsqueeze(1).expand(-1, n_near, -1)], 1),
            torch.cat([self.lower, self.lower[:, :1] * factor], 1),
            torch.cat([self.precision, self.precision[:, :1] / factor], 1),
            torch.cat([self.width, torch.full_like(equal, LEAST_WIDTH)], 1),
        )

    def _log_prob(self, cells: Tensor) -> Tensor:
        """Return the log-density of cells, shape (n_rows, n_draws)."""
        n_unknown = cells.shape[-1]
        difference = cells.unsqueeze(1) - self.means.unsqueeze(2)  # (n_rows, n_components, n_draws, n_unknown)
        squares = (difference @ self.precision.mT).square().sum(-1)
        log_det = self.precision.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = (self.shares.log() + log_det - 0.5 * n_unknown * LOG_2_PI).unsqueeze(-1)
        width = self.width.unsqueeze(-1)
        narrow = math.log1p(-WIDE_SHARE) - 0.5 * squares
        wide = math.log(WIDE_SHARE) - n_unknown * width.log() - 0.5 * squares / width.square()
        return torch.logsumexp(constant + torch.logaddexp(narrow, wide), 1)


def _given(mixture: Mixture, z: Tensor, is_known: Array) -> Given:
    """Condition a mixture on the known cells of rows, shape (n_rows, n_known)."""
    log_weights, means, covariances = mixture
    k, u = (torch.from_numpy(np.flatnonzero(cells)) for cells in (is_known, ~is_known))
    to_all = covariances[:, k]
    lower = torch.linalg.cholesky(to_all[..., k])
    half = torch.linalg.solve_triangular(lower, (z - means[:, None, k]).mT, upper=False)  # (n_components, n_known, n)
    cross = torch.linalg.solve_triangular(lower, to_all[..., u], upper=False).mT  # (n_components, n_unknown, n_known)
    squares, log_det = half.square().sum(1).T, lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    evidence = torch.log_softmax(log_weights - log_det - 0.5 * squares, -1)
    chosen = evidence.topk(min(N_LIKELIEST, len(means)), -1).indices
    factors = torch.linalg.cholesky(covariances[:, u[:, None], u] - cross @ cross.mT)
    rows = torch.arange(len(z)).unsqueeze(1)
    far = (DEGREES_OF_FREEDOM + squares[rows, chosen]) / (DEGREES_OF_FREEDOM + len(k))
    return Given(
        torch.softmax(evidence[rows, chosen], -1),
        (means[:, u, None] + cross @ half).permute(2, 0, 1)[rows, chosen],
        factors[chosen],
        torch.linalg.inv(factors)[chosen],
        far.sqrt().clamp(min=LEAST_WIDTH),
    )


def _choose(shares: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Choose by numbers between 0 and 1 one of several with these shares; return also where in its share each lies."""
    ends = shares.cumsum(-1)
    chosen = (ends < uniform.unsqueeze(-1)).sum(-1).clamp(max=shares.shape[-1] - 1)
    share, end = (
        part.expand(*chosen.shape, -1).gather(-1, chosen.unsqueeze(-1)).squeeze(-1) for part in (shares, ends)
    )
    return chosen, (1 - (end - uniform) / share.clamp(min=1e-300)).clamp(0, 1)


def location_and_scale(y: Array, weights: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of the known cells of each column."""
    known = ~np.isnan(y)
    unit = np.maximum(np.where(known, np.abs(y), 0.0).max(0), np.finfo(np.float64).tiny)  # squares must not overflow
    y, w = y / unit, known * weights[:, None]
    total = np.maximum(w.sum(0), np.finfo(np.float64).tiny)
    loc = np.where(known, y * w, 0.0).sum(0) / total
    variance = np.where(known, (y - loc) ** 2 * w, 0.0).sum(0) / total
    return loc * unit, np.where(variance > 0, np.sqrt(variance), 1.0) * unit
