"""Columns of a table, and the way from a table to numbers and back."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lattice import Lattice

Array = NDArray[Any]

LARGEST_INTEGER = 2**53  # All whole numbers up to this one are exact in float64.
REFUSED = (  # What is neither a real number nor a category: its name, its types, and the cure.
    ("dates", (date, np.datetime64), "Convert them to numbers, for instance to days since the first date."),
    ("durations", (timedelta, np.timedelta64), "Convert them to numbers, for instance to days."),
    ("times of day", (time,), "Convert them to numbers, for instance to hours since midnight."),
    ("complex numbers", (complex, np.complexfloating), "Complex data not supported: give both parts a column each."),
)
MAX_SHOWN = 5  # An error shows at most this many categories. Categories of more rows than this must repeat.


@dataclass(frozen=True, eq=False)
class Column:
    """What a column holds."""

    name: str  # The name of the column in the table, or its number.
    # One of "continuous", "whole" for whole numbers, "lattice", and "category". A column of one value is continuous.
    kind: str
    categories: Array | None = None  # The values of a category, in the order of their codes.
    label: Any = None  # The label of the column in a DataFrame.
    dtype: Any = None  # The dtype of the column in a DataFrame.
    integer: Any = None  # The NumPy dtype of a column of integers in a DataFrame.
    low: float = -np.inf  # The lower bound of a column of numbers.
    high: float = np.inf  # The upper bound of a column of numbers.
    atoms: tuple[float, ...] = ()  # The values of a continuous column that have a probability, in ascending order.
    between: tuple[float, float] = (0.0, 1.0)  # The location and scale of the values between atoms; see `MixedMargin`.
    table: str = "X"  # The name of the table in messages.
    lattice: Lattice | None = None  # The values that a column of numbers at equal distances can have.
    period: float | None = None  # The period of a column of numbers on a circle.

    @property
    def is_mapped(self) -> bool:
        """Whether the flow sees something else than the numbers of the column."""
        has_bounds = np.isfinite(self.low) or np.isfinite(self.high)
        return self.kind != "continuous" or bool(self.atoms) or has_bounds or self.period is not None

    def codes(self, values: Array) -> Array:
        """Return the values as numbers; the code of a category is its place among the categories."""
        if self.categories is None:
            return as_numbers(values, self.name, self.table)
        categories = self.categories
        if categories.dtype.kind in "mM":  # The unit of times does not matter.
            values = values.astype(categories.dtype)
        elif categories.dtype.kind == "f" and values.dtype == np.float32:  # The values may be rounded categories.
            categories = categories.astype(np.float32)
        known = {value: code for code, value in enumerate(categories.tolist())}
        codes = np.array([known.get(value, -1) for value in values.tolist()], dtype=np.float64)
        if (codes < 0).any():
            shown = ", ".join(map(repr, [*known][:MAX_SHOWN])) + ", ..." * (len(known) > MAX_SHOWN)
            raise ValueError(
                f"Column {self.name} of {self.table} must hold categories that were there in fit, {shown}, got "
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
        if self.categories is not None:
            return f"category of {len(self.categories)} values"
        return "whole numbers" if self.kind == "whole" else self.kind


def library_of(X: Any) -> str | None:
    """Return "pandas" or "polars" for a DataFrame of that library, and None for anything else."""
    for name in ("pandas", "polars"):
        if name in sys.modules and isinstance(X, sys.modules[name].DataFrame):
            return name
    return None


def encoded(X: Any, columns: Sequence[Column], allow_missing: bool = False) -> Array:
    """Return a table as numbers, shape (n_samples, n_features), dtype float64; a missing cell is NaN."""
    numbers = np.full(X.shape, np.nan)
    for j, column in enumerate(columns):
        values, known = known_values(series_of(X, j))
        if not (known.all() or allow_missing):
            raise ValueError(
                f"Input {column.table} contains NaN: column {column.name} has {int((~known).sum())} missing values. "
                "Leave these rows out, or put an imputer before the density."
            )
        numbers[known, j] = column.codes(values)
    return numbers


def with_indicators(numbers: Array, columns: Sequence[Column]) -> Array:
    """Put the indicators of all categories in the place of the codes of categories; the columns are the last axis."""
    parts = []
    for j, column in enumerate(columns):
        values = numbers[..., j, None]
        parts.append(values if column.categories is None else (values == np.arange(len(column.categories))))
    return np.concatenate([part.astype(np.float64) for part in parts], -1)


def without_indicators(numbers: Array, columns: Sequence[Column]) -> Array:
    """Put the code of the category that has the largest number in the place of the numbers of all its categories."""
    parts, start = [], 0
    for column in columns:
        width = 1 if column.categories is None else len(column.categories)
        values = numbers[..., start : start + width]
        parts.append(values[..., 0] if column.categories is None else values.argmax(-1))
        start += width
    return np.stack(parts, -1)


def frame(library: str, numbers: Array, columns: Sequence[Column]) -> Any:
    """Return rows of numbers as a DataFrame of "pandas" or "polars" with the labels and dtypes of the columns."""
    module, values = sys.modules[library], [column.values(numbers[:, j]) for j, column in enumerate(columns)]
    if library == "pandas":
        table = module.DataFrame(dict(enumerate(values))).astype({j: c.dtype for j, c in enumerate(columns)})
        table.columns = module.Index([column.label for column in columns])
        return table
    series = [module.Series(column.name, v.tolist()) for column, v in zip(columns, values, strict=True)]
    return module.DataFrame([s.cast(column.dtype) for s, column in zip(series, columns, strict=True)])


def series_of(X: Any, j: int) -> Any:
    """Return a column of a DataFrame or an array."""
    if library_of(X) is None:
        return X[:, j]
    return X.iloc[:, j] if library_of(X) == "pandas" else X.to_series(j)


def known_values(series: Any) -> tuple[Array, Array]:
    """Return the values of a column that are not missing, and which these are."""
    if isinstance(series, np.ndarray):
        missing = series != series  # Only NaN differs from itself.
        return series[~missing], ~missing
    missing = np.asarray(series.isna() if hasattr(series, "isna") else series.is_null(), dtype=bool)
    values = np.asarray(series.dropna() if hasattr(series, "dropna") else series.drop_nulls())
    number = getattr(series.dtype, "numpy_dtype", None)  # Only nullable dtypes of pandas have this attribute.
    if values.dtype == object and are_numbers(values):
        number = np.dtype(np.float64) if getattr(number, "kind", "O") == "O" else number
    if values.dtype == object and number is not None:
        values = values.astype(number)
    if values.dtype.kind == "f" and np.isnan(values).any():  # Polars distinguishes NaN from missing values.
        missing[~missing], values = np.isnan(values), values[~np.isnan(values)]
    return values, ~missing


def as_numbers(values: Array, name: str, table: str = "X") -> Array:
    """Return the values of a column as float64, or raise a ValueError that names the column and a word in it."""
    check_types(values, name, table)
    try:
        return values.astype(np.float64)
    except ValueError as error:
        word = next(filter(_is_word, values.tolist()), None)
        raise ValueError(
            f"Column {name} of {table} must hold numbers, got {word!r}. Convert the column to a type of numbers."
        ) from error


def _is_word(value: Any) -> bool:
    """Tell whether a value is a string that does not read as a number."""
    try:
        float(value if isinstance(value, str) else 0)
    except ValueError:
        return True
    return False


def check_numbers(X: Any, table: str = "X") -> None:
    """Raise a ValueError that names the first column of a table that holds words in the place of numbers."""
    X = X if library_of(X) is not None else np.asarray(X, dtype=object)
    for j, name in enumerate(getattr(X, "columns", range(X.shape[-1]))):
        as_numbers(known_values(series_of(X, j))[0], str(name), table)


def check_types(values: Array, name: str, table: str) -> None:
    """Raise a ValueError that names the column and the cure if its values are dates, durations or complex numbers."""
    types = set(map(type, values.tolist())) if values.dtype == object else {values.dtype.type}
    for what, forbidden, cure in REFUSED:
        found = [kind for kind in types if issubclass(kind, forbidden)]
        if found:
            kind = found[0].__name__ if values.dtype == object else values.dtype
            raise ValueError(
                f"Column {name} of {table} must hold real numbers or categories, got {what} of type {kind}. {cure}"
            )


def check_labels(X: Any, table: str = "X") -> None:
    """Raise a ValueError that names the labels that several columns of a DataFrame have; those of polars differ."""
    if library_of(X) == "pandas" and not X.columns.is_unique:
        raise ValueError(
            f"{table} must have a different name for each column, got several columns of the names "
            f"{X.columns[X.columns.duplicated()].unique().tolist()}. Rename them, or leave out all but one."
        )


def check_columns(X: Any, table: str = "X") -> None:
    """Raise a ValueError that names the first column of a table that holds dates, durations or complex numbers.

    scikit-learn takes many of these as numbers without a word, such as nanoseconds. Labels must differ too.
    """
    check_labels(X, table)
    if isinstance(X, list | tuple):
        try:
            X = np.asarray(X)
        except (TypeError, ValueError):
            return  # scikit-learn says what is wrong.
    is_array = isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind not in "biuf"
    if not is_array and library_of(X) is None:
        return
    for j, name in enumerate(getattr(X, "columns", range(X.shape[1]))):
        series = series_of(X, j)
        if getattr(series.dtype, "kind", "O") not in "biuf":  # Dtypes of polars have no kind.
            check_types(known_values(series)[0], str(name), table)


def are_numbers(values: Array) -> bool:
    """Tell whether objects are numbers, decimals among them."""
    numbers, others = Real | Decimal, bool | np.timedelta64  # NumPy registers durations as whole numbers.
    return all(isinstance(value, numbers) and not isinstance(value, others) for value in values.tolist())
