"""What the displays of densities ask of an estimator."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from .._estimators.inner import is_conditional


def check_unconditional(estimator: Any, display: str, cure: str) -> None:
    """Refuse densities of targets given rows."""
    if is_conditional(estimator):
        raise ValueError(
            f"{display} draws densities without a condition, got {type(estimator).__name__}, whose density is that of "
            f"targets given X. {cure}"
        )


def check_draws(estimator: Any) -> None:
    """Refuse estimators that draw no rows, such as pipelines."""
    if not hasattr(estimator, "sample"):
        raise ValueError(
            f"PairDisplay needs an estimator with sample, got {type(estimator).__name__}, which has none. Pass a "
            "density; of a pipeline that is pipeline[-1], and its rows are pipeline[:-1].transform(X)."
        )


def check_names(estimator: Any, X: Any) -> None:
    """Refuse a DataFrame whose columns have other names, or another order, than in `fit`."""
    if hasattr(X, "columns") and isinstance(estimator, BaseEstimator) and hasattr(estimator, "feature_names_in_"):
        validate_data(estimator, X, skip_check_array=True, reset=False)
