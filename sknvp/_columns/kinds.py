"""The kinds of the columns of a table, and the way from a table to numbers and back."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_SPAN = 100_000  # whole numbers that span more values than this count as continuous


@dataclass(frozen=True, eq=False)
class Column:
    """What a column holds."""

    name: str  # its name in the table, or its number
    kind: str  # "continuous", "whole" for whole numbers, or "category"
    dtype: Any  # of the column in draws
    categories: Array | None = None  # the values of a category, in the order of their codes

    def codes(self, values: Array) -> Array:
        """Return the values as numbers: a category becomes its place among the categories."""
        if self.categories is None:
            return values.astype(np.float64)
        known = {value: code for code, value in enumerate(self.categories.tolist())}
        codes = np.array([known.get(value, -1) for value in values.tolist()], dtype=np.float64)
        if (codes < 0).any():
            raise ValueError(
                f"Column {self.name} of X must hold categories that were there in fit, {self._known()}, got "
                f"{values[codes < 0].tolist()[0]!r}. Leave out rows with new categories, or fit to a column of pandas' "
                "dtype category that names them all."
            )
        return codes

    def values(self, numbers: Array) -> Array:
        """Return numbers as values of the column."""
        return numbers if self.categories is None else self.categories[numbers.astype(np.intp)]

    def __str__(self) -> str:
        of = "" if self.categories is None else f" of {len(self.categories)} values"
        return f"{self.name}: {self.kind}{of}"

    def _known(self) -> str:
        assert self.categories is not None
        first = ", ".join(repr(value) for value in self.categories.tolist()[:5])
        return first + ", ..." if len(self.categories) > 5 else first


def library_of(X: Any) -> str | None:
    """Return "pandas" or "polars" for a DataFrame of that library, and None for anything else."""
    for name in ("pandas", "polars"):
        if name in sys.modules and isinstance(X, sys.modules[name].DataFrame):
            return name
    return None


def columns_of(X: Any, discrete: Array | None) -> tuple[Column, ...]:
    """Describe the columns of a table.

    Parameters
    ----------
    X : ndarray or DataFrame
    discrete : ndarray of shape (n_features,), dtype bool, or None
        The columns that are discrete. None finds them: strings, categories and booleans are categories; integers, and
        floats that are all whole and of which some repeat, are whole numbers.
    """
    names = [str(name) for name in X.columns] if library_of(X) else [str(j) for j in range(X.shape[1])]
    found = [None] * len(names) if discrete is None else discrete.tolist()
    return tuple(_column(name, _series(X, j), found[j]) for j, name in enumerate(names))


def encoded(X: Any, columns: Sequence[Column]) -> Array:
    """Return a table as numbers, shape (n_samples, n_features), dtype float64."""
    return np.stack([column.codes(np.asarray(_series(X, j))) for j, column in enumerate(columns)], 1)


def _series(X: Any, j: int) -> Any:
    """Return a column of an array or of a DataFrame."""
    return {"pandas": lambda: X.iloc[:, j], "polars": lambda: X.to_series(j), None: lambda: X[:, j]}[library_of(X)]()


def _column(name: str, series: Any, discrete: bool | None) -> Column:
    """Describe a column of an array or of a DataFrame."""
    values = np.asarray(series)
    if values.dtype.kind not in "fiu":
        return Column(name, "category", series.dtype, _categories(series.dtype, values))
    whole = discrete if discrete is not None else _is_whole(values)
    return Column(name, "whole" if whole else "continuous", series.dtype)


def _categories(dtype: Any, values: Array) -> Array:
    """Return the categories that a dtype names, or else the different values."""
    named = getattr(dtype, "categories", None)
    return np.unique(values) if named is None else np.asarray(named)


def _is_whole(values: Array) -> bool:
    """Tell whether a column holds whole numbers of which some repeat and which do not span too many values."""
    if np.ptp(values) > MAX_SPAN:
        return False
    return values.dtype.kind in "iu" or bool(
        (values == np.floor(values)).all() and len(np.unique(values)) < len(values)
    )


def frame_like(template: Any, numbers: Array, columns: Sequence[Column]) -> Any:
    """Return rows of numbers as a DataFrame of the library ``template``, "pandas" or "polars", with fitted dtypes."""
    module = sys.modules[template]
    values = {column.name: column.values(numbers[:, j]) for j, column in enumerate(columns)}
    dtypes = {column.name: column.dtype for column in columns}
    if template == "pandas":
        return module.DataFrame(values).astype(dtypes)
    return module.DataFrame({name: module.Series(v.tolist(), dtype=dtypes[name]) for name, v in values.items()})


def discrete_mask(discrete_features: Any, X: Any) -> Array | None:
    """Return which columns a user declared to be discrete, shape (n_features,), or None for "auto"."""
    n_features = X.shape[1]
    if isinstance(discrete_features, str):
        return None
    chosen = np.asarray(discrete_features)
    if chosen.dtype.kind in "UO":
        names = [str(name) for name in X.columns] if library_of(X) else []
        unknown = [name for name in chosen.tolist() if name not in names]
        if unknown:
            raise ValueError(f"discrete_features must name columns of X, which are {names}, got {unknown[0]!r}.")
        chosen = np.array([names.index(name) for name in chosen.tolist()])
    if chosen.dtype.kind == "b":
        if chosen.shape != (n_features,):
            raise ValueError(f"discrete_features must have shape (n_features,) = ({n_features},), got {chosen.shape}.")
        return chosen
    if len(chosen) and not (chosen.dtype.kind in "iu" and (chosen >= 0).all() and (chosen < n_features).all()):
        raise ValueError(f"discrete_features must be numbers of columns from 0 to {n_features - 1}, got {chosen}.")
    return np.isin(np.arange(n_features), chosen)
