"""How exactly the numbers of a column are known."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def nearest_gaps(distinct: Array, at_ends: float) -> Array:
    """Return the distance of each of several rising numbers to the nearest other number.

    It is as if another number lay at the distance ``at_ends`` beyond the least and the greatest number.
    """
    gaps = np.concatenate([[at_ends], np.diff(distinct), [at_ends]])
    nearest: Array = np.minimum(gaps[:-1], gaps[1:])
    return nearest


def resolution(values: Array) -> float:
    """Measure the resolution of a column: a tenth of its distinct values have another value within this distance.

    The resolution is zero if all values are equal.
    """
    distinct = np.unique(values)
    return float(np.quantile(nearest_gaps(distinct, np.inf), 0.1)) if len(distinct) > 1 else 0.0
