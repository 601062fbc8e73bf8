"""Log-Jacobians of scikit-learn's transformers that are invertible, and of functions of single numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

Array = NDArray[Any]
Function = Callable[[Any], Any]

N_CHECKED_ROWS = 10  # A Jacobian that was given is compared with differences at no more than this many rows.
STEP = 6e-6  # The step of the differences, in standard deviations of the column.
MAX_LOG_DET_ERROR = 1e-2  # Log-determinants agree if they differ by less than this many nats.

INVERSES: dict[Any, Function] = {
    np.log: np.exp,
    np.exp: np.log,
    np.log1p: np.expm1,
    np.expm1: np.log1p,
    np.sqrt: np.square,
    np.arcsinh: np.sinh,
    np.sinh: np.arcsinh,
    special.logit: special.expit,
    special.expit: special.logit,
}
LOG_DERIVATIVES: dict[Any, Function] = {
    np.log: lambda x: -np.log(x),
    np.exp: lambda x: x,
    np.log1p: lambda x: -np.log1p(x),
    np.expm1: lambda x: x,
    np.sqrt: lambda x: -np.log(2 * np.sqrt(x)),
    np.arcsinh: lambda x: -np.log(np.hypot(1, x)),
    np.sinh: lambda x: np.logaddexp(x, -x) - np.log(2),
    special.logit: lambda x: -np.log(x) - np.log1p(-x),
    special.expit: lambda x: special.log_expit(x) + special.log_expit(-x),
}


def log_jacobian(transformer: Any, X: Array) -> Array:
    """Return the logarithm of the absolute determinant of the Jacobian of a fitted transformer at rows.

    A transformer of a kind that is not known here must have a method ``log_abs_det_jacobian``, which returns it.

    Parameters
    ----------
    transformer : fitted transformer, or None for the identity
    X : ndarray of shape (n_samples, n_features)

    Returns
    -------
    log_abs_det : ndarray of shape (n_samples,), dtype float64
        In nats.

    Raises
    ------
    ValueError
        If the transformer is no invertible map with a derivative, or none that is known here.
    """
    if hasattr(transformer, "log_abs_det_jacobian"):
        return sum_per_row(transformer.log_abs_det_jacobian(X), X)
    for kind, rule in RULES.items():
        if isinstance(transformer, kind):
            return sum_per_row(rule(transformer, X.astype(np.float64)), X)
    known = ", ".join(sorted(kind.__name__ for kind in RULES))
    raise ValueError(
        f"transformer must be one whose Jacobian is known, {known}, or have a method log_abs_det_jacobian(X), got "
        f"{transformer!r}. Give func, inverse_func and log_abs_det_jacobian instead."
    )


def sum_per_row(log_derivatives: Any, X: Array) -> Array:
    """Return one number for each row: numbers of columns are added up, and a number for all rows is repeated."""
    terms = np.asarray(log_derivatives, dtype=np.float64)
    total = terms.sum(1) if terms.ndim == 2 and terms.shape == X.shape else terms
    if total.shape not in ((), (len(X),)):
        raise ValueError(
            f"log_abs_det_jacobian must return an array of shape (n_samples,) = ({len(X)},), or (n_samples, "
            f"n_features) = {X.shape} for functions of single columns, got {terms.shape}."
        )
    return np.broadcast_to(total, len(X)).copy()


def log_derivative_of(func: Any) -> Function:
    """Return the logarithm of the derivative of a function of single numbers, or raise a ValueError."""
    if func not in LOG_DERIVATIVES:
        known = ", ".join(sorted(known.__name__ for known in LOG_DERIVATIVES))
        raise ValueError(
            f"log_abs_det_jacobian must be given unless func is one of {known} of NumPy and SciPy, got {func!r}. "
            "Give a function of X that returns the logarithm of the absolute determinant of the Jacobian at each row."
        )
    return LOG_DERIVATIVES[func]


def is_jacobian(func: Function, log_abs_det: Function, X: Array) -> bool:
    """Tell whether log-determinants agree with central differences at more than half of `N_CHECKED_ROWS` rows."""
    some = X[np.linspace(0, len(X) - 1, min(len(X), N_CHECKED_ROWS)).astype(int)].astype(np.float64)
    steps = STEP * np.where(np.ptp(X, axis=0) > 0, X.std(axis=0, dtype=np.float64), 1.0)
    columns = []
    for j, step in enumerate(steps):
        move = step * (np.arange(len(steps)) == j)
        columns.append((np.asarray(func(some + move), float) - np.asarray(func(some - move), float)) / (2 * step))
    found = np.linalg.slogdet(np.stack(columns, -1))[1]
    with np.errstate(invalid="ignore"):
        near = np.abs(found - sum_per_row(log_abs_det(some), some)) < MAX_LOG_DET_ERROR
    return bool(2 * near.sum() > near.size)


def _scaler_jacobian(transformer: Any, X: Array) -> float:
    """Return the log-Jacobian of a division by scales, if there are any."""
    return 0.0 if transformer.scale_ is None else -float(np.log(np.abs(transformer.scale_)).sum())


def _min_max(transformer: Any, X: Array) -> float:
    if transformer.clip:
        raise ValueError("transformer must map no two numbers to one, got MinMaxScaler with clip=True. Set clip=False.")
    return float(np.log(np.abs(transformer.scale_)).sum())


def _power(transformer: Any, X: Array) -> Array:
    powers = transformer.lambdas_
    if transformer.method == "box-cox":
        log_slope = (powers - 1) * np.log(X)
    else:
        log_slope = np.sign(X) * (powers - 1) * np.log1p(np.abs(X))
    log_det: Array = log_slope.sum(1) + (_scaler_jacobian(transformer._scaler, X) if transformer.standardize else 0.0)
    return log_det


def _pca_jacobian(transformer: Any, X: Array) -> float:
    if transformer.n_components_ < transformer.n_features_in_:
        raise ValueError(
            f"transformer must keep as many columns as there are, {transformer.n_features_in_}, got PCA with "
            f"{transformer.n_components_}. Rows that differ in the others alone would have no density."
        )
    return -0.5 * float(np.log(transformer.explained_variance_).sum()) if transformer.whiten else 0.0


def _function(transformer: Any, X: Array) -> Any:
    if transformer.func is None:
        return 0.0
    return log_derivative_of(transformer.func)(X)


def _pipeline(transformer: Any, X: Array) -> Array:
    total = np.zeros(len(X))
    for _, step in transformer.steps:
        if step not in (None, "passthrough"):
            total += log_jacobian(step, X)
            X = np.asarray(step.transform(X))
    return total


RULES: dict[type, Callable[[Any, Array], Any]] = {
    FunctionTransformer: _function,
    MaxAbsScaler: _scaler_jacobian,
    MinMaxScaler: _min_max,
    PCA: _pca_jacobian,
    Pipeline: _pipeline,
    PowerTransformer: _power,
    RobustScaler: _scaler_jacobian,
    StandardScaler: _scaler_jacobian,
}
