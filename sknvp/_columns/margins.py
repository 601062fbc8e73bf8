"""Margins of discrete columns: the probability of each value, and the interval of (0, 1) that the value owns.

The values of a column lie side by side in (0, 1), each on an interval as long as its probability. A uniform point of
that interval in the place of the value makes the column uniform, and its normal quantile makes it normal. This is the
distributional transform of copulas. With it a flow that is the identity has the observed margins.

References
----------
L. Rüschendorf, "On the distributional transform, Sklar's theorem, and the empirical copula process", J. Stat. Plan.
Inference 139, 2009.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BANDWIDTHS = (0.03, 0.1, 0.3, 1.0)  # of the smoothed frequencies, in standard deviations
LEAST_BANDWIDTH = 0.4  # a narrower kernel leaves frequencies as they are
LEAST_SHARE = 1e-4  # the least weight of each estimate in the mixture of estimates
N_ITERATIONS = 200  # of expectation-maximization for these weights
FARTHEST = 1e-12  # the probability beyond which values lie in one interval


@dataclass(frozen=True, eq=False)
class Margin:
    """The distribution of the values of a discrete column.

    The values are whole numbers from ``first`` on. If the column is not ``bounded``, they go on for ever on both sides,
    with probabilities that fall geometrically.
    """

    first: int  # the least value with a probability of its own in the table
    edges: Array  # shape (n_values + 1,): where the intervals of the values in the table begin and end
    decay: float  # the quotient of the probabilities of two values that follow each other beyond the table

    @classmethod
    def of_categories(cls, codes: Array, weights: Array, n_rows: float, n_categories: int) -> Self:
        """Estimate the probabilities of the categories 0, 1, ..., ``n_categories`` - 1."""
        counts = np.bincount(codes.astype(np.intp), weights, n_categories) * (n_rows / weights.sum())
        probabilities = _mixture_of_estimates(counts, [_frequencies(counts), _even(counts)])
        return cls(0, _edges(probabilities, 0.0), 0.0)

    @classmethod
    def of_whole_numbers(cls, values: Array, weights: Array, n_rows: float) -> Self:
        """Estimate the probabilities of all whole numbers."""
        first = int(values.min())
        counts = np.bincount((values - first).astype(np.intp), weights) * (n_rows / weights.sum())
        deviation = np.sqrt(np.average((values - np.average(values, weights=weights)) ** 2, weights=weights))
        widths = [deviation * h for h in BANDWIDTHS if deviation * h > LEAST_BANDWIDTH]
        estimates = [_frequencies(counts), *(_smoothed(counts, h) for h in widths), _even(counts)]
        probabilities = _mixture_of_estimates(counts, estimates)
        return cls(first, _edges(probabilities, 0.5 / (n_rows + 1)), float(1 - 1 / (1 + max(deviation, 1.0))))

    @property
    def last(self) -> int:
        """The largest value with a probability of its own in the table."""
        return self.first + len(self.edges) - 2

    def intervals(self, values: Array) -> tuple[Array, Array, Array]:
        """Return where the interval of each value begins and ends, and the logarithm of its length."""
        places = np.clip(values - self.first, 0, len(self.edges) - 2).astype(np.intp)
        low, high = self.edges[places], self.edges[places + 1]
        log_length = np.log(high - low)
        if self.decay == 0:
            return low, high, log_length
        below, above = values < self.first, values > self.last
        tail = self.edges[0]
        steps = np.where(below, self.first - values, values - self.last).astype(np.float64)
        far = np.minimum(steps, 1 + max(0.0, np.log(FARTHEST / tail) / np.log(self.decay)))
        inner, outer = tail * self.decay ** (far - 1), tail * self.decay**far
        low = np.where(below, outer, np.where(above, 1 - inner, low))
        high = np.where(below, inner, np.where(above, 1 - outer, high))
        beyond = np.log(tail) + (steps - 1) * np.log(self.decay) + np.log1p(-self.decay)
        return low, high, np.where(below | above, beyond, log_length)

    def values(self, points: Array) -> Array:
        """Return the value whose interval each point of (0, 1) lies in."""
        values = self.first + np.clip(np.searchsorted(self.edges, points, side="right") - 1, 0, len(self.edges) - 2)
        if self.decay == 0:
            return values
        tail = self.edges[0]
        steps = [np.log(np.maximum(p, FARTHEST) / tail) / np.log(self.decay) for p in (points, 1 - points)]
        low, high = np.floor(steps)
        below, above = points < self.edges[0], points >= self.edges[-1]
        return np.where(below, self.first - 1 - low, np.where(above, self.last + 1 + high, values)).astype(np.int64)


def _edges(probabilities: Array, tail: float) -> Array:
    """Return the borders of intervals that leave a tail free at both ends of (0, 1)."""
    inner = np.cumsum(probabilities)
    edges: Array = tail + (1 - 2 * tail) * np.concatenate([[0], inner / inner[-1]])
    return edges


def _frequencies(counts: Array) -> tuple[Array, Array]:
    """Return relative frequencies, and those of each value without one of the rows that have it."""
    n_rows = counts.sum()
    return counts / n_rows, np.maximum(counts - 1, 0) / max(n_rows - 1, 1)


def _even(counts: Array) -> tuple[Array, Array]:
    """Return equal probabilities for all values."""
    equal = np.full(len(counts), 1 / len(counts))
    return equal, equal


def _smoothed(counts: Array, bandwidth: float) -> tuple[Array, Array]:
    """Return frequencies smoothed by a normal kernel, and those of each value without one of the rows that have it."""
    n_points = 2 * len(counts) + int(10 * bandwidth)
    kernel = np.exp(-2 * (np.pi * bandwidth * np.fft.rfftfreq(n_points)) ** 2)
    smoothed = np.maximum(np.fft.irfft(np.fft.rfft(counts, n_points) * kernel, n_points)[: len(counts)], 0)
    own = np.fft.irfft(kernel, n_points)[0]
    return smoothed / smoothed.sum(), np.maximum(smoothed - own, 0) / max(counts.sum() - 1, 1)


def _mixture_of_estimates(counts: Array, estimates: list[tuple[Array, Array]]) -> Array:
    """Mix estimates of probabilities such that each row is likeliest under the estimates that were made without it."""
    seen = counts > 0
    without = np.stack([left_out for _, left_out in estimates])[:, seen]
    shares, weights = np.full(len(estimates), 1 / len(estimates)), counts[seen] / counts.sum()
    for _ in range(N_ITERATIONS):
        joint = shares[:, None] * without
        shares = (joint / np.maximum(joint.sum(0), np.finfo(np.float64).tiny)) @ weights
    shares = np.maximum(shares, LEAST_SHARE)
    mixed: Array = shares @ np.stack([estimate for estimate, _ in estimates])
    return mixed
