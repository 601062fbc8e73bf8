"""What a density says of a table: its columns, held-out log-densities beside a Gaussian, and odd rows."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from ..density import RealNVPDensity
from ..transformed import TransformedDensity

N_FOLDS = 4  # Each row is scored by a density that was fitted to the other three quarters.
N_SHOWN = 5  # At most this many odd rows are shown.


class Fold(NamedTuple):
    """Rows, and a density that has not seen them."""

    density: RealNVPDensity
    train: Any
    test: Any
    places: NDArray[np.intp]  # The places of the test rows in the table.
    scores: NDArray[np.float64]  # The log-densities of the test rows.


def cross_fitted(density: RealNVPDensity, table: Any) -> list[Fold]:
    """Fit a density for each fold to all other folds; each density knows the categories of the whole table."""
    table = table.astype(dict.fromkeys(table.select_dtypes(exclude="number"), "category"))
    folds = []
    for kept, places in KFold(N_FOLDS, shuffle=True, random_state=0).split(table):
        train, test = table.iloc[kept], table.iloc[places]
        fitted = clone(density).fit(train)
        folds.append(Fold(fitted, train, test, places, fitted.score_samples(test)))
    return folds


def print_fitted(density: RealNVPDensity) -> None:
    """Print what the columns hold, and the weights of flows and experts."""
    print("Columns:", *density.columns_, sep="\n  ")
    print("Weights:", ", ".join(f"{name} {weight:.2f}" for name, weight in density.stacking_weights_.items()))


def print_comparison(folds: list[Fold], density: RealNVPDensity) -> None:
    """Print mean held-out log-densities; columns of numbers are also compared with a normal distribution."""
    print("Mean log-density of rows that were not fitted, nats a row (higher is better):")
    print(f"  all columns: {np.concatenate([fold.scores for fold in folds]).mean():.3f}")
    names = [c.name for c in density._columns if c.categories is None and not c.atoms and c.period is None]
    names = [name for name in names if all(fold.train[name].nunique() > 1 for fold in folds)]
    folds = [fold for fold in folds if min(len(part.dropna(subset=names)) for part in (fold.train, fold.test)) > 1]
    if names and folds:
        ours, normal = (
            np.concatenate(part) for part in zip(*(_scores_with_baseline(fold, names) for fold in folds), strict=True)
        )
        error = (ours - normal).std() / np.sqrt(len(ours))
        print(f"  {', '.join(names)}: {ours.mean():.3f}")
        print(f"  a Gaussian of these: {normal.mean():.3f}")
        print(f"  difference: {(ours - normal).mean():.3f}, with a standard error of {error:.3f}")


def _scores_with_baseline(fold: Fold, names: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score the rows whose numbers are all known by these numbers, under the density and a normal distribution.

    A whole number has the density of the normal distribution times the distance to the next number, which is a
    probability.
    """
    train, test = fold.train[names].dropna(), fold.test.dropna(subset=names)
    others = [name for name in test if name not in names]
    normal = TransformedDensity(GaussianMixture(), StandardScaler()).fit(train)
    whole = [c.name for c in fold.density._columns if c.kind == "whole" and c.name in names]
    steps = [np.gcd.reduce(np.diff(np.unique(train[name])).astype(np.int64)) for name in whole]
    return fold.density.score_samples(test.assign(**dict.fromkeys(others))), (
        normal.score_samples(test[names]) + np.log(steps).sum()
    )


def print_least_likely(folds: list[Fold], density: RealNVPDensity) -> None:
    """Print the rows that a density finds least likely without having seen them, with the oddest cell of each."""
    print("Least likely rows, the first below the header being row 1, and the oddest cell of each given its others:")
    rows = [(value, k, i) for k, fold in enumerate(folds) for i, value in enumerate(fold.scores)]
    for value, k, i in sorted(rows)[:N_SHOWN]:
        fold = folds[k]
        row = fold.test.iloc[[i]]
        widths = [1.0 if c.categories is not None else np.nanstd(fold.train[c.name]) or 1.0 for c in density._columns]
        name = list(row)[int(np.nanargmin(fold.density.score_cells(row)[0] + np.log(widths)))]
        print(f"  row {fold.places[i] + 1}: {value:.2f} nats, {name} {row[name].iloc[0]}")
