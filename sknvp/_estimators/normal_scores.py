"""Normal scores of the continuous columns of rows, as a flow sees them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._columns.scores import normal_scores
from ..flows.builders.specification import NormalScoreMaps, RealNVPSpecification
from .distinct import Distinct
from .rows import Rows
from .weights import systematic_resampling

MAX_ROWS = 10_000  # Margins are estimated from at most this many rows.


def estimate_normal_scores(
    specification: RealNVPSpecification, rows: Rows, validation: NDArray[np.bool_]
) -> NormalScoreMaps | None:
    """Estimate normal scores for each member by the rows that it does not hold out, at most `MAX_ROWS` rows.

    Columns with cells have margins already, and get no scores. If all columns have cells, or if there are no members,
    None is returned.

    Parameters
    ----------
    specification : RealNVPSpecification
        It has the scaling of the columns.
    rows : Rows
    validation : ndarray of shape (n_members, n_rows), dtype bool
        The rows that each member holds out.
    """
    scaling, columns = specification.scaling, specification.scaling.columns
    continuous = np.ones(len(columns), bool) if rows.cells is None else ~np.isin(columns, rows.cells.mapped)
    if not continuous.any() or not len(validation):
        return None
    weights: NDArray[Any] = rows.weights * ~validation
    if len(rows.x) > MAX_ROWS:
        drawn = systematic_resampling(rows.weights, MAX_ROWS, np.random.RandomState(0))
        rows, weights = rows._replace(x=rows.x[drawn]), ~validation[:, drawn] * 1.0
    z = (rows.x[:, columns] - scaling.loc[columns]) / scaling.scale[columns]
    if rows.cells is not None:  # A row may occur several times, with different points of its cells.
        distinct = Distinct.of(np.ascontiguousarray(z[:, continuous]))
        z, weights = z[distinct.first], np.stack([distinct.sums(own) for own in weights])
    return normal_scores(z, weights, continuous)


def estimate_all_normal_scores(
    specification: RealNVPSpecification, rows: Rows, validation: NDArray[np.bool_]
) -> NormalScoreMaps | None:
    """Return the normal scores that some members see, with estimates for the other members."""
    seen = specification.scores
    plain = estimate_normal_scores(specification, rows, validation if seen is None else validation[: -len(seen.knots)])
    return (
        plain if plain is None or seen is None else NormalScoreMaps(*map(np.concatenate, zip(plain, seen, strict=True)))
    )
