"""Signs of copies with much noise, and of a path whose order is lost, in how the nearest rows lie.

Where rows are independent, bounds hold for the numbers below wherever the density is smooth over the distances between
neighbours, however many dimensions it fills. Copies and paths break these bounds. The page ``docs/dependent_rows.md``
says how often independent rows break them.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma
from sklearn.neighbors import NearestNeighbors

MIN_ROWS = 200  # Fewer rows tell too little.
MIN_COLUMNS = 3  # In fewer columns, rows lie too close for copies with much noise to matter.
MAX_ROWS = 2_000  # At most this many rows are looked at.
N_NEAREST = 24
# A row more than e^5 times nearer than the median nearest row, such as one of a pair of copies, counts as that near.
MAX_LOG_RATIO = 5.0
SIZES = (1, 2, 3, 4, 6, 8, 9, 12, 16, 24)  # Mutual shares are computed for these numbers of nearest rows.
MAX_DROP = 0.13  # A larger drop of the mutual shares, in units of the evenness, shows copies.
MAX_EVENNESS = 0.65  # Below it, the nearest rows lie at such similar distances that they may be steps of a path.
MIN_TURN = 0.1  # A larger turn, in units of the evenness, shows a path.
MIN_ERRORS = 4.0  # The turn of a path exceeds zero by more than this many standard errors.


def nearest_neighbors(z: NDArray[np.float64], algorithm: str = "kd_tree") -> NearestNeighbors:
    """Return an index of rows that is searched in one job.

    Where no number of jobs is given, joblib would send parts of the search to the workers on which fits run.
    """
    return NearestNeighbors(algorithm=algorithm, n_jobs=1).fit(z)


class Nearest(NamedTuple):
    """The nearest rows of each row, nearest first."""

    z: NDArray[np.float64]  # The rows, of shape (n_rows, n_columns).
    log_distances: NDArray[np.float64]  # The logarithms of the distances, of shape (n_rows, N_NEAREST).
    numbers: NDArray[np.intp]  # The numbers of the nearest rows, of shape (n_rows, N_NEAREST).

    @classmethod
    def of(cls, z: NDArray[np.float64]) -> Self:
        """Find the nearest rows; of many rows take `MAX_ROWS` that follow each other."""
        start = max(0, len(z) - MAX_ROWS) // 2
        z = z[start : start + MAX_ROWS]
        numbers = nearest_neighbors(z, "brute").kneighbors(n_neighbors=N_NEAREST, return_distance=False)
        # Distances are computed anew, since the search loses digits where rows are near.
        distances = np.linalg.norm(z[numbers] - z[:, None], axis=2)
        logs = np.log(np.maximum(distances, np.finfo(np.float64).tiny))
        return cls(z, np.maximum(logs, np.median(logs[:, 0]) - MAX_LOG_RATIO), numbers)


class Signs(NamedTuple):
    """What the nearest rows look like."""

    copies: bool
    path: bool

    @classmethod
    def of(cls, z: NDArray[np.float64]) -> Self:
        """Look for copies and for a path among rows of standardised columns that are in lexicographic order."""
        if len(z) < MIN_ROWS or z.shape[1] < MIN_COLUMNS:
            return cls(copies=False, path=False)
        nearest = Nearest.of(z)
        even, turns = evenness(nearest), turn(nearest)
        error = turns.std() / len(turns) ** 0.5
        steps = even < MAX_EVENNESS and turns.mean() > max(MIN_TURN * even, MIN_ERRORS * error)
        return cls(copies=drop(mutual_shares(nearest)) > MAX_DROP * even, path=bool(steps))


def evenness(nearest: Nearest) -> float:
    """Return how much the distances to the nearest row differ, in units of their least spread among independent rows.

    Around a row, independent rows fill some number m of dimensions evenly. Then the distances r_k to the k-th nearest
    have ``E log(r_2k / r_k) = (1/k + ... + 1/(2k-1)) / m``, and ``log r_1`` has a standard deviation of
    ``pi / sqrt(6) / m``, or more if the density or m differs from place to place. Steps of a path are of similar length
    instead, and the distances between copies jump to those between other rows.
    """
    sizes = 2 ** np.arange(4)
    logs = nearest.log_distances
    growth = (logs[:, 2 * sizes - 1] - logs[:, sizes - 1]).mean(0) / (digamma(2 * sizes) - digamma(sizes))
    return float(logs[:, 0].std() / (np.pi / 6**0.5) / growth.max())


def mutual_shares(nearest: Nearest) -> NDArray[np.float64]:
    """Return how often a row is among the k nearest of one of its k nearest, for each k of `SIZES`.

    Among independent rows the share rises with k: from 2/3 to one if they fill one dimension evenly. The c copies of a
    row are the c - 1 nearest of each other, so that the share is largest for k = c - 1 and drops for larger k.
    """
    back = nearest.numbers[nearest.numbers] == np.arange(len(nearest.z))[:, None, None]
    rank = np.where(back.any(2), back.argmax(2), N_NEAREST)
    return np.array([(rank[:, :k] < k).mean() for k in SIZES])


def drop(shares: NDArray[np.float64]) -> float:
    """Return the largest amount by which a share exceeds a later one."""
    least_later = np.minimum.accumulate(shares[:0:-1])[::-1]
    return float((shares[:-1] - least_later).max())


def turn(nearest: Nearest) -> NDArray[np.float64]:
    """Return for each row how far its two nearest rows turn away from each other, compared with its four nearest.

    It is the mean cosine between the directions to the four minus the cosine between those to the two. Both are equal
    where the density is constant. Noise that moves the row from its place turns all of them the same way; only along a
    path, the two nearest are the row before and the row after, whose noise is their own.
    """
    directions = nearest.z[nearest.numbers[:, :4]] - nearest.z[:, None]
    directions /= np.maximum(np.linalg.norm(directions, axis=2, keepdims=True), np.finfo(np.float64).tiny)
    of_four = ((directions.sum(1) ** 2).sum(1) - 4) / 12
    turns: NDArray[np.float64] = of_four - (directions[:, 0] * directions[:, 1]).sum(1)
    return turns
