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
from scipy.special import ndtr, ndtri

from .._shares import TINY, shares_of_estimates
from ..flows.builders.specification import NormalScoreMaps
from .resolution import resolution

Array = NDArray[Any]

# The bandwidths of the kernels, in standard deviations. Smaller ones than the resolution of a column are raised.
BANDWIDTHS = 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0
N_CELLS = 2**14  # The number of cells of the grid.
N_CIRCLE = N_CELLS * 3 // 2  # The number of cells of the circle that the Fourier transform sees.
N_KNOTS = 512  # The number of knots of the spline of a column.
FARTHEST = 30.0  # Numbers that are more standard deviations away are moved to this distance.
ROOM = 6.0  # The grid extends this many standard deviations beyond the data, where kernels have ended.
MAX_LEAST_BANDWIDTH = 0.1  # The resolution of a column raises bandwidths to at most this many standard deviations.
SQRT_2_PI = np.sqrt(2 * np.pi)
MAX_WEIGHING_ROWS = 1_000  # At most this many rows choose the weights.

FREQUENCIES = np.fft.rfftfreq(N_CIRCLE)
# This matrix maps a spectrum to the first two numbers of its inverse Fourier transform. Each frequency counts twice,
# except the first and the last.
NEAREST = np.stack([np.ones_like(FREQUENCIES), np.cos(2 * np.pi * FREQUENCIES)], 1) * 2 / N_CIRCLE
NEAREST[[0, -1]] /= 2


def normal_scores(z: Array, weights: Array, columns: Array) -> NormalScoreMaps:
    """Estimate the functions that map columns to normal scores.

    Parameters
    ----------
    z : ndarray of shape (n_rows, n_features)
        Standardised rows.
    weights : ndarray of shape (n_members, n_rows)
        The weight of each row for each member.
    columns : ndarray of shape (n_features,), dtype bool
        The columns that are to be mapped; the other columns get the identity.
    """
    identity = np.linspace(-1, 1, N_KNOTS)
    points = np.tile(np.stack([identity, identity, np.ones(N_KNOTS)])[:, None, None], (1, len(weights), z.shape[1], 1))
    for j in np.flatnonzero(columns):
        column = _Column.of(np.clip(z[:, j], -FARTHEST, FARTHEST))
        for member in np.flatnonzero(weights.any(1)):
            points[:, member, j] = column.points(weights[member] / weights[member].sum())
    return NormalScoreMaps(*points.astype(np.float32))


class _Column(NamedTuple):
    """The values of a column on a grid of equal cells, and what all members have in common there.

    A value is shared out between the two cells whose middles are nearest. The Fourier transform takes cells for a
    circle. This has so many more cells than the grid that kernels do not reach round to the other end of the grid.
    """

    values: Array  # shape (n_rows,)
    edges: Array  # shape (N_CELLS + 1,)
    left: Array  # The cell whose middle is the last one before each value, of shape (n_rows,).
    share: Array  # The share of each value that the next cell gets, of shape (n_rows,).
    others: Array  # The densities of the normal and of the t-distribution at the values, of shape (2, n_rows).
    # The distribution functions, survival functions and densities of the normal and of the t-distribution at the edges,
    # of shape (3, 2, N_CELLS + 1).
    at_edges: Array

    @classmethod
    def of(cls, values: Array) -> Self:
        edges = np.linspace(values.min() - ROOM, values.max() + ROOM, N_CELLS + 1)
        place = (values - edges[0]) / (edges[1] - edges[0]) - 0.5
        left = place.astype(np.intp)
        at_edges = np.stack([_distributions(edges), _distributions(-edges), _densities(edges)])
        return cls(values, edges, left, place - left, _densities(values), at_edges)

    def points(self, weights: Array) -> Array:
        """Return the knots, scores and slopes of the function that maps the column to normal scores.

        ``weights`` are those of the rows of a member, shape (n_rows,), which add up to one.
        """
        left, share, step = self.left, self.share, self.edges[1] - self.edges[0]
        # With this bandwidth the highest density of a kernel times the resolution is one. So the density of a rounded
        # value stays a probability.
        least = min(resolution(self.values[weights > 0]) / SQRT_2_PI, MAX_LEAST_BANDWIDTH)
        widths = np.unique(np.maximum(BANDWIDTHS, max(step, least))) / step
        filters = np.exp(-2 * (np.pi * widths[:, None] * FREQUENCIES) ** 2)
        cells = np.bincount(left, weights * (1 - share), N_CELLS) + np.bincount(left + 1, weights * share, N_CELLS)
        kernels = np.maximum(np.fft.irfft(np.fft.rfft(cells, N_CIRCLE) * filters)[:, :N_CELLS], 0)
        at_zero, at_one = (filters @ NEAREST).T  # A kernel adds these numbers to its own cell and to the next one.
        own = np.outer(at_zero, (1 - share) ** 2 + share**2) + np.outer(at_one, 2 * share * (1 - share))
        at_values = kernels[:, left] * (1 - share) + kernels[:, left + 1] * share
        by_others = np.maximum(at_values - own * weights, 0) / (np.maximum(1 - weights, TINY) * step)
        some = np.flatnonzero(weights)[:: -(-np.count_nonzero(weights) // MAX_WEIGHING_ROWS)]
        densities = np.concatenate([by_others, self.others])[:, some]
        shares = shares_of_estimates(densities, weights[some] / weights[some].sum())
        shares /= shares.sum()
        smooth = shares[:-2] @ (kernels / kernels.sum(1, keepdims=True))
        cdf, sf, density = np.tensordot(shares[-2:], self.at_edges, (0, 1))
        cdf[1:] += np.cumsum(smooth)
        sf[:-1] += np.cumsum(smooth[::-1])[::-1]
        density += np.convolve(smooth / step, [0.5, 0.5])
        score = np.where(cdf < sf, 1, -1) * ndtri(np.minimum(cdf, sf))
        # Half of the knots are spread evenly over the probability, and half over the scores.
        place = cdf + (score - score[0]) / (score[-1] - score[0])
        knots = np.interp(np.linspace(place[0], place[-1], N_KNOTS), place, self.edges)
        scores = np.interp(knots, self.edges, score)
        return np.stack([knots, scores, np.interp(knots, self.edges, density) / _densities(scores)[0]])


def _distributions(z: Array) -> Array:
    """Return the distribution functions of the normal and of the t-distribution, shape (2, n_values)."""
    s = z / np.sqrt(2 + z**2)  # The t-distribution has four degrees of freedom and is scaled to a variance of one.
    return np.stack([ndtr(z), (1 + s) ** 2 * (2 - s) / 4])


def _densities(z: Array) -> Array:
    """Return the densities of the normal and of the t-distribution, shape (2, n_values)."""
    return np.stack([np.exp(-0.5 * z**2) / SQRT_2_PI, 3 * (2 + z**2) ** -2.5])
