"""Cells: the places of the values of a row, points in continuous columns and intervals in discrete ones."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.quasirandom import SobolEngine

from .margins import Margin

Array = NDArray[Any]

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)
N_POINTS = 16  # points in the cell of a row, over which its density is averaged


class Cells(NamedTuple):
    """The cells of rows.

    A discrete column is a uniform number between ``low`` and ``high`` in the place of its value, and the flow sees the
    normal quantile of that number. The probability of a row is therefore the mean of ``p(y) / phi(y)`` over its cell,
    times the lengths of its intervals; phi is the normal density of the discrete columns.
    """

    low: Array  # shape (n_rows, n_discrete)
    high: Array  # shape (n_rows, n_discrete)
    log_length: Array  # shape (n_rows,): the logarithm of the product of the lengths of the intervals
    discrete: Array  # shape (n_discrete,): the numbers of the discrete columns

    def points(self, x: Array, uniform: Array) -> Array:
        """Return the rows ``x`` with points of their cells in the discrete columns; ``uniform`` is between 0 and 1."""
        y = x.astype(np.float64)
        y[:, self.discrete] = normal_quantile(self.low + (self.high - self.low) * uniform)
        return y

    def log_measure(self, y: Array) -> Array:
        """Return what is added to the log-density at points of the cells, shape (n_rows,)."""
        normal = 0.5 * y[:, self.discrete] ** 2 + LOG_SQRT_2_PI
        measure: Array = self.log_length + normal.sum(1)
        return measure


@dataclass(frozen=True, eq=False)
class CellMap:
    """The cells of all values that a table can hold."""

    margins: dict[int, Margin]  # of each discrete column, by its number

    @classmethod
    def of(cls, x: Array, weights: Array, n_rows: float, n_categories: dict[int, int | None]) -> Self:
        """Estimate the margins of discrete columns.

        Parameters
        ----------
        x : ndarray of shape (n_rows, n_features)
            Distinct rows of numbers.
        weights : ndarray of shape (n_rows,)
        n_rows : float
            The number of rows that the weights stand for.
        n_categories : dict of int to int or None
            How many categories each discrete column has, or None for whole numbers.
        """
        margins = {}
        for j, n in n_categories.items():
            if n is None:
                margins[j] = Margin.of_whole_numbers(x[:, j], weights, n_rows)
            else:
                margins[j] = Margin.of_categories(x[:, j], weights, n_rows, n)
        return cls(margins)

    def cells(self, x: Array) -> Cells:
        """Return the cells of rows of numbers."""
        low, high, log_lengths = (np.empty((len(x), len(self.margins))) for _ in range(3))
        for place, (j, margin) in enumerate(self.margins.items()):
            low[:, place], high[:, place], log_lengths[:, place] = margin.intervals(x[:, j])
        return Cells(low, high, log_lengths.sum(1), np.array(list(self.margins), dtype=np.intp))

    def values(self, y: Array) -> Array:
        """Return the rows of numbers in whose cells points lie."""
        x = y.copy()
        for j, margin in self.margins.items():
            x[:, j] = margin.values(torch.special.ndtr(torch.from_numpy(y[:, j].astype(np.float64))).numpy())
        return x


def normal_quantile(u: Array) -> Array:
    """Return the quantiles of the standard normal distribution, finite ones for 0 and 1 too."""
    inside = np.clip(u, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    quantile: Array = torch.special.ndtri(torch.from_numpy(inside)).numpy()
    return quantile


def shifts(cells: Cells) -> Array:
    """Return numbers between 0 and 1 that the cell of each row alone decides, shape (n_rows, n_discrete).

    Points that are shifted by them, modulo one, are as even as before, but their errors differ from row to row, and so
    cancel in sums over rows.

    References
    ----------
    Cranley and Patterson, "Randomization of number theoretic methods for multiple integration", SIAM J. Numer. Anal.
    13, 1976.
    """
    n_discrete = len(cells.discrete)
    factors = np.random.default_rng(0).uniform(1e3, 1e4, (n_discrete, n_discrete))
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
