"""The kinds of the columns of a table, and the way from a table to numbers and back."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_SPAN = 200_000  # whole numbers that span more values than this count as continuous, ...
MAX_DEVIATION = 50.0  # ... and so do those that deviate by more than so many values, as densities are smooth there, ...
FREQUENT = 0.2  # ... unless one value has this share of the rows
MAX_SHOWN = 5  # an error shows so many categories


@dataclass(frozen=True, eq=False)
class Column:
    """What a column holds."""

    name: str  # its name in the table, or its number
    kind: str  # "continuous", "whole" for whole numbers, or "category"
    dtype: Any  # of the column in a DataFrame; None for a column of an array
    categories: Array | None = None  # the values of a category, in the order of their codes

    def codes(self, values: Array) -> Array:
        """Return the values as numbers; the code of a category is its place among the categories."""
        if self.categories is None:
            return values.astype(np.float64)
        known = {value: code for code, value in enumerate(self.categories.tolist())}
        codes = np.array([known.get(value, -1) for value in values.tolist()], dtype=np.float64)
        if (codes < 0).any():
            shown = ", ".join(map(repr, [*known][:MAX_SHOWN])) + ", ..." * (len(known) > MAX_SHOWN)
            raise ValueError(
                f"Column {self.name} of X must hold categories that were there in fit, {shown}, got "
                f"{values[codes < 0].tolist()[0]!r}. Leave such rows out, or fit to a column of dtype category that "
                "names all categories."
            )
        return codes

    def values(self, numbers: Array) -> Array:
        """Return numbers as values of the column."""
        return numbers if self.categories is None else self.categories[numbers.astype(np.intp)]

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}" + ("" if self.categories is None else f" of {len(self.categories)} values")


def library_of(X: Any) -> str | None:
    """Return "pandas" or "polars" for a DataFrame of that library, and None for anything else."""
    for name in ("pandas", "polars"):
        if name in sys.modules and isinstance(X, sys.modules[name].DataFrame):
            return name
    return None


def columns_of(X: Any, discrete: Array | None = None) -> tuple[Column, ...]:
    """Describe the columns of a table.

    Parameters
    ----------
    X : ndarray or DataFrame
        The table.
    discrete : ndarray of shape (n_features,), dtype bool, optional
        The columns that are discrete. By default these are found: see `_is_whole`; a column that holds no numbers is
        always a category.
    """
    found = [None] * X.shape[1] if discrete is None else discrete.tolist()
    if library_of(X) is None:
        return tuple(_column(str(j), X[:, j], None, found[j]) for j in range(X.shape[1]))
    return tuple(_frame_column(name, _series(X, j), found[j]) for j, name in enumerate(map(str, X.columns)))


def encoded(X: Any, columns: Sequence[Column]) -> Array:
    """Return a table as numbers, shape (n_samples, n_features), dtype float64."""
    arrays = X.T if library_of(X) is None else (_values(name, _series(X, j)) for j, name in enumerate(X.columns))
    return np.stack([column.codes(values) for column, values in zip(columns, arrays, strict=True)], 1)


def frame(library: str, numbers: Array, columns: Sequence[Column]) -> Any:
    """Return rows of numbers as a DataFrame of "pandas" or "polars" with the names and dtypes of the columns."""
    module = sys.modules[library]
    values = {column.name: column.values(numbers[:, j]) for j, column in enumerate(columns)}
    if library == "pandas":
        return module.DataFrame(values).astype({column.name: column.dtype for column in columns})
    dtypes = [column.dtype for column in columns]
    series = [module.Series(name, v.tolist()) for name, v in values.items()]
    return module.DataFrame([s.cast(dtype) for s, dtype in zip(series, dtypes, strict=True)])


def discrete_mask(discrete_features: Any, X: Any) -> Array | None:
    """Return which columns a user declared to be discrete, shape (n_features,), or None for "auto"."""
    if isinstance(discrete_features, str):
        return None
    n_features, chosen = X.shape[1], np.asarray(discrete_features)
    if chosen.dtype.kind == "b":
        if chosen.shape != (n_features,):
            raise ValueError(f"discrete_features must have shape (n_features,) = ({n_features},), got {chosen.shape}.")
        return chosen
    names = [] if library_of(X) is None else [str(name) for name in X.columns]
    known = names if chosen.dtype.kind in "UO" else range(n_features)
    for column in chosen.tolist():
        if column not in known:
            raise ValueError(
                f"discrete_features must name columns of X or hold their numbers, of {list(known)}, got {column!r}."
            )
    places: Array = np.isin(names if chosen.dtype.kind in "UO" else np.arange(n_features), chosen)
    return places


def _series(X: Any, j: int) -> Any:
    """Return a column of a DataFrame."""
    return X.iloc[:, j] if library_of(X) == "pandas" else X.to_series(j)


def _values(name: str, series: Any) -> Array:
    """Return the values of a column of a DataFrame, which must not be missing."""
    missing = series.isna() if hasattr(series, "isna") else series.is_null()
    if missing.any():
        raise ValueError(
            f"Input X contains NaN: column {name} has {int(missing.sum())} missing values. Leave these rows out, or "
            "put an imputer before the density."
        )
    values = np.asarray(series)
    number = getattr(series.dtype, "numpy_dtype", None)  # of pandas' nullable kinds
    return values.astype(number) if values.dtype == object and number is not None else values


def _frame_column(name: str, series: Any, discrete: bool | None) -> Column:
    """Describe a column of a DataFrame."""
    values, named = _values(name, series), np.asarray(getattr(series.dtype, "categories", None))
    if not named.ndim and values.dtype.kind in "fiu":
        return _column(name, values, series.dtype, discrete)
    return Column(name, "category", series.dtype, named if named.ndim else _different(name, values))


def _column(name: str, values: Array, dtype: Any, discrete: bool | None) -> Column:
    """Describe a column of numbers."""
    if discrete and not (values == np.floor(values)).all():
        return Column(name, "category", dtype, np.unique(values))
    return Column(name, "whole" if (_is_whole(values) if discrete is None else discrete) else "continuous", dtype)


def _different(name: str, values: Array) -> Array:
    """Return the different values of a category, of which some must repeat."""
    try:
        categories = np.unique(values)
    except TypeError as error:
        kinds = sorted({type(value).__name__ for value in values.tolist()})
        raise ValueError(
            f"Column {name} of X must hold values of one type, got {' and '.join(kinds)}. Convert it, for instance by "
            "astype(str)."
        ) from error
    if len(categories) == len(values) > MAX_SHOWN:
        raise ValueError(
            f"Column {name} of X must hold categories that repeat, got {len(values)} different values in as many rows. "
            "Leave the column out."
        )
    return categories


def _is_whole(values: Array) -> bool:
    """Tell whether a column that varies holds whole numbers, not too far apart; among floats some must repeat."""
    with np.errstate(over="ignore"):
        span = float(values.max()) - float(values.min())
    if not 0 < span <= MAX_SPAN or not (values == np.floor(values)).all():
        return False
    steps = values.astype(np.int64) - int(values.min())
    counts = np.unique(steps, return_counts=True)[1]
    if values.dtype.kind == "f" and len(counts) == len(values):
        return False
    return bool(np.std(steps / np.gcd.reduce(steps)) <= MAX_DEVIATION or counts.max() >= FREQUENT * len(values))
