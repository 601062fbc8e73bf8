"""Patterns: which cells of a row are known. Rows with equally many known cells are computed together."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Patterns(NamedTuple):
    """The patterns of some rows, all with the same number of known cells."""

    rows: Array  # The numbers of the rows, pattern by pattern, of shape (n_rows,).
    pattern: Array  # The number of the pattern of each row, of shape (n_rows,).
    known: Array  # The numbers of the known columns, of shape (n_patterns, n_known).
    unknown: Array  # The numbers of the unknown columns, of shape (n_patterns, n_unknown).

    def by_pattern(self) -> list[Array]:
        """Return the numbers of the rows with each pattern."""
        return np.split(self.rows, np.bincount(self.pattern).cumsum()[:-1])


def patterns_of(known: Array) -> Iterator[Patterns]:
    """Go through the patterns of rows whose known cells are True, from few known cells to many."""
    patterns, pattern = np.unique(known, axis=0, return_inverse=True)
    order, n_known = np.argsort(pattern, kind="stable"), patterns.sum(1)
    for n in np.unique(n_known):
        some = np.flatnonzero(n_known == n)
        columns = (np.nonzero(cells)[1].reshape(len(some), -1) for cells in (patterns[some], ~patterns[some]))
        rows = order[n_known[pattern[order]] == n]
        yield Patterns(rows, np.searchsorted(some, pattern[rows]), *columns)


def blocks(matrices: Any, rows: Array, columns: Array) -> Any:
    """Return a block of matrices for each pattern, shape (..., n_patterns, n_rows, n_columns).

    Parameters
    ----------
    matrices : ndarray or Tensor of shape (..., n_features, n_features)
    rows, columns : ndarray of shape (n_patterns, n_rows) and (n_patterns, n_columns)
        The numbers of the rows and columns.
    """
    return matrices[..., rows[:, :, None], columns[:, None, :]]
