"""Distribution functions of single targets, which may be discrete or bounded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._columns.cells import CellMap, normal_quantile
from .._columns.kinds import Column
from ..flows import Ensemble
from ..flows.summaries import distribution
from .evaluation import evaluate

ROUNDING = 1e-6  # of a value in single precision, as a share of it


def check_ordered(columns: Sequence[Column], n_outputs: int, method: str, cure: str) -> None:
    """Raise a ValueError if there are several targets, or one without an order; the cure is for several."""
    if n_outputs > 1:
        raise ValueError(
            f"{method} needs a single target, got {n_outputs} in fit. {cure}, or fit one density for each target."
        )
    for column in columns:
        if column.period is not None:
            raise ValueError(
                f"{method} needs a target without a period, since a circle has no least value, got one with period "
                f"{column.period:g} in fit. Take shares or quantiles of draws, sample(X, n_samples), measured from "
                "predict(X)."
            )
        if column.categories is not None and not getattr(column.dtype, "ordered", False):
            raise ValueError(
                f"{method} needs a target of numbers or of ordered categories, got one without order in fit. Take the "
                "likeliest value, predict(X), or draws."
            )


def cumulative(density: Ensemble, points: NDArray[Any], context: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the distribution function of one column at points, shape (n_rows, 1), that the flow sees."""

    def value(y: Tensor, context: Tensor) -> Tensor:
        return distribution(density, y[:, 0], context)[0]

    return evaluate(value, density, points, context)


def ends_of(cell_map: CellMap | None, values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points, as the flow sees them, below which everything is less than a value, and at most the value.

    They differ where the value has a probability. Minus infinity stands for nothing, infinity for everything.

    Parameters
    ----------
    cell_map : CellMap or None
        The cells of the values of the first column; None if the flow sees these as they are.
    values : ndarray of shape (n_values,)
    """
    if cell_map is None:
        points = values.astype(np.float64)
        return points, points
    margin, rounding = cell_map.margins[0], ROUNDING * np.abs(values)
    low, high, point, _ = margin.places(values)
    owner = margin.values_at(normal_quantile((low + high) / 2))  # a value that cannot be lies in another one's interval

    def at(end: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            at_end = np.where(end <= 0, -np.inf, np.where(end >= 1, np.inf, normal_quantile(end)))
        return np.where(np.isnan(point), at_end, point)

    return at(np.where(owner < values - rounding, high, low)), at(np.where(owner <= values + rounding, high, low))
