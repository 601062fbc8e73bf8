"""Densities of tables with columns that are discrete or bounded."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import validate_data

from .._columns.averages import averages, to_average
from .._columns.describe import columns_of, discrete_mask
from .._columns.kinds import Column, check_labels, encoded, frame, library_of
from .._warn import warn_caller
from .cells import DensityOfCells
from .specify import checked_bounds, checked_periods
from .weights import rows_per_entry

N_AVERAGED = 10_000  # The means of a row without any known cell are taken over this many draws.


class DiscreteColumns(DensityOfCells):
    """A density of rows that may come as a DataFrame, with columns that are no numbers."""

    discrete_features: Any = None  # The value in estimators that do not have this parameter: no column is discrete.

    _columns_of_all: tuple[Column, ...] = ()  # The columns of the whole table, if X is a part of a larger one.
    _library: str | None = None  # The library of the DataFrame that was fitted; None if an array was fitted.

    def _check_rows(self, X: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """Check X, and return it as numbers; the number of a category is its place among the categories."""
        if reset:
            self._library, self._columns = None, ()
        asked = any(parameter is not None for parameter in (self.discrete_features, self.bounds, self.periods))
        if not (asked if reset else self._columns):
            return super()._check_rows(X, reset=reset, n_least=n_least)
        library: str | None = library_of(X)
        table: Any = X
        if library is None:
            table = super()._check_rows(X, reset=reset, n_least=n_least)
        else:
            self._check_shape(X, reset, n_least)
        if reset:
            self._library, self._columns = library, self._columns_of_all or self._describe(table)
        if all(column.categories is None for column in self._columns):
            return table if library is None else super()._check_rows(X, reset=reset, n_least=n_least)
        numbers = encoded(table, self._columns, self._takes_missing)
        finite = "allow-nan" if self._takes_missing else True
        checked: NDArray[Any] = check_array(numbers, estimator=self, input_name="X", ensure_all_finite=finite)
        return checked

    def _check_shape(self, X: Any, reset: bool, n_least: int) -> None:
        """Check the names of a DataFrame's columns, and that it has columns and enough rows."""
        check_labels(X)
        validate_data(self, X, skip_check_array=True, reset=reset)
        if X.shape[0] < n_least or not X.shape[1]:
            check_array(np.zeros(X.shape), ensure_min_samples=n_least, estimator=self)

    def _without_empty(
        self, checked: NDArray[Any], weights: NDArray[np.float64], n_least: int, continues: bool
    ) -> NDArray[np.float64]:
        """Give the weight zero to rows without any known cell, and warn; a new fit needs some in each column."""
        if not np.isnan(checked.min()):
            return weights
        unknown = np.isnan(checked[weights > 0]).all(0)
        if unknown.any() and not continues:
            raise ValueError(
                "X must have a known value in every column, got missing ones alone in column "
                f"{np.flatnonzero(unknown)[0]}. Leave the column out."
            )
        empty = np.isnan(checked).all(1) & (weights > 0)
        if not empty.any():
            return weights
        if (weights > 0).sum() - empty.sum() < n_least:
            raise ValueError(
                f"X must have at least {n_least} row{'s' * (n_least > 1)} with a known cell, got "
                f"{(weights > 0).sum() - empty.sum()}."
            )
        warn_caller(f"{empty.sum()} of {len(checked)} rows have no known cell, and are left out.")
        return np.where(empty, 0.0, weights)

    def _described_anew(
        self, X: ArrayLike, checked: NDArray[Any], weights: NDArray[np.float64], n_rows: float
    ) -> NDArray[Any]:
        """Describe the columns anew where weights differ, by rows of positive weight; return all rows as numbers.

        Rows of weight zero are as if absent, and the others as if they were there in proportion to their weights.
        """
        if not self._columns or self._columns_of_all or not np.ptp(weights):
            return checked
        table = X if self._library is not None else super()._check_rows(X, reset=False)
        positive = np.flatnonzero(weights)
        rows = _safe_indexing(table, positive)
        self._columns = self._describe(rows, rows_per_entry(weights[positive], n_rows))
        numbers: NDArray[Any] = checked.copy()
        numbers[positive] = encoded(rows, self._columns, self._takes_missing)
        return numbers

    def _describe(self, X: Any, counts: NDArray[np.float64] | None = None) -> tuple[Column, ...]:
        """Describe the columns of an array or a DataFrame, whose rows stand for so many, as the parameters ask."""
        bounds = None if self.bounds is None else checked_bounds(self.bounds, X.shape[1])
        labels = list(range(X.shape[1]) if library_of(X) is None else X.columns)
        periods = None if self.periods is None else checked_periods(self.periods, labels)
        return columns_of(X, discrete_mask(self.discrete_features, X), bounds, periods, counts)

    def _filled_by_means(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Fill unknown cells by their means given the known cells of the row.

        A category becomes the likeliest one, and an angle the mean direction.
        """
        rows = self._with_constants(rows)
        unknown, filled = np.isnan(rows), rows.copy()
        empty = unknown.all(1)
        for some, means in ((unknown.any(1) & ~empty, self._conditional_means), (empty, self._unconditional_means)):
            if some.any():
                numbers = means(rows[some], self._to_average)
                averaged = averages(numbers, self._columns, self._circles) if self._columns else numbers
                filled[some] = np.where(unknown[some], averaged, rows[some])
        return filled

    def _unconditional_means(
        self, rows: NDArray[Any], numbers: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> NDArray[np.float64]:
        """Compute the means of numbers that follow from the points of rows without any known cell."""
        means: NDArray[np.float64] = numbers(self._draw(N_AVERAGED, 0).astype(np.float64)).mean(0)
        return np.tile(means, (len(rows), 1))

    def _to_average(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the rows in whose cells points lie, as numbers whose means tell their averages."""
        numbers = self._numbers_at(y)
        return to_average(numbers, self._columns, self._circles) if self._columns else numbers

    def _points_to_input_format(self, y: NDArray[Any]) -> Any:
        """Return drawn points as rows of the kind that was fitted."""
        return self._numbers_to_input_format(self._numbers_at(y))

    def _numbers_to_input_format(self, numbers: NDArray[Any]) -> Any:
        """Return rows of numbers as rows of the kind that was fitted."""
        dtype = numbers.dtype
        if self._library is not None:
            return frame(self._library, numbers, self._columns)
        for j, column in enumerate(self._columns):
            if column.categories is not None:
                numbers[:, j] = column.values(numbers[:, j])
        return numbers.astype(dtype, copy=False)
