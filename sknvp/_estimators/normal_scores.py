"""Normal scores of the continuous columns of rows, as a flow sees them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._columns.scores import normal_scores
from ..flows.builders.specification import RealNVPSpecification, Scores
from .distinct import Distinct
from .rows import Rows
from .weights import systematic_resampling

MAX_ROWS = 10_000  # the largest number of rows that margins are estimated from


def scores_of(specification: RealNVPSpecification, rows: Rows, validation: NDArray[np.bool_]) -> Scores | None:
    """Estimate normal scores by the rows that each member does not hold out, at most `MAX_ROWS` rows.

    Columns that have cells have margins already; None if all have.
    """
    scaling, columns = specification.scaling, specification.scaling.columns
    continuous = np.ones(len(columns), bool) if rows.cells is None else ~np.isin(columns, rows.cells.mapped)
    if not continuous.any():
        return None
    weights: NDArray[Any] = rows.weights * ~validation
    if len(rows.x) > MAX_ROWS:
        drawn = systematic_resampling(rows.weights, MAX_ROWS, np.random.RandomState(0))
        rows, weights = rows._replace(x=rows.x[drawn]), ~validation[:, drawn] * 1.0
    z = (rows.x[:, columns] - scaling.loc[columns]) / scaling.scale[columns]
    if rows.cells is not None:  # a row may be there several times, with different points of its cells
        distinct = Distinct.of(np.ascontiguousarray(z[:, continuous]))
        z, weights = z[distinct.first], np.stack([distinct.sums(own) for own in weights])
    return normal_scores(z, weights, continuous)
