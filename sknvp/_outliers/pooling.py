"""Log-densities of several densities, standardised and pooled to one outlier score."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_STD = 0.1  # nats; the log-densities of a flat density are not divided by less


class Standardization(NamedTuple):
    """The mean and the standard deviation of each density's log-densities over ordinary rows, in nats."""

    mean: Array  # shape (n_densities, 1)
    std: Array  # shape (n_densities, 1)

    @classmethod
    def of(cls, log_densities: Array) -> Self:
        """Measure them by log-densities of ordinary rows, shape (n_densities, n_rows)."""
        mean, std = log_densities.mean(1, keepdims=True), log_densities.std(1, keepdims=True)
        return cls(mean, np.maximum(std, LEAST_STD))

    def pooled(self, log_densities: Array) -> Array:
        """Pool log-densities, shape (n_densities, n_rows), to a score of each row, shape (n_rows,).

        With z the standardised log-densities, it is ``-log mean exp(-z)`` over the densities: their mean where these
        agree, and near the least where one is far below the others.
        """
        z = (log_densities - self.mean) / self.std
        score: Array = np.log(len(z)) - np.logaddexp.reduce(-z, axis=0)
        return score

    def pooled_errors(self, log_densities: Array, errors: Array) -> Array:
        """Bound the standard error of the pooled score, given those of the log-densities in the same shape."""
        z = (log_densities - self.mean) / self.std
        shares = np.exp(-z - np.logaddexp.reduce(-z, axis=0))  # the derivatives of the score
        bound: Array = (shares * errors / self.std).sum(0)
        return bound
