"""Normal scores of continuous columns, from smooth estimates of their distribution functions.

The distribution of a column is estimated by a mixture of kernel estimates of several bandwidths, of the normal and of a
t-distribution, with the weights under which each row is likeliest by the estimates without it. Kernels are added up on
a grid, by the fast Fourier transform. The normal quantile of the distribution function is the normal score of a value.

References
----------
B. W. Silverman, "Kernel density estimation using the fast Fourier transform", J. R. Stat. Soc. C 31, 1982.
P. Smyth and D. Wolpert, "Linearly combining density estimators via stacking", Machine Learning 36, 1999.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtri

from ..flows.builders.specification import Scores

Array = NDArray[Any]

BANDWIDTHS = 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0  # of the kernels, in standard deviations
N_CELLS = 2**14  # of the grid
N_KNOTS = 512  # of the spline of a column
FARTHEST = 30.0  # standard deviations; what is farther away is moved there
ROOM = 3.0  # standard deviations; the grid goes so far beyond the data
DEGREES_OF_FREEDOM = 4  # of the t-distribution
LEAST_SHARE = 1e-4  # the least weight of each estimate
TINY = np.finfo(np.float64).tiny
N_COMPARED = 2_000  # the number of rows that choose the weights, about
N_ITERATIONS = 100  # of expectation-maximization for the weights


def normal_scores(z: Array, weights: Array, columns: Array) -> Scores:
    """Estimate the functions that map columns to normal scores.

    Parameters
    ----------
    z : ndarray of shape (n_rows, n_features)
        Standardised rows.
    weights : ndarray of shape (n_members, n_rows)
        The weight of each row for each member.
    columns : ndarray of shape (n_features,), dtype bool
        The columns that are to be mapped; the others have the identity.
    """
    identity = np.linspace(-1, 1, N_KNOTS)
    points = np.tile(np.stack([identity, identity, np.ones(N_KNOTS)])[:, None, None], (1, len(weights), z.shape[1], 1))
    for member, own in enumerate(weights):
        for j in np.flatnonzero(columns):
            points[:, member, j] = _points(np.clip(z[own > 0, j], -FARTHEST, FARTHEST), own[own > 0])
    return Scores(*points.astype(np.float32))


class _Grid(NamedTuple):
    """Cells of equal size, and the weights of rows, shared out between the middles of the two nearest cells."""

    edges: Array  # shape (N_CELLS + 1,)
    left: Array  # shape (n_rows,): the cell whose middle is the last one before a row
    share: Array  # shape (n_rows,): the share of the next cell in the row
    weights: Array  # shape (n_rows,), which add up to one
    spectrum: Array  # of the weights of the cells

    @classmethod
    def of(cls, values: Array, weights: Array) -> Self:
        edges = np.linspace(values.min() - ROOM, values.max() + ROOM, N_CELLS + 1)
        place = (values - edges[0]) / (edges[1] - edges[0]) - 0.5
        left = place.astype(np.intp)
        share, weights = place - left, weights / weights.sum()
        cells = np.bincount(left, weights * (1 - share), N_CELLS) + np.bincount(left + 1, weights * share, N_CELLS)
        return cls(edges, left, share, weights, np.fft.rfft(cells, 2 * N_CELLS))

    def smoothed(self, bandwidth: float) -> tuple[Array, Array]:
        """Return the probability of each cell by normal kernels, and the density of each row by those of the others."""
        step = self.edges[1] - self.edges[0]
        filtered = np.exp(-2 * (np.pi * bandwidth / step * np.fft.rfftfreq(2 * N_CELLS)) ** 2)
        cells = np.maximum(np.fft.irfft(self.spectrum * filtered)[:N_CELLS], 0)
        own, next_to_own = np.fft.irfft(filtered)[:2]
        at, share = cells[self.left] * (1 - self.share) + cells[self.left + 1] * self.share, self.share
        of_itself = self.weights * (own * ((1 - share) ** 2 + share**2) + 2 * next_to_own * share * (1 - share))
        return cells / cells.sum(), np.maximum(at - of_itself, 0) / np.maximum(1 - self.weights, TINY) / step


def _points(values: Array, weights: Array) -> Array:
    """Return the knots, scores and slopes of the function that maps a column to normal scores."""
    grid = _Grid.of(values, weights)
    edges, step = grid.edges, grid.edges[1] - grid.edges[0]
    kernels = [grid.smoothed(h) for h in BANDWIDTHS if h >= step]
    t_scale = np.sqrt((DEGREES_OF_FREEDOM - 2) / DEGREES_OF_FREEDOM)  # the variance is one
    others = stats.norm(), stats.t(DEGREES_OF_FREEDOM, scale=t_scale)
    shares = _shares([*(without for _, without in kernels), *(other.pdf(values) for other in others)], grid.weights)
    cells = shares[: len(kernels)] @ np.stack([cells for cells, _ in kernels])
    cdf, sf = np.concatenate([[0.0], np.cumsum(cells)]), np.concatenate([np.cumsum(cells[::-1])[::-1], [0.0]])
    density = np.convolve(cells / step, [0.5, 0.5])
    for share, other in zip(shares[len(kernels) :], others, strict=True):
        cdf, sf, density = (a + share * f(edges) for a, f in ((cdf, other.cdf), (sf, other.sf), (density, other.pdf)))
    score = np.where(cdf < sf, ndtri(cdf), -ndtri(sf))
    # Half of the knots are spread evenly over the probability, and half over the scores.
    place = cdf + (score - score[0]) / (score[-1] - score[0])
    knots = np.interp(np.linspace(place[0], place[-1], N_KNOTS), place, edges)
    scores = np.interp(knots, edges, score)
    return np.stack([knots, scores, np.interp(knots, edges, density) / stats.norm.pdf(scores)])


def _shares(densities: list[Array], weights: Array) -> Array:
    """Find the weights of estimates under whose mixture the rows are likeliest, by expectation-maximization."""
    step = -(-len(weights) // N_COMPARED)
    found, weights = np.stack(densities)[:, ::step], weights[::step] / weights[::step].sum()
    found /= found.max(0)
    shares = np.full(len(found), 1 / len(found))
    for _ in range(N_ITERATIONS):
        joint = shares[:, None] * found
        before, shares = shares, (joint / joint.sum(0)) @ weights
        if np.abs(shares - before).max() < 1e-4:
            break
    shares = np.maximum(shares, LEAST_SHARE)
    normalized: Array = shares / shares.sum()
    return normalized
