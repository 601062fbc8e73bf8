"""The points at which a density is evaluated for a picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._columns.lattice import LatticeMargin
from .._columns.margins import Margin
from .._estimators.scaling import outlier_limits

MARGIN = 0.2  # A picture extends beyond the rows by this share of their range.
MAX_BEND = 1e-3  # An interval is halved if the curve bends from its chord by more than this share of the mean area.
MAX_HALVINGS = 30  # An interval is halved at most this many times.


def without_outliers(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows are no gross outliers."""
    low, high = outlier_limits(rows, np.ones(len(rows)))
    inside: NDArray[np.bool_] = ((low <= rows) & (rows <= high)).all(1)
    return inside


def even_axes(rows: NDArray[Any], n_points: int) -> list[NDArray[Any]]:
    """Return evenly spaced points along each column, from below the rows to above them."""
    low, high = rows.min(0), rows.max(0)
    margin = MARGIN * np.where(high > low, high - low, np.maximum(1, np.abs(low)))
    return [np.linspace(*ends, n_points) for ends in zip(low - margin, high + margin, strict=True)]


def margins_of(estimator: Any) -> dict[int, Margin | LatticeMargin]:
    """Return the margins of the discrete columns of a density of this package, by the numbers of the columns."""
    cell_map = getattr(estimator, "_cell_map", None)
    margins = {} if cell_map is None else cell_map.margins
    return {j: margin for j, margin in margins.items() if isinstance(margin, Margin | LatticeMargin)}


def possible_values(estimator: Any, grid: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Put the values that a discrete column can have in the place of evenly spaced points."""
    possible = list(grid)
    for j, margin in margins_of(estimator).items():
        first, last = ((grid[j][[0, -1]] - margin.first) / margin.spacing).round()
        possible[j] = margin.first + margin.spacing * np.arange(first, last + 1)
    return possible


def curve(
    density: Callable[[NDArray[Any]], NDArray[Any]], rows: NDArray[Any], n_points: int
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Evaluate a density of one column on a grid that is finer where the density bends.

    An interval is halved if the density in its middle differs from a straight line between its ends. Evenly spaced
    points find a tail that few rows reach, and quantiles of the rows find a narrow peak.
    """
    even = even_axes(rows, max(2, n_points - n_points // 2))[0]
    grid = np.union1d(even, np.quantile(rows, (np.arange(n_points // 2) + 0.5) / max(1, n_points // 2)))
    values = density(grid[:, None])
    bent = np.ones(len(grid) - 1, dtype=bool)
    for _ in range(MAX_HALVINGS):
        left, width = np.flatnonzero(bent), np.diff(grid)
        middle = grid[left] + width[left] / 2
        value, chord = density(middle[:, None]), (values[left] + values[left + 1]) / 2
        area = np.sum(width * (values[1:] + values[:-1]) / 2)
        bent[left] = np.abs(value - chord) * width[left] > MAX_BEND * area / len(bent)
        inserted = ((grid, middle), (values, value), (bent, bent[left]))
        grid, values, bent = (np.insert(old, left + 1, new) for old, new in inserted)
        if not bent.any():
            break
    return [grid], values


def like(X: Any, points: NDArray[Any]) -> Any:
    """Return points as a table of the kind of X, so that the names of the columns agree."""
    return type(X)(dict(zip(X.columns, points.T, strict=True))) if hasattr(X, "columns") else points
