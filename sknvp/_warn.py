"""Warnings that point to the line of the caller, however deep below it they arise."""

import sys
import warnings

PASSED_OVER = ("sknvp", "sklearn", "joblib", "contextlib", "functools", "concurrent", "threading")


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the innermost line outside this package and outside the modules that call estimators for others."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in PASSED_OVER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
