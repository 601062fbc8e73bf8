"""Normalizing-flow density estimation for scikit-learn users."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .density import RealNVPDensity
    from .plotting import DensityDisplay

__all__ = ["DensityDisplay", "RealNVPDensity"]
__version__ = version("sknvp")

_MODULES = {"DensityDisplay": ".plotting", "RealNVPDensity": ".density"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, since torch takes a second or more to load."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(_MODULES[name], __name__), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
