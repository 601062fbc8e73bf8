"""Distribution functions of single targets, which may be discrete or bounded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._columns.cells import CellMap, normal_quantile
from .._columns.circle import Circle
from .._columns.kinds import Column
from .._columns.lattice import LatticeMargin
from .._columns.margins import Margin
from ..flows import Ensemble
from ..flows.summaries import distribution
from .evaluation import evaluate

MAX_ROUNDING = 1e-6  # The largest rounding error of a value in single precision, as a share of the value.


def check_ordered(columns: Sequence[Column], n_outputs: int, method: str, cure: str) -> None:
    """Raise a ValueError if there are several targets, for which ``cure`` is advised, or one without an order."""
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


def cumulative_probability(density: Ensemble, points: NDArray[Any], context: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the distribution function of one column at points of shape (n_rows, 1) that the flow sees."""

    def value(y: Tensor, context: Tensor) -> Tensor:
        return distribution(density, y[:, 0], context)[0]

    return evaluate(value, density, points, context)


def ends_of(cell_map: CellMap | None, values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two points for each value: the smaller values lie below the first, and the value too below the second.

    The points are on the scale that the flow sees, and they differ if the value has a probability. Nothing lies below
    minus infinity, and everything lies below infinity.

    Parameters
    ----------
    cell_map : CellMap or None
        The cells of the values of the first column; None if the flow sees these as they are.
    values : ndarray of shape (n_values,)
    """
    if cell_map is None:
        points = values.astype(np.float64)
        return points, points
    margin, rounding = cell_map.margins[0], MAX_ROUNDING * np.abs(values)
    low, high, point, _ = margin.places(values)
    # A value that cannot occur lies in the interval of another value, which owns it.
    owner = margin.values_at(normal_quantile((low + high) / 2))

    def point_at(end: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            at_end = np.where(end <= 0, -np.inf, np.where(end >= 1, np.inf, normal_quantile(end)))
        return np.where(np.isnan(point), at_end, point)

    before, up_to = (np.where(below, high, low) for below in (owner < values - rounding, owner <= values + rounding))
    return point_at(before), point_at(up_to)


def probability_up_to(density: Ensemble, points: NDArray[np.float64], context: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the distribution function at points, shape (n_rows,), of which some may be infinite."""
    probability, finite = np.where(points > 0, 1.0, 0.0), np.isfinite(points)
    if finite.any():
        probability[finite] = cumulative_probability(density, points[finite, None], context[finite])
    between: NDArray[np.float64] = np.clip(probability, 0.0, 1.0)
    return between


def edges_of_values(cell_map: CellMap | None, n_most: int) -> NDArray[np.float64] | None:
    """Return the edges of the intervals that the values of the first column own.

    It is None if the column is not discrete, or has ``n_most`` values or more.
    """
    margin = None if cell_map is None else cell_map.margins[0]
    while isinstance(margin, Circle | LatticeMargin):
        margin = margin.margin
    return margin.edges if isinstance(margin, Margin) and margin.n_values < n_most else None


def probabilities_of_values(
    density: Ensemble, edges: NDArray[np.float64], context: NDArray[Any]
) -> NDArray[np.float64]:
    """Compute the probability of the interval between every two edges, shape (n_rows, n_values).

    The first and the last interval have what lies beyond them, too.
    """

    def value(context: Tensor) -> Tensor:
        inner = context.new_tensor(normal_quantile(edges[1:-1]))
        y, repeated = inner.repeat(len(context)), context.repeat_interleave(len(inner), 0)
        return distribution(density, y, repeated)[0].view(len(context), len(inner))

    up_to = evaluate(value, density, context, n_each=len(edges))
    probabilities: NDArray[np.float64] = np.diff(up_to, axis=1, prepend=0, append=1)
    return probabilities
