"""Densities of which some have a probability where others have a density, made comparable."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from .._columns.kinds import Column
from ..flows.builders.specification import TabularSpecification
from .base import FlowEstimator
from .discrete import DiscreteColumns
from .scaling import location_and_scale

# The width of a constant column, in standard deviations. GaussianNB, too, widens columns by this (the root of 1e-9).
POINT_MASS_WIDTH = 3e-5


def log_units(estimators: list[Any], X: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is to be added to the log-density of each estimator so that all are in the units of X.

    A column that is constant in the rows of one estimator has a probability there instead of a density. That
    probability is spread over `POINT_MASS_WIDTH` standard deviations that the column has in all rows.

    Parameters
    ----------
    estimators : list of fitted estimators
        The densities, each of other rows of the table. Those that are not ours have densities alone.
    X : table
        All rows.
    weights : ndarray of shape (n_rows,)
        The weights of the rows, zero for those that are to be left out.

    Returns
    -------
    log_units : ndarray of shape (n_estimators,)
        In nats.
    """
    return np.array([_log_unit(estimator, X, weights) for estimator in estimators])


def check_kinds(estimators: list[Any], labels: list[Any]) -> None:
    """Raise a ValueError if the densities of two classes take a column for discrete and for continuous."""
    densities = [density for _, density in map(_split_pipeline, estimators) if isinstance(density, DiscreteColumns)]
    for label, density in zip(labels, densities, strict=False):
        for first, own in zip(densities[0]._columns, density._columns, strict=False):
            have_densities = {first.kind, own.kind} <= {"continuous", "lattice"}
            if first.atoms != own.atoms or not (have_densities or first.kind == own.kind):
                raise ValueError(
                    'discrete_features must be given where each class has a pipeline of its own, got "auto", by which '
                    f"column {own.name} is {_kind(first)} in class {labels[0]!r} and {_kind(own)} in class {label!r}."
                )


def _kind(column: Column) -> str:
    """Tell the kind of a column, and its values with a probability."""
    return column.kind + "".join(f", with a probability at {atom:g}," for atom in column.atoms)


def _log_unit(estimator: Any, X: Any, weights: NDArray[np.float64]) -> float:
    steps, density = _split_pipeline(estimator)
    constant = _constant_columns(density)
    if not len(constant):
        return 0.0
    rows, weights = _safe_indexing(X, np.flatnonzero(weights)), weights[weights > 0]
    table = np.asarray(_safe_indexing(rows if steps is None else steps.transform(rows), constant, axis=1), np.float64)
    total = 0.0
    for column in table.T:
        known = ~np.isnan(column)
        _, scale, varies = location_and_scale(column[known, None], weights[known])
        total -= float(np.log(POINT_MASS_WIDTH * scale[varies]).sum())
    return total


def _split_pipeline(estimator: Any) -> tuple[Pipeline | None, Any]:
    """Return the steps before the density, if there are any, and the density; searches are replaced by their best."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return None, estimator
    last = estimator[-1]
    return (estimator[:-1] if len(estimator) > 1 else None), getattr(last, "best_estimator_", last)


def _constant_columns(density: Any) -> NDArray[np.intp]:
    """Return the columns that were constant in the rows of a density of ours."""
    if not isinstance(density, FlowEstimator) or not isinstance(density._specification, TabularSpecification):
        return np.array([], dtype=np.intp)
    scaling = density._specification.scaling
    return np.setdiff1d(np.arange(len(scaling.loc)), scaling.columns)
