"""Cells: the places of the values of a row, points in continuous columns and intervals in discrete ones."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.quasirandom import SobolEngine

from .circle import Circle
from .kinds import Column
from .lattice import LatticeMargin
from .margins import Margin, Places
from .mixed import MixedMargin, between

Array = NDArray[Any]
AnyMargin = Margin | LatticeMargin | MixedMargin | Circle

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)
MIN_SURE_SHARE = 1 - 1e-4  # A value on a circle counts as having one point if this has at least this probability.
N_POINTS = 16  # The density of a row is averaged over this many points of its cell.


class Cells(NamedTuple):
    """The cells of rows.

    The flow sees each value of a mapped column as a point ``y``. A value that has a density has a fixed point. The
    point of a value that has a probability is the normal quantile of a uniform number between ``low`` and ``high``. So
    the density of a row is the mean of ``p(y) / phi(y)`` over its cell, times the lengths of its intervals and the
    slopes of its points; phi is the normal density of the columns with intervals.

    A value on a circle has two points, and the density of a row is the sum over all combinations of these. In the mean
    that estimates the sum, each combination has a probability by which its density is divided.
    """

    low: Array  # The lower ends of the intervals, of shape (n_rows, n_mapped).
    high: Array  # The upper ends of the intervals, of shape (n_rows, n_mapped).
    point: Array  # The points, NaN where there is an interval, of shape (n_rows, n_mapped).
    log_measure: Array  # The sums of the logarithms of the lengths and slopes, of shape (n_rows,).
    mapped: Array  # The numbers of the mapped columns, of shape (n_mapped,).
    other: Array  # The other point of a value on a circle, elsewhere equal to ``point``, of shape (n_rows, n_mapped).
    share: Array  # The probability of ``point``, one if there is no other point, of shape (n_rows, n_mapped).

    @property
    def has_interval(self) -> Array:
        """Which rows have values with a probability, shape (n_rows,)."""
        return np.asarray(np.isnan(self.point).any(axis=1))

    def of(self, rows: Array) -> Self:
        """Return the cells of some rows."""
        names = ("low", "high", "point", "log_measure", "other", "share")
        return self._replace(**{name: getattr(self, name)[rows] for name in names})

    @property
    def is_torn(self) -> Array:
        """Which rows lie so near to the cut of a circle that both of their points matter, shape (n_rows,)."""
        return np.asarray((self.share < MIN_SURE_SHARE).any(axis=1))

    def copies(self, n_points: int = 2) -> Iterator[Self]:
        """Yield the cells of all combinations of the points of values on circles, over which densities are summed.

        Each value has two points, or three with the one that lies a period away from the first on the other side.
        """
        circles = np.flatnonzero((self.other != self.point).any(axis=0) & ~np.isnan(self.point).any(axis=0))
        points = (self.point, self.other, 2 * self.point - self.other)[:n_points]
        for chosen in product(points, repeat=len(circles)):
            point = self.point.copy()
            for j, one in zip(circles, chosen, strict=True):
                point[:, j] = one[:, j]
            yield self._replace(point=point, other=point, share=np.ones_like(self.share))

    def points(self, x: Array, uniform: Array) -> Array:
        """Return the rows ``x`` with points of their cells in the mapped columns; ``uniform`` is between 0 and 1."""
        y = x.astype(np.float64)
        inside = normal_quantile(self.low + (self.high - self.low) * uniform)
        point = np.where(uniform < self.share, self.point, self.other)
        y[:, self.mapped] = np.where(np.isnan(self.point), inside, point)
        return y

    def log_measure_at(self, y: Array) -> Array:
        """Return what is added to the log-density at points of the cells, shape (n_rows,)."""
        normal = np.where(np.isnan(self.point), 0.5 * y[:, self.mapped] ** 2 + LOG_SQRT_2_PI, 0.0)
        is_other = np.abs(y[:, self.mapped] - self.other) < np.abs(y[:, self.mapped] - self.point)
        log_share = np.log(np.where(is_other, 1 - self.share, self.share))
        measure: Array = self.log_measure + (normal - log_share).sum(1)
        return measure


@dataclass(frozen=True, eq=False)
class CellMap:
    """The cells of all values that a table can hold."""

    margins: dict[int, AnyMargin]  # The margin of each mapped column, by the number of the column.

    @classmethod
    def of(cls, x: Array, weights: Array, n_rows: float, columns: Sequence[Column]) -> Self:
        """Estimate the margins of the columns that are discrete, or have bounds or atoms.

        Parameters
        ----------
        x : ndarray of shape (n_rows, n_features)
            Distinct rows of numbers.
        weights : ndarray of shape (n_rows,)
        n_rows : float
            The number of rows that the weights stand for.
        columns : sequence of Column
            What the columns hold.
        """
        margins = {}
        for j, column in enumerate(columns):
            known = ~np.isnan(x[:, j])
            n_values = n_rows if known.all() else n_rows * weights[known].sum() / weights.sum()
            margin = _margin(column, x[known, j], weights[known], n_values)
            if margin is not None:
                margins[j] = margin
        return cls(margins)

    @property
    def circles(self) -> dict[int, Circle]:
        """The margins of columns with a period, by the number of the column."""
        return {j: margin for j, margin in self.margins.items() if isinstance(margin, Circle)}

    @property
    def has_intervals(self) -> bool:
        """Whether any value has a probability."""
        return any(_has_intervals(margin) for margin in self.margins.values())

    def cells(self, x: Array) -> Cells:
        """Return the cells of rows of numbers; a missing number, which is NaN, has the point zero."""
        places = [_places(margin, x[:, j]) for j, margin in self.margins.items()]
        low, high, point, log_measure = (np.stack(part, 1) for part in zip(*places, strict=True))
        other, share = point.copy(), np.ones_like(point)
        for i, (j, margin) in enumerate(self.margins.items()):
            if isinstance(margin, Circle) and margin.margin is None:
                known = ~np.isnan(x[:, j])
                _, other[known, i], share[known, i] = margin.copies(x[known, j])
        mapped = np.array(list(self.margins), dtype=np.intp)
        return Cells(low, high, point, log_measure.sum(1), mapped, other, share)

    def values(self, y: Array) -> Array:
        """Return the rows of numbers in whose cells points lie."""
        x = y.copy()
        for j, margin in self.margins.items():
            x[:, j] = margin.values_at(y[:, j])
            if isinstance(margin, MixedMargin):  # Rounding may have moved a number to a bound.
                at_atom = np.isin(x[:, j], margin.atoms.astype(x.dtype))
                x[:, j] = np.where(at_atom, x[:, j], between(x[:, j], margin.low, margin.high))
        return x


def _margin(column: Column, values: Array, weights: Array, n_values: float) -> AnyMargin | None:
    """Estimate the margin of a column, or return None if the flow sees its numbers as they are."""
    if column.period is not None:
        circle = Circle.of(values, weights, column.period)
        margin = _margin(circle.cut_open(column), circle.unwrapped(values), weights, n_values)
        assert margin is None or isinstance(margin, Margin | LatticeMargin)
        return replace(circle, margin=margin)
    limits = {"low": column.low, "high": column.high}
    if column.kind == "category":
        assert column.categories is not None
        return Margin.of_categories(values, weights, n_values, len(column.categories))
    if column.kind == "whole":
        return Margin.of_whole_numbers(values, weights, n_values, **limits)
    if column.lattice is not None:
        return LatticeMargin.of(values, weights, n_values, column.lattice, **limits)
    if column.atoms or (column.is_mapped and values.min() < values.max()):
        return MixedMargin.of(values, weights, n_values, **limits, atoms=column.atoms, otherwise=column.between)
    return None


def _has_intervals(margin: AnyMargin) -> bool:
    """Tell whether any value of a column has a probability."""
    if isinstance(margin, Circle):
        return margin.margin is not None
    return not isinstance(margin, MixedMargin) or bool(len(margin.atoms))


def _places(margin: AnyMargin, values: Array) -> Places:
    """Return the places of values; a missing value has the point zero."""
    known = ~np.isnan(values)
    if known.all():
        return margin.places(values)
    places = Places(*np.zeros((4, len(values))))
    for all_values, known_values in zip(places, margin.places(values[known]), strict=True):
        all_values[known] = known_values
    return places


def normal_quantile(u: Array) -> Array:
    """Return the quantiles of the standard normal distribution, which are finite for 0 and 1 too."""
    inside = np.clip(u, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    quantile: Array = torch.special.ndtri(torch.from_numpy(inside)).numpy()
    return quantile


def shifts(cells: Cells) -> Array:
    """Return numbers between 0 and 1 that the cell of each row alone decides, shape (n_rows, n_mapped).

    Points that are shifted by these numbers, modulo one, stay evenly spread. Their errors differ from row to row, so
    that they cancel in sums over rows.

    References
    ----------
    Cranley and Patterson, "Randomization of number theoretic methods for multiple integration", SIAM J. Numer. Anal.
    13, 1976.
    """
    n_mapped = len(cells.mapped)
    factors = np.random.default_rng(0).uniform(1e3, 1e4, (n_mapped, n_mapped))
    shift: Array = np.modf(cells.low @ factors)[0]
    return shift


def uniform_points(n_points: int, n_columns: int) -> Array:
    """Return quasi-random points of the unit cube, equal at every call, shape (n_points, n_columns).

    The points are random in more columns than PyTorch has a sequence for.
    """
    if n_columns > SobolEngine.MAXDIM:
        return np.random.default_rng(0).random((n_points, n_columns))
    with torch.device("cpu"):
        engine = SobolEngine(n_columns, scramble=True, seed=0)  # type: ignore[no-untyped-call]
        points: Array = engine.draw(n_points, dtype=torch.float64).numpy()
    return points
