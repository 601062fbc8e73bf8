"""Warnings that point to the line of the caller, however deep below it they arise."""

import sys
import warnings
from pathlib import Path

OURS = str(Path(__file__).parents[1])
TOOLS = ("sklearn", "joblib", "contextlib", "functools", "concurrent", "threading")


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the innermost line outside this package and the tools that call estimators for others."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _passes_on(frame.f_code.co_filename, frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _passes_on(file: str, module: str) -> bool:
    return file.startswith(OURS) or module.partition(".")[0] in TOOLS
