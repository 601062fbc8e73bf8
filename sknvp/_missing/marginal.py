"""Densities of the known cells of rows: integrals over the unknown ones, by quadrature or importance sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from .._columns.cells import Cells, shifts, uniform_points
from .experts import KnownCells
from .proposal import FARTHEST, Proposal
from .quadrature import first_points, log_integrals

Array = NDArray[Any]

N_DRAWS = 16  # for each row at first, ...
MAX_DRAWS = 512  # ... and at most, in steps that double them
PRECISE = 0.07  # a smaller standard error of the logarithm, in nats, needs no more draws
LEAST_RESAMPLED = 256  # proposals of each row, ...
DRAWS_PER_SAMPLE = 4  # ... or so many for each draw, that draws given known cells are chosen from
MAX_ROWS = 8_192  # whose weights are kept at once
MAX_NUMBERS = 2**22  # in the largest array at once


class Completed(NamedTuple):
    """Rows whose unknown cells have been drawn several times each."""

    points: Array  # shape (n_rows, n_draws, n_features): what the flow sees
    log_measure: Array  # shape (n_rows, n_draws): what is added to log-densities of the points of known cells
    log_proposal: Array  # shape (n_rows, n_draws): the log-density that unknown cells were drawn with

    @property
    def log_weights(self) -> Array:
        """What is added to the log-density of a point to estimate that of the known cells."""
        log_weights: Array = self.log_measure - self.log_proposal
        return log_weights


class Incomplete(NamedTuple):
    """Rows with unknown cells."""

    rows: Array  # shape (n_rows, n_features): the numbers, NaN where they are unknown
    cells: Cells | None  # of the mapped columns, if there are any
    proposal: Proposal | None  # of what the flow sees; None if all cells are known
    near: Array | None = None  # rows as the flow sees them, near which unknown cells are proposed too

    def of(self, some: Array) -> "Incomplete":
        """Return some of the rows."""
        return self._replace(
            rows=self.rows[some],
            cells=None if self.cells is None else self.cells.of(some),
            near=None if self.near is None else self.near[some],
        )

    def batches(self, n_draws: int) -> list[Array]:
        """Return the numbers of rows that are to be drawn for at once; rows with equal cells known come together."""
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
        with np.errstate(over="ignore"):  # another number than that of a constant column
            z = np.nan_to_num((self.rows - self.proposal.loc) / self.proposal.scale, posinf=0.0, neginf=0.0)
        factors = np.random.default_rng(1).uniform(1e3, 1e4, (self.rows.shape[1], n_numbers))
        shift = np.abs(np.modf(z.clip(-FARTHEST, FARTHEST) @ factors)[0])
        if self.cells is not None:
            shift = (shift + np.pad(shifts(self.cells), ((0, 0), (0, n_numbers - n_mapped)))) % 1
        uniform: Array = (uniform_points(MAX_DRAWS, n_numbers)[None, start:end] + shift[:, None]) % 1
        return uniform


def log_marginal(
    log_density: Callable[[Array], Array], incomplete: Incomplete, known_cells: KnownCells | None = None
) -> tuple[Array, Array]:
    """Estimate the log-density of the known cells of rows.

    Each row has draws of its own, more of them where their weights differ much. So the estimate of a row depends on no
    other row, and is the same at every call.

    Parameters
    ----------
    log_density : callable
        It takes points of shape (n, n_features) and returns their log-densities.
    incomplete : Incomplete
    known_cells : KnownCells, optional
        Experts, whose density of the known cells is added.

    Returns
    -------
    log_marginal, std_err : ndarray of shape (n_rows,)
        The logarithms of the means of the weights, and their estimated standard errors, in nats.
    """
    parts = [
        _log_marginal(log_density, incomplete.of(np.arange(len(incomplete.rows))[some]), known_cells)
        for some in gen_batches(len(incomplete.rows), MAX_ROWS)
    ]
    estimates, errors = zip(*parts, strict=True)
    return np.concatenate(estimates), np.concatenate(errors)


def _log_marginal(
    log_density: Callable[[Array], Array], incomplete: Incomplete, known_cells: KnownCells | None
) -> tuple[Array, Array]:
    """Estimate the log-density of the known cells of so many rows that all weights can be kept."""
    one_unknown = (np.isnan(incomplete.rows).sum(1) == 1) & (incomplete.cells is None)
    result, error = np.empty((2, len(incomplete.rows)))
    for some, estimate in ((one_unknown, _by_quadrature), (~one_unknown, _by_sampling)):
        if some.any():
            result[some], error[some] = estimate(log_density, incomplete.of(some), known_cells)
    return result, error


def _by_quadrature(
    log_density: Callable[[Array], Array], incomplete: Incomplete, known_cells: KnownCells | None
) -> tuple[Array, Array]:
    """Integrate over the one unknown cell of each row."""
    proposal, rest = incomplete.proposal, np.full(len(incomplete.rows), -np.inf)
    assert proposal is not None
    result, error = np.empty((2, len(rest)))
    for batch in incomplete.batches(N_DRAWS):
        some = incomplete.of(batch)
        known = ~np.isnan(some.rows)
        if known_cells is not None:
            rest[batch] = known_cells.log_density(some.rows[:, None], known)[:, 0]
        for own, columns, given in proposal.conditional(some.rows[:, None], known, some.near):
            line = _Line(log_density, some.rows[own], columns, proposal.loc[columns], proposal.scale[columns])
            rows = batch[own]
            quantiles = None if proposal.quantiles is None else proposal.quantiles[columns[:, 0]]
            result[rows], error[rows] = log_integrals(line.log_density, first_points(given, quantiles), rest[rows])
    return result, error


class _Line(NamedTuple):
    """The densities of rows along their unknown columns, in standard units."""

    log_density_of: Callable[[Array], Array]
    rows: Array  # shape (n_rows, n_features)
    columns: Array  # shape (n_rows, 1)
    loc: Array  # of the same shape
    scale: Array  # of the same shape

    def log_density(self, some: Array, x: Array) -> Array:
        """Return the log-density of some of the rows at points of shape (n_some, n_points)."""
        y = np.repeat(self.rows[some, None].astype(np.float64), x.shape[1], axis=1)
        places = np.arange(len(some))[:, None], np.arange(x.shape[1]), self.columns[some]
        y[places] = x * self.scale[some] + self.loc[some]
        log_density: Array = self.log_density_of(y.reshape(-1, y.shape[-1])).reshape(x.shape) + np.log(self.scale[some])
        return log_density


def _by_sampling(
    log_density: Callable[[Array], Array], incomplete: Incomplete, known_cells: KnownCells | None
) -> tuple[Array, Array]:
    """Estimate the means of the weights of draws."""
    n_rows = len(incomplete.rows)
    log_weights, exact = np.full((2, n_rows, MAX_DRAWS), -np.inf)
    rows, start, end = np.arange(n_rows), 0, N_DRAWS
    result, error = np.empty(n_rows), np.empty(n_rows)
    while len(rows):
        for batch in incomplete.of(rows).batches(end - start):
            some = incomplete.of(rows[batch])
            drawn = some.completed(some.quasi_random(start, end))
            density = log_density(drawn.points.reshape(-1, drawn.points.shape[-1]))
            estimates = density.reshape(drawn.log_proposal.shape) + drawn.log_weights
            if known_cells is not None and (start == 0 or some.cells is not None):
                equal = some.cells is None  # the points of known cells, in all draws
                exact[rows[batch], start : MAX_DRAWS if equal else end] = _of_known_cells(known_cells, some, drawn)
            log_weights[rows[batch], start:end] = np.logaddexp(estimates, exact[rows[batch], start:end])
        result[rows], error[rows] = _log_mean(log_weights[rows, :end])
        rows, start, end = rows[error[rows] > PRECISE], end, 2 * end
        if start == MAX_DRAWS:
            break
    return result, error


def _of_known_cells(known_cells: KnownCells, incomplete: Incomplete, drawn: Completed) -> Array:
    """Return the density of the known cells under the experts, at each of their points, or at one if they are equal."""
    points = drawn.points if incomplete.cells is not None else drawn.points[:, :1]
    density: Array = known_cells.log_density(points, ~np.isnan(incomplete.rows)) + drawn.log_measure
    return density


def resampled(log_density: Callable[[Array], Array], incomplete: Incomplete, n_samples: int, seed: int) -> Array:
    """Draw the unknown cells of rows given the known ones, by sampling importance resampling.

    Parameters
    ----------
    log_density : callable
        It takes points of shape (n, n_features) and returns their log-densities.
    incomplete : Incomplete
    n_samples : int
        The number of draws of each row.
    seed : int

    Returns
    -------
    points : ndarray of shape (n_rows, n_samples, n_features)

    References
    ----------
    D. Rubin, "Using the SIR algorithm to simulate posterior distributions", Bayesian Statistics 3, 1988.
    """
    rng, n_draws = np.random.default_rng(seed), max(LEAST_RESAMPLED, DRAWS_PER_SAMPLE * n_samples)
    points = np.empty((len(incomplete.rows), n_samples, incomplete.rows.shape[1]))
    for batch in incomplete.batches(n_draws):
        drawn = incomplete.of(batch).drawn(n_draws, rng)
        density = log_density(drawn.points.reshape(-1, points.shape[-1])).reshape(drawn.log_weights.shape)
        log_weights = density + drawn.log_weights
        weights = np.exp(log_weights - log_weights.max(1, keepdims=True)).cumsum(1)
        uniform = rng.random((len(batch), n_samples)) * weights[:, -1:]
        chosen = (weights[:, None] < uniform[..., None]).sum(-1)
        points[batch] = drawn.points[np.arange(len(batch))[:, None], chosen]
    return points


def _log_mean(log_weights: Array) -> tuple[Array, Array]:
    """Return the logarithm of the mean of the weights of each row, and its standard error."""
    largest = log_weights.max(1, keepdims=True)
    weights = np.exp(log_weights - np.where(np.isfinite(largest), largest, 0.0))
    mean = weights.mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.nan_to_num(weights.std(1) / mean / np.sqrt(weights.shape[1]))
        return np.log(mean) + largest[:, 0], error
