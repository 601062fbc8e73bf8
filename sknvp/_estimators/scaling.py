"""The location and the scale of columns, and rows that have moved away from them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._columns.lattice import LatticeMargin
from .._columns.margins import Margin
from ..flows.builders.specification import Scaling
from .rows import Rows

# A gross outlier lies farther out than this many times the distance between the outer twentieths.
MIN_OUTLIER_DISTANCE = 10.0
MAX_DISTANCE = 5.0  # Splines bend nothing that lies farther from the location than this many scales.
MIN_DISTANT_ROWS = 10  # Fewer rows that are far away may be outliers.
LOCATION_BITS = 40  # A location is rounded to this many binary digits of the scale.


class WholeTable:
    """The statistics from which location and scale are computed, for a table that this process holds as a whole."""

    def first(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return a row of the table."""
        row: NDArray[Any] = X[0]
        return row

    def largest(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the largest number of each column."""
        most: NDArray[Any] = numbers.max(0)
        return most

    def limits(self, X: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the `outlier_limits` of each column."""
        return outlier_limits(X, weights)

    def average(self, numbers: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[Any]:
        """Return the weighted mean of each column."""
        mean: NDArray[Any] = np.average(numbers, axis=0, weights=weights)
        return mean


WHOLE_TABLE = WholeTable()


def location_and_scale(
    X: NDArray[Any], weights: NDArray[np.float64], table: WholeTable = WHOLE_TABLE
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Compute the weighted mean and standard deviation of each column, and which columns vary.

    A constant column has scale one. Gross outliers are moved to `outlier_limits` first, since otherwise a single one
    would make all other rows nearly equal.

    Differences to the first row are taken before anything is summed, so that neither a large offset nor large or
    small units cost digits. A column that varies by no more than rounding errors counts as constant. The mean is
    rounded to a trillionth of the scale, so that rows moved by a number, if that loses no digits, are standardised to
    the same bits.

    Where X is a shard of a larger ``table``, location and scale are those of the larger table.
    """
    first = table.first(X).astype(np.float64)
    with np.errstate(over="ignore"):
        differences = X - first
    span = table.largest(np.abs(differences))
    if not np.isfinite(span).all():
        raise ValueError(
            f"X must span less than {np.finfo(np.float64).max:.1e} in every column, got more in column "
            f"{np.flatnonzero(~np.isfinite(span))[0]}. Divide that column by a constant."
        )
    varies = span > 4 * np.finfo(X.dtype).eps * np.abs(first)
    differences = np.clip(differences, *table.limits(differences, weights))
    span = np.where(varies, table.largest(np.abs(differences)), 1.0)
    differences /= span
    mean = table.average(differences, weights)
    std = np.sqrt(table.average((differences - mean) ** 2, weights))
    scale = np.where(varies, std * span, 1.0)
    step = np.ldexp(1.0, np.frexp(scale)[1] - LOCATION_BITS)
    return first + np.round(mean * span / step) * step, scale, varies


def scaling_of(
    X: NDArray[Any], weights: NDArray[np.float64], standardize: bool = True, table: WholeTable = WHOLE_TABLE
) -> Scaling:
    """Measure the location and the scale of each column.

    Without ``standardize`` they are zero and one, but for the location of a constant column, which is its value.
    """
    loc, scale, varies = location_and_scale(X, weights, table)
    if not standardize:
        loc, scale = np.where(varies, 0.0, loc), np.ones_like(scale)
    return Scaling(loc, scale, np.flatnonzero(varies))


def scaling_in_columns(rows: Rows, earlier: Scaling) -> Scaling:
    """Measure location and scale anew in the columns that vary in an earlier scaling, and keep the other columns."""
    now = scaling_of(rows.x, rows.weights)
    varies = np.isin(np.arange(len(earlier.loc)), earlier.columns)
    return Scaling(np.where(varies, now.loc, earlier.loc), np.where(varies, now.scale, earlier.scale), earlier.columns)


def scaling_mismatches(rows: Rows, scaling: Scaling, far: bool = True) -> Iterator[str]:
    """Yield the reasons why a flow with this scaling cannot follow rows.

    That half of the rows lie beyond `MAX_DISTANCE` is a reason only if ``far`` is true.
    """
    with np.errstate(over="ignore"):
        differences = np.abs(rows.x - scaling.loc)
    constant = np.setdiff1d(np.arange(len(scaling.loc)), scaling.columns)
    rounding = 8 * np.finfo(rows.x.dtype).eps * np.abs(scaling.loc)
    for j in constant[(differences > rounding).any(0)[constant]]:
        yield f"Column {j} of X was constant, {scaling.loc[j]:g}, in the first rows, and now has other values."
    if far and len(rows.x) >= MIN_DISTANT_ROWS:
        distances = np.median(differences, axis=0) / scaling.scale
        for j in scaling.columns[distances[scaling.columns] > MAX_DISTANCE]:
            yield f"Half of the rows lie more than {MAX_DISTANCE:g} scales from the location of column {j} of X."


def margin_mismatches(
    numbers: NDArray[Any], weights: NDArray[np.float64], names: Sequence[str], margins: Mapping[int, Any]
) -> Iterator[str]:
    """Yield the reasons why the margins of discrete columns cannot follow rows: most values lie beyond their tables."""
    for j, margin in margins.items():
        counts = (weights > 0) & ~np.isnan(numbers[:, j])
        if not isinstance(margin, Margin | LatticeMargin) or counts.sum() < MIN_DISTANT_ROWS:
            continue
        n_values = (margin.margin if isinstance(margin, LatticeMargin) else margin).n_values
        low, high = margin.first, margin.first + margin.spacing * (n_values - 1)
        outside = np.abs(numbers[counts, j] - (low + high) / 2) > (high - low + margin.spacing) / 2
        if np.average(outside, weights=weights[counts]) > 0.5:
            yield f"Most values of {names[j]} lie outside of {low:g} to {high:g}, which the first rows led to expect."


def restore_constants(X: NDArray[Any], scaling: Scaling) -> NDArray[Any]:
    """Return rows in float64 in which numbers that equal a constant column's value rounded to float32 are the value.

    So a constant 0.1 that was fitted in float64 is found again in rows that are, or were, of float32.
    """
    constant = np.setdiff1d(np.arange(len(scaling.loc)), scaling.columns)
    exact = scaling.loc[constant]
    rounded = exact.astype(np.float32)
    if (rounded == exact).all():
        return X
    restored = X.astype(np.float64)
    restored[:, constant] = np.where(X[:, constant] == rounded, exact, restored[:, constant])
    return restored


def outlier_limits(X: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute bounds of each column that only gross outliers pass, shape (2, n_features).

    They lie beyond the outer twentieths of the rows by `MIN_OUTLIER_DISTANCE` times the distance between these, and are
    infinite where that distance is zero.
    """
    low, high = _quantiles(X, weights, (0.05, 0.95))
    with np.errstate(over="ignore"):
        margin = np.where(high > low, MIN_OUTLIER_DISTANCE * (high - low), np.inf)
        return np.stack([low - margin, high + margin])


def _quantiles(X: NDArray[Any], weights: NDArray[np.float64], shares: tuple[float, ...]) -> NDArray[Any]:
    """Compute weighted quantiles of each column, shape (n_shares, n_features).

    A quantile is the least value such that the values up to it have that share of the weight.
    """
    if not np.ptp(weights):  # Sorting is faster than finding the order.
        steps = np.arange(1, len(X) + 1)
        ranks = [int((steps < share * len(X) * (1 - 1e-9)).sum()) for share in shares]
        values: NDArray[Any] = np.sort(X, axis=0)[ranks]
        return values
    order = np.argsort(X, axis=0)
    cumulative = np.cumsum(weights[order], axis=0)
    places = [(cumulative < share * cumulative[-1] * (1 - 1e-9)).sum(0) for share in shares]
    return np.stack([np.take_along_axis(X, np.take_along_axis(order, place[None], 0), 0)[0] for place in places])
