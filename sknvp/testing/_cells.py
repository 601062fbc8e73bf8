"""A box far wider than the data, cut into cells: what lies in each by the density, and by the samples."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._tools import ensure, ensure_finite, in_parts

BOX_HALF_WIDTH = 60.0  # The box reaches this many standard deviations to each side of the median.
# These are the numbers of steps and of cells along each column, by the number of columns.
N_STEPS = {1: 2000, 2: 200}
N_CELLS = {1: 20, 2: 6}


class Axis(NamedTuple):
    """A line through the data for the midpoint rule, its steps fine within the data and coarse far outside.

    With x = m + s sinh(u) the steps are equal in u; some of the borders between steps are borders of cells.
    """

    nodes: NDArray[np.float64]
    widths: NDArray[np.float64]
    borders: NDArray[np.float64]

    @classmethod
    def through(cls, column: NDArray[np.float64], n_steps: int, n_cells: int) -> "Axis":
        middle, scale = np.median(column), column.std()
        u, step = np.linspace(-np.arcsinh(BOX_HALF_WIDTH), np.arcsinh(BOX_HALF_WIDTH), n_steps + 1, retstep=True)
        centres, ends = u[:-1] + step / 2, middle + scale * np.sinh(u)
        quantiles = np.quantile(column, np.arange(1, n_cells) / n_cells)
        borders = np.unique(ends[np.searchsorted(ends, quantiles)])
        return cls(middle + scale * np.sinh(centres), scale * np.cosh(centres) * step, borders)


class Box:
    """The product of an axis through each column of X."""

    def __init__(self, X: NDArray[np.float64]) -> None:
        d = X.shape[1]
        self.axes = [Axis.through(column, N_STEPS[d], N_CELLS[d]) for column in X.T]
        self.nodes = _product([axis.nodes for axis in self.axes])
        self.volumes = _product([axis.widths for axis in self.axes]).prod(1)

    def masses(self, density: Any) -> NDArray[Any]:
        """Return the probability around each node."""
        log_density = in_parts(density.score_samples, self.nodes)
        ensure(not np.isnan(log_density).any(), "score_samples must not be NaN.")
        masses: NDArray[Any] = np.exp(log_density) * self.volumes
        return masses

    def cells(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the number of the cell in which each row lies; the outer cells reach to infinity."""
        ensure_finite(rows, "samples")
        places = [np.searchsorted(axis.borders, column) for axis, column in zip(self.axes, rows.T, strict=True)]
        cells: NDArray[Any] = np.ravel_multi_index(places, self._shape)
        return cells

    def shares(self, density: Any) -> NDArray[Any]:
        """Return the probability of each cell, by integration."""
        masses: NDArray[Any] = np.bincount(self.cells(self.nodes), self.masses(density), np.prod(self._shape))
        masses /= masses.sum()
        return masses

    def counts(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the number of rows in each cell."""
        return np.bincount(self.cells(rows), minlength=np.prod(self._shape))

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(len(axis.borders) + 1 for axis in self.axes)


def _product(columns: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(*columns, indexing="ij"), -1).reshape(-1, len(columns))
