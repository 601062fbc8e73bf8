"""Rows that a density is conditioned on: as numbers, with indicators of categories and of missing cells."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from .._columns.describe import columns_of
from .._columns.kinds import Column, check_labels, encoded, library_of, with_indicators
from ..flows.builders.specification import RealNVPSpecification, Specification
from ..flows.density import MAX_CONTEXT
from .base import FlowEstimator
from .rows import Rows


class ConditionedOnRows(FlowEstimator):
    """An estimator whose density is conditioned on rows X.

    A missing number becomes the middle of its column, and an indicator beside it tells that it was missing. A missing
    category has zeros in all of its indicators. So the density is conditioned on the known cells and on which these
    are, which is right for whatever reason cells are missing (Josse et al. 2024).

    References
    ----------
    J. Josse, J. Chen, N. Prost, G. Varoquaux and E. Scornet, "On the consistency of supervised learning with missing
    values", Statistical Papers 65, 2024.
    """

    _takes_missing: ClassVar[bool] = True

    _specification: RealNVPSpecification
    _context_columns: tuple[Column, ...] = ()  # The columns of X, if some of them do not hold numbers.
    _context_middles: dict[int, float]  # The value for missing cells in each column of X that had some in fit.

    def _check_context(self, X: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """Check X, and return it as numbers, with indicators of categories and of missing cells."""
        codes = self._context_codes(X, reset, n_least)
        missing = np.isnan(codes)
        if reset:
            self._context_middles = _middles(codes, missing)
        middles = getattr(self, "_context_middles", {})
        names = getattr(self, "feature_names_in_", range(codes.shape[1]))
        columns = self._context_columns or [Column(str(name), "continuous") for name in names]
        for j in np.flatnonzero(missing.any(0)).tolist():
            if j not in middles:
                raise ValueError(
                    f"X must have missing cells only in columns that had some in fit, got {missing[:, j].sum()} in "
                    f"column {columns[j].name}. Fit to rows of which some lack this cell, or put an imputer before "
                    "the density."
                )
        numeric = [j for j in middles if columns[j].categories is None]
        indicators = missing[:, numeric].astype(codes.dtype)
        for j in numeric:
            codes[missing[:, j], j] = middles[j]
        numbers = with_indicators(codes, self._context_columns) if self._context_columns else codes
        return np.concatenate([numbers, indicators], 1) if numeric else numbers

    def _context_codes(self, X: ArrayLike, reset: bool, n_least: int) -> NDArray[Any]:
        """Check X, and return it as an array of numbers that may be written to, NaN where a cell is missing."""
        if reset:
            self._context_columns = ()
        check_labels(X)
        if not self._context_columns and (library_of(X) is None or not reset):
            return self._check_rows(X, reset=reset, n_least=n_least).copy()
        if reset:
            validate_data(self, X, skip_check_array=True)
            columns = columns_of(X, np.zeros(X.shape[1], dtype=bool))  # type: ignore[union-attr]
            if all(column.categories is None for column in columns):
                return self._check_rows(X, reset=True, n_least=n_least).copy()
            self._context_columns = columns
        validate_data(self, X, skip_check_array=True, reset=False)
        X = X if library_of(X) is not None else np.asarray(X, dtype=object)
        codes: NDArray[Any] = check_array(
            encoded(X, self._context_columns, allow_missing=True),
            ensure_all_finite="allow-nan",
            ensure_min_samples=n_least,
            estimator=self,
            input_name="X",
        )
        return codes

    def _context(self, X: ArrayLike) -> NDArray[Any]:
        """Check X, and standardise the columns that vary, in the dtype of the flow; see `standardized_context`."""
        return standardized_context(self._specification, self._check_context(X, reset=False))


def standardized_context(specification: Specification, rows: NDArray[Any]) -> NDArray[Any]:
    """Standardise the columns of X that vary, in the dtype of the flow; return an array of shape (n_rows, n_context).

    Numbers beyond `MAX_CONTEXT`, where the answer of a network no longer changes, are moved to this bound.
    """
    assert isinstance(specification, RealNVPSpecification)
    assert specification.context is not None
    scaling, columns = specification.context, specification.context.columns
    with np.errstate(over="ignore"):
        z = (rows[:, columns] - scaling.loc[columns]) / scaling.scale[columns]
    context: NDArray[Any] = np.clip(z, -MAX_CONTEXT, MAX_CONTEXT).astype(specification.dtype)
    return context


def context_of(specification: Specification, rows: Rows) -> NDArray[Any] | None:
    """Return the standardised context of rows; None if the density is not conditioned on any."""
    conditioned = isinstance(specification, RealNVPSpecification) and specification.context is not None
    return standardized_context(specification, rows.context) if conditioned else None


def _middles(codes: NDArray[Any], missing: NDArray[np.bool_]) -> dict[int, float]:
    """Return the middle one of the distinct values of each column that has missing cells."""
    middles = {}
    for j in np.flatnonzero(missing.any(0)).tolist():
        if missing[:, j].all():
            raise ValueError(
                f"X must have a known value in every column, got missing ones alone in column {j}. Leave the column "
                "out."
            )
        different = np.unique(codes[~missing[:, j], j])
        middles[j] = float(different[len(different) // 2])
    return middles
