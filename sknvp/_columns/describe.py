"""What the columns of a table hold: found by dtypes and by values that repeat, or declared by a user."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kinds import LARGEST_INTEGER, MAX_SHOWN, Column, are_numbers, check_types, known_values, library_of, series_of
from .lattice import MAX_DEVIATION, TOLERANCE, Lattice, weighted_deviation
from .mixed import is_value, median_and_spread, to_line

Array = NDArray[Any]

MAX_SPAN = 200_000  # Whole numbers that span more than this many times their spacing count as continuous.
MIN_FREQUENT_SHARE = 0.2  # Whole numbers are discrete, however much they deviate, if one has this share of the rows.
MIN_ATOM_SHARE = 0.05  # Zero is an atom of a continuous column only if at least this share of the rows has it.
MIN_ATOM_ROWS = 10  # Zero is an atom only if at least this many rows have it.
MIN_ATOM_RATIO = 10  # Zero is an atom only if it is at least this many times as frequent as any other value.
MIN_OTHER_VALUES = 10  # Zero is an atom only if the column has at least this many other values.
MAX_SEARCHED = 100_000  # Lattices and zeros are looked for in at most this many rows.


def columns_of(
    X: Any,
    discrete: Array | None = None,
    bounds: tuple[Array, Array] | None = None,
    periods: Array | None = None,
    counts: Array | None = None,
    table: str = "X",
) -> tuple[Column, ...]:
    """Describe the columns of a table.

    Parameters
    ----------
    X : ndarray or DataFrame
        The table.
    discrete : ndarray of shape (n_features,), dtype bool, optional
        The columns that are discrete. By default these are found: see `_is_whole`; a column that holds no numbers is
        always a category. The atoms of continuous columns are found too: see `_frequent_zero`.
    bounds : tuple (low, high) of ndarrays of shape (n_features,), optional
        The bounds of columns of numbers. By default there are none but atoms at the end of a column.
    periods : ndarray of shape (n_features,), optional
        The periods of columns of numbers, NaN for columns that have none.
    counts : ndarray of shape (n_samples,), optional
        How many rows each row stands for; by default one.
    table : str, default="X"
        The name of the table in messages.
    """
    found = [None] * X.shape[1] if discrete is None else discrete.tolist()
    ends = [(-np.inf, np.inf)] * X.shape[1] if bounds is None else list(zip(*bounds, strict=True))
    lengths = np.full(X.shape[1], np.nan) if periods is None else periods
    counts = np.ones(X.shape[0]) if counts is None else counts
    columns = []
    for j in range(X.shape[1]):
        series, label = series_of(X, j), j if library_of(X) is None else X.columns[j]
        values, known = known_values(series)
        if not known.any():
            raise ValueError(
                f"Column {label} of {table} must have a known value, got missing ones alone. Leave it out."
            )
        asked = Asked(found[j], float(ends[j][0]), float(ends[j][1]), counts[known], table)
        if library_of(X) is None:
            column = _array_column(str(j), values, asked)
        else:
            column = _frame_column(label, values, series.dtype, asked)
        column = replace(column, table=table)
        columns.append(column if np.isnan(lengths[j]) else _with_period(column, float(lengths[j])))
    return tuple(columns)


def discrete_mask(discrete_features: Any, X: Any, name: str = "discrete_features") -> Array | None:
    """Return which columns a user declared to be discrete by a parameter, shape (n_features,), or None for "auto"."""
    if isinstance(discrete_features, str):
        return None
    table = "X" if name == "discrete_features" else "y"
    if discrete_features is None:
        return np.zeros(X.shape[1], dtype=bool)
    n_features, mask = X.shape[1], np.asarray(discrete_features)
    if mask.dtype.kind == "b":
        if mask.shape != (n_features,):
            raise ValueError(f"{name} must have shape (n_features,) = ({n_features},), got {mask.shape}.")
        return mask
    labels, numbers = list(range(n_features)) if library_of(X) is None else list(X.columns), range(n_features)
    chosen = np.asarray(discrete_features, dtype=object).tolist()  # Numbers beside names stay numbers.
    for column in chosen:
        if column not in labels and column not in numbers:
            raise ValueError(f"{name} must name columns of {table} or hold their numbers, of {labels}, got {column!r}.")
    for known in (labels, numbers):
        if set(chosen) <= set(known):
            return np.array([column in chosen for column in known])
    raise ValueError(f"{name} must hold names of columns or their numbers, not both, got {chosen!r}. Give names alone.")


class Asked(NamedTuple):
    """What the description of a column depends on besides its values."""

    discrete: bool | None  # Whether a user declared the column to be discrete; None if this is to be found out.
    low: float  # The lower bound of the column.
    high: float  # The upper bound of the column.
    counts: Array  # The numbers of rows that the values stand for, of shape (n_samples,).
    table: str  # The name of the table in messages.


def _array_column(name: str, values: Array, asked: Asked) -> Column:
    """Describe a column of an array."""
    if values.dtype.kind in "fiu":
        return _column(name, values, asked)
    if values.dtype == object and are_numbers(values):
        return _column(name, values.astype(np.float64), asked)
    categories = _different(name, values, asked.table)
    return Column(name, "category" if len(categories) > 1 else "continuous", categories)


def _frame_column(label: Any, values: Array, dtype: Any, asked: Asked) -> Column:
    """Describe a column of a DataFrame by its known values."""
    name, named = str(label), np.asarray(getattr(dtype, "categories", None))
    if not named.ndim and values.dtype.kind in "fiu":
        integer = values.dtype if values.dtype.kind in "iu" else None
        dtype = float if "decimal" in str(dtype).lower() else dtype  # A draw may have more digits than a decimal type.
        return replace(_column(name, values, asked), label=label, dtype=dtype, integer=integer)
    categories = named if named.ndim else _different(name, values, asked.table)
    kind = "category" if len(categories) > 1 else "continuous"
    return Column(name, kind, categories, label, dtype)


def _column(name: str, values: Array, asked: Asked) -> Column:
    """Describe a column of numbers."""
    if values.dtype.kind in "iu" and max(-int(values.min()), int(values.max())) > LARGEST_INTEGER:
        raise ValueError(
            f"Column {name} of {asked.table} must hold integers of at most 2^53, beyond which float64 has not all, got "
            f"{values.max()}. Subtract a number from the column."
        )
    discrete, low, high = asked[:3]
    if discrete and (values != np.floor(values)).any():
        return Column(name, "category", np.unique(values))
    if discrete and (span := _in_spacings(np.unique(values))[-1]) > MAX_SPAN:
        raise ValueError(
            f"Column {name} of {asked.table} must span at most {MAX_SPAN} times the distance between neighbouring "
            f"values to be discrete, got {span:g} times. Leave it out of discrete_"
            f"{'features' if asked.table == 'X' else 'targets'}."
        )
    if discrete or (discrete is None and _is_whole(values, asked.counts)):
        return Column(name, "whole", low=low, high=high)
    if values.min() == values.max():
        return Column(name, "continuous", low=low, high=high)
    atoms = {bound for bound in (low, high) if is_value(values, bound).any()}
    if discrete is None:
        some = slice(None, None, -(-len(values) // MAX_SEARCHED))
        different, counts = value_counts(values[some], asked.counts[some])
        lattice = Lattice.of(different, counts)
        if lattice is not None and lattice.holds(values):
            return Column(name, "lattice", low=low, high=high, lattice=lattice)
        atoms |= _frequent_zero(different, counts)
        low = values.min() if np.isneginf(low) and values.min() in atoms else low
        high = values.max() if np.isposinf(high) and values.max() in atoms else high
    return _with_atoms(Column(name, "continuous", low=float(low), high=float(high)), values, asked.counts, atoms)


def _is_whole(values: Array, counts: Array) -> bool:
    """Tell whether a column that varies holds whole numbers, not too far apart; among floats some must repeat."""
    if values.min() == values.max() or not (values == np.floor(values)).all():
        return False
    different, counts = value_counts(values, counts)
    if values.dtype.kind == "f" and counts.max() <= 1:
        return False
    steps = _in_spacings(different)
    if steps[-1] > MAX_SPAN:
        return False
    is_smooth = weighted_deviation(steps, counts) > MAX_DEVIATION
    return not is_smooth or bool(counts.max() >= MIN_FREQUENT_SHARE * counts.sum())


def _in_spacings(different: Array) -> Array:
    """Return the distances of rising whole numbers from the first one, divided by the spacing.

    The spacing is the greatest common divisor of the distances. It is one if they are too large for exact numbers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        distances: Array = different.astype(np.float64) - float(different[0])
    is_exact = distances[-1] <= LARGEST_INTEGER
    spacing = max(1, int(np.gcd.reduce(distances.astype(np.int64)))) if is_exact else 1
    return distances / spacing


def _frequent_zero(different: Array, counts: Array) -> set[float]:
    """Return zero if so many rows have it, and so few any other value, that no density explains it.

    At least ten rows and a twentieth of all rows must have the value zero, ten times as many as any other value, and
    there must be ten or more other values.
    """
    zeros, others = counts[different == 0].sum(), counts[different != 0]
    stands_out = zeros >= MIN_ATOM_RATIO * others.max(initial=0.0) and len(others) >= MIN_OTHER_VALUES
    return {0.0} if stands_out and zeros >= max(MIN_ATOM_ROWS, MIN_ATOM_SHARE * counts.sum()) else set()


def _with_atoms(column: Column, values: Array, counts: Array, atoms: set[float]) -> Column:
    """Return a continuous column with atoms, and with the location and scale of what is between them."""
    between = (column.low < values) & (values < column.high) & ~np.isin(values, list(atoms))
    column = replace(column, atoms=tuple(sorted(map(float, atoms))))
    if not atoms or not between.any():
        return column
    t = to_line(values[between].astype(np.float64), column.low, column.high)[0]
    return replace(column, between=median_and_spread(t, counts[between]))


def _with_period(column: Column, period: float) -> Column:
    """Return a column of numbers with a period; discrete ones stay discrete if the period holds whole steps."""
    if column.categories is not None or np.isfinite(column.low) or np.isfinite(column.high):
        kind = "categories" if column.categories is not None else "bounds"
        raise ValueError(
            f"periods must name columns of numbers without bounds, got {period:g} for column {column.name}, which has "
            f"{kind}. Leave it out of periods{' or of bounds' * (kind == 'bounds')}."
        )
    spacing = 1.0 if column.lattice is None else column.lattice.spacing
    if column.kind != "continuous" and abs(period / spacing - round(period / spacing)) < TOLERANCE:
        return replace(column, period=period)
    return replace(column, kind="continuous", lattice=None, atoms=(), period=period)


def _different(name: str, values: Array, table: str) -> Array:
    """Return the different values of a category, of which some must repeat."""
    check_types(values, name, table)
    try:
        # A set leaves fewer objects to sort, which is faster.
        different = list(set(values.tolist())) if values.dtype == object else values
        categories = np.unique(np.array(different, dtype=values.dtype))
    except TypeError as error:
        kinds = sorted({type(value).__name__ for value in values.tolist()})
        raise ValueError(
            f"Column {name} of {table} must hold values of one type, got {' and '.join(kinds)}. Convert it, for "
            "instance by astype(str)."
        ) from error
    if len(categories) == len(values) > MAX_SHOWN:
        raise ValueError(
            f"Column {name} of {table} must hold categories that repeat, got {len(values)} different values in as many "
            "rows. Leave the column out."
        )
    return categories


def value_counts(values: Array, counts: Array) -> tuple[Array, Array]:
    """Return the different values in ascending order, and how many rows have each."""
    ascending = np.sort(values)
    if np.ptp(counts) == 0 and (ascending[1:] != ascending[:-1]).all():
        return ascending, counts.astype(np.float64)
    different, places = np.unique(values, return_inverse=True)
    sums: Array = np.bincount(places, counts)
    return different, sums
