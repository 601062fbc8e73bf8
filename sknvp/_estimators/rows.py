"""The preparation of rows: weights, equal rows, location and scale, validation rows."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length

from .._columns.cells import Cells
from ..flows.builders.specification import Scaling
from .distinct import Distinct, even_choice

OUTLYING = 10.0  # a gross outlier lies farther out than this many distances between the outer twentieths
MAX_DISTANCE = 5.0  # scales; splines bend nothing farther from the location
LEAST_TO_MOVE = 10  # rows; fewer that are far away may be outliers
MAX_COUNT = 1e12  # weights count like so many rows at most
LOCATION_BITS = 40  # a location is rounded to this many binary digits of the scale


class Draws(NamedTuple):
    """Draws of the unknown cells of rows."""

    rows: NDArray[np.intp]  # shape (n_incomplete,): the numbers of the rows with unknown cells
    points: NDArray[Any]  # shape (n_incomplete, n_draws, n_features): the rows, completed
    log_weights: NDArray[np.float64]  # shape (n_incomplete, n_draws): minus the log-density of the drawn cells

    def of_all(self, x: NDArray[Any], n_draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return some draws of all rows ``x``, shapes (n_draws, n_rows, n_features) and (n_draws, n_rows).

        Of many incomplete rows there may be fewer draws than that.
        """
        n_draws = min(n_draws, self.points.shape[1])
        points = np.repeat(x[None].astype(np.float64), n_draws, axis=0)
        log_weights = np.zeros(points.shape[:2])
        points[:, self.rows] = self.points[:, :n_draws].swapaxes(0, 1)
        log_weights[:, self.rows] = self.log_weights[:, :n_draws].T
        return points, log_weights


class Rows(NamedTuple):
    """The rows that a flow learns from, all of positive weight."""

    x: NDArray[Any]  # shape (n_rows, n_features), float64 or float32: the columns whose density is learned
    weights: NDArray[np.float64]  # shape (n_rows,), at most one; only their ratios matter
    given: NDArray[Any]  # shape (n_rows, n_given): the columns that the density is conditioned on, if there are any
    groups: NDArray[np.intp]  # shape (n_rows,): the numbers of the groups; the rows of a group are held out together
    cells: Cells | None = None  # of the discrete columns of x, which holds points of these cells; None without any
    draws: Draws | None = None  # of the unknown cells, the first of which stands in x; None if all cells are known

    @classmethod
    def merged(
        cls,
        table: NDArray[Any],
        weights: NDArray[np.float64],
        n_given: int = 0,
        groups: NDArray[Any] | None = None,
        at_most: int | None = None,
    ) -> Self:
        """Merge equal rows of a table whose first ``n_given`` columns are the condition, so that weights add up.

        Where more than ``at_most`` rows are distinct, an even choice of them stands for all.
        """
        distinct = Distinct.of(table)
        first, sums = distinct.first, distinct.sums(weights)
        joined = None if groups is None else join_groups(distinct.numbers, groups)
        if at_most is not None and len(first) > at_most:
            chosen, sums = even_choice(table, first, sums, at_most)
            first = first[chosen]
        numbers = np.arange(len(first)) if joined is None else np.unique(joined[first], return_inverse=True)[1]
        return cls(table[first, n_given:], bounded(sums), table[first, :n_given], numbers)

    @classmethod
    def unmerged(
        cls, table: NDArray[Any], weights: NDArray[np.float64], n_given: int = 0, groups: NDArray[Any] | None = None
    ) -> Self:
        """Keep all rows of a table whose first ``n_given`` columns are the condition."""
        equal = groups_of_equal_rows(table)
        joined = equal if groups is None else join_groups(equal, groups)
        return cls(table[:, n_given:], weights, table[:, :n_given], joined)

    @property
    def table(self) -> NDArray[Any]:
        """All columns, those of the condition first."""
        return np.concatenate([self.given, self.x], 1) if self.given.shape[1] else self.x


def check_weights(sample_weight: ArrayLike | None, X: NDArray[Any], n_least: int = 2) -> NDArray[np.float64]:
    """Check the weights of the rows and return them as float64, at most one; None stands for ones.

    Weights must not be negative, and at least ``n_least`` of them must be positive.
    """
    if sample_weight is None:
        return np.ones(len(X))
    weights = _as_weights(sample_weight, X)
    n_positive = int((weights > 0).sum())
    if n_positive < n_least:
        raise ValueError(
            f"sample_weight must leave at least {n_least} row{'s' * (n_least > 1)} of weight above zero, got "
            f"{n_positive}. Pass None to count every row once."
        )
    return bounded(weights)


def weighted_total(log_density: NDArray[np.float64], sample_weight: ArrayLike | None) -> float:
    """Sum the log-densities, each as often as its row counts; a row of weight zero adds nothing, not even infinity."""
    if sample_weight is None:
        return float(log_density.sum())
    weights = _as_weights(sample_weight, log_density)
    counts = weights > 0
    return float((weights[counts] * log_density[counts]).sum())


def _as_weights(sample_weight: ArrayLike, X: NDArray[Any]) -> NDArray[np.float64]:
    """Check that there is a weight for each row and that none is negative; return them as float64."""
    given = np.asarray(sample_weight)
    if given.ndim != 1:
        raise ValueError(f"sample_weight must have shape (n_samples,), got {given.shape}.")
    weights: NDArray[np.float64] = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    check_consistent_length(X, weights)
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight must not be negative, got {weights.min()}. A row that is not to count can have weight zero."
        )
    return weights


def count_rows(sample_weight: ArrayLike | None, X: NDArray[Any]) -> float:
    """Return how many rows the weights stand for: their sum, or Kish's effective number where that is larger."""
    if sample_weight is None:
        return float(len(X))
    weights = np.asarray(sample_weight, dtype=np.float64)
    with np.errstate(over="ignore"):
        total = min(float(weights.sum()), MAX_COUNT)
    shares = bounded(weights)
    return max(total, float(shares.sum() ** 2 / (shares**2).sum()))


def repeated(rows: Rows, n_rows: float) -> Rows:
    """Repeat rows in proportion to their weights, to about ``n_rows`` rows in all.

    Rows of discrete values are often equal without being copies. So those in no larger group are held out apart.
    """
    repeats = np.maximum(1, np.round(rows.weights / rows.weights.sum() * n_rows)).astype(np.intp)
    old = np.repeat(np.arange(len(repeats)), repeats)
    alone = len(np.unique(rows.groups)) == len(rows.groups)
    groups = np.arange(len(old)) if alone else rows.groups[old]
    return Rows(rows.x[old], (rows.weights / repeats)[old], rows.given[old], groups)


def check_groups(groups: ArrayLike | None, weights: NDArray[np.float64], n_least: int = 1) -> NDArray[Any] | None:
    """Check the labels of groups, one for each row; the rows of positive weight must have ``n_least`` of them."""
    if groups is None:
        return None
    labels: NDArray[Any] = check_array(groups, ensure_2d=False, dtype=None, input_name="groups")
    if labels.ndim != 1:
        raise ValueError(f"groups must have shape (n_samples,), got {labels.shape}. Give each row one label.")
    check_consistent_length(labels, weights)
    if (n_groups := len(np.unique(labels[weights > 0]))) < n_least:
        raise ValueError(
            f"groups must hold at least {n_least} different labels among the rows of weight above zero, of which some "
            f"are held out, got {n_groups}. Pass None, or set early_stopping=False, with which nothing is held out."
        )
    return labels


def bounded(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply the weights by a power of two so that none exceeds one: only ratios matter, and they stay exact."""
    at_most_one: NDArray[np.float64] = np.ldexp(weights, -np.frexp(weights.max())[1])
    return at_most_one


class Whole:
    """What location and scale need of a table that this process holds as a whole."""

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


WHOLE = Whole()


def location_and_scale(
    X: NDArray[Any], weights: NDArray[np.float64], table: Whole = WHOLE
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Compute the weighted mean and standard deviation of each column, and which columns vary.

    A constant column has scale one. Gross outliers are moved to `outlier_limits` first, since otherwise a single one
    would make all other rows nearly equal.

    Differences to the first row are taken before anything is summed, so that neither a large offset nor large or
    small units cost digits. A column that varies by no more than rounding errors counts as constant. The mean is
    rounded to a trillionth of the scale, so that rows moved by a number, if that loses no digits, are standardised to
    the same bits.

    Where X is a shard of a larger ``table``, all is that of the larger one.
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
    X: NDArray[Any], weights: NDArray[np.float64], standardize: bool = True, table: Whole = WHOLE
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


def moved(rows: Rows, scaling: Scaling, far: bool = True) -> Iterator[str]:
    """Yield the reasons why a flow with this scaling cannot follow rows; see `MAX_DISTANCE` for those ``far`` away."""
    with np.errstate(over="ignore"):
        differences = np.abs(rows.x - scaling.loc)
    constant = np.setdiff1d(np.arange(len(scaling.loc)), scaling.columns)
    rounding = 8 * np.finfo(rows.x.dtype).eps * np.abs(scaling.loc)
    for j in constant[(differences > rounding).any(0)[constant]]:
        yield f"Column {j} of X was constant, {scaling.loc[j]:g}, in the first rows, and now has other values."
    if far and len(rows.x) >= LEAST_TO_MOVE:
        distances = np.median(differences, axis=0) / scaling.scale
        for j in scaling.columns[distances[scaling.columns] > MAX_DISTANCE]:
            yield f"Half of the rows lie more than {MAX_DISTANCE:g} scales from the location of column {j} of X."


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

    They lie `OUTLYING` times the distance between the outer twentieths of the rows beyond these, and are infinite where
    that distance is zero.
    """
    low, high = _quantiles(X, weights, (0.05, 0.95))
    with np.errstate(over="ignore"):
        margin = np.where(high > low, OUTLYING * (high - low), np.inf)
        return np.stack([low - margin, high + margin])


def _quantiles(X: NDArray[Any], weights: NDArray[np.float64], shares: tuple[float, ...]) -> NDArray[Any]:
    """Compute weighted quantiles of each column, shape (n_shares, n_features).

    A quantile is the least value such that the values up to it have that share of the weight.
    """
    if not np.ptp(weights):  # to sort is faster than to find the order
        steps = np.arange(1, len(X) + 1)
        ranks = [int((steps < share * len(X) * (1 - 1e-9)).sum()) for share in shares]
        values: NDArray[Any] = np.sort(X, axis=0)[ranks]
        return values
    order = np.argsort(X, axis=0)
    cumulative = np.cumsum(weights[order], axis=0)
    places = [(cumulative < share * cumulative[-1] * (1 - 1e-9)).sum(0) for share in shares]
    return np.stack([np.take_along_axis(X, np.take_along_axis(order, place[None], 0), 0)[0] for place in places])


def validation_rows(
    groups: NDArray[np.intp],
    weights: NDArray[np.float64],
    n_members: int,
    validation_fraction: float,
    rng: np.random.RandomState,
) -> NDArray[np.bool_]:
    """Choose the rows that each member is validated on, shape (n_members, n_rows), dtype bool.

    The rows are laid out in random order along a circle, each taking an arc as long as its weight; members validate on
    arcs of length ``validation_fraction`` that start at equal distances. So with n members and a fraction of 1/n every
    row is held out exactly once.

    The rows of a group, numbered from zero, lie together; a group that is heavier than the fraction is never held out,
    unless all are. If groups are numbered in the lexicographic order of their first rows, the choice depends neither on
    the order of the rows nor on the units of the columns.
    """
    share = np.bincount(groups, weights) / weights.sum()
    if len(share) == 1:
        return np.zeros((n_members, len(groups)), dtype=bool)
    order = rng.permutation(len(share))
    middle = np.empty(len(share))
    middle[order] = np.cumsum(share[order]) - share[order] / 2
    past_start = np.round((middle - np.arange(n_members)[:, None] / n_members) % 1, 9) % 1  # but for rounding errors
    too_heavy = share > max(validation_fraction, share.min()) * (1 + 1e-9)
    past_start[:, too_heavy] = np.inf
    # at least one group, never all
    nearest, farthest = past_start.min(1, keepdims=True), past_start.max(1, keepdims=True)
    chosen: NDArray[np.bool_] = past_start < np.clip(validation_fraction, np.nextafter(nearest, 1), farthest)
    return chosen[:, groups]


def groups_of_equal_rows(X: NDArray[Any]) -> NDArray[np.intp]:
    """Number the distinct rows in lexicographic order from the last column; return the number of each row."""
    return Distinct.of(X).numbers


def join_groups(equal: NDArray[np.intp], labels: NDArray[Any]) -> NDArray[np.intp]:
    """Join equal rows with all rows of the same label; return the number of the joint group of each row.

    Joint groups are numbered in the order of the least of the numbers ``equal`` in them.
    """
    codes = np.unique(labels, return_inverse=True)[1]
    n_equal = int(equal.max()) + 1
    return components(n_equal + int(codes.max()) + 1, equal, n_equal + codes)[equal]


def components(n_nodes: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number the connected components of a graph with edges from ``first`` to ``second``, in the order of their nodes.

    Each node takes the least label among itself and its neighbours, and then the label of that label, until nothing
    changes.
    """
    labels = np.arange(n_nodes)
    while True:
        least = np.minimum(labels[first], labels[second])
        before = labels.copy()
        for ends in (first, second):
            np.minimum.at(labels, ends, least)
        labels = labels[labels]
        if (labels == before).all():
            return np.unique(labels, return_inverse=True)[1]
