"""Signs that rows are not independent, so that rows held out at random are no new rows.

Four signs are looked for: near copies of rows, rows on the line between two others, an order of the rows in which each
is near the one before, and rows along a path whose order is lost. The page ``docs/dependent_rows.md`` says how often
independent rows show one of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._warn import warn_caller
from .groups import components, groups_of_equal_rows
from .neighbours import Signs, nearest_neighbors
from .rows import Rows
from .scaling import location_and_scale

MIN_ROWS = 40  # Fewer rows tell nothing.
MAX_ROWS = 20_000  # Neighbours are searched among at most this many rows.
N_QUERIES = 500  # The neighbours of at most this many rows are looked at.
MAX_NEIGHBOURS = 256
MAX_JUMP = 2.5  # A larger jump of the distances to the nearest neighbours shows near copies.
MIN_GROUPS = 20  # Fewer groups of near rows are clusters.
MIN_COPY_LOG_RATIO = np.log(100)  # Copies that are a hundred times nearer than other rows count as equal.
N_LINE_ENDS = 10  # The line through a row may end at any two of this many neighbours.
MAX_SHARE_ON_LINES = 0.2  # A larger share of rows on lines between neighbours is no accident.
LAG = 8  # Each row is compared with the next row and with the one this many places later.
MAX_RISE = 2.0  # Along a path, the median distance to the later row is more than this many times that to the next row.
MAX_SHARE_RISING = 0.7  # Along a path, the later row is farther away than the next row more often than this.
MIN_ERRORS = 4.0  # The share of rows whose later row is farther must exceed one half by this many standard errors.

CURE = (
    "Rows held out at random are then no new rows, and the density can be far too sure of its training rows. Pass "
    "groups to fit: rows with equal labels are held out together"
)


class Jump(NamedTuple):
    """Where the distances to the nearest neighbours jump."""

    n_near: int  # The number of neighbours before the jump.
    log_ratio: float  # The median of the logarithm of the distance after the jump over the distance before it.
    size: float  # The quotient of the rise of the distance at the jump and its rise farther out.


NO_JUMP = Jump(1, 0.0, 0.0)


def hold_out_together(rows: Rows, table: NDArray[Any], weights: NDArray[np.float64]) -> Rows:
    """Group rows that are equal but for tiny differences, and warn of rows that are not independent otherwise.

    Parameters
    ----------
    rows : Rows
        The distinct rows. They are returned as they are unless most of them are near copies.
    table : ndarray of shape (n_samples, n_columns)
        All rows in the order in which they were given. The first `MAX_ROWS` with positive weights are looked at.
    weights : ndarray of shape (n_samples,)
        The weights of all rows.
    """
    z = _standardized(rows)
    z = z[:, _mostly_distinct(z)]
    if len(z) < MIN_ROWS:
        return rows
    jump = distance_jump(z) if z.shape[1] else NO_JUMP
    if jump.size > MAX_JUMP and jump.log_ratio > MIN_COPY_LOG_RATIO and len(z) == len(rows.x):
        return rows._replace(groups=near_copies(z, jump))
    signs = Signs.of(z)
    if (jump.size > MAX_JUMP and len(z) > MIN_GROUPS * jump.n_near) or signs.copies:
        warn_caller(f"Most rows of X have near copies among the others. {CURE}.")
    elif share_on_lines(z, rows.x.dtype) > MAX_SHARE_ON_LINES:
        warn_caller(f"Many rows of X lie on the line between two others, as interpolated rows do. {CURE}.")
    elif follows_a_path(_first_of_equal_rows(table[np.flatnonzero(weights)[:MAX_ROWS]])):
        warn_caller(
            "Each row of X is near the one before, as in time or where a thing is measured several times. "
            f"{CURE}, for instance blocks of rows that follow each other, np.arange(len(X)) * 8 // len(X)."
        )
    elif signs.path:
        warn_caller(
            "The rows of X lie along a path, as rows in time do, although not in its order. "
            f"{CURE}, for instance blocks of rows that followed each other in time."
        )
    return rows


def follows_a_path(X: NDArray[Any]) -> bool:
    """Tell whether some column moves like a path: its steps are small, and larger over several rows.

    The median distance between the ranks of two values of a random walk grows like the root of the number of rows from
    one to the other, and the later of two rows is mostly the farther one. Among independent rows, and among rows sorted
    by class, the later row is the farther one in half of the cases, also where few values make medians jump. A column
    that only rises or only falls is the one that rows were sorted by, and tells nothing.
    """
    if len(X) < 8 * LAG:
        return False
    ranks = np.stack([np.searchsorted(np.sort(column), column) for column in X.T], 1)
    steps = np.diff(ranks, axis=0)
    sorted_by = np.maximum((steps >= 0).mean(0), (steps <= 0).mean(0)) > 0.95
    near, far = (np.abs(ranks[k : len(X) - LAG + k] - ranks[:-LAG]) for k in (1, LAG))
    share_rising = ((far > near).mean(0) + (far >= near).mean(0)) / 2
    rises = (share_rising > MAX_SHARE_RISING) & (share_rising > 0.5 + MIN_ERRORS * 0.5 / len(near) ** 0.5)
    medians = np.median(near, axis=0), np.median(far, axis=0)
    return bool((~sorted_by & rises & (medians[0] > 0) & (medians[1] > MAX_RISE * medians[0])).any())


def distance_jump(z: NDArray[np.float64]) -> Jump:
    """Find where the distance to the k-th neighbour rises faster than it does farther out.

    Where rows are spread evenly in m dimensions around a row, its distances r_k to the k-th neighbours have
    ``E log(r_2k / r_k) = (1/k + ... + 1/(2k-1)) / m``. So the quotient of the two sides changes little with k, unless
    every row has c near copies: then it is far larger for the k with k <= c < 2k.
    """
    distances = _distances(z)
    sizes = 2 ** np.arange(int(np.log2(distances.shape[1])))
    expected = np.array([(1 / np.arange(k, 2 * k)).sum() for k in sizes])
    log_ratios = np.median(np.log(distances[:, 2 * sizes - 1]) - np.log(distances[:, sizes - 1]), axis=0)
    rises = log_ratios / expected
    farther = np.maximum(np.append(rises[1:], rises[-1]), 1 / z.shape[1])
    at = int((rises / farther).argmax())
    return Jump(int(sizes[at]), float(log_ratios[at]), float((rises / farther)[at]))


def near_copies(z: NDArray[np.float64], jump: Jump) -> NDArray[np.intp]:
    """Number the groups of near copies: each row is joined to the neighbours before the jump of its distances."""
    n = 2 * jump.n_near
    distances, neighbours = nearest_neighbors(z).kneighbors(z, n + 1)
    distances = np.maximum(distances, np.finfo(np.float64).tiny)
    rows, places = np.nonzero(distances < distances[:, n:] * np.exp(-jump.log_ratio / 2))
    return components(len(z), rows, neighbours[rows, places])


def share_on_lines(z: NDArray[np.float64], dtype: np.dtype[Any]) -> float:
    """Return the share of the rows that lie on the line between two of their neighbours, but for rounding errors.

    The share is zero if the lines have only few directions, since columns then determine each other.
    """
    if z.shape[1] < 2:
        return 0.0
    queries = _queries(z)
    distances, neighbours = nearest_neighbors(z).kneighbors(queries, N_LINE_ENDS + 1)
    directions = (z[neighbours] - queries[:, None])[:, 1:] / np.maximum(distances[:, 1:, None], 1e-300)
    cosines = directions @ directions.transpose(0, 2, 1)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    on_line = cosines.min((1, 2)) < -1 + tolerance
    ends = cosines.min(2).argmin(1)
    along = np.abs(directions[np.arange(len(queries)), ends])[on_line].round(6)
    return float(on_line.mean()) if 4 * len(np.unique(along, axis=0)) > len(along) else 0.0


def _standardized(rows: Rows) -> NDArray[np.float64]:
    """Standardise the columns that vary, with gross outliers drawn in to ten standard deviations.

    Of many rows take `MAX_ROWS` that follow each other in lexicographic order, so that near neighbours are there.
    """
    start = max(0, len(rows.x) - MAX_ROWS) // 2
    run = slice(start, start + MAX_ROWS)
    table = np.concatenate([rows.context[run], rows.x[run]], 1)
    loc, scale, varies = location_and_scale(table, rows.weights[run])
    z: NDArray[np.float64] = np.clip((table - loc) / scale, -10, 10)[:, varies]
    return z


def _first_of_equal_rows(X: NDArray[Any]) -> NDArray[Any]:
    """Return the rows without repetitions, in the order in which each comes first."""
    first: NDArray[Any] = X[np.sort(np.unique(groups_of_equal_rows(X), return_index=True)[1])]
    return first


def _mostly_distinct(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which columns hold nearly as many values as rows; where values repeat, many rows look near or on lines."""
    return np.array([len(np.unique(column)) > 0.8 * len(column) for column in z.T], dtype=bool)


def _queries(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take `N_QUERIES` rows at equal distances in lexicographic order."""
    queries: NDArray[np.float64] = z[np.linspace(0, len(z) - 1, min(len(z), N_QUERIES)).astype(int)]
    return queries


def _distances(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of some rows to their nearest neighbours in rising order."""
    n_neighbours = min(MAX_NEIGHBOURS, len(z) // 4)
    distances, _ = nearest_neighbors(z).kneighbors(_queries(z), n_neighbours + 1)
    positive: NDArray[np.float64] = np.maximum(distances[:, 1:], np.finfo(np.float64).tiny)
    return positive
