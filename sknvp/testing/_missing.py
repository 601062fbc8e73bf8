"""Missing cells: densities of the known ones. Estimators whose tags do not allow NaN pass at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags

from ._cells import Axis
from ._tools import ensure, ensure_close, ensure_same, fitted, in_parts, table

N_NODES = 400  # The integral over a column has this many nodes.
N_IMPUTED = 400  # Each missing cell is drawn this many times.


def check_marginals_add_up_to_one(estimator: Any) -> None:
    """Where one of two columns is missing, the density of the other one integrates to one, within 0.05."""
    if _takes_missing(estimator):
        X, density = _table(), fitted(estimator, _with_holes(_table()))
        for j in range(2):
            axis, rows = Axis.through(X[:, j], N_NODES, 2), np.full((N_NODES, 2), np.nan)
            rows[:, j] = axis.nodes
            total = np.exp(density.score_samples(rows)) @ axis.widths
            ensure(abs(total - 1) < 0.05, f"the density of column {j} must integrate to one, got {total:.4f}.")


def check_marginals_are_integrals(estimator: Any) -> None:
    """The density of a known cell is the integral of the density over the missing one, within a tenth."""
    if _takes_missing(estimator):
        X, density = _table(), fitted(estimator, _with_holes(_table()))
        for j in range(2):
            rows, axis = X[:20].copy(), Axis.through(X[:, j], N_NODES, 2)
            log_marginal = np.log(_conditional_masses(density, rows, j, axis).sum(1))
            rows[:, j] = np.nan
            error = density.score_samples(rows) - log_marginal
            ensure(
                np.abs(error).mean() < 0.1,
                f"scores with column {j} missing must be those of its integral, got an error of {error}.",
            )


def check_imputed_cells_follow_the_conditional_density(estimator: Any) -> None:
    """Draws of a missing cell by ``impute``, if there is one, have its distribution given the known cell."""
    if _takes_missing(estimator) and hasattr(estimator, "impute"):
        X, density = _table(), fitted(estimator, _with_holes(_table()))
        axis, rows = Axis.through(X[:, 1], N_NODES, 2), X[:3].copy()
        masses = _conditional_masses(density, rows, 1, axis)
        cumulative = masses.cumsum(1) / masses.sum(1, keepdims=True)
        rows[:, 1] = np.nan
        drawn = density.impute(rows, n_samples=N_IMPUTED, random_state=0)
        ensure_same(drawn[:, :, 0], np.repeat(rows[:, :1], N_IMPUTED, axis=1), "known cells of imputed rows")
        for of_draws, of_density in zip(drawn[:, :, 1], cumulative, strict=True):
            shares = (of_draws[:, None] <= axis.nodes + axis.widths / 2).mean(0)
            distance = np.abs(shares - of_density).max()
            ensure(
                distance < 0.12, f"imputed cells must follow the density given the known ones, differ by {distance}."
            )


def check_missing_cells_of_other_rows_change_nothing(estimator: Any) -> None:
    """The score of a row with missing cells depends on no other row of the call, and not on their order."""
    if _takes_missing(estimator):
        X = _with_holes(_table())
        density = fitted(estimator, X)
        scores = density.score_samples(X)
        ensure_close(density.score_samples(X[::-1])[::-1], scores, "scores of rows in another order")
        rows = np.flatnonzero(np.isnan(X).any(1))[:3]
        ensure_close(density.score_samples(X[rows]), scores[rows], "scores of rows alone")


def check_rows_without_known_cells_score_zero(estimator: Any) -> None:
    """Nothing is known of a row without known cells, so that its density is one."""
    if _takes_missing(estimator):
        scores = fitted(estimator, _with_holes(_table())).score_samples(np.full((2, 2), np.nan))
        ensure_same(scores, np.zeros(2), "scores of rows without known cells")


def _takes_missing(estimator: Any) -> bool:
    """Tell whether an estimator takes rows with missing cells."""
    return bool(get_tags(estimator).input_tags.allow_nan)


def _table() -> NDArray[np.float64]:
    """Return rows of two dependent columns."""
    X = table(120)
    return np.stack([X[:, 0], 0.7 * X[:, 0] + 0.5 * X[:, 1]], 1)


def _with_holes(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Remove a cell of every fifth row."""
    holed = X.copy()
    holed[::10, 0], holed[5::10, 1] = np.nan, np.nan
    return holed


def _conditional_masses(density: Any, rows: NDArray[Any], j: int, axis: Axis) -> NDArray[Any]:
    """Return the probabilities around the nodes of column j, times the density of the other cells of each row."""
    at_nodes = np.repeat(rows, len(axis.nodes), axis=0)
    at_nodes[:, j] = np.tile(axis.nodes, len(rows))
    masses: NDArray[Any] = np.exp(in_parts(density.score_samples, at_nodes)).reshape(len(rows), -1) * axis.widths
    return masses
