"""Densities of columns that are discrete or bounded: flows of points of their cells."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from .._columns.cells import N_POINTS, CellMap, Cells, shifts, uniform_points
from .._columns.kinds import Column
from .._columns.lattice import LatticeMargin
from .._columns.mixed import MixedMargin
from .._missing.marginal import Incomplete, log_marginal, resampled
from .._missing.proposal import Proposal
from ..flows.builders.specification import TabularSpecification
from .base import FlowEstimator
from .evaluation import LEAST_LOG_DENSITY, RandomState, draw_rows, finite_log_density, new_generator
from .rows import Draws, Rows, repeated
from .specify import checked_bounds

N_DRAWN = 2_000  # that the proposal of unknown cells is fitted to
N_COMPLETED = 8  # draws of the unknown cells of each row in training, ...
MAX_COMPLETED = 400_000  # ... but no more than this for all rows
MAX_REPEATED = 10_000  # rows of weights that stand for more are not repeated to more rows than this, ...
MAX_REPEATS = 100  # ... or each this many times


class DensityOfCells(FlowEstimator):
    """An estimator whose flow sees points of cells in the place of the values of columns, where these ask for it."""

    bounds: Any = None  # for estimators that do not have this parameter

    _columns: tuple[Column, ...] = ()  # what the columns hold whose density is learned; empty if all are continuous
    _proposal: Proposal  # of unknown cells, of what the flow sees
    _cell_map: CellMap | None = None  # of the columns that the flow sees otherwise, if there are any

    @property
    def columns_(self) -> list[str]:
        """What each column was found to hold in `fit`, a line for each."""
        if not self._is_fitted:
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet, so that it has no columns_. Call fit.")
        assert isinstance(self._specification, TabularSpecification)
        margins, scaling = {} if self._cell_map is None else self._cell_map.margins, self._specification.scaling
        columns = self._columns or [Column(str(j), "continuous") for j in range(len(scaling.loc))]
        kinds: list[Any] = list(columns)
        for j in range(len(columns)):
            if j not in scaling.columns:
                kinds[j] = "constant"
            elif isinstance(margins.get(j), MixedMargin | LatticeMargin):
                kinds[j] = margins[j]
        return [f"{column.name}: {kind}" for column, kind in zip(columns, kinds, strict=True)]

    def _with_cells(self, rows: Rows, n_rows: float, continues: bool) -> Rows:
        """Put points of their cells in the place of values, where columns ask for it, in each of ``n_rows`` rows."""
        rows = rows._replace(x=self._with_constants(rows.x, continues))
        self._check_bounds(rows.x)
        if not continues:
            self.__dict__.pop("_proposal", None)
            cell_map = CellMap.of(rows.x, rows.weights, n_rows, self._columns)
            self._cell_map = cell_map if cell_map.margins else None
        if self._cell_map is not None and self._cell_map.has_intervals:
            rows = repeated(rows, min(n_rows, max(MAX_REPEATED, MAX_REPEATS * len(rows.x))))
        numbers = rows.x
        if self._cell_map is not None:
            rows = rows._replace(x=self._points(numbers).astype(numbers.dtype), cells=self._cell_map.cells(numbers))
        return self._completed(rows, numbers, continues) if np.isnan(numbers).any() else rows

    def _with_constants(self, x: NDArray[Any], continues: bool = True) -> NDArray[Any]:
        """Put the value of a constant column in the place of missing ones, in rows that have any known cell."""
        unknown = np.isnan(x)
        if not unknown.any():
            return x
        if continues:
            assert isinstance(self._specification, TabularSpecification)
            scaling = self._specification.scaling
            value, constant = scaling.loc, ~np.isin(np.arange(x.shape[1]), scaling.columns)
        else:
            low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
            value, constant = low, high - low <= 4 * np.finfo(x.dtype).eps * np.abs(low)
        return np.where(unknown & constant & ~unknown.all(axis=1, keepdims=True), value, x).astype(x.dtype)

    def _completed(self, rows: Rows, numbers: NDArray[Any], continues: bool) -> Rows:
        """Draw the unknown cells of rows, whose numbers are NaN there."""
        unknown = np.isnan(numbers)
        incomplete = np.flatnonzero(unknown.any(1))
        if not continues:
            y = np.where(unknown, np.nan, rows.x.astype(np.float64))
            self._proposal = Proposal.fit(y, rows.weights, np.random.RandomState(0))
        n_draws = int(np.clip(MAX_COMPLETED // len(incomplete), 1, N_COMPLETED))
        cells, rng = self._incomplete(numbers[incomplete]), np.random.default_rng(0)
        parts = [cells.of(batch).drawn(n_draws, rng) for batch in cells.batches(n_draws)]
        points, log_weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        x = rows.x.copy()
        x[incomplete] = points[:, 0]
        return rows._replace(x=x, draws=Draws(incomplete, points, log_weights))

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
        rows = self._with_constants(rows)
        incomplete = np.isnan(rows).any(1)
        if incomplete.any():
            log_density = np.empty(len(rows))
            log_density[incomplete] = self._marginal(rows[incomplete])[0]
            if not incomplete.all():
                log_density[~incomplete] = self._score_rows(rows[~incomplete], context)
            return log_density
        if self._cell_map is None:
            return finite_log_density(self._density, rows, context)
        cells = self._cell_map.cells(rows)
        wide, log_density = cells.has_interval, np.empty(len(rows))
        for some, average in ((wide, self._mean_over_cells), (~wide, self._at_points)):
            if some.any():
                log_density[some] = average(rows[some], cells.of(some), None if context is None else context[some])
        finite: NDArray[np.float64] = np.maximum(log_density, LEAST_LOG_DENSITY)
        return finite

    def _marginal(self, rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate the log-density of the known cells of rows with unknown ones, and its standard error."""
        log_density, error = np.zeros(len(rows)), np.zeros(len(rows))
        some = ~np.isnan(rows).all(1)  # a row without known cells has density one
        if some.any():
            incomplete = self._incomplete(rows[some])
            log_density[some], error[some] = log_marginal(lambda y: finite_log_density(self._density, y), incomplete)
        return np.maximum(log_density, LEAST_LOG_DENSITY), error

    def _imputed(self, rows: NDArray[Any], n_samples: int, random_state: RandomState) -> NDArray[Any]:
        """Draw whole rows given the known cells of each, shape (n_rows, n_samples, n_features)."""
        rng, rows = check_random_state(random_state), self._with_constants(rows)
        seed = int(rng.randint(2**31 - 1))
        imputed = np.repeat(rows[:, None], n_samples, axis=1)
        unknown = np.isnan(rows)
        empty, incomplete = np.flatnonzero(unknown.all(1)), np.flatnonzero(unknown.any(1) & ~unknown.all(1))
        if len(empty):
            y = self._draw(len(empty) * n_samples, rng).astype(np.float64)
            imputed[empty] = self._numbers_at(y).reshape(len(empty), n_samples, -1)
        if len(incomplete):
            cells = self._incomplete(rows[incomplete])
            points = resampled(lambda y: finite_log_density(self._density, y), cells, n_samples, seed)
            drawn = self._numbers_at(points.reshape(-1, rows.shape[1])).reshape(points.shape)
            imputed[incomplete] = np.where(unknown[incomplete, None], drawn, imputed[incomplete])
        return imputed

    def _numbers_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the rows of numbers in whose cells points lie."""
        return y if self._cell_map is None else self._cell_map.values(y)

    def _incomplete(self, rows: NDArray[Any]) -> Incomplete:
        """Return rows with unknown cells together with what these are drawn from."""
        cells = None if self._cell_map is None else self._cell_map.cells(rows)
        return Incomplete(rows, cells, self._proposal_of_cells())

    def _proposal_of_cells(self) -> Proposal:
        """Return the proposal of unknown cells; a density of complete rows gets one from its own draws."""
        if "_proposal" not in self.__dict__:
            drawn = draw_rows(self._density, N_DRAWN, new_generator(0), "")
            self._proposal = Proposal.fit(drawn.astype(np.float64), np.ones(N_DRAWN), np.random.RandomState(0))
        return self._proposal

    def _at_points(self, rows: NDArray[Any], cells: Cells, context: NDArray[Any] | None) -> NDArray[np.float64]:
        """Compute the log-density of rows without values that have a probability."""
        return finite_log_density(self._density, cells.points(rows, cells.low), context) + cells.log_measure

    def _mean_over_cells(self, rows: NDArray[Any], cells: Cells, context: NDArray[Any] | None) -> NDArray[np.float64]:
        """Compute the logarithm of the mean density of each row over points of its cell."""
        total, shift = np.full(len(rows), -np.inf), shifts(cells)
        for uniform in uniform_points(N_POINTS, len(cells.mapped)):
            y = cells.points(rows, (uniform + shift) % 1)
            total = np.logaddexp(total, finite_log_density(self._density, y, context) + cells.log_measure_at(y))
        mean: NDArray[np.float64] = total - np.log(N_POINTS)
        return mean
