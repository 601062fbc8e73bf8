"""What an estimator must be to stand as the density inside of another one."""

import inspect
from typing import Any

from sklearn.base import is_regressor


def is_conditional(estimator: Any) -> bool:
    """Tell whether an estimator is a density of targets given rows, whose scores are no density of the rows."""
    score = getattr(estimator, "score_samples", None)
    parameters = [] if score is None else list(inspect.signature(score).parameters.values())[1:]
    needs_y = any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    return needs_y or (hasattr(estimator, "__sklearn_tags__") and is_regressor(estimator))


def check_inner(density: Any, loses_weights: bool, other_cure: str = "") -> None:
    """Raise a ValueError if the estimator is no density of rows, or takes no weights where some are given."""
    name = type(density).__name__
    if not hasattr(density, "score_samples"):
        raise ValueError(f"estimator must have score_samples, got {name}, which has not. Give a density.")
    if is_conditional(density):
        raise ValueError(
            f"estimator must be a density without a condition, got {name}, whose density is that of targets given X. "
            "Give a density of rows, such as RealNVPDensity()."
        )
    if loses_weights:
        raise ValueError(
            f"sample_weight must be None with {name}, whose fit takes none, got weights. Give a density that takes "
            f"weights{other_cure}."
        )
