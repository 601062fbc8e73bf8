"""Log-densities of several densities, standardised and pooled to one outlier score."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_STD = 0.1  # The log-densities of a flat density are divided by at least this many nats.


class Standardization(NamedTuple):
    """The mean and the standard deviation of each density's log-densities over ordinary rows, in nats."""

    mean: Array  # shape (n_densities, 1)
    std: Array  # shape (n_densities, 1)

    @classmethod
    def of(cls, log_densities: Array) -> Self:
        """Measure means and standard deviations of log-densities of ordinary rows, shape (n_densities, n_rows)."""
        mean, std = log_densities.mean(1, keepdims=True), log_densities.std(1, keepdims=True)
        return cls(mean, np.maximum(std, LEAST_STD))

    def pooled(self, log_densities: Array) -> Array:
        """Pool log-densities, shape (n_densities, n_rows), to a score of each row, shape (n_rows,).

        The score is ``-log mean exp(-z)`` over the densities, where z are the standardised log-densities. It is their
        mean where these agree, and near the least of them where one is far below the others.
        """
        z = (log_densities - self.mean) / self.std
        score: Array = np.log(len(z)) - np.logaddexp.reduce(-z, axis=0)
        return score

    def pooled_errors(self, log_densities: Array, errors: Array) -> Array:
        """Bound the standard error of the pooled score; ``errors`` are those of the log-densities."""
        z = (log_densities - self.mean) / self.std
        shares = np.exp(-z - np.logaddexp.reduce(-z, axis=0))  # These are the derivatives of the score.
        bound: Array = (shares * errors / self.std).sum(0)
        return bound
