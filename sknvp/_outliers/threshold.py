"""The threshold between outliers and inliers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def threshold(scores: NDArray[np.float64], weights: NDArray[Any], share: float) -> float:
    """Compute the largest weighted quantile of the scores below which at most this share of the weight lies.

    The threshold is half-way between the last score below and the next score above, so that rounding errors move no row
    across. It is the lowest score if the rows with this score weigh more than the share.
    """
    counts = weights > 0
    levels, group = np.unique(scores[counts], return_inverse=True)
    up_to = np.cumsum(np.bincount(group, weights[counts]))
    n_below = int((up_to <= share * (1 + 1e-9) * up_to[-1]).sum())
    return float(levels[max(n_below - 1, 0) : n_below + 1].mean())
