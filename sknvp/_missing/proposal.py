"""Proposals for unknown cells: a Gaussian mixture, which given the known cells is a mixture again.

A component with mean m and covariance S gives, for the known cells K and the unknown cells U of a row x,

    x_U | x_K  ~  N(m_U + S_UK S_KK^-1 (x_K - m_K),  S_UU - S_UK S_KK^-1 S_KU),

with a weight in proportion to its own weight and its density at x_K.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from ..flows.bases.expectation_maximization import expectation_maximization, narrow_components
from .patterns import blocks, patterns_of

Array = NDArray[Any]

MAX_COMPONENTS = 64  # of a mixture that is fitted to draws
DRAWS_PER_PARAMETER = 3  # that such a mixture needs at least
RIDGE = 1e-3  # added to the variances of the components, whose columns have variance one
N_LIKELIEST = 16  # components given the known cells are drawn from, where they hold ...
ENOUGH = 0.99  # ... this share of all; otherwise all components are
WIDE_SHARE = 0.1  # of what each component draws comes from a wider one with the same mean, so that weights stay bounded
LEAST_WIDTH = 2.0  # of the wider components
DEGREES_OF_FREEDOM = 4  # of a t-distribution, which given known cells far out is as wide as the wider components
NEAR_SHARE = 0.25  # of draws near given values, ...
NEAR_WIDTHS = (1 / 2, 1 / 8, 1 / 32, 1 / 128)  # ... in widths of the likeliest component
FARTHEST = 1e100  # scales; the squares of distances are finite
LEVELS = (np.arange(16) + 0.5) / 16  # of the quantiles of columns
FEW = 4  # unknown cells
LOG_2_PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A Gaussian mixture of all columns, in standard units."""

    loc: Array  # shape (n_features,)
    scale: Array  # shape (n_features,), infinite for constant columns
    log_weights: Array  # shape (n_components,)
    means: Array  # shape (n_components, n_features), in standard units
    covariances: Array  # shape (n_components, n_features, n_features), in standard units
    quantiles: Array | None = None  # of each column, shape (n_features, n_levels), in standard units, if they are known

    @classmethod
    def of_draws(cls, y: Array, rng: np.random.RandomState) -> Self:
        """Fit a mixture to draws from a density, shape (n_draws, n_features)."""
        loc, scale = location_and_scale(y, np.ones(len(y)))
        z, n_features = (y - loc) / scale, y.shape[1]
        quantiles = np.quantile(z, LEVELS, axis=0).T
        n_parameters = (n_features + 1) * (n_features + 2) // 2  # of one component
        n_components = int(np.clip(len(z) // (DRAWS_PER_PARAMETER * n_parameters), 1, MAX_COMPONENTS))
        if n_components == 1:
            covariance = z.T @ z / len(z) + RIDGE * np.eye(n_features)
            return cls(loc, scale, np.zeros(1), np.zeros((1, n_features)), covariance[None], quantiles)
        centres = kmeans_plusplus(z, n_components, random_state=rng)[0]
        start, weights = narrow_components(torch.tensor(centres[None])), torch.ones(1, len(z), dtype=torch.float64)
        mixture = expectation_maximization(start, torch.tensor(z), weights, RIDGE)
        used = mixture.log_weights[0] > -math.inf
        lower = torch.linalg.inv(mixture.precisions_cholesky[0, used]).mT
        parts = mixture.log_weights[0, used], mixture.means[0, used], lower @ lower.mT
        log_weights, means, covariances = (part.numpy() for part in parts)
        return cls(loc, scale, log_weights, means, covariances, quantiles)

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
        n_each = uniform.shape[1] // y.shape[1]  # draws for each time that the known cells of a row are given
        drawn = np.repeat(y.reshape(-1, 1, y.shape[2]), n_each, axis=1)
        numbers, log_density = uniform.reshape(drawn.shape), np.zeros(drawn.shape[:2])
        for rows, columns, given in self.conditional(y, known, near):
            some = torch.tensor(numbers[rows][..., : columns.shape[1]])
            cells, log_prob = (part.numpy() for part in given.draw(some))
            places = rows[:, None, None], np.arange(n_each)[:, None], columns[:, None]
            drawn[places] = cells * self.scale[columns][:, None] + self.loc[columns][:, None]
            log_density[rows] = log_prob - np.log(self.scale[columns]).sum(1, keepdims=True)
        return drawn.reshape(uniform.shape), log_density.reshape(uniform.shape[:2])

    def conditional(self, y: Array, known: Array, near: Array | None = None) -> Iterator[tuple[Array, Array, "Given"]]:
        """Go through the mixtures of the unknown cells given the known ones, with the arguments of `draw`.

        The first two axes of ``y`` count as one. Yields numbers of rows, the numbers of their unknown columns, shape
        (n_some, n_unknown), and the mixtures, in standard units.
        """
        mixture = tuple(torch.tensor(part) for part in (self.log_weights, self.means, self.covariances))
        n_times = y.shape[1]
        for patterns in patterns_of(known):
            if not patterns.unknown.shape[1]:
                continue
            rows, pattern = patterns.rows, patterns.pattern.repeat(n_times)
            with np.errstate(over="ignore", invalid="ignore"):  # another number than that of a constant column
                z = ((y[rows].reshape(len(pattern), -1) - self.loc) / self.scale).clip(-FARTHEST, FARTHEST)
            places = (rows[:, None] * n_times + np.arange(n_times)).ravel()
            for some, given in condition(mixture, torch.tensor(z), patterns.unknown, torch.tensor(pattern)).parts():
                own, columns = places[some], patterns.unknown[pattern[some]]
                if near is not None:
                    close = np.take_along_axis(near[own // n_times], columns, 1)
                    with np.errstate(over="ignore"):
                        close = np.nan_to_num((close - self.loc[columns]) / self.scale[columns])
                    given = given.also_near(torch.tensor(close))
                yield own, columns, given


Mixture = tuple[Tensor, ...]  # log-weights, means, covariances


class Given(NamedTuple):
    """The mixtures of the unknown cells given the known ones, of rows with equally many unknown cells."""

    shares: Tensor  # shape (n_rows, n_components): the weights
    means: Tensor  # shape (n_rows, n_components, n_unknown)
    factors: Tensor  # shape (n_rows, n_components, n_unknown, n_unknown): F, where F F^T is the covariance
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
        drawn = self.means[rows, chosen] + _product(self.factors[rows, chosen], noise)
        return drawn, self._log_prob(drawn)

    def also_near(self, cells: Tensor) -> "Given":
        """Add components around values of the unknown cells, shape (n_rows, n_unknown), of several widths."""
        n_near = len(NEAR_WIDTHS)
        factor = torch.tensor(NEAR_WIDTHS, dtype=torch.float64).view(1, n_near, 1, 1)
        equal = torch.full((len(cells), n_near), NEAR_SHARE / n_near, dtype=torch.float64)
        likeliest = torch.arange(len(cells)).unsqueeze(1), self.shares.argmax(1, keepdim=True)
        return Given(
            torch.cat([self.shares * (1 - NEAR_SHARE), equal], 1),
            torch.cat([self.means, cells.unsqueeze(1).expand(-1, n_near, -1)], 1),
            torch.cat([self.factors, self.factors[likeliest] * factor], 1),
            torch.cat([self.precision, self.precision[likeliest] / factor], 1),
            torch.cat([self.width, torch.full_like(equal, LEAST_WIDTH)], 1),
        )

    def _log_prob(self, cells: Tensor) -> Tensor:
        """Return the log-density of cells, shape (n_rows, n_draws)."""
        n_unknown = cells.shape[-1]
        difference = cells.unsqueeze(1) - self.means.unsqueeze(2)  # (n_rows, n_components, n_draws, n_unknown)
        squares = _squares(difference @ self.precision.mT)
        log_det = self.precision.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = (self.shares.log() + log_det - 0.5 * n_unknown * LOG_2_PI).unsqueeze(-1)
        width = self.width.unsqueeze(-1)
        narrow = math.log1p(-WIDE_SHARE) - 0.5 * squares
        wide = math.log(WIDE_SHARE) - n_unknown * width.log() - 0.5 * squares / width.square()
        return torch.logsumexp(torch.cat([constant + narrow, constant + wide], 1), 1)


class Conditioned(NamedTuple):
    """All components given the known cells of rows with equally many of them."""

    log_joint: Tensor  # shape (n_rows, n_components): the log-densities of the known cells, plus the log-weights
    squares: Tensor  # of the same shape: the squared distances of the known cells from the mean
    centres: Tensor  # shape (n_rows, n_components, n_unknown)
    factors: Tensor  # shape (n_patterns, n_components, n_unknown, n_unknown), as in `Given`
    precision: Tensor  # of the same shape, as in `Given`
    pattern: Tensor  # shape (n_rows,)
    n_known: int

    def parts(self) -> Iterator[tuple[Array, Given]]:
        """Yield rows for which some of the components are enough, with the likeliest ones, and the others with all."""
        n_components, log_shares = self.log_joint.shape[1], self.log_joint.log_softmax(1)
        top = log_shares.topk(min(N_LIKELIEST, n_components), -1)
        enough = top.values.exp().sum(-1) >= ENOUGH
        rows, others = enough.nonzero()[:, 0], (~enough).nonzero()[:, 0]
        for some, chosen in ((rows, top.indices[rows]), (others, torch.arange(n_components).expand(len(others), -1))):
            if len(some):
                yield some.numpy(), self._given(some.unsqueeze(1), chosen)

    def _given(self, rows: Tensor, chosen: Tensor) -> Given:
        """Return chosen components, shape (n_rows, n_chosen), of some rows, shape (n_rows, 1)."""
        own = self.pattern[rows]
        far = (DEGREES_OF_FREEDOM + self.squares[rows, chosen]) / (DEGREES_OF_FREEDOM + self.n_known)
        return Given(
            torch.softmax(self.log_joint[rows, chosen], -1),
            self.centres[rows, chosen],
            self.factors[own, chosen],
            self.precision[own, chosen],
            far.sqrt().clamp(min=LEAST_WIDTH),
        )


def condition(mixture: Mixture, z: Tensor, unknown: Array, pattern: Tensor) -> Conditioned:
    """Condition a mixture on the known cells of rows, shape (n_rows, n_features), whose patterns have these unknown.

    The inverse of the block of the unknown cells U in the inverse P of a covariance is their covariance given the known
    ones. Their mean is -P_UU^-1 (P (x - m))_U, where x is zero in U.
    """
    log_weights, means, covariances = mixture
    n_unknown = unknown.shape[1]
    inverse = torch.linalg.inv(covariances)
    precision = torch.linalg.cholesky(blocks(inverse, unknown, unknown).transpose(0, 1)).mT.contiguous()
    identity = torch.eye(n_unknown).to(precision).expand_as(precision)
    factors = torch.linalg.solve_triangular(precision, identity, upper=True)
    columns = torch.tensor(unknown)[pattern].unsqueeze(1)
    z = z.scatter(1, columns[:, 0], 0.0)
    shift = (inverse @ means.unsqueeze(-1)).squeeze(-1)
    products = (z @ inverse.transpose(0, 1).flatten(1)).view(len(z), *means.shape) - shift
    own = factors[pattern]
    half = _product(own.mT, products.gather(2, columns.expand(-1, len(means), -1)))
    whole = (products @ z.unsqueeze(-1)).squeeze(-1) - (z @ shift.mT) + (shift * means).sum(-1)
    squares = (whole - _squares(half)).clamp(min=0)
    log_det = precision.diagonal(dim1=-2, dim2=-1).log().sum(-1) + torch.linalg.slogdet(covariances)[1] / 2
    n_known = z.shape[1] - n_unknown
    log_joint = log_weights - log_det[pattern] - 0.5 * (squares + n_known * LOG_2_PI)
    return Conditioned(log_joint, squares, -_product(own, half), factors, precision, pattern, n_known)


def _product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply matrices by vectors; for very small ones sums of columns are faster than a product of matrices."""
    if vectors.shape[-1] > FEW:
        return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)
    total = matrices.new_zeros(matrices.shape[:-1])
    for i in range(vectors.shape[-1]):
        total = total.addcmul(matrices[..., i], vectors[..., i : i + 1])
    return total


def _squares(vectors: Tensor) -> Tensor:
    """Return the squared lengths of vectors."""
    return _product(vectors.unsqueeze(-2), vectors).squeeze(-1)


def _choose(shares: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Choose by numbers between 0 and 1 one of several with these shares; return also where in its share each lies."""
    ends = shares.cumsum(-1)
    chosen = (ends < uniform.unsqueeze(-1)).sum(-1).clamp(max=shares.shape[-1] - 1)
    share, end = (
        part.expand(*chosen.shape, -1).gather(-1, chosen.unsqueeze(-1)).squeeze(-1) for part in (shares, ends)
    )
    return chosen, (1 - (end - uniform) / share.clamp(min=1e-300)).clamp(0, 1)


def location_and_scale(y: Array, weights: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of the known cells of each column.

    The deviation of a constant column is infinite, so that a row with another number there is at its mean as well.
    """
    known = ~np.isnan(y)
    unit = np.maximum(np.where(known, np.abs(y), 0.0).max(0), np.finfo(np.float64).tiny)  # squares must not overflow
    y, w = y / unit, known * weights[:, None]
    total = np.maximum(w.sum(0), np.finfo(np.float64).tiny)
    loc = np.where(known, y * w, 0.0).sum(0) / total
    variance = np.where(known, (y - loc) ** 2 * w, 0.0).sum(0) / total
    return loc * unit, np.where(variance > 0, np.sqrt(variance) * unit, np.inf)
