"""Targets: checked, described by columns, and returned in the form in which they were fitted."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length

from .._columns.circle import Circle
from .._columns.describe import columns_of, discrete_mask
from .._columns.kinds import Column, check_columns, check_labels, check_numbers, encoded, library_of
from .._columns.lattice import LatticeMargin
from .._columns.margins import Margin
from .base import FLOATS
from .cells import DensityOfCells
from .context import ConditionedOnRows
from .specify import checked_bounds, checked_periods


class DensityOfTargets(ConditionedOnRows, DensityOfCells):
    """An estimator that learns the density of targets y given rows X."""

    discrete_targets: Any

    n_outputs_: int
    _squeeze: bool  # Whether y had one dimension in `fit`, so that targets are returned with one dimension less.
    _target_dtype: str  # The dtype of the targets that were fitted, in which targets are returned.

    def _check_pairs(
        self, X: ArrayLike, y: ArrayLike, *, reset: bool, n_least: int = 1, counts: NDArray[np.float64] | None = None
    ) -> NDArray[Any]:
        """Check rows and targets, and return them side by side, as float32 if both are that and else as float64.

        Categories in X become indicators, and categories in y their numbers. ``counts`` tells how many pairs each pair
        stands for.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        table, is_single = _as_table(y)
        check_labels(table, "y")
        refuse_missing_targets(table)
        rows = self._check_context(X, reset=reset, n_least=n_least)
        check_consistent_length(rows, table)
        if reset:
            self._columns = self._describe_targets(table, counts)
        elif table.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} columns, as in fit, got {table.shape[1]}.")
        elif not (is_single or self._squeeze) and library_of(table) is not None:
            self._check_labels_of_targets(table)
        targets = self._check_targets(table)
        if reset:
            self._squeeze, self.n_outputs_ = is_single, targets.shape[1]
            self._target_dtype = targets.dtype.name
        return np.concatenate([rows, targets], 1)

    def _check_labels_of_targets(self, table: Any) -> None:
        """Raise a ValueError if the columns of a DataFrame of targets have other names, or another order, than in fit.

        Labels that are no names, as those of arrays and many numbers are, may change, but not their order.
        """
        fitted, given = [column.label for column in self._columns], list(table.columns)
        are_names = bool(fitted) and all(isinstance(label, str) for label in [*fitted, *given])
        if given != fitted and (are_names or set(given) == set(fitted)):
            raise ValueError(
                f"y must have the columns of fit in the same order, {fitted}, got {given}. Select them by these names, "
                "or pass an array if only the names differ."
            )

    def _check_targets(self, table: Any) -> NDArray[Any]:
        """Check a table of targets, and return it as numbers."""
        if any(column.categories is not None for column in self._columns):
            return encoded(table, self._columns)
        check_columns(table, "y")
        try:
            targets: NDArray[Any] = check_array(table, dtype=FLOATS, input_name="y")
        except ValueError as error:
            if "could not convert string" in str(error):
                check_numbers(table, "y")
            raise
        with np.errstate(over="ignore"):
            if not np.isfinite(np.ptp(targets, axis=0)).all():
                raise ValueError(f"y must span less than {np.finfo(targets.dtype).max:.1e}. Divide it by a constant.")
        return targets

    def _describe_targets(self, table: Any, counts: NDArray[np.float64] | None) -> tuple[Column, ...]:
        """Describe the targets as the parameters ask."""
        is_numeric = library_of(table) is None and table.dtype.kind in "fiu"
        if is_numeric:  # Numbers that are not finite are refused first.
            table = check_array(table, dtype=FLOATS, input_name="y")
            if self.discrete_targets is None and self.bounds is None and self.periods is None:
                return ()
        labels = list(range(table.shape[1]) if library_of(table) is None else table.columns)
        bounds = None if self.bounds is None else checked_bounds(self.bounds, table.shape[1])
        periods = None if self.periods is None else checked_periods(self.periods, labels, "y")
        discrete = discrete_mask(self.discrete_targets, table, "discrete_targets")
        return columns_of(table, discrete, bounds, periods, counts, table="y")

    def _nearest(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the possible values next to targets of the shape that was fitted."""
        margins = {} if self._cell_map is None else self._cell_map.margins
        nearest = y.reshape(len(y), -1).copy()
        for j, each in margins.items():
            margin = each.margin if isinstance(each, Circle) else each
            if isinstance(margin, Margin | LatticeMargin) and self._columns[j].categories is None:
                numbers = nearest[:, j].astype(np.float64)
                nearest[:, j] = margin.first + margin.spacing * np.rint((numbers - margin.first) / margin.spacing)
        return nearest.reshape(y.shape)

    def _targets_to_input_format(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return numbers as targets in the dtype of those that were fitted, without the last axis if y had but one."""
        if any(column.categories is not None for column in self._columns):
            y = np.stack([column.values(y[..., j]).astype(object) for j, column in enumerate(self._columns)], -1)
            if self.n_outputs_ == 1:
                y = y.astype(self._columns[0].categories.dtype)  # type: ignore[union-attr]
        else:
            y = y.astype(self._target_dtype)
            for j, circle in self._circles.items():  # Rounding may have moved a number off the circle.
                y[..., j] = circle.wrapped(y[..., j], y.dtype)
        return y[..., 0] if self._squeeze else y


def _as_table(y: Any) -> tuple[Any, bool]:
    """Return targets as a table of two dimensions, and whether they had but one."""
    if hasattr(y, "to_frame"):
        return y.to_frame(), True
    if library_of(y) is not None:
        return y, False
    targets = np.asarray(y)
    if targets.dtype.kind in "US":  # Numbers among strings stay numbers.
        targets = np.asarray(y, dtype=object)
    if targets.ndim not in (1, 2):
        check_array(targets, ensure_2d=False, dtype=None, input_name="y")
        raise ValueError(f"y must have shape (n_samples,) or (n_samples, n_outputs), got {targets.shape}.")
    return targets.reshape(len(targets), -1), targets.ndim == 1


def refuse_missing_targets(y: ArrayLike) -> None:
    """Raise a ValueError that names the cure, as scikit-learn does for a missing value in ``X``."""
    targets = np.asarray(y)
    if targets.dtype.kind == "f" and np.isnan(targets).any():
        n_missing = np.isnan(targets).reshape(len(targets), -1).any(1).sum()
        raise ValueError(
            f"Input y contains NaN in {n_missing} of {len(targets)} rows. Drop these rows, from which nothing can be "
            "learned; predict or sample can fill them once the others are fitted."
        )
