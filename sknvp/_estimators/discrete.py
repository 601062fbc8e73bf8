"""Densities of tables with columns that are not continuous."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import validate_data

from .._columns.cells import N_POINTS, CellMap, shifts, uniform_points
from .._columns.kinds import Column, columns_of, discrete_mask, encoded, frame, library_of
from .base import FlowEstimator
from .evaluation import LEAST_LOG_DENSITY, finite_log_density
from .rows import Rows, repeated

MAX_REPEATED = 10_000  # rows of weights that stand for more are not repeated to more rows than this, ...
MAX_REPEATS = 100  # ... or each this many times


class DiscreteColumns(FlowEstimator):
    """An estimator whose flow sees a point of its cell in the place of each value of a discrete column."""

    discrete_features: Any = None  # for estimators that do not have this parameter: all columns are continuous

    _columns: tuple[Column, ...] = ()  # what the columns of X hold
    _columns_of_all: tuple[Column, ...] = ()  # what they hold in a larger table of which X is a part
    _library: str | None = None  # of the DataFrame that was fitted
    _cell_map: CellMap | None = None  # of the discrete columns, if there are any

    def _check_rows(self, X: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """Check X, and return it as numbers; the number of a category is its place among the categories."""
        if reset:
            self._library, self._columns = None, ()
        considered = self.discrete_features is not None if reset else bool(self._columns)
        library = library_of(X) if considered else None
        if library is None:
            rows = super()._check_rows(X, reset=reset, n_least=n_least)
        else:
            self._check_shape(X, reset, n_least)
        if not considered:
            return rows
        if reset:
            self._library = library
            self._columns = self._columns_of_all or self._describe(rows if library is None else X)
        if all(column.categories is None for column in self._columns):
            return rows if library is None else super()._check_rows(X, reset=reset, n_least=n_least)
        numbers = encoded(rows if library is None else X, self._columns)
        checked: NDArray[Any] = check_array(numbers, estimator=self, input_name="X")
        return checked

    def _check_shape(self, X: Any, reset: bool, n_least: int) -> None:
        """Check the names of a DataFrame's columns, and that it has columns and enough rows."""
        validate_data(self, X, skip_check_array=True, reset=reset)
        if X.shape[0] < n_least or not X.shape[1]:
            check_array(np.zeros(X.shape), ensure_min_samples=n_least, estimator=self)

    def _without_absent(self, X: ArrayLike, checked: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[Any]:
        """Describe the columns anew if rows have weight zero, which are as if absent; return all rows as numbers."""
        if not self._columns or self._columns_of_all or weights.all():
            return checked
        table = X if self._library is not None else super()._check_rows(X, reset=False)
        counted = _safe_indexing(table, np.flatnonzero(weights))
        self._columns = self._describe(counted)
        numbers: NDArray[Any] = checked.copy()
        numbers[weights > 0] = encoded(counted, self._columns)
        return numbers

    def _describe(self, X: Any) -> tuple[Column, ...]:
        """Describe the columns of an array or a DataFrame as the parameters ask."""
        return columns_of(X, discrete_mask(self.discrete_features, X))

    def _with_cells(self, rows: Rows, n_rows: float, continues: bool) -> Rows:
        """Put points of their cells in the place of discrete columns, if there are any, in each of ``n_rows`` rows."""
        discrete = {j: column.categories for j, column in enumerate(self._columns) if column.kind != "continuous"}
        if not continues:
            sizes = {j: None if categories is None else len(categories) for j, categories in discrete.items()}
            self._cell_map = CellMap.of(rows.x, rows.weights, n_rows, sizes) if discrete else None
        if self._cell_map is None:
            return rows
        rows = repeated(rows, min(n_rows, max(MAX_REPEATED, MAX_REPEATS * len(rows.x))))
        cells = self._cell_map.cells(rows.x)
        uniform = np.random.default_rng(0).random(cells.low.shape)
        return rows._replace(x=cells.points(rows.x, uniform).astype(rows.x.dtype), cells=cells)

    def _score_rows(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the log-density of rows of numbers, averaged over points of their cells."""
        if self._cell_map is None:
            return finite_log_density(self._density, rows)
        cells = self._cell_map.cells(rows)
        total = np.full(len(rows), -np.inf)
        shift = shifts(cells)
        for uniform in uniform_points(N_POINTS, len(cells.discrete)):
            y = cells.points(rows, (uniform + shift) % 1)
            total = np.logaddexp(total, finite_log_density(self._density, y) + cells.log_measure(y))
        log_density: NDArray[np.float64] = np.maximum(total - np.log(N_POINTS), LEAST_LOG_DENSITY)
        return log_density

    def _presented(self, y: NDArray[Any]) -> Any:
        """Return drawn points as rows of the kind that was fitted."""
        numbers = y if self._cell_map is None else self._cell_map.values(y)
        if self._library is not None:
            return frame(self._library, numbers, self._columns)
        for j, column in enumerate(self._columns):
            if column.categories is not None:
                numbers[:, j] = column.values(numbers[:, j])
        return numbers.astype(y.dtype, copy=False)
