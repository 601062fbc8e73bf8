"""Diagnostics of importance weights, which tell how near a distribution is to its target."""

import math

import numpy as np
from numpy.typing import NDArray

MAX_TRUSTED_PARETO_K = 0.7  # Above this shape, estimates from the weights cannot be trusted.
EQUAL = 0.1  # Weights that differ by at most this share of the largest one count as equal.


def log_mean(log_weights: NDArray[np.float64]) -> float:
    """Compute the logarithm of the mean weight."""
    return float(np.logaddexp.reduce(log_weights)) - math.log(len(log_weights))


def effective_share(log_weights: NDArray[np.float64]) -> float:
    """Compute Kish's effective sample size, ``(sum w)^2 / sum w^2``, as a share of the number of draws."""
    return math.exp(2 * log_mean(log_weights) - log_mean(2 * log_weights))


def pareto_k(log_weights: NDArray[np.float64]) -> float:
    """Estimate the shape of the generalised Pareto distribution that the largest weights follow.

    Weights of shape k have 1 / k moments: their variance is infinite beyond 0.5, and their mean beyond 1. The shape of
    the ``min(n / 5, 3 sqrt(n))`` largest weights is estimated by the method of Zhang and Stephens. Following Vehtari et
    al., it is then shrunk towards 0.5, as if by ten more weights. It is minus infinity if the largest weights differ by
    at most a tenth, and infinity if too few weights are positive to tell.

    References
    ----------
    J. Zhang and M. A. Stephens, "A New and Efficient Estimation Method for the Generalized Pareto Distribution",
    Technometrics 51, 2009.

    A. Vehtari, D. Simpson, A. Gelman, Y. Yao and J. Gabry, "Pareto Smoothed Importance Sampling", JMLR 25, 2024.
    """
    n_tail = math.ceil(min(0.2 * len(log_weights), 3 * math.sqrt(len(log_weights))))
    largest = np.sort(log_weights)[-n_tail - 1 :]
    if n_tail < 5 or not np.isfinite(largest).all():
        return math.inf
    weights = np.exp(largest - largest[-1])
    excess = weights[1:] - weights[0]
    if excess[-1] <= EQUAL:
        return -math.inf
    return (n_tail * _pareto_shape(excess[excess > 0]) + 10 * 0.5) / (n_tail + 10)


def _pareto_shape(x: NDArray[np.float64]) -> float:
    """Estimate the shape k of a generalised Pareto distribution, of scale s, by a posterior mean from sorted draws.

    With ``theta = -k / s`` the likeliest shape is ``k(theta) = mean(log(1 - theta x))``, so that only theta has to be
    averaged over, with the profile likelihood as weight, on a grid that follows the prior.
    """
    n, n_grid = len(x), 30 + math.isqrt(len(x))
    quartile = x[int(n / 4 + 0.5) - 1]
    quantiles = (np.arange(n_grid) + 0.5) / n_grid
    theta = 1 / x[-1] + (1 - quantiles**-0.5) / (3 * quartile)
    shape = np.log1p(-theta[:, None] * x).mean(1)
    log_likelihood = n * (np.log(-theta / shape) - shape - 1)
    weights = np.exp(log_likelihood - log_likelihood.max())
    return float(np.log1p(-np.average(theta, weights=weights) * x).mean())
