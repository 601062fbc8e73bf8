"""The kinds of the columns of a table, and the way from a table to numbers and back."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_SPAN = 200_000  # whole numbers that span more values than this count as continuous, ...
MAX_DEVIATION = 50.0  # ... and so do those that deviate by more than so many values, as densities are smooth there, ...
FREQUENT = 0.2  # ... unless one value has this share of the rows
LARGEST_INTEGER = 2**53  # float64 holds all whole numbers up to this one
MAX_SHOWN = 5  # an error shows so many categories


@dataclass(frozen=True, eq=False)
class Column:
    """What a column holds."""

    name: str  # its name in the table, or its number
    kind: str  # "continuous", "whole" for whole numbers, or "category"; a column of one value is continuous
    categories: Array | None = None  # the values of a category, in the order of their codes
    label: Any = None  # the label of the column in a DataFrame
    dtype: Any = None  # the dtype of the column in a DataFrame
    integer: Any = None  # NumPy's dtype of integers in a DataFrame

    def codes(self, values: Array) -> Array:
        """Return the values as numbers; the code of a category is its place among the categories."""
        if self.categories is None:
            return values.astype(np.float64)
        categories = self.categories
        if categories.dtype.kind in "mM":  # the unit of times does not matter
            values = values.astype(categories.dtype)
        elif categories.dtype.kind == "f" and values.dtype == np.float32:  # categories may have been rounded since
            categories = categories.astype(np.float32)
        known = {value: code for code, value in enumerate(categories.tolist())}
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
        if self.categories is not None:
            return self.categories[numbers.astype(np.intp)]
        if self.integer is None:
            return numbers
        limits = np.iinfo(self.integer)
        low, high = max(limits.min, -LARGEST_INTEGER), min(limits.max, LARGEST_INTEGER)
        return np.clip(np.rint(numbers.astype(np.float64)), low, high).astype(self.integer)

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
        return tuple(_column(str(j), X[:, j], found[j]) for j in range(X.shape[1]))
    return tuple(_frame_column(label, _series(X, j), found[j]) for j, label in enumerate(X.columns))


def encoded(X: Any, columns: Sequence[Column]) -> Array:
    """Return a table as numbers, shape (n_samples, n_features), dtype float64."""
    arrays = X.T if library_of(X) is None else (_values(name, _series(X, j)) for j, name in enumerate(X.columns))
    return np.stack([column.codes(values) for column, values in zip(columns, arrays, strict=True)], 1)


def frame(library: str, numbers: Array, columns: Sequence[Column]) -> Any:
    """Return rows of numbers as a DataFrame of "pandas" or "polars" with the labels and dtypes of the columns."""
    module, values = sys.modules[library], [column.values(numbers[:, j]) for j, column in enumerate(columns)]
    if library == "pandas":
        table = module.DataFrame(dict(enumerate(values))).astype({j: c.dtype for j, c in enumerate(columns)})
        table.columns = module.Index([column.label for column in columns])
        return table
    series = [module.Series(column.name, v.tolist()) for column, v in zip(columns, values, strict=True)]
    return module.DataFrame([s.cast(column.dtype) for s, column in zip(series, columns, strict=True)])


def discrete_mask(discrete_features: Any, X: Any) -> Array | None:
    """Return which columns a user declared to be discrete, shape (n_features,), or None for "auto"."""
    if isinstance(discrete_features, str):
        return None
    n_features, chosen = X.shape[1], np.asarray(discrete_features)
    if chosen.dtype.kind == "b":
        if chosen.shape != (n_features,):
            raise ValueError(f"discrete_features must have shape (n_features,) = ({n_features},), got {chosen.shape}.")
        return chosen
    labels = list(range(n_features)) if library_of(X) is None else list(X.columns)
    known = labels if set(chosen.tolist()) <= set(labels) else list(range(n_features))
    for column in chosen.tolist():
        if column not in known:
            raise ValueError(
                f"discrete_features must name columns of X or hold their numbers, of {labels}, got {column!r}."
            )
    return np.array([column in chosen.tolist() for column in known])


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
    if values.dtype == object and all(isinstance(v, Real) and not isinstance(v, bool) for v in values.tolist()):
        number = np.dtype(np.float64) if number is None else number
    return values.astype(number) if values.dtype == object and number is not None else values


def _frame_column(label: Any, series: Any, discrete: bool | None) -> Column:
    """Describe a column of a DataFrame."""
    name, named = str(label), np.asarray(getattr(series.dtype, "categories", None))
    values = _values(name, series)
    if not named.ndim and values.dtype.kind in "fiu":
        integer = values.dtype if values.dtype.kind in "iu" else None
        return replace(_column(name, values, discrete), label=label, dtype=series.dtype, integer=integer)
    categories = named if named.ndim else _different(name, values)
    kind = "category" if len(categories) > 1 else "continuous"
    return Column(name, kind, categories, label, series.dtype)


def _column(name: str, values: Array, discrete: bool | None) -> Column:
    """Describe a column of numbers."""
    if values.dtype.kind in "iu" and max(-int(values.min()), int(values.max())) > LARGEST_INTEGER:
        raise ValueError(
            f"Column {name} of X must hold integers of at most 2^53, beyond which float64 has not all, got "
            f"{values.max()}. Subtract a number from the column."
        )
    if discrete is None:
        return Column(name, "whole" if _is_whole(values) else "continuous")
    if not discrete:
        return Column(name, "continuous")
    if (values != np.floor(values)).any():
        return Column(name, "category", np.unique(values))
    if float(values.max()) - float(values.min()) > MAX_SPAN:
        raise ValueError(
            f"Column {name} of X must span at most {MAX_SPAN} whole numbers to be discrete, got "
            f"{float(values.max()) - float(values.min()):g}. Leave it out of discrete_features."
        )
    return Column(name, "whole")


def _different(name: str, values: Array) -> Array:
    """Return the different values of a category, of which some must repeat."""
    try:
        different = list(set(values.tolist())) if values.dtype == object else values  # to sort few objects is faster
        categories = np.unique(np.array(different, dtype=values.dtype))
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
