"""What the displays of densities ask of an estimator."""

import inspect
from typing import Any

from sklearn.base import is_regressor


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
