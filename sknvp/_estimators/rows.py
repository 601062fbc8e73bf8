"""The preparation of rows: weights, equal rows, location and scale, validation rows."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length

from ..flows.builders.specification import Scaling

OUTLYING = 10.0  # a gross outlier lies farther out than this many distances between the outer twentieths
LOCATION_BITS = 40  # a location is rounded to this many binary digits of the scale


class Rows(NamedTuple):
    """The rows that a flow learns from, all of positive weight."""

    x: NDArray[Any]  # shape (n_rows, n_features), float64 or float32: the columns whose density is learned
    weights: NDArray[np.float64]  # shape (n_rows,), at most one; only their ratios matter
    given: NDArray[Any]  # shape (n_rows, n_given): the columns that the density is conditioned on, if there are any

    @classmethod
    def merged(cls, table: NDArray[Any], weights: NDArray[np.float64], n_given: int = 0) -> Self:
        """Merge equal rows of a table whose first ``n_given`` columns are the condition, so that weights add up."""
        return cls.split(*distinct(table, weights), n_given)

    @classmethod
    def split(cls, table: NDArray[Any], weights: NDArray[np.float64], n_given: int = 0) -> Self:
        """Take the first ``n_given`` columns of a table as the condition and the others as the data."""
        return cls(table[:, n_given:], weights, table[:, :n_given])

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
    given = np.asarray(sample_weight)
    if given.ndim != 1:
        raise ValueError(f"sample_weight must have shape (n_samples,), got {given.shape}.")
    weights: NDArray[np.float64] = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    check_consistent_length(X, weights)
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight must not be negative, got {weights.min()}. A row that is not to count can have weight zero."
        )
    n_positive = int((weights > 0).sum())
    if n_positive < n_least:
        raise ValueError(
            f"sample_weight must leave at least {n_least} row{'s' * (n_least > 1)} of weight above zero, got "
            f"{n_positive}. Pass None to count every row once."
        )
    return _bounded(weights)


def distinct(X: NDArray[Any], weights: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the distinct rows of positive weight in lexicographic order, and the sum of the weights of each.

    So neither the order of the rows nor the difference between a repeated row and a heavier one can matter.
    """
    X, weights = X[weights > 0], weights[weights > 0]
    groups = groups_of_equal_rows(X)
    sums: NDArray[Any] = np.bincount(groups, weights)
    return X[np.unique(groups, return_index=True)[1]], _bounded(sums)


def _bounded(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply the weights by a power of two so that none exceeds one: only ratios matter, and they stay exact."""
    bounded: NDArray[np.float64] = np.ldexp(weights, -np.frexp(weights.max())[1])
    return bounded


def location_and_scale(
    X: NDArray[Any], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Compute the weighted mean and standard deviation of each column, and which columns vary.

    A constant column has scale one. Gross outliers are moved to `outlier_limits` first, since otherwise a single one
    would make all other rows nearly equal.

    Differences to the first row are taken before anything is summed, so that neither a large offset nor large or
    small units cost digits. A column that varies by no more than rounding errors counts as constant. The mean is
    rounded to a trillionth of the scale, so that rows moved by a number, if that loses no digits, are standardised to
    the same bits.
    """
    first = X[0].astype(np.float64)
    with np.errstate(over="ignore"):
        differences = X - first
    span = np.abs(differences).max(0)
    if not np.isfinite(span).all():
        raise ValueError(
            f"X must span less than {np.finfo(np.float64).max:.1e} in every column, got more in column "
            f"{np.flatnonzero(~np.isfinite(span))[0]}. Divide that column by a constant."
        )
    varies = span > 4 * np.finfo(X.dtype).eps * np.abs(first)
    differences = np.clip(differences, *outlier_limits(differences, weights))
    span = np.where(varies, np.abs(differences).max(0), 1.0)
    differences /= span
    mean = np.average(differences, axis=0, weights=weights)
    std = np.sqrt(np.average((differences - mean) ** 2, axis=0, weights=weights))
    scale = np.where(varies, std * span, 1.0)
    step = np.ldexp(1.0, np.frexp(scale)[1] - LOCATION_BITS)
    return first + np.round(mean * span / step) * step, scale, varies


def scaling_of(X: NDArray[Any], weights: NDArray[np.float64], standardize: bool = True) -> Scaling:
    """Measure the location and the scale of each column, zero and one without ``standardize``."""
    loc, scale, varies = location_and_scale(X, weights)
    if not standardize:
        loc, scale = np.zeros_like(loc), np.ones_like(scale)
    return Scaling(loc, scale, np.flatnonzero(varies))


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
    X: NDArray[Any],
    weights: NDArray[np.float64],
    n_members: int,
    validation_fraction: float,
    rng: np.random.RandomState,
) -> NDArray[np.bool_]:
    """Choose the rows that each member is validated on, shape (n_members, n_rows), dtype bool.

    The rows are laid out in random order along a circle, each taking an arc as long as its weight; members validate on
    arcs of length ``validation_fraction`` that start at equal distances. So with n members and a fraction of 1/n every
    row is held out exactly once.

    Equal rows lie together, so that none leaks from training into validation and a weight of two means the same as a
    row given twice; those heavier than the fraction are never held out. Nothing but the order of the values within each
    column decides, so that the choice depends neither on the order of the rows nor on the units of the columns.
    """
    groups = groups_of_equal_rows(X)
    share = np.bincount(groups, weights) / weights.sum()
    if len(share) == 1:
        return np.zeros((n_members, len(X)), dtype=bool)
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
    groups = np.zeros(len(X), dtype=np.intp)
    for column in X.T[::-1]:
        rank = np.unique(column, return_inverse=True)[1]
        groups = np.unique(groups * len(X) + rank, return_inverse=True)[1]
        if groups.max() == len(X) - 1:  # all distinct already
            break
    return groups
