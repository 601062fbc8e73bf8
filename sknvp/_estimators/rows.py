"""The rows that a flow learns from."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .._columns.cells import Cells
from .distinct import Distinct, even_choice
from .groups import groups_of_equal_rows, join_groups
from .weights import bounded_weights


class Draws(NamedTuple):
    """Draws of the unknown cells of rows."""

    rows: NDArray[np.intp]  # The numbers of the rows with unknown cells, of shape (n_incomplete,).
    points: NDArray[Any]  # The completed rows, of shape (n_incomplete, n_draws, n_features).
    log_weights: NDArray[np.float64]  # Minus the log-densities of the drawn cells, of shape (n_incomplete, n_draws).

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

    x: NDArray[Any]  # The columns whose density is learned, of shape (n_rows, n_features), float64 or float32.
    weights: NDArray[np.float64]  # Of shape (n_rows,), at most one; only their ratios matter.
    context: NDArray[Any]  # The columns that the density is conditioned on, of shape (n_rows, n_context).
    groups: NDArray[np.intp]  # The number of each row's group, of shape (n_rows,). A group is held out as a whole.
    cells: Cells | None = None  # The cells of discrete columns, of which ``x`` holds points; None if there are none.
    draws: Draws | None = None  # Draws of unknown cells; ``x`` holds the first ones. None if all cells are known.

    @classmethod
    def merged(
        cls,
        table: NDArray[Any],
        weights: NDArray[np.float64],
        n_context: int = 0,
        groups: NDArray[Any] | None = None,
        at_most: int | None = None,
    ) -> Self:
        """Merge equal rows of a table whose first ``n_context`` columns are the condition, so that weights add up.

        Where more than ``at_most`` rows are distinct, an even choice of them stands for all.
        """
        distinct = Distinct.of(table)
        first, sums = distinct.first, distinct.sums(weights)
        joined = None if groups is None else join_groups(distinct.numbers, groups)
        if at_most is not None and len(first) > at_most:
            chosen, sums = even_choice(table, first, sums, at_most)
            first = first[chosen]
        numbers = np.arange(len(first)) if joined is None else np.unique(joined[first], return_inverse=True)[1]
        return cls(table[first, n_context:], bounded_weights(sums), table[first, :n_context], numbers)

    @classmethod
    def unmerged(
        cls, table: NDArray[Any], weights: NDArray[np.float64], n_context: int = 0, groups: NDArray[Any] | None = None
    ) -> Self:
        """Keep all rows of a table whose first ``n_context`` columns are the condition."""
        equal = groups_of_equal_rows(table)
        joined = equal if groups is None else join_groups(equal, groups)
        return cls(table[:, n_context:], weights, table[:, :n_context], joined)

    @property
    def table(self) -> NDArray[Any]:
        """All columns, those of the condition first."""
        return np.concatenate([self.context, self.x], 1) if self.context.shape[1] else self.x


def repeated(rows: Rows, n_rows: float) -> Rows:
    """Repeat rows in proportion to their weights, to about ``n_rows`` rows in all.

    Rows of discrete values are often equal without being copies. So those in no larger group are held out apart.
    """
    repeats = np.maximum(1, np.round(rows.weights / rows.weights.sum() * n_rows)).astype(np.intp)
    old = np.repeat(np.arange(len(repeats)), repeats)
    alone = len(np.unique(rows.groups)) == len(rows.groups)
    groups = np.arange(len(old)) if alone else rows.groups[old]
    return Rows(rows.x[old], (rows.weights / repeats)[old], rows.context[old], groups)
