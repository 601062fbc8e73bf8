"""Integrals over the one unknown cell of a row, by quadrature that adds points where they are needed.

Between two points the logarithm of the density is taken for a parabola through these two points and the next point on
the left, or through these two points and the next point on the right. The integral is the mean of both integrals, and
its error is half of their difference. A normal density has no error. A parabola that would leave its chord too far is
cut off, and the error is then half of the larger integral. Beyond the outermost points the density falls exponentially.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .conditioning import WIDE_SHARE, ConditionalMixture
from .experts import KnownCells
from .incomplete import Incomplete

Array = NDArray[Any]

N_POINTS = 16  # There are this many first points, besides the quantiles of the column.
MAX_POINTS = 256  # No points are added where there are at least this many.
MAX_ERROR = 0.02  # A smaller error of the logarithm, in nats, needs no more points.
# Points at these standard deviations represent a component where quantiles of the mixture are computed.
STEPS = torch.linspace(-3.5, 3.5, 11, dtype=torch.float64)
# The first points are quantiles of the mixture at these probabilities, stretched to its whole range.
LEVELS = torch.special.ndtr(torch.linspace(-3.0, 3.0, N_POINTS, dtype=torch.float64))
LEAST_GAP = 0.01  # The least gap between two of the first points, in standard deviations of the narrowest component.
# The least gap, in standard deviations, once quantiles are added. In a smaller one rounding errors become slopes.
LEAST_STEP = 3e-5
LEAST_SHARE = 1 / 16  # A new point is at least this share of its gap away from the ends of the gap.
MAX_BEND = 3.0  # A parabola leaves its chord by at most this many nats.
STEEP = 10.0  # Parabolas do not fit a gap in which the density falls by more nats than this.
LOG_ZERO = -1e300  # This finite number stands for the logarithm of zero, in nats.
MIN_RELATIVE_LOG_DENSITY = -200.0  # Log-densities relative to the largest one, in nats, are raised to at least this.
MIN_TAIL_FALL = 1e-3  # In a tail as wide as the outermost gap the density falls by at least this many nats.
PLACES, SHARES = (part / 2 for part in np.polynomial.legendre.leggauss(6))  # The nodes lie between -1/2 and 1/2.


def by_quadrature(
    log_density: Callable[[Array], Array], incomplete: Incomplete, known_cells: KnownCells | None
) -> tuple[Array, Array]:
    """Integrate over the one unknown cell of each row."""
    proposal, rest = incomplete.proposal, np.full(len(incomplete.rows), -np.inf)
    assert proposal is not None
    result, error = np.empty((2, len(rest)))
    for batch in incomplete.batches(N_POINTS):
        some = incomplete.of(batch)
        known = ~np.isnan(some.rows)
        if known_cells is not None:
            rest[batch] = known_cells.log_density(some.rows[:, None], known)[:, 0]
        for own, columns, given in proposal.conditional(some.rows[:, None], known, some.near):
            line = _Line(log_density, some.rows[own], columns, proposal.loc[columns], proposal.scale[columns])
            rows = batch[own]
            quantiles = None if proposal.quantiles is None else proposal.quantiles[columns[:, 0]]
            result[rows], error[rows] = log_integrals(line.log_density, first_points(given, quantiles), rest[rows])
    return result, error


class _Line(NamedTuple):
    """The densities of rows along their unknown columns, in standard units."""

    log_density_of: Callable[[Array], Array]
    rows: Array  # shape (n_rows, n_features)
    columns: Array  # The numbers of the unknown columns, of shape (n_rows, 1).
    loc: Array  # shape (n_rows, 1)
    scale: Array  # shape (n_rows, 1)

    def log_density(self, some: Array, x: Array) -> Array:
        """Return the log-density of some of the rows at points of shape (n_some, n_points)."""
        y = np.repeat(self.rows[some, None].astype(np.float64), x.shape[1], axis=1)
        places = np.arange(len(some))[:, None], np.arange(x.shape[1]), self.columns[some]
        y[places] = x * self.scale[some] + self.loc[some]
        log_density: Array = self.log_density_of(y.reshape(-1, y.shape[-1])).reshape(x.shape) + np.log(self.scale[some])
        return log_density


def first_points(given: ConditionalMixture, quantiles: Array | None = None) -> Array:
    """Return increasing points at even quantiles of mixtures of one cell, shape (n_rows, n_points).

    The quantiles of the column, shape (n_rows, n_quantiles), are added, so that points lie near narrow parts of the
    column.
    """
    weights = torch.softmax(-0.5 * STEPS.square(), 0)
    deviations = given.factors[..., 0, 0].abs()
    widths = torch.stack([deviations, deviations * given.width], -1).unsqueeze(-1)
    shares = torch.tensor([1 - WIDE_SHARE, WIDE_SHARE], dtype=torch.float64).unsqueeze(-1) * weights
    x, order = (given.means.unsqueeze(-1) + widths * STEPS).flatten(1).sort(1)
    mass = (given.shares[..., None, None] * shares).flatten(1).gather(1, order)
    below = mass.cumsum(1) - mass / 2
    ends = below[:, :1], below[:, -1:]
    levels = (LEVELS - LEVELS[0]) / (LEVELS[-1] - LEVELS[0]) * (ends[1] - ends[0]) + ends[0]
    right = torch.searchsorted(below, levels).clamp(1, below.shape[1] - 1)
    (a, b), (c, d) = ((part.gather(1, right - 1), part.gather(1, right)) for part in (below, x))
    points = c + (d - c) * ((levels - a) / (b - a).clamp(min=1e-300)).clamp(0, 1)
    gap = torch.maximum(LEAST_GAP * deviations.amin(1, keepdim=True), 1e-9 * points.abs().amax(1, keepdim=True))
    increasing: Array = (points + gap * torch.arange(N_POINTS)).numpy()
    if quantiles is None:
        return increasing
    both = np.sort(np.concatenate([increasing, quantiles], 1), axis=1)
    steps = np.maximum(LEAST_STEP, 1e-9 * np.abs(both).max(1, keepdims=True)) * np.arange(both.shape[1])
    apart: Array = np.maximum.accumulate(both - steps, axis=1) + steps
    return apart


def log_integrals(log_density: Callable[[Array, Array], Array], x: Array, log_rest: Array) -> tuple[Array, Array]:
    """Compute the logarithms of the integrals of densities over the line.

    Parameters
    ----------
    log_density : callable
        It takes the numbers of some rows, and points of shape (n_some, n_points), and returns the log-density of each.
    x : ndarray of shape (n_rows, n_points)
        The first points of each row, which increase.
    log_rest : ndarray of shape (n_rows,)
        The logarithm of a known term that is added to the integral.

    Returns
    -------
    log_integral, error : ndarray of shape (n_rows,)
        The logarithms of the sums, and their estimated errors, in nats.
    """
    rows, log_integral, error = np.arange(len(x)), np.empty(len(x)), np.empty(len(x))
    values = np.maximum(log_density(rows, x), LOG_ZERO)
    while True:
        largest = values.max(1)
        parts, errors = _between(x, np.maximum(values - largest[:, None], MIN_RELATIVE_LOG_DENSITY))
        total = np.logaddexp(np.log(parts.sum(1)) + largest, log_rest[rows])
        log_integral[rows] = total
        error[rows] = np.exp(np.log(errors.sum(1)) + largest - total)
        more = error[rows] > MAX_ERROR
        if not more.any() or x.shape[1] >= MAX_POINTS:
            return log_integral, error
        rows, x, values = rows[more], x[more], values[more]
        new = _more_points(x, values, errors[more])
        new_values = np.maximum(log_density(rows, new), LOG_ZERO)
        x, values = np.concatenate([x, new], 1), np.concatenate([values, new_values], 1)
        order = x.argsort(1, kind="stable")
        x, values = np.take_along_axis(x, order, 1), np.take_along_axis(values, order, 1)


def _between(x: Array, values: Array) -> tuple[Array, Array]:
    """Return the integrals left of all points, between neighbouring points and right of all, and their errors."""
    gaps = np.diff(x)
    slopes = np.diff(values) / gaps
    bends = np.diff(slopes) / (x[:, 2:] - x[:, :-2]) if x.shape[1] > 2 else np.zeros((len(x), 1))
    chords = (values[:, 1:] + values[:, :-1]) / 2
    both = np.stack([np.concatenate(part, 1) for part in ([bends[:, :1], bends], [bends, bends[:, -1:]])]) * gaps**2
    left, right = (_of_parabolas(gaps, slopes * gaps, chords, bend) for bend in both)
    differences = np.maximum(np.abs(left - right), _of_steep_ends(gaps, slopes, values))
    cut_off = (np.abs(both) > 4 * MAX_BEND).any(0)  # If parabolas are cut off, both may agree and be wrong.
    differences = np.where(cut_off, np.maximum(differences, np.maximum(left, right)), differences)
    falls = np.maximum(np.stack([slopes[:, 0], -slopes[:, -1]], 1), MIN_TAIL_FALL / gaps[:, [0, -1]])
    tails = np.exp(values[:, [0, -1]]) / falls
    parts = np.concatenate([tails[:, :1], (left + right) / 2, tails[:, 1:]], 1)
    return parts, np.concatenate([tails[:, :1], differences, tails[:, 1:]], 1) / 2


def _of_steep_ends(gaps: Array, slopes: Array, values: Array) -> Array:
    """Return what steep gaps may hold if the density falls in them as slowly as beside their higher end."""
    outside = np.pad(slopes, ((0, 0), (1, 1)))
    falls = np.where(slopes < 0, -outside[:, :-2], outside[:, 2:])
    most = np.exp(np.maximum(values[:, 1:], values[:, :-1])) / np.maximum(falls, 1 / gaps)
    return np.where(np.abs(slopes * gaps) > STEEP, most, 0.0)


def _of_parabolas(gaps: Array, rises: Array, chords: Array, bends: Array) -> Array:
    """Return the integrals of exponentials of parabolas over gaps."""
    total = np.zeros_like(gaps)
    for place, share in zip(PLACES, SHARES, strict=True):
        total += share * np.exp(chords + rises * place + np.clip(bends * (place**2 - 0.25), -MAX_BEND, MAX_BEND))
    return total * gaps


def _more_points(x: Array, values: Array, errors: Array) -> Array:
    """Return a new point in each of the gaps with the largest errors, half of all gaps; tails count as gaps.

    The point is the middle of its gap, or nearer to the end where the density is larger if the gap beyond this end is
    shorter. In a tail it lies beyond the outermost point.
    """
    n = x.shape[1]
    chosen = np.argpartition(-errors, n // 2, 1)[:, : n // 2]
    inside = chosen.clip(1, n - 1)
    left, right = (np.take_along_axis(x, place, 1) for place in (inside - 1, inside))
    falls = np.take_along_axis(values[:, :-1] > values[:, 1:], inside - 1, 1)
    gaps = np.pad(np.diff(x), ((0, 0), (1, 1)), constant_values=np.inf)
    shorter = np.take_along_axis(gaps, np.where(falls, inside - 1, inside + 1), 1) / (right - left)
    step = np.sqrt(shorter).clip(LEAST_SHARE, 0.5) * (right - left)
    beyond = np.where(chosen == 0, 3 * left - 2 * right, 3 * right - 2 * left)
    new: Array = np.where(inside == chosen, np.where(falls, left + step, right - step), beyond)
    return new
