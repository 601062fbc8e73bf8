"""Densities of columns that are discrete or bounded: flows of points of their cells."""

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._columns.cells import N_POINTS, CellMap, Cells, shifts, uniform_points
from .._columns.circle import Circle
from .._columns.kinds import Column
from .._columns.lattice import LatticeMargin
from .._columns.mixed import MixedMargin
from ..flows import Density, Ensemble
from ..flows.builders.specification import Scaling, TabularSpecification
from .evaluation import LEAST_LOG_DENSITY, finite_log_density, in_single_precision
from .missing import DensityOfKnownCells
from .rows import Rows, repeated
from .specify import checked_bounds

# Rows of whole weights are repeated to at most this many rows, or, if that makes more, each this many times on average.
MAX_REPEATED = 10_000
MAX_REPEATS = 100


class DensityOfCells(DensityOfKnownCells):
    """An estimator whose flow sees points of cells in the place of the values of columns, where these ask for it."""

    bounds: Any = None  # The value in estimators that do not have this parameter.
    periods: Any = None  # The value in estimators that do not have this parameter.

    _columns: tuple[Column, ...] = ()  # The columns whose density is learned; empty if all are continuous.

    @property
    def columns_(self) -> list[str]:
        """What each column was found to hold in `fit`, a line for each."""
        self._check_has("columns_")
        assert isinstance(self._specification, TabularSpecification)
        margins, scaling = {} if self._cell_map is None else self._cell_map.margins, self._specification.scaling
        columns = self._columns or [Column(str(j), "continuous") for j in range(len(scaling.loc))]
        kinds: list[Any] = list(columns)
        for j in range(len(columns)):
            if j not in scaling.columns:
                kinds[j] = "constant"
            elif isinstance(margins.get(j), MixedMargin | LatticeMargin | Circle):
                kinds[j] = margins[j]
        return [f"{column.name}: {kind}" for column, kind in zip(columns, kinds, strict=True)]

    @property
    def _circles(self) -> dict[int, Circle]:
        """The margins of the columns with a period, by their numbers."""
        return {} if self._cell_map is None else self._cell_map.circles

    @property
    def density_(self) -> Density:
        """A copy of the fitted density of continuous columns, a `torch.nn.Module` in their units."""
        self._check_has("density_")
        specification, other = self._specification, self._not_continuous()
        if other:
            raise AttributeError(
                f"density_ needs columns that are continuous, without bounds and periods, got {other}. "
                "Others have probabilities, or are seen by the flows in other units. Use score_samples and sample."
            )
        context = getattr(specification, "context", None)
        parts = None if context is None else (context.loc, context.scale, context.columns)
        device = self._density.reference.device
        tensors = None if parts is None else tuple(torch.tensor(part, device=device) for part in parts)
        return Density(copy.deepcopy(self._density), tensors)  # type: ignore[arg-type]

    def _not_continuous(self) -> Any:
        """Say what the flow does not see in its own units; nothing if it sees all."""
        if not isinstance(self._specification, TabularSpecification):
            return "images"
        if getattr(self, "_context_columns", ()) or getattr(self, "_context_middles", {}):
            return "categories or missing cells in X"
        return None if self._cell_map is None else self.columns_

    def _standardized_periods(self, scaling: Scaling) -> NDArray[np.float64] | None:
        """Return the periods of the varying columns as the flow sees them, infinite without one; None if all are."""
        periods = np.full(len(scaling.loc), np.inf)
        for j, circle in self._circles.items():
            if circle.margin is None:  # Values that have probabilities lie between bounds.
                periods[j] = circle.period / scaling.scale[j]
        return periods[scaling.columns] if np.isfinite(periods).any() else None

    def _with_cells(self, rows: Rows, n_rows: float, continues: bool) -> Rows:
        """Put points of their cells in the place of values, where columns ask for it, in each of ``n_rows`` rows."""
        rows = rows._replace(x=self._with_constants(rows.x, continues))
        self._check_bounds(rows.x)
        for name in ("_proposal", "_proposal_for_flows"):
            self.__dict__.pop(name, None)
        if not continues:
            self.__dict__.pop("_proposal_in_training", None)
            cell_map = CellMap.of(rows.x, rows.weights, n_rows, self._columns)
            self._cell_map = cell_map if cell_map.margins else None
        if self._cell_map is not None and self._cell_map.has_intervals:
            rows = repeated(rows, min(n_rows, max(MAX_REPEATED, MAX_REPEATS * len(rows.x))))
        numbers = rows.x
        if self._cell_map is not None:
            rows = rows._replace(x=self._points(numbers).astype(numbers.dtype), cells=self._cell_map.cells(numbers))
        has_draws = np.isnan(numbers).any() or (rows.cells is not None and rows.cells.is_torn.any())
        return self._completed(rows, numbers, continues) if has_draws else rows

    def _points(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return points of the cells of rows, drawn by a generator that starts anew at every call."""
        if self._cell_map is None:
            return rows
        cells = self._cell_map.cells(rows)
        return cells.points(rows, np.random.default_rng(0).random(cells.low.shape))

    def _check_bounds(self, x: NDArray[Any]) -> None:
        """Raise a ValueError if a number of the rows lies outside of the user's bounds."""
        if self.bounds is None:
            return
        bounds = (bound.astype(x.dtype) for bound in checked_bounds(self.bounds, x.shape[1]))
        for bound, beyond in zip(bounds, (np.less, np.greater), strict=True):
            for j, column in enumerate(self._columns):
                if column.categories is None and beyond(x[:, j], bound[j]).any():
                    raise ValueError(
                        f"bounds must hold all values, got {bound[j]:g} for column {column.name}, which has "
                        f"{x[beyond(x[:, j], bound[j]), j][0]:g}. Move the bound, or leave such rows out."
                    )

    def _score_rows(self, rows: NDArray[Any], context: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Compute the log-density of rows of numbers, given their context if there is any."""
        return self._scores_and_errors(rows, context)[0]

    def _scores_and_errors(
        self, rows: NDArray[Any], context: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the log-density of rows, and estimate its standard error, which is zero where all cells are known."""
        if not np.isnan(rows.min()):
            return self._score_complete(rows, context), np.zeros(len(rows))
        rows = self._with_constants(rows)
        incomplete, log_density, error = np.isnan(rows).any(1), np.empty(len(rows)), np.zeros(len(rows))
        if incomplete.any():
            log_density[incomplete], error[incomplete] = self._marginal(rows[incomplete])
        if not incomplete.all():
            given = None if context is None else context[~incomplete]
            log_density[~incomplete] = self._score_complete(rows[~incomplete], given)
        return log_density, error

    def _scores_without(self, rows: NDArray[Any], j: int) -> NDArray[np.float64]:
        """Compute the log-density of the other known cells of rows whose cell in column j is known."""
        others, near = rows.copy(), rows.astype(np.float64)
        if self._cell_map is not None:
            cells = self._cell_map.cells(rows)
            near = cells.points(rows, shifts(cells))
        others[:, j] = np.nan
        others = self._with_constants(others)
        if not np.isnan(others).any():
            return self._score_complete(others, None)
        log_density: NDArray[np.float64] = self._marginal(others, np.where(np.isnan(rows), np.nan, near))[0]
        return log_density

    def _score_complete(self, rows: NDArray[Any], context: NDArray[Any] | None) -> NDArray[np.float64]:
        """Compute the log-density of rows whose cells are all known."""
        if self._cell_map is None:
            return finite_log_density(self._density, rows, context)
        n_points = 2 if context is None else 3
        single = in_single_precision(self._density) if self._cell_map.has_intervals else self._density
        copies = self._cell_map.cells(rows).copies(n_points)
        log_densities = [self._log_density_of(cells, rows, context, single) for cells in copies]
        finite: NDArray[np.float64] = np.maximum(np.logaddexp.reduce(log_densities), LEAST_LOG_DENSITY)
        return finite

    def _log_density_of(
        self, cells: Cells, rows: NDArray[Any], context: NDArray[Any] | None, single: Ensemble
    ) -> NDArray[np.float64]:
        """Compute the log-density of rows with these cells; means over cells take the density in single precision."""
        wide, log_density = cells.has_interval, np.empty(len(rows))
        means = partial(self._mean_over_cells, single)
        for some, log_density_of_some in ((wide, means), (~wide, self._at_points)):
            if some.any():
                given = None if context is None else context[some]
                log_density[some] = log_density_of_some(rows[some], cells.of(some), given)
        return log_density

    def _at_points(self, rows: NDArray[Any], cells: Cells, context: NDArray[Any] | None) -> NDArray[np.float64]:
        """Compute the log-density of rows without values that have a probability."""
        return finite_log_density(self._density, cells.points(rows, cells.low), context) + cells.log_measure

    def _mean_over_cells(
        self, density: Ensemble, rows: NDArray[Any], cells: Cells, context: NDArray[Any] | None
    ) -> NDArray[np.float64]:
        """Compute the logarithm of the mean density of each row over points of its cell."""
        total, shift = np.full(len(rows), -np.inf), shifts(cells)
        for uniform in uniform_points(N_POINTS, len(cells.mapped)):
            y = cells.points(rows, (uniform + shift) % 1)
            total = np.logaddexp(total, finite_log_density(density, y, context) + cells.log_measure_at(y))
        mean: NDArray[np.float64] = total - np.log(N_POINTS)
        return mean
