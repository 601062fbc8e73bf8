"""Weights of several densities, under whose mixture rows are likeliest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEAST_SHARE = 1e-4  # Each estimate of a margin has at least this weight.
TINY = np.finfo(np.float64).tiny


def likeliest_shares(
    densities: Array,
    weights: Array,
    prior: Array | None = None,
    strength: float = 0.0,
    *,
    n_iterations: int = 200,
    tol: float = 1e-5,
) -> Array:
    """Find the weights of densities under whose mixture rows are likeliest, by expectation-maximization.

    Parameters
    ----------
    densities : ndarray of shape (n_densities, n_rows)
        The density or the probability of each row, by an estimate that was made without it. The densities of a row may
        be divided by a number.
    weights : ndarray of shape (n_rows,)
        The weights of the rows, which add up to one.
    prior : ndarray of shape (n_densities,), optional
        The first weights, which add up to one; equal ones by default.
    strength : float, default=0.0
        The first weights count like rows that have this many times the weight of all rows.
    n_iterations : int, default=200
        The largest number of iterations.
    tol : float, default=1e-5
        A smaller change of all weights ends them.

    Returns
    -------
    shares : ndarray of shape (n_densities,)
        They add up to one, unless no density is positive at some row.
    """
    shares = prior = np.full(len(densities), 1 / len(densities)) if prior is None else prior
    for _ in range(n_iterations):
        explained = shares * (densities @ (weights / np.maximum(shares @ densities, TINY)))
        before, shares = shares, (explained + strength * prior) / (1 + strength)
        if np.abs(shares - before).max() < tol:
            break
    return shares


def shares_of_estimates(densities: Array, weights: Array) -> Array:
    """Find the `likeliest_shares` of several estimates of one margin, of which each has at least `LEAST_SHARE`."""
    shares: Array = np.maximum(likeliest_shares(densities, weights), LEAST_SHARE)
    return shares
