"""What the displays of densities ask of an estimator."""

import inspect
from typing import Any

from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils.validation import validate_data


def check_unconditional(estimator: Any, display: str, cure: str) -> None:
    """Refuse densities of targets given rows, whose scores are no density of the rows."""
    score = getattr(estimator, "score_samples", None)
    parameters = [] if score is None else list(inspect.signature(score).parameters.values())[1:]
    needs_y = any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    if needs_y or (hasattr(estimator, "__sklearn_tags__") and is_regressor(estimator)):
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
