"""Weights of several estimates of a distribution, by the likelihood of each row under the estimates without it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEAST_SHARE = 1e-4  # the least weight of each estimate
N_ITERATIONS = 200  # of expectation-maximization
TOL = 1e-5  # a smaller change of all weights ends it
TINY = np.finfo(np.float64).tiny


def likeliest_shares(densities: Array, weights: Array) -> Array:
    """Find the weights of estimates under whose mixture rows are likeliest, by expectation-maximization.

    Parameters
    ----------
    densities : ndarray of shape (n_estimates, n_rows)
        The density or the probability of each row, by an estimate that was made without it.
    weights : ndarray of shape (n_rows,)
        The weights of the rows, which add up to one.

    Returns
    -------
    shares : ndarray of shape (n_estimates,)
        They add up to one, unless some were raised to `LEAST_SHARE`, or no estimate has a density at some row.
    """
    shares = np.full(len(densities), 1 / len(densities))
    for _ in range(N_ITERATIONS):
        before, shares = shares, shares * (densities @ (weights / np.maximum(shares @ densities, TINY)))
        if np.abs(shares - before).max() < TOL:
            break
    least: Array = np.maximum(shares, LEAST_SHARE)
    return least
