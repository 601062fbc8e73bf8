"""Signs that rows are not independent, so that rows held out at random are no new rows.

Three signs are looked for: near copies of rows, rows on the line between two others, and an order of the rows in which
each is near the one before. The page ``docs/dependent_rows.md`` says how often independent rows show one of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from .._warn import warn_caller
from .rows import Rows, components, location_and_scale

LEAST_ROWS = 40  # fewer rows tell nothing
MAX_ROWS = 20_000  # neighbours are searched among so many rows at most
N_QUERIES = 500  # neighbours of so many rows are looked at
MAX_NEIGHBOURS = 256
MAX_JUMP = 2.5  # a larger jump of the distances to the nearest neighbours is that of near copies
COPY_RATIO = 1000.0  # a copy that is nearer than other rows by this factor counts as equal
N_ENDS = 10  # the line through a row may end at two of so many neighbours
MAX_SHARE_ON_LINES = 0.2  # a larger share of rows on lines between neighbours is no accident
MAX_LAG = 8  # each row is compared with the next one and with the one so many places later

CURE = (
    "Rows held out at random are then no new rows, and the density can be far too sure of its training rows. Pass "
    "groups to fit: rows with equal labels are held out together"
)


class Jump(NamedTuple):
    """Where the distances to the nearest neighbours jump."""

    n_near: int  # the number of neighbours before the jump
    ratio: float  # the median distance of the neighbours after the jump, in distances of those before it
    size: float  # how many times faster the distance rises there than it does farther out


def hold_out_together(rows: Rows, in_order: NDArray[Any]) -> Rows:
    """Group rows that are equal but for tiny differences, and warn of rows that are not independent otherwise.

    Parameters
    ----------
    rows : Rows
        The distinct rows; they are returned as they are unless most of them are such copies.
    in_order : ndarray of shape (n_samples, n_columns)
        All rows in the order in which they were given.
    """
    z = _standardized(rows)
    if len(z) < LEAST_ROWS or not z.shape[1]:
        return rows
    jump = distance_jump(z)
    if jump.size > MAX_JUMP and jump.ratio > COPY_RATIO and len(z) <= MAX_ROWS:
        return rows._replace(groups=near_copies(z, jump))
    if jump.size > MAX_JUMP:
        warn_caller(f"Most rows of X have near copies among the others. {CURE}.")
    elif share_on_lines(z[:, _mostly_distinct(z)], rows.x.dtype) > MAX_SHARE_ON_LINES:
        warn_caller(f"Many rows of X lie on the line between two others, as interpolated rows do. {CURE}.")
    elif follows_a_path(in_order):
        warn_caller(
            "Each row of X is near the one before, as in time or where a thing is measured several times. "
            f"{CURE}, for instance blocks of rows that follow each other, np.arange(len(X)) * 8 // len(X)."
        )
    return rows


def follows_a_path(X: NDArray[Any]) -> bool:
    """Tell whether some column moves like a path: its steps are small, and larger over several rows.

    The median distance of two values of a random walk grows like the root of the number of rows between them, while
    it is constant among independent rows and among rows sorted by class. A column that only rises or only falls is the
    one that rows were sorted by, and tells nothing.
    """
    lag = min(MAX_LAG, len(X) // 25)
    if lag < 4:
        return False
    steps = np.diff(X, axis=0)
    sorted_by = np.maximum((steps >= 0).mean(0), (steps <= 0).mean(0)) > 0.95
    near, far = (np.median(np.abs(X[k:] - X[:-k]), axis=0) for k in (1, lag))
    return bool((~sorted_by & (near > 0) & (far > near * np.sqrt(lag / 2))).any())


def distance_jump(z: NDArray[np.float64]) -> Jump:
    """Find where the distance to the k-th neighbour rises faster than it does farther out.

    Where rows are spread evenly in m dimensions around a row, its distances r_k to the k-th neighbours have
    ``E log(r_2k / r_k) = (1/k + ... + 1/(2k-1)) / m``. So the quotient of the two sides changes little with k, unless
    every row has c near copies: then it is far larger for the k with k <= c < 2k.
    """
    distances = _distances(z)
    sizes = 2 ** np.arange(int(np.log2(distances.shape[1])))
    expected = np.array([(1 / np.arange(k, 2 * k)).sum() for k in sizes])
    ratios = np.median(distances[:, 2 * sizes - 1] / distances[:, sizes - 1], axis=0)
    rises = np.log(ratios) / expected
    farther = np.maximum(np.append(rises[1:], rises[-1]), 1 / z.shape[1])
    at = int((rises / farther).argmax())
    return Jump(int(sizes[at]), float(ratios[at]), float((rises / farther)[at]))


def near_copies(z: NDArray[np.float64], jump: Jump) -> NDArray[np.intp]:
    """Number the groups of near copies: each row is joined to the neighbours before the jump of its distances."""
    n = 2 * jump.n_near
    distances, neighbours = NearestNeighbors(algorithm="kd_tree").fit(z).kneighbors(z, n + 1)
    distances = np.maximum(distances, np.finfo(np.float64).tiny)
    rows, places = np.nonzero(distances < distances[:, n:] / np.sqrt(jump.ratio))
    return components(len(z), rows, neighbours[rows, places])


def share_on_lines(z: NDArray[np.float64], dtype: np.dtype[Any]) -> float:
    """Return the share of the rows that lie on the line between two of their neighbours, but for rounding errors."""
    if z.shape[1] < 2:
        return 0.0
    z = _run(z)
    queries = _queries(z)
    distances, neighbours = NearestNeighbors(algorithm="kd_tree").fit(z).kneighbors(queries, N_ENDS + 1)
    directions = (z[neighbours] - queries[:, None])[:, 1:] / np.maximum(distances[:, 1:, None], 1e-300)
    cosines = directions @ directions.transpose(0, 2, 1)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    return float((cosines.min((1, 2)) < -1 + tolerance).mean())


def _standardized(rows: Rows) -> NDArray[np.float64]:
    """Standardise the columns that vary, with gross outliers drawn in to ten standard deviations."""
    loc, scale, varies = location_and_scale(rows.table, rows.weights)
    z: NDArray[np.float64] = np.clip((rows.table - loc) / scale, -10, 10)[:, varies]
    return z


def _mostly_distinct(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which columns hold nearly as many values as rows; where values repeat, many rows lie on lines."""
    return np.array([len(np.unique(column)) > 0.8 * len(column) for column in z.T])


def _run(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take `MAX_ROWS` rows that follow each other in lexicographic order, so that their near neighbours are there."""
    start = max(0, len(z) - MAX_ROWS) // 2
    run: NDArray[np.float64] = z[start : start + MAX_ROWS]
    return run


def _queries(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take `N_QUERIES` rows at equal distances in lexicographic order."""
    queries: NDArray[np.float64] = z[np.linspace(0, len(z) - 1, min(len(z), N_QUERIES)).astype(int)]
    return queries


def _distances(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of some rows to their nearest neighbours in rising order."""
    z = _run(z)
    n_neighbours = min(MAX_NEIGHBOURS, len(z) // 4)
    distances, _ = NearestNeighbors(algorithm="kd_tree").fit(z).kneighbors(_queries(z), n_neighbours + 1)
    positive: NDArray[np.float64] = np.maximum(distances[:, 1:], np.finfo(np.float64).tiny)
    return positive
