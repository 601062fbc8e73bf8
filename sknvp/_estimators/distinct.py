"""The distinct rows of a table, in an order of their own, and an even choice of them where there are very many."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

MAX_CHUNK_NUMBERS = 2**18  # At most this many numbers are looked at together.


class Distinct(NamedTuple):
    """The distinct rows of a table in lexicographic order from the last column; NaN equals itself and comes last.

    Only rows that agree in the columns seen so far are sorted by the next one, and no row is copied.
    """

    order: NDArray[np.intp]  # The numbers of the rows, of shape (n_rows,); equal rows lie side by side.
    # Whether the row at each place of ``order`` differs from the row before it, of shape (n_rows,).
    starts: NDArray[np.bool_]

    @classmethod
    def of(cls, table: NDArray[Any]) -> Self:
        order = np.argsort(table[:, -1], kind="stable")
        starts = _differs(table[order, -1])
        for column in table.T[-2::-1]:
            tied = np.flatnonzero(~starts | ~np.append(starts[1:], True))
            if not len(tied):
                break
            rows, runs = order[tied], np.cumsum(starts[tied])
            values = column[rows]
            by = np.lexsort((values, runs))
            order[tied] = rows[by]
            starts[tied] |= _differs(values[by])
        return cls(order, starts)

    @property
    def numbers(self) -> NDArray[np.intp]:
        """The number of the distinct row that each row of the table equals, of shape (n_rows,)."""
        numbers = np.empty(len(self.order), dtype=np.intp)
        numbers[self.order] = np.cumsum(self.starts) - 1
        return numbers

    @property
    def first(self) -> NDArray[np.intp]:
        """The number of the first row of the table that equals each distinct row, of shape (n_distinct,)."""
        return self.order if self.starts.all() else self.order[self.starts]

    def sums(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up the weights of equal rows, and return the sums, of shape (n_distinct,)."""
        in_order: NDArray[np.float64] = weights[self.order]
        if self.starts.all():
            return in_order
        return np.asarray(np.bincount(np.cumsum(self.starts) - 1, in_order))


def even_choice(
    table: NDArray[Any], first: NDArray[np.intp], weights: NDArray[np.float64], n_rows: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Choose about ``n_rows`` distinct rows at equal distances along their cumulative weights; overwrite ``weights``.

    Each row is chosen as often as its share of the weight says, rounded up or down. The rows with the least and the
    greatest value of each column are always among the chosen ones, so that no column becomes constant. If such a row
    would not be chosen otherwise, it keeps its own small weight relative to the others.

    Returns
    -------
    numbers : ndarray of shape (n_chosen,)
        The places of the chosen rows in ``first``, rising.
    weights : ndarray of shape (n_chosen,)
        The new weights.
    """
    extreme = _extreme_rows(table, first)
    small = weights[extreme]
    cumulative = np.cumsum(weights, out=weights)
    points = (np.arange(n_rows) + 0.5) / n_rows * cumulative[-1]
    places = np.searchsorted(cumulative, points, side="right").clip(max=len(first) - 1)
    chosen, counts = np.unique(places, return_counts=True)
    added = ~np.isin(extreme, chosen)
    numbers = np.concatenate([chosen, extreme[added]])
    both = np.concatenate([counts.astype(np.float64), small[added] / cumulative[-1] * n_rows])
    by = np.argsort(numbers)
    return numbers[by], both[by]


def _extreme_rows(table: NDArray[Any], first: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the places in ``first`` of the rows with the least and the greatest value of each column."""
    columns = np.arange(table.shape[1])
    least, places = np.full((2, len(columns)), np.inf), np.zeros((2, len(columns)), dtype=np.intp)
    size = max(1, MAX_CHUNK_NUMBERS // len(columns))
    for start in range(0, len(first), size):
        values = table[first[start : start + size]]
        for side, signed in enumerate((values, -values)):
            row = np.where(np.isnan(signed), np.inf, signed).argmin(0)
            found = signed[row, columns]
            less = found < least[side]
            least[side, less], places[side, less] = found[less], start + row[less]
    return np.unique(places)


def _differs(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each value differs from the one before; the first value always counts as different."""
    before, after = values[:-1], values[1:]
    return np.append(True, (before != after) & ~(np.isnan(before) & np.isnan(after)))
