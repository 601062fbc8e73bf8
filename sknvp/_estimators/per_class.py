"""One density for each class: its rows, what its `fit` takes beside them, and its seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import has_fit_parameter

from .._columns.kinds import library_of
from .discrete import DiscreteColumns
from .seeds import RandomState, new_seeds
from .weights import rows_per_entry


def n_entries(value: Any) -> int | None:
    """Count the rows of a table or the entries of an array or sequence; return None for others, such as strings."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else None


def entries_of(value: Any, places: NDArray[np.intp], n_rows: int) -> Any:
    """Take the entries at these places from a value that has one for each row; any other value stays whole."""
    return _safe_indexing(value, places) if n_entries(value) == n_rows else value


def places_and_weights(
    own: NDArray[np.intp], weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Return the places of a class's rows, and their weights if there are any.

    A single row of weight two or more becomes two rows of half the weight, for a density that wants two rows.
    """
    if weights is None:
        return own, None
    if len(own) == 1 and weights[own[0]] >= 2:
        own = own.repeat(2)
        return own, weights[own] / 2
    return own, weights[own]


def weight_parameter(estimator: Any) -> str | None:
    """Name the parameter of `fit` that takes the weights of the rows; in a pipeline it is that of the last step."""
    if has_fit_parameter(estimator, "sample_weight"):
        return "sample_weight"
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        of_last = weight_parameter(last)
        return of_last and f"{name}__{of_last}"
    return None


def seeds_of_classes(random_state: RandomState, n: int) -> list[int] | list[None]:
    """Draw a seed for each class; return None for each class if the densities keep their own."""
    return [None] * n if random_state is None else new_seeds(random_state, n)


def clone_with_seed(estimator: Any, seed: int | None) -> Any:
    """Clone an estimator and give the seed to every part of it that takes one."""
    twin = clone(estimator)
    if seed is None:
        return twin
    names = [name for name in twin.get_params() if name.split("__")[-1] == "random_state"]
    return twin.set_params(**dict.fromkeys(names, seed))


def describe_together(estimators: list[Any], X: Any, weights: NDArray[np.float64], n_rows: float) -> None:
    """Tell densities of ours what the columns hold in the ``n_rows`` rows of all classes, so that they agree on it."""
    table = X if library_of(X) else np.asarray(X)
    if library_of(X) is None:
        if not (table.ndim == 2 and table.dtype.kind in "biuf" and not np.isinf(table).any()):
            return  # The densities will report what is wrong.
        table = table.astype(np.float64)
    positive = np.flatnonzero(weights)
    rows, counts = _safe_indexing(table, positive), rows_per_entry(weights[positive], n_rows)
    for estimator in estimators:
        if isinstance(estimator, DiscreteColumns) and estimator.discrete_features is not None:
            estimator._columns_of_all = estimator._describe(rows, counts)


def fit_class_density(estimator: Any, X: Any, arguments: dict[str, Any], label: Any) -> Any:
    """Fit the estimator to the rows of one class."""
    try:
        estimator.fit(X, **arguments)
    except ValueError as error:
        raise ValueError(f"The density of class {label!r} does not fit its {n_entries(X)} row(s): {error}") from error
    estimator.__dict__.pop("_columns_of_all", None)  # Another fit may get other rows.
    return estimator
