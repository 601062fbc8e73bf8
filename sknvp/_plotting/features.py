"""Columns of a table as numbers for a picture, and the axes that show them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .._columns.kinds import are_numbers, known_values, library_of, series_of
from .._estimators.scaling import outlier_limits
from .grid import MARGIN

Array = NDArray[Any]

N_BINS = 30  # A histogram of a continuous column has this many bins.
MAX_SPREAD = 50  # Points of a discrete column are spread if it has at most this many values.
SPREAD = 0.3  # Points are spread by at most this share of the distance between values.
PADDING = 0.02  # An axis is longer at both ends by this share of its length.
MAX_TICKS = 10  # An axis names at most this many categories.
TOLERANCE = 1e-3  # Values are at equal distances if they are this near to multiples of the least distance.


class Axis(NamedTuple):
    """An axis of a picture."""

    edges: Array  # The edges of the bins of histograms.
    step: float  # The distance between values whose points are spread, zero if points are not spread.

    @classmethod
    def of(cls, rows: Array, draws: Array, categories: list[str] | None) -> Self:
        """Return the axis that shows rows and draws of a column, except gross outliers."""
        if categories is not None:
            return cls(np.arange(len(categories) + 1) - 0.5, 1.0)
        known = rows[~np.isnan(rows)]
        step, (low, high) = _step(known), _ends(known, draws)
        if low == high:
            return cls(low + max(1.0, abs(low)) * np.linspace(-0.5, 0.5, N_BINS + 2), 0.0)
        if not step:
            return cls(np.linspace(low, high, N_BINS + 1), 0.0)
        # Rows lie in the middle of bins, wherever draws lie.
        low = known[0] + step * np.round((low - known[0]) / step)
        n_values = int(np.round((high - low) / step)) + 1
        n_joined = 1 if n_values <= MAX_SPREAD else -(-n_values // N_BINS)
        n_bins = -(-n_values // n_joined)
        edges = low + step * (n_joined * np.arange(n_bins + 1) - 0.5)
        return cls(edges, step if n_values <= MAX_SPREAD else 0.0)

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the axis, between which points at the first and the last edge are seen whole."""
        low, high = self.edges[[0, -1]]
        return low - PADDING * (high - low), high + PADDING * (high - low)

    def spread(self, values: Array, rng: np.random.Generator) -> Array:
        """Return the places of points; points of a discrete column are spread around their values."""
        return values + SPREAD * self.step * rng.uniform(-1, 1, len(values))

    def ticks(self, categories: list[str] | None) -> tuple[Array | None, list[str] | None]:
        """Return the places and the names of `MAX_TICKS` categories at most, evenly chosen."""
        if categories is None:
            return None, None
        places = np.arange(0, len(categories), -(-len(categories) // MAX_TICKS))
        return places, [categories[k] for k in places]


def chosen_columns(table: Any, features: Sequence[Any] | None, most: int) -> list[int]:
    """Return the numbers of the columns that are chosen by names or numbers."""
    if len(table.shape) != 2 or 0 in table.shape:
        raise ValueError(f"X must have rows and columns, got shape {tuple(table.shape)}.")
    labels = list(range(table.shape[1])) if library_of(table) is None else list(table.columns)
    chosen = labels if features is None else list(features)
    for feature in chosen:
        if feature not in labels and feature not in range(len(labels)):
            raise ValueError(f"features must be names or numbers of columns of X, of {labels}, got {feature!r}.")
    if not 0 < len(chosen) <= most:
        raise ValueError(f"PairDisplay shows 1 to {most} columns, got {len(chosen)}. Choose some by features.")
    return [labels.index(feature) if feature in labels else feature for feature in chosen]


def numbers_of(
    table: Any, columns: list[int], rows: Any, draws: Any
) -> tuple[Array, Array, list[str], list[list[str] | None]]:
    """Return rows and draws as numbers, and the names and the categories of the columns.

    ``rows`` are some of the rows of ``table``, whose columns tell the categories.
    """
    if draws.shape[1] != table.shape[1]:
        raise ValueError(
            f"X must have the {draws.shape[1]} columns that the density was fitted to, got {table.shape[1]}. Choose "
            "some by features."
        )
    kinds = [_categories(series_of(table, j)) for j in columns]
    numbers = (
        np.column_stack([_numbers(series_of(part, j), kind) for j, kind in zip(columns, kinds, strict=True)])
        for part in (rows, draws)
    )
    labels = [f"x{j}" if library_of(table) is None else str(table.columns[j]) for j in columns]
    return *numbers, labels, [None if kind is None else list(map(str, kind)) for kind in kinds]  # type: ignore[return-value]


def _categories(series: Any) -> list[Any] | None:
    """Return the categories of a column, None if it holds numbers."""
    named = np.asarray(getattr(series.dtype, "categories", None))
    if named.ndim:
        return list(named.tolist())
    values = known_values(series)[0]
    if values.dtype.kind in "fiu" or (values.dtype == object and are_numbers(values)):
        return None
    return sorted(set(values.tolist()))


def _numbers(series: Any, categories: list[Any] | None) -> Array:
    """Return a column as numbers; a missing cell is NaN, a category its place among the categories."""
    values, known = known_values(series)
    numbers = np.full(len(known), np.nan)
    if categories is None:
        numbers[known] = values.astype(np.float64)
    else:
        places = {category: place for place, category in enumerate(categories)}
        numbers[known] = [places.get(value, np.nan) for value in values.tolist()]
    return numbers


def _step(values: Array) -> float:
    """Return the distance between the values of a column in which most values repeat, zero for a continuous one."""
    different = np.unique(values)
    if len(different) < 2 or 2 * len(different) > len(values):
        return 0.0
    step = float(np.diff(different).min())
    steps = (different - different[0]) / step
    return step if np.abs(steps - steps.round()).max() < TOLERANCE else 0.0


def _ends(rows: Array, draws: Array) -> tuple[float, float]:
    """Return the least and the greatest number of a picture, which reaches as far as draws, but little beyond rows."""
    if not len(rows):
        return 0.0, 0.0
    low, high = outlier_limits(rows[:, None], np.ones(len(rows)))[:, 0]
    inside = rows[(low <= rows) & (rows <= high)]
    low, high = inside.min(), inside.max()
    margin = MARGIN * (high - low)
    both = np.concatenate([inside, draws[(low - margin <= draws) & (draws <= high + margin)]])
    return float(both.min()), float(both.max())
