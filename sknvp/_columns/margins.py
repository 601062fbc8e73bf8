"""Margins of discrete columns: the probability of each value, and the interval of (0, 1) that the value owns.

The values of a column lie side by side in (0, 1), each on an interval as long as its probability. A uniform point of
that interval in the place of the value makes the column uniform, and its normal quantile makes it normal. This is the
distributional transform of copulas. With it a flow that is the identity has the observed margins.

References
----------
L. Rüschendorf, "On the distributional transform, Sklar's theorem, and the empirical copula process", J. Stat. Plan.
Inference 139, 2009.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .._shares import shares_of_estimates
from ..flows.bases.point_mass import LOG_OTHER

Array = NDArray[Any]

BANDWIDTHS = (0.03, 0.1, 0.3, 1.0)  # The bandwidths of the smoothed frequencies, in standard deviations.
LEAST_BANDWIDTH = 0.4  # A kernel with fewer steps of the column as bandwidth leaves frequencies as they are.
# A bound that is at most about this many standard deviations away ends the table. Zero is such a bound of a column
# without negative numbers.
NEAR_ZERO = 10.0
SHARE_BETWEEN = 1e-6  # The share of the probability of a value that the whole numbers up to the next value have.
MIN_TAIL_PROBABILITY = 1e-12  # All values whose tail has a smaller probability than this lie in one interval.


class Places(NamedTuple):
    """Where the flow sees the values of a column: at points, or anywhere in intervals.

    Each array has shape (n_values,). The ends of intervals lie between 0 and 1; points are normal quantiles.
    """

    low: Array  # The beginning of the interval of a value that has a probability, zero for other values.
    high: Array  # The end of the interval of a value that has a probability.
    point: Array  # The point of a value that has a density, NaN for other values.
    log_measure: Array  # The logarithm of the length of the interval, or of the derivative of the point by the value.


@dataclass(frozen=True, eq=False)
class Margin:
    """The distribution of the values of a discrete column, which are whole numbers at equal distances.

    Each value of a table has a probability of its own. If the first and the last edge leave room at the ends of (0, 1),
    there are values beyond the table, whose probabilities fall geometrically.
    """

    first: int  # The least value in the table.
    spacing: int  # The distance between two values that follow each other.
    edges: Array  # The ends of the intervals of the values in the table, of shape (n_values + 1,).
    decay: float  # The ratio of the probabilities of two values that follow each other beyond the table.
    low: float = -np.inf  # The lower bound of the values.
    high: float = np.inf  # The upper bound of the values.

    @classmethod
    def of_categories(cls, codes: Array, weights: Array, n_rows: float, n_categories: int) -> Self:
        """Estimate the probabilities of the categories 0, 1, ..., ``n_categories`` - 1."""
        counts = np.bincount(codes.astype(np.intp), weights, n_categories) * (n_rows / weights.sum())
        return cls(0, 1, _edges(_mixture(counts, [_frequencies(counts), _even(counts)]), 0.0, 0.0), 0.5)

    @classmethod
    def of_whole_numbers(
        cls, values: Array, weights: Array, n_rows: float, *, low: float = -np.inf, high: float = np.inf
    ) -> Self:
        """Estimate the probabilities of whole numbers, none of which is below ``low`` or above ``high``.

        Without bounds, a column of two values that follow each other has no other values, and a column that begins near
        zero, in standard deviations, has no negative values.
        """
        values = values.astype(np.float64)  # Distances in single precision may be rounded.
        least, greatest = int(values.min()), int(values.max())
        spacing = max(1, int(np.gcd.reduce((values - least).astype(np.int64))))
        steps = (values - least) / spacing
        deviation = float(np.sqrt(np.average((steps - np.average(steps, weights=weights)) ** 2, weights=weights)))
        binary = steps.max() == 1
        near = NEAR_ZERO * (deviation + 1)
        begins_near_zero = not np.isfinite(low) and not binary and 0 <= least // spacing <= near
        first = least % spacing if begins_near_zero else low
        n_below, ends_below = _room((least - first) / spacing, near, binary)
        n_above, ends_above = _room((high - greatest) / spacing, near, binary)
        counts = np.bincount((steps + n_below).astype(np.intp), weights) * (n_rows / weights.sum())
        counts = np.concatenate([counts, np.zeros(n_above)])
        # Of the estimates, only the normal distribution reaches the values that these are extended by.
        wide = int(np.ceil(deviation))
        more = 0 if ends_below else wide, 0 if ends_above else wide
        mean = float(np.average(steps, weights=weights)) + n_below + more[0]
        probabilities = _mixture(np.pad(counts, more), _estimates(counts, more, mean, deviation))
        tail, decay = 0.5 / (n_rows + 1), 1 - 1 / (1 + max(deviation, 1.0))
        edges = _edges(probabilities, tail * (not ends_below), tail * (not ends_above), more, decay)
        return cls(least - (n_below + more[0]) * spacing, spacing, edges, decay, low, high)

    @property
    def n_values(self) -> int:
        """The number of values in the table."""
        return len(self.edges) - 1

    @property
    def tails(self) -> tuple[float, float]:
        """The probabilities of all values below and of all values above the table."""
        return float(self.edges[0]), float(1 - self.edges[-1])

    def places(self, values: Array) -> Places:
        """Return the intervals of values."""
        low, high, log_probability = self.intervals(values)
        return Places(low, high, np.full(len(values), np.nan), log_probability)

    def values_at(self, y: Array) -> Array:
        """Return the value of each normal quantile ``y``."""
        return self.values(ndtr(y.astype(np.float64)))

    def intervals(self, values: Array) -> tuple[Array, Array, Array]:
        """Return where the interval of each value begins and ends, and the logarithm of its probability.

        An impossible number has the interval of the nearest value below, and the log-probability `LOG_OTHER`. All whole
        numbers between two values together have a millionth of the probability of the lower value.
        """
        values = values.astype(np.float64)
        steps = np.floor((values - self.first) / self.spacing)
        places = np.clip(steps, 0, self.n_values - 1).astype(np.intp)
        low, high = self.edges[places], self.edges[places + 1]
        log_probability = np.log(high - low)
        for outside, distance, tail, lower in (
            (steps < 0, -steps, self.tails[0], True),
            (steps >= self.n_values, steps - self.n_values + 1, self.tails[1], False),
        ):
            if tail == 0:
                log_probability = np.where(outside, LOG_OTHER, log_probability)
                continue
            near = np.clip(distance, 1, 1 + max(0.0, np.log(MIN_TAIL_PROBABILITY / tail) / np.log(self.decay)))
            inner, outer = tail * self.decay ** (near - 1), tail * self.decay**near
            low = np.where(outside, outer if lower else 1 - inner, low)
            high = np.where(outside, inner if lower else 1 - outer, high)
            beyond = np.log(tail) + (distance - 1) * np.log(self.decay) + np.log1p(-self.decay)
            log_probability = np.where(outside, beyond, log_probability)
        return low, high, self._less_between(values, log_probability)

    def _less_between(self, values: Array, log_probability: Array) -> Array:
        """Share the probability of each value with the whole numbers up to the next value; others get `LOG_OTHER`."""
        if self.spacing > 1:
            between = (values - self.first) % self.spacing != 0
            share = np.log(SHARE_BETWEEN / (self.spacing - 1))
            log_probability = log_probability + np.where(between, share, np.log1p(-SHARE_BETWEEN))
        possible = (values == np.floor(values)) & (self.low <= values) & (values <= self.high)
        return np.where(possible, log_probability, LOG_OTHER)

    def values(self, points: Array) -> Array:
        """Return the value whose interval each point of (0, 1) lies in."""
        steps = np.clip(np.searchsorted(self.edges, points, side="right") - 1, 0, self.n_values - 1)
        lower_tail, upper_tail = self.tails
        if lower_tail:
            steps = np.where(points < self.edges[0], -1 - self._steps(points, lower_tail), steps)
        if upper_tail:
            above = self.n_values + self._steps(1 - points, upper_tail)
            steps = np.where(points > self.edges[-1], above, steps)
        values = self.first + self.spacing * steps
        if np.isfinite(self.low) or np.isfinite(self.high):
            values = np.clip(values, self._nearest(self.low, np.ceil), self._nearest(self.high, np.floor))
        return values

    def _nearest(self, bound: float, rounding: Callable[[float], float]) -> float:
        """Return the value next to a bound."""
        return self.first + self.spacing * float(rounding((bound - self.first) / self.spacing))

    def _steps(self, distances: Array, tail: float) -> Array:
        """Return how many intervals of a tail lie between the table and points at distances from the end of (0, 1)."""
        steps: Array = np.floor(np.log(np.clip(distances, MIN_TAIL_PROBABILITY, tail) / tail) / np.log(self.decay))
        return steps


def _room(n_possible: float, near: float, binary: bool) -> tuple[int, bool]:
    """Return how many values there are up to a bound that is near, and whether there are none beyond these.

    A bound is near if at most ``near`` values are possible up to it. Otherwise there is no end.
    """
    if n_possible <= near:
        return int(n_possible), True
    return 0, binary and not np.isfinite(n_possible)


def _edges(
    probabilities: Array, lower_tail: float, upper_tail: float, n_more: tuple[int, int] = (0, 0), decay: float = 0.5
) -> Array:
    """Return the ends of intervals that leave room for tails at both ends of (0, 1).

    The tails begin ``n_more`` values before the first and the last end. Each of these values gets the share
    ``1 - decay`` of the part of the tail that is left at it.
    """
    n_lower, n_upper = n_more
    lower, upper = lower_tail * decay ** np.arange(n_lower + 1), upper_tail * decay ** np.arange(n_upper + 1)
    lengths = (1 - lower_tail - upper_tail) * probabilities / probabilities.sum()
    lengths[:n_lower] -= np.diff(lower)[::-1]
    lengths[len(lengths) - n_upper :] -= np.diff(upper)
    inner = np.cumsum(lengths)
    edges: Array = lower[-1] + (1 - lower[-1] - upper[-1]) * np.concatenate([[0], inner / inner[-1]])
    return edges


def _estimates(counts: Array, more: tuple[int, int], mean: float, deviation: float) -> list[tuple[Array, Array]]:
    """Return estimates of the probabilities of whole numbers, and of each without one of the rows that have it."""
    widths = [deviation * h for h in BANDWIDTHS if deviation * h > LEAST_BANDWIDTH]
    found = [_frequencies(counts), *(_smoothed(counts, h) for h in widths), _even(counts)]
    extended = [(np.pad(whole, more), np.pad(without, more)) for whole, without in found]
    return [*extended, _normal(len(counts) + sum(more), mean, deviation)]


def _frequencies(counts: Array) -> tuple[Array, Array]:
    """Return relative frequencies, and those of each value without one of the rows that have it."""
    n_rows = counts.sum()
    return counts / n_rows, np.maximum(counts - 1, 0) / max(n_rows - 1, 1)


def _even(counts: Array) -> tuple[Array, Array]:
    """Return equal probabilities for all values."""
    equal = np.full(len(counts), 1 / len(counts))
    return equal, equal


def _normal(n_values: int, mean: float, deviation: float) -> tuple[Array, Array]:
    """Return the probabilities of a rounded normal distribution, twice.

    They stand for the estimates without a row too, since leaving rows out was measured to be no better.
    """
    ends = (np.arange(n_values + 1) - 0.5 - mean) / max(deviation, LEAST_BANDWIDTH)
    rounded = np.diff(ndtr(ends))
    rounded /= rounded.sum()
    return rounded, rounded


def _smoothed(counts: Array, bandwidth: float) -> tuple[Array, Array]:
    """Return frequencies smoothed by a normal kernel, and those of each value without one of the rows that have it."""
    n_points = 2 * len(counts) + int(10 * bandwidth)
    kernel = np.exp(-2 * (np.pi * bandwidth * np.fft.rfftfreq(n_points)) ** 2)
    smoothed = np.maximum(np.fft.irfft(np.fft.rfft(counts, n_points) * kernel, n_points)[: len(counts)], 0)
    own = np.fft.irfft(kernel, n_points)[0]
    return smoothed / smoothed.sum(), np.maximum(smoothed - own, 0) / max(counts.sum() - 1, 1)


def _mixture(counts: Array, estimates: list[tuple[Array, Array]]) -> Array:
    """Mix estimates of probabilities such that each row is likeliest under the estimates that were made without it."""
    seen = counts > 0
    without = np.stack([left_out for _, left_out in estimates])[:, seen]
    shares = shares_of_estimates(without, counts[seen] / counts.sum())
    mixed: Array = shares @ np.stack([estimate for estimate, _ in estimates])
    return mixed
