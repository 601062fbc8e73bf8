"""Tables of which several processes hold a part each, called shards: location and scale, held-out rows, a sample."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._estimators.rows import Rows
from .._estimators.scaling import WholeTable, outlier_limits
from .._estimators.weights import systematic_resampling
from .._experts.table import MAX_ROWS
from ..flows.train.ranks import Ranks

# These are the constants of SplitMix64.
INCREMENT = 0x9E3779B97F4A7C15
MULTIPLIERS = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class ShardedTable(WholeTable):
    """What location and scale need of a table, measured over the shards of all processes.

    Sums are added up in the order of the processes, so that each of them has the same bits.

    Parameters
    ----------
    ranks : Ranks
        The processes.
    total : float
        The weight of the rows of this process, comparable between the processes.
    seed : int
        It chooses the rows of the sample; equal in all processes.
    """

    def __init__(self, ranks: Ranks, total: float, seed: int) -> None:
        self.ranks, self.seed = ranks, seed
        self.share = total / sum(ranks.gather(lambda: total))

    def first(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.ranks.of_first(lambda: X[0].copy())

    def largest(self, numbers: NDArray[Any]) -> NDArray[Any]:
        most: NDArray[Any] = np.max(self.ranks.gather(lambda: numbers.max(0)), axis=0)
        return most

    def limits(self, X: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the `outlier_limits` of each column in the sample."""
        return outlier_limits(*self.sample(weights, X))

    def average(self, numbers: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[Any]:
        def sums() -> tuple[NDArray[Any], Any]:
            return (numbers * weights[:, None]).sum(0), weights.sum()

        numerators, denominators = zip(*self.ranks.gather(sums), strict=True)
        mean: NDArray[Any] = np.sum(numerators, axis=0) / np.sum(denominators)
        return mean

    def sample(self, weights: NDArray[np.float64], *parts: NDArray[Any]) -> list[NDArray[Any]]:
        """Gather the rows of all processes, or if there are more than `MAX_ROWS`, so many drawn by their weights.

        This returns the rows of each part, and their weights at the end, in all processes.
        """
        chosen, counts = np.arange(len(weights)), weights
        if sum(self.ranks.gather(lambda: len(weights))) > MAX_ROWS:
            n_rows = max(1, int(MAX_ROWS * self.share))
            chosen = systematic_resampling(weights, n_rows, np.random.RandomState(self.seed))
            counts = np.full(n_rows, self.share / n_rows)
        gathered = self.ranks.gather(lambda: [*(part[chosen] for part in parts), counts])
        return [np.concatenate(columns) for columns in zip(*gathered, strict=True)]

    def held_out(self, rows: Rows, n_members: int, fraction: float, seed: int) -> NDArray[np.bool_]:
        """Choose the rows that each member is validated on, shape (n_members, n_rows), dtype bool.

        Each row has a place on a circle that follows from its numbers alone; members validate on arcs of length
        ``fraction`` that start at equal distances. So equal rows are held out together, in whatever process they are.
        A row that is heavier than the fraction is never held out.
        """
        past_start = (places(rows.x, seed) - np.arange(n_members)[:, None] / n_members) % 1
        too_heavy = rows.weights * (self.share / rows.weights.sum()) > fraction
        chosen: NDArray[np.bool_] = (past_start < fraction) & ~too_heavy
        n_validated = np.sum(self.ranks.gather(lambda: chosen.sum(1)), axis=0)
        n_trained = np.sum(self.ranks.gather(lambda: (~chosen).sum(1)), axis=0)
        if not (n_validated.all() and n_trained.all()):
            raise ValueError(
                f"validation_fraction must leave every flow rows to learn from and rows to be validated on, got "
                f"{fraction} and {(n_trained + n_validated)[0]} rows in all, of equal ones one in each process. Set "
                "early_stopping=False, or fit to so few different rows in one process."
            )
        return chosen


def places(x: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """Return a number between 0 and 1 for each row, as if drawn at random, which follows from the numbers of the row.

    References
    ----------
    G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    mixed = np.full(len(x), seed, dtype=np.uint64)
    for column in x.T:
        words = (column + np.zeros(1, dtype=x.dtype)).view(f"u{x.dtype.itemsize}")  # Minus zero becomes zero.
        mixed = _mix((mixed ^ words) + np.uint64(INCREMENT))
    shares: NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return shares


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the mixing function of SplitMix64."""
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(multiplier)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed
