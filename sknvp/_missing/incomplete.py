"""Rows with unknown cells, and draws of these."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._columns.cells import Cells, shifts, uniform_points
from .proposal import FARTHEST, Proposal

Array = NDArray[Any]

MAX_DRAWS = 512  # Each row has at most this many draws by quasi-random numbers.
MAX_NUMBERS = 2**22  # The largest array holds about this many numbers at most.


class Completed(NamedTuple):
    """Rows whose unknown cells have been drawn several times each."""

    points: Array  # The rows as the flow sees them, of shape (n_rows, n_draws, n_features).
    log_measure: Array  # What the points of known cells add to log-densities, of shape (n_rows, n_draws).
    log_proposal: Array  # The log-densities that the unknown cells were drawn with, of shape (n_rows, n_draws).

    @property
    def log_weights(self) -> Array:
        """What is added to the log-density of a point to estimate that of the known cells."""
        log_weights: Array = self.log_measure - self.log_proposal
        return log_weights


class Incomplete(NamedTuple):
    """Rows with unknown cells."""

    rows: Array  # The numbers of the rows, NaN where they are unknown, of shape (n_rows, n_features).
    cells: Cells | None  # The cells of the mapped columns; None if there are no mapped columns.
    proposal: Proposal | None  # The proposal for rows as the flow sees them; None if all cells are known.
    # Rows as the flow sees them, of shape (n_rows, n_features). Unknown cells are proposed near these too.
    near: Array | None = None

    def of(self, some: Array) -> "Incomplete":
        """Return some of the rows."""
        return self._replace(
            rows=self.rows[some],
            cells=None if self.cells is None else self.cells.of(some),
            near=None if self.near is None else self.near[some],
        )

    def batches(self, n_draws: int) -> list[Array]:
        """Return the numbers of rows that are to be drawn for at once, with rows of one pattern next to each other."""
        n_columns, n_components = self.rows.shape[1], 1 if self.proposal is None else len(self.proposal.log_weights)
        each = n_components * n_columns * max(n_columns, n_draws)
        by_pattern = np.lexsort(np.isnan(self.rows).T)
        return np.array_split(by_pattern, min(len(self.rows), -(-len(self.rows) * each // MAX_NUMBERS)))

    def completed(self, uniform: Array) -> Completed:
        """Draw the unknown cells, and points of the cells of known values.

        Parameters
        ----------
        uniform : ndarray of shape (n_rows, n_draws, n_mapped + n_features)
            Numbers between 0 and 1.
        """
        n_mapped = 0 if self.cells is None else len(self.cells.mapped)
        y, log_measure = self.rows[:, None].astype(np.float64), np.zeros((1, 1))
        if self.cells is not None:
            y = np.repeat(y, uniform.shape[1], axis=1)
            log_measure = np.zeros(y.shape[:2])
            for i in range(uniform.shape[1]):
                y[:, i] = self.cells.points(self.rows, uniform[:, i, :n_mapped])
                log_measure[:, i] = self.cells.log_measure_at(y[:, i])
        if self.proposal is None:
            return Completed(y, log_measure, np.zeros(y.shape[:2]))
        drawn, log_proposal = self.proposal.draw(y, ~np.isnan(self.rows), uniform[..., n_mapped:], self.near)
        return Completed(drawn, log_measure, log_proposal)

    def drawn(self, n_draws: int, rng: np.random.Generator) -> Completed:
        """Draw the unknown cells at random."""
        n_mapped = 0 if self.cells is None else len(self.cells.mapped)
        return self.completed(rng.random((len(self.rows), n_draws, n_mapped + self.rows.shape[1])))

    def quasi_random(self, start: int, end: int) -> Array:
        """Return quasi-random numbers that the known cells of each row decide, for these of its draws."""
        n_mapped = 0 if self.cells is None else len(self.cells.mapped)
        n_numbers = n_mapped + self.rows.shape[1]
        assert self.proposal is not None
        with np.errstate(over="ignore"):  # A number that a constant column does not have may overflow.
            z = np.nan_to_num((self.rows - self.proposal.loc) / self.proposal.scale, posinf=0.0, neginf=0.0)
        factors = np.random.default_rng(1).uniform(1e3, 1e4, (self.rows.shape[1], n_numbers))
        shift = np.abs(np.modf(z.clip(-FARTHEST, FARTHEST) @ factors)[0])
        if self.cells is not None:
            shift = (shift + np.pad(shifts(self.cells), ((0, 0), (0, n_numbers - n_mapped)))) % 1
        uniform: Array = (uniform_points(MAX_DRAWS, n_numbers)[None, start:end] + shift[:, None]) % 1
        return uniform
