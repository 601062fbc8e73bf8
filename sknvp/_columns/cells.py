"""Cells: the places of the values of a row, points in continuous columns and intervals in discrete ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.quasirandom import SobolEngine

from .kinds import Column
from .lattice import LatticeMargin
from .margins import Margin, Places
from .mixed import MixedMargin, between

Array = NDArray[Any]
AnyMargin = Margin | LatticeMargin | MixedMargin

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)
N_POINTS = 16  # points in the cell of a row, over which its density is averaged


class Cells(NamedTuple):
    """The cells of rows.

    The flow sees each value of a mapped column as a point ``y``: of a value that has a density always the same one, of
    a value that has a probability the normal quantile of a uniform number between ``low`` and ``high``. So the density
    of a row is the mean of ``p(y) / phi(y)`` over its cell, times the lengths of its intervals and the slopes of its
    points; phi is the normal density of the columns with intervals.
    """

    low: Array  # shape (n_rows, n_mapped)
    high: Array  # shape (n_rows, n_mapped)
    point: Array  # shape (n_rows, n_mapped): NaN where there is an interval
    log_measure: Array  # shape (n_rows,): the sum of the logarithms of the lengths and slopes
    mapped: Array  # shape (n_mapped,): the numbers of the columns

    @property
    def has_interval(self) -> Array:
        """Which rows have values with a probability, shape (n_rows,)."""
        return np.asarray(np.isnan(self.point).any(axis=1))

    def of(self, rows: Array) -> Self:
        """Return the cells of some rows."""
        return self._replace(**{name: getattr(self, name)[rows] for name in ("low", "high", "point", "log_measure")})

    def points(self, x: Array, uniform: Array) -> Array:
        """Return the rows ``x`` with points of their cells in the mapped columns; ``uniform`` is between 0 and 1."""
        y = x.astype(np.float64)
        inside = normal_quantile(self.low + (self.high - self.low) * uniform)
        y[:, self.mapped] = np.where(np.isnan(self.point), inside, self.point)
        return y

    def log_measure_at(self, y: Array) -> Array:
        """Return what is added to the log-density at points of the cells, shape (n_rows,)."""
        normal = np.where(np.isnan(self.point), 0.5 * y[:, self.mapped] ** 2 + LOG_SQRT_2_PI, 0.0)
        measure: Array = self.log_measure + normal.sum(1)
        return measure


@dataclass(frozen=True, eq=False)
class CellMap:
    """The cells of all values that a table can hold."""

    margins: dict[int, AnyMargin]  # of each mapped column, by its number

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
        margins: dict[int, AnyMargin] = {}
        all_weights = weights
        for j, column in enumerate(columns):
            known, limits = ~np.isnan(x[:, j]), {"low": column.low, "high": column.high}
            values, weights = x[known, j], all_weights[known]
            n_values = n_rows if known.all() else n_rows * weights.sum() / all_weights.sum()
            if column.kind == "category":
                assert column.categories is not None
                margins[j] = Margin.of_categories(values, weights, n_values, len(column.categories))
            elif column.kind == "whole":
                margins[j] = Margin.of_whole_numbers(values, weights, n_values, **limits)
            elif column.lattice is not None:
                margins[j] = LatticeMargin.of(values, weights, n_values, column.lattice, **limits)
            elif column.atoms or (column.is_mapped and values.min() < values.max()):
                margins[j] = MixedMargin.of(
                    values, weights, n_rows, **limits, atoms=column.atoms, otherwise=column.between
                )
        return cls(margins)

    @property
    def has_intervals(self) -> bool:
        """Whether any value has a probability."""
        return any(not isinstance(margin, MixedMargin) or len(margin.atoms) for margin in self.margins.values())

    def cells(self, x: Array) -> Cells:
        """Return the cells of rows of numbers; a missing one, which is NaN, has the point zero."""
        places = [_places(margin, x[:, j]) for j, margin in self.margins.items()]
        low, high, point, log_measure = (np.stack(part, 1) for part in zip(*places, strict=True))
        return Cells(low, high, point, log_measure.sum(1), np.array(list(self.margins), dtype=np.intp))

    def values(self, y: Array) -> Array:
        """Return the rows of numbers in whose cells points lie."""
        x = y.copy()
        for j, margin in self.margins.items():
            x[:, j] = margin.values_at(y[:, j])
            if isinstance(margin, MixedMargin):  # rounding may have moved a number to a bound
                at_atom = np.isin(x[:, j], margin.atoms.astype(x.dtype))
                x[:, j] = np.where(at_atom, x[:, j], between(x[:, j], margin.low, margin.high))
        return x


def _places(margin: AnyMargin, values: Array) -> Places:
    """Return the places of values, the point zero for missing ones."""
    known = ~np.isnan(values)
    if known.all():
        return margin.places(values)
    places = Places(*np.zeros((4, len(values))))
    for all_values, known_values in zip(places, margin.places(values[known]), strict=True):
        all_values[known] = known_values
    return places


def normal_quantile(u: Array) -> Array:
    """Return the quantiles of the standard normal distribution, finite ones for 0 and 1 too."""
    inside = np.clip(u, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    quantile: Array = torch.special.ndtri(torch.from_numpy(inside)).numpy()
    return quantile


def shifts(cells: Cells) -> Array:
    """Return numbers between 0 and 1 that the cell of each row alone decides, shape (n_rows, n_mapped).

    Points that are shifted by them, modulo one, are as even as before, but their errors differ from row to row, and so
    cancel in sums over rows.

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
    """Return quasi-random points of the unit cube, always the same ones, shape (n_points, n_columns).

    In more columns than PyTorch has a sequence for, they are random.
    """
    if n_columns > SobolEngine.MAXDIM:
        return np.random.default_rng(0).random((n_points, n_columns))
    with torch.device("cpu"):
        engine = SobolEngine(n_columns, scramble=True, seed=0)  # type: ignore[no-untyped-call]
        points: Array = engine.draw(n_points, dtype=torch.float64).numpy()
    return points
