"""Rows that belong together, and the rows that are held out."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length

from .distinct import Distinct


def check_groups(groups: ArrayLike | None, weights: NDArray[np.float64], n_least: int = 1) -> NDArray[Any] | None:
    """Check the labels of groups, one for each row; rows of positive weight must have at least ``n_least`` labels."""
    if groups is None:
        return None
    labels: NDArray[Any] = check_array(groups, ensure_2d=False, dtype=None, input_name="groups")
    if labels.ndim != 1:
        raise ValueError(f"groups must have shape (n_samples,), got {labels.shape}. Give each row one label.")
    check_consistent_length(labels, weights)
    if (n_groups := _n_different(labels[weights > 0])) < n_least:
        raise ValueError(
            f"groups must hold at least {n_least} different labels among the rows of weight above zero, of which some "
            f"are held out, got {n_groups}. Pass None, or set early_stopping=False, with which nothing is held out."
        )
    return labels


def _n_different(labels: NDArray[Any]) -> int:
    """Count the different labels, or raise a ValueError if they have no order."""
    try:
        return len(np.unique(labels))
    except TypeError as error:
        types = " and ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise ValueError(
            f"groups must hold labels of one type that has an order, got {types}. Give each row one label, for "
            "instance by astype(str)."
        ) from error


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
    unless all groups are. If groups are numbered in the lexicographic order of their first rows, the choice depends
    neither on the order of the rows nor on the units of the columns.
    """
    share = np.bincount(groups, weights) / weights.sum()
    if len(share) == 1:
        return np.zeros((n_members, len(groups)), dtype=bool)
    order = rng.permutation(len(share))
    middle = np.empty(len(share))
    middle[order] = np.cumsum(share[order]) - share[order] / 2
    # The distance from the start of each arc is rounded, since it could be one instead of zero by a rounding error.
    past_start = np.round((middle - np.arange(n_members)[:, None] / n_members) % 1, 9) % 1
    too_heavy = share > max(validation_fraction, share.min()) * (1 + 1e-9)
    past_start[:, too_heavy] = np.inf
    # Each member holds out at least one group, and never all groups.
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
