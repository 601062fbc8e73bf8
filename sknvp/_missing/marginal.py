"""Densities of the known cells of rows: integrals over the unknown ones, by quadrature or importance sampling."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils import gen_batches

from .experts import KnownCells
from .incomplete import MAX_DRAWS, Completed, Incomplete
from .quadrature import by_quadrature

Array = NDArray[Any]

N_DRAWS = 16  # Each row has this many draws at first. Their number is doubled up to `MAX_DRAWS`.
MAX_STD_ERR = 0.07  # A smaller standard error of the logarithm, in nats, needs no more draws.
N_AVERAGED = 512  # Conditional means are taken over this many draws of each row.
LEAST_RESAMPLED = 256  # The draws of a row are chosen from at least this many proposals.
DRAWS_PER_SAMPLE = 4  # The draws of a row are chosen from at least this many proposals for each draw.
MAX_ROWS = 8_192  # The weights of at most this many rows are kept at once.


def log_marginal(
    log_density: Callable[[Array], Array], incomplete: Incomplete, known_cells: KnownCells | None = None
) -> tuple[Array, Array]:
    """Estimate the log-density of the known cells of rows.

    Each row has draws of its own, more of them where their weights differ much. So the estimate of a row depends on no
    other row, and is equal at every call.

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
    for some, estimate in ((one_unknown, by_quadrature), (~one_unknown, _by_sampling)):
        if some.any():
            result[some], error[some] = estimate(log_density, incomplete.of(some), known_cells)
    return result, error


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
                equal = some.cells is None  # Then all draws have equal points of known cells.
                exact[rows[batch], start : MAX_DRAWS if equal else end] = _of_known_cells(known_cells, some, drawn)
            log_weights[rows[batch], start:end] = np.logaddexp(estimates, exact[rows[batch], start:end])
        result[rows], error[rows] = _log_mean(log_weights[rows, :end])
        rows, start, end = rows[error[rows] > MAX_STD_ERR], end, 2 * end
        if start == MAX_DRAWS:
            break
    return result, error


def _of_known_cells(known_cells: KnownCells, incomplete: Incomplete, drawn: Completed) -> Array:
    """Return the log-density of known cells under the experts, at each of their points, or at one if all are equal."""
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


def conditional_means(
    log_density: Callable[[Array], Array], incomplete: Incomplete, numbers: Callable[[Array], Array]
) -> Array:
    """Estimate the means of numbers that follow from rows, given the known cells of these rows.

    The means are weighted ones over quasi-random draws that the known cells of a row decide. So they depend on no other
    row, and are equal at every call.

    Parameters
    ----------
    log_density : callable
        It takes points of shape (n, n_features) and returns their log-densities.
    incomplete : Incomplete
    numbers : callable
        It takes points of shape (n, n_features) and returns numbers of shape (n, n_numbers).

    Returns
    -------
    means : ndarray of shape (n_rows, n_numbers)
    """
    places, means = [], []
    for batch in incomplete.batches(N_AVERAGED):
        some = incomplete.of(batch)
        drawn = some.completed(some.quasi_random(0, N_AVERAGED))
        points = drawn.points.reshape(-1, drawn.points.shape[-1])
        log_weights = log_density(points).reshape(drawn.log_proposal.shape) + drawn.log_weights
        values = numbers(points).reshape(*log_weights.shape, -1)
        places.append(batch)
        means.append((softmax(log_weights, axis=1)[:, None] @ values)[:, 0])
    in_order: Array = np.concatenate(means)[np.argsort(np.concatenate(places))]
    return in_order


def _log_mean(log_weights: Array) -> tuple[Array, Array]:
    """Return the logarithm of the mean of the weights of each row, and its standard error."""
    largest = log_weights.max(1, keepdims=True)
    weights = np.exp(log_weights - np.where(np.isfinite(largest), largest, 0.0))
    mean = weights.mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.nan_to_num(weights.std(1) / mean / np.sqrt(weights.shape[1]))
        return np.log(mean) + largest[:, 0], error
