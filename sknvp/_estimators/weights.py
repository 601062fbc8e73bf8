"""The weights of rows."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length
from torch import Tensor

MAX_COUNT = 1e12  # Weights stand for at most this many rows.


def check_weights(sample_weight: ArrayLike | None, X: NDArray[Any], n_least: int = 2) -> NDArray[np.float64]:
    """Check the weights of the rows and return them as float64, at most one; None stands for ones.

    Weights must not be negative, and at least ``n_least`` of them must be positive.
    """
    if sample_weight is None:
        return np.ones(len(X))
    weights = _as_weights(sample_weight, X)
    n_positive = int((weights > 0).sum())
    if n_positive < n_least:
        raise ValueError(
            f"sample_weight must leave at least {n_least} row{'s' * (n_least > 1)} of weight above zero, got "
            f"{n_positive}. Pass None to count every row once."
        )
    return bounded_weights(weights)


def weighted_total(log_density: NDArray[np.float64], sample_weight: ArrayLike | None) -> float:
    """Sum the log-densities, each as often as its row counts; a row of weight zero adds nothing, not even infinity."""
    if sample_weight is None:
        return float(log_density.sum())
    weights = _as_weights(sample_weight, log_density)
    positive = weights > 0
    return float((weights[positive] * log_density[positive]).sum())


def _as_weights(sample_weight: ArrayLike, X: NDArray[Any]) -> NDArray[np.float64]:
    """Check that there is a weight for each row and that none is negative; return them as float64."""
    given = np.asarray(sample_weight)
    if given.ndim != 1:
        raise ValueError(f"sample_weight must have shape (n_samples,), got {given.shape}.")
    weights: NDArray[np.float64] = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    check_consistent_length(X, weights)
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight must not be negative, got {weights.min()}. A row that is not to count can have weight zero."
        )
    return weights


def count_rows(sample_weight: ArrayLike | None, X: NDArray[Any]) -> float:
    """Return how many rows the weights stand for: their sum, or Kish's effective number where that is larger."""
    if sample_weight is None:
        return float(len(X))
    weights = np.asarray(sample_weight, dtype=np.float64)
    with np.errstate(over="ignore"):
        total = min(float(weights.sum()), MAX_COUNT)
    return max(total, effective_number(bounded_weights(weights)))


def rows_per_entry(weights: NDArray[np.float64], n_rows: float) -> NDArray[np.float64]:
    """Return how many of ``n_rows`` rows each entry with a weight stands for."""
    counts: NDArray[np.float64] = weights * (n_rows / weights.sum())
    return counts


def effective_number(weights: NDArray[np.float64] | Tensor) -> float:
    """Return Kish's effective number of rows, ``(sum w)^2 / sum w^2``."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def bounded_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply the weights by a power of two so that none exceeds one: only ratios matter, and they stay exact."""
    at_most_one: NDArray[np.float64] = np.ldexp(weights, -np.frexp(weights.max())[1])
    return at_most_one


def systematic_resampling(weights: NDArray[np.float64], n_rows: int, rng: np.random.RandomState) -> NDArray[np.intp]:
    """Draw indices, each as often as its share of the weight says, rounded up or down."""
    order = rng.permutation(len(weights))
    cumulative = np.cumsum(weights[order])
    points = (np.arange(n_rows) + rng.uniform()) / n_rows * cumulative[-1]
    rows: NDArray[np.intp] = order[np.searchsorted(cumulative, points, side="right").clip(max=len(order) - 1)]
    return rows
