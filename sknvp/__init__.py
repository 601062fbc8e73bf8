"""Normalizing-flow density estimation for scikit-learn users."""

from importlib.metadata import version

from .density import RealNVPDensity
from .plotting import DensityDisplay

__all__ = ["DensityDisplay", "RealNVPDensity"]
__version__ = version("sknvp")
