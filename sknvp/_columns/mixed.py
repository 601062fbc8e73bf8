"""Margins of continuous columns that have bounds, or values with a probability of their own.

Such a value, the zero of a zero-inflated column or a bound at which values pile up, is an *atom* of the distribution of
the column. Between the atoms the column has a density. Together they have the distribution function

    F(x) = sum of P(a) over the atoms a below x + (1 - sum of P(a) over all atoms) G((t(x) - loc) / scale),

where t carries the column from between its bounds to the line, and G is the logistic distribution of variance one; if
all atoms are at one bound, G is the normal distribution on the other side of its median. The flow sees the normal
quantile ``y`` of F(x): one point for a value between the atoms, and for an atom a point of the interval that F leaves
out there. Without atoms, ``y`` is ``(t(x) - loc) / scale``.

The logistic distribution has heavier tails than the normal one, so that a flow can still tell values apart that lie
close to an atom. Away from it such tails would give amounts, which are exponentials of t, an infinite mean.

References
----------
L. Rüschendorf, "On the distributional transform, Sklar's theorem, and the empirical copula process", J. Stat. Plan.
Inference 139, 2009.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_ndtr, ndtr, ndtri, ndtri_exp

from ..flows.bases.point_mass import LOG_OTHER
from .margins import Places

Array = NDArray[Any]

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)
PSEUDOCOUNT = 0.05  # The count of each atom, and that of the values between the atoms, is raised by this many rows.
FARTHEST = 1e8  # A number that is more standard deviations away has the density at this distance.
STEEPNESS = math.pi / math.sqrt(3)  # The steepness of the logistic distribution function of variance one.


@dataclass(frozen=True, eq=False)
class MixedMargin:
    """The distribution of a continuous column with bounds or atoms."""

    low: float  # The lower bound, or minus infinity; a value at a bound is possible only if it is an atom.
    high: float  # The upper bound, or infinity.
    loc: float  # The location of t(x) for the values that are no atoms.
    scale: float  # The scale of t(x) for the values that are no atoms.
    atoms: Array  # The atoms in ascending order, of shape (n_atoms,).
    probabilities: Array  # The probabilities of the atoms, of shape (n_atoms,).

    @classmethod
    def of(
        cls,
        values: Array,
        weights: Array,
        n_rows: float,
        *,
        low: float,
        high: float,
        atoms: tuple[float, ...],
        otherwise: tuple[float, float] = (0.0, 1.0),
    ) -> Self:
        """Estimate the probabilities of the atoms, and the location and scale of what is between them.

        Parameters
        ----------
        values, weights : ndarray of shape (n_values,)
            The values of the column, and the weight of each.
        n_rows : float
            The number of rows that the weights stand for.
        low, high : float
            The bounds.
        atoms : tuple of float
            The atoms, in ascending order.
        otherwise : tuple (loc, scale)
            The location and scale of what is between the atoms if no row has such a value.
        """
        shares = np.array([weights[is_value(values, atom)].sum() for atom in atoms]) / weights.sum()
        between = ~np.any([is_value(values, atom) for atom in atoms], axis=0) if atoms else np.ones(len(values), bool)
        t = to_line(values[between].astype(np.float64), low, high)[0]
        loc, scale = median_and_spread(t, weights[between]) if len(t) else otherwise
        counts = shares * n_rows + PSEUDOCOUNT
        return cls(low, high, loc, scale, np.array(atoms), counts / (n_rows + PSEUDOCOUNT * (len(atoms) + 1)))

    def places(self, values: Array) -> Places:
        """Return the places of values; an impossible value may lie anywhere, with the log-probability `LOG_OTHER`."""
        x = values.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            t, log_slope = to_line(x, self.low, self.high)
            z = (t - self.loc) / self.scale
        possible = (self.low < x) & (x < self.high)
        point, log_measure = self._between(np.where(possible, z, 0.0), np.searchsorted(self.atoms, x))
        log_measure = log_measure + np.where(possible, log_slope, 0.0) - math.log(self.scale)
        low, high = np.zeros(len(x)), np.ones(len(x))
        log_measure = np.where(possible, log_measure, LOG_OTHER)
        point = np.where(possible, point, np.nan)
        edges = self._edges()
        for atom, lower, upper, probability in zip(self.atoms, *edges, self.probabilities, strict=True):
            here = is_value(x, atom)
            low[here], high[here], log_measure[here], point[here] = lower, upper, math.log(probability), np.nan
        return Places(low, high, point, log_measure)

    def values_at(self, y: Array) -> Array:
        """Return the value of each point ``y`` that the flow sees."""
        y = y.astype(np.float64)
        if not len(self.atoms):
            return from_line(self.loc + self.scale * y, self.low, self.high)
        u = ndtr(y)
        lower, upper = self._edges()
        n_below = np.searchsorted(upper, u)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_lower = np.log(np.maximum(u - self._below(n_below), 0))
            log_upper = np.log(np.maximum(ndtr(-y) - self._above(n_below), 0))
            log_lower = np.where(n_below == 0, log_ndtr(y), log_lower)
            log_upper = np.where(n_below == len(self.atoms), log_ndtr(-y), log_upper)
            log_cdf = log_lower - np.logaddexp(log_lower, log_upper)
            log_sf = log_upper - np.logaddexp(log_lower, log_upper)
            normal = np.where(log_cdf < log_sf, ndtri_exp(log_cdf), -ndtri_exp(log_sf))
            z = np.where(self._is_heavy(log_cdf - log_sf), (log_cdf - log_sf) / STEEPNESS, normal)
            x = from_line(self.loc + self.scale * z, self.low, self.high)
        nearest = np.minimum(n_below, len(self.atoms) - 1)
        at_atom = (lower[nearest] <= u) & (u <= upper[nearest])
        return np.where(at_atom, self.atoms[nearest], x)

    def __str__(self) -> str:
        ends = [f"{word} {end:g}" for word, end in (("above", self.low), ("below", self.high)) if math.isfinite(end)]
        atoms = ", ".join(f"{atom:g}" for atom in self.atoms)
        return " ".join(["continuous", " and ".join(ends)]).strip() + f", with a probability at {atoms}" * bool(atoms)

    def _between(self, z: Array, n_below: Array) -> tuple[Array, Array]:
        """Return the points of standardised values with ``n_below`` atoms below, and the logarithms of the slopes.

        Where a value has a density, the normal density of its point is not yet part of the slope's logarithm.
        """
        if not len(self.atoms):
            return z, np.zeros(len(z))
        log_share = math.log(1 - self.probabilities.sum())
        log_cdf, log_sf, log_density = self._distribution(z)
        with np.errstate(divide="ignore"):
            log_lower = np.logaddexp(np.log(self._below(n_below)), log_share + log_cdf)
            log_upper = np.logaddexp(np.log(self._above(n_below)), log_share + log_sf)
        y = np.where(log_lower < log_upper, ndtri_exp(log_lower), -ndtri_exp(log_upper))
        return y, log_share + log_density + 0.5 * y**2 + LOG_SQRT_2_PI

    def _is_heavy(self, z: Array) -> Array:
        """Tell which values lie where G is logistic.

        That is on both sides of the median, or on the side of the atoms if all of them are at one bound.
        """
        if (self.atoms == self.low).all():
            return z < 0
        return z > 0 if (self.atoms == self.high).all() else np.ones(z.shape, dtype=bool)

    def _distribution(self, z: Array) -> tuple[Array, Array, Array]:
        """Return the logarithms of G, of 1 - G and of the density of G."""
        z = np.clip(z, -FARTHEST, FARTHEST)
        heavy, steep = self._is_heavy(z), STEEPNESS * z
        logistic = math.log(STEEPNESS) + log_expit(steep) + log_expit(-steep)
        log_density = np.where(heavy, logistic, -0.5 * z**2 - LOG_SQRT_2_PI)
        log_cdf = np.where(heavy, log_expit(steep), log_ndtr(z))
        return log_cdf, np.where(heavy, log_expit(-steep), log_ndtr(-z)), log_density

    def _edges(self) -> tuple[Array, Array]:
        """Return where the interval of each atom begins and ends."""
        with np.errstate(divide="ignore"):
            z = (to_line(self.atoms, self.low, self.high)[0] - self.loc) / self.scale
        share = 1 - self.probabilities.sum()
        begin = self._below(np.arange(len(self.atoms))) + share * np.exp(self._distribution(z)[0])
        return begin, begin + self.probabilities

    def _below(self, n_below: Array) -> Array:
        """Return the probability of the first ``n_below`` atoms together."""
        cumulative: Array = np.concatenate([[0.0], np.cumsum(self.probabilities)])
        return cumulative[n_below]

    def _above(self, n_below: Array) -> Array:
        """Return the probability of all but the first ``n_below`` atoms together."""
        cumulative: Array = np.concatenate([np.cumsum(self.probabilities[::-1])[::-1], [0.0]])
        return cumulative[n_below]


def is_value(values: Array, value: float) -> Array:
    """Tell which numbers are a value, or that value rounded to single precision."""
    with np.errstate(over="ignore"):
        equal: Array = (values == value) | (values == np.float32(value))
    return equal


def median_and_spread(t: Array, weights: Array) -> tuple[float, float]:
    """Return the median, and the distance of the quartiles in standard deviations of a normal distribution."""
    order = np.argsort(t)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    first, median, third = t[order][np.searchsorted(cumulative, (0.25, 0.5, 0.75))]
    return float(median), float(third - first) / 1.349 or float(np.std(t)) or 1.0


def to_line(x: Array, low: float, high: float) -> tuple[Array, Array]:
    """Map numbers between bounds, which may be infinite, to the line; return the logarithms of the slopes too.

    The map is ``Phi^-1((x - low) / (high - low))`` between two bounds, where Phi is the normal distribution function,
    ``log(x - low)`` above a lower one, and ``-log(high - x)`` below an upper one.
    """
    if np.isfinite(low) and np.isfinite(high):
        p, q = (x - low) / (high - low), (high - x) / (high - low)
        t = np.where(p < q, ndtri(p), -ndtri(q))
        return t, 0.5 * t**2 + LOG_SQRT_2_PI - math.log(high - low)
    if np.isfinite(low):
        t = np.log(x - low)
        return t, -t
    if np.isfinite(high):
        t = -np.log(high - x)
        return t, t
    return x, np.zeros(len(x))


def from_line(t: Array, low: float, high: float) -> Array:
    """Map numbers of the line to numbers between bounds, of which none is at a bound or infinite."""
    with np.errstate(over="ignore"):
        if np.isfinite(low) and np.isfinite(high):
            x = np.where(t < 0, low + (high - low) * ndtr(t), high - (high - low) * ndtr(-t))
        elif np.isfinite(low):
            x = low + np.exp(t)
        elif np.isfinite(high):
            x = high - np.exp(-t)
        else:
            x = t
    return between(x, low, high)


def between(x: Array, low: float, high: float) -> Array:
    """Move numbers at or beyond the bounds, or infinite ones, to the next number inside, in their own precision."""
    kind, largest = x.dtype.type, np.finfo(x.dtype).max
    least, most = kind(max(low, -largest)), kind(min(high, largest))
    while float(least) <= low:
        least = np.nextafter(least, kind(np.inf))
    while float(most) >= high:
        most = np.nextafter(most, kind(-np.inf))
    inside: Array = np.clip(x, least, most)
    return inside
