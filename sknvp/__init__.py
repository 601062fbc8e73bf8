"""Normalizing-flow density estimation for scikit-learn users."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__all__ = [
    "ConditionalDensityDisplay",
    "ConditionalRealNVPDensity",
    "DensityClassifier",
    "DensityDisplay",
    "PITDisplay",
    "PairDisplay",
    "PlanarFlowDensity",
    "RealNVPDensity",
    "RealNVPImageDensity",
    "RealNVPImputer",
    "RealNVPOutlierDetector",
    "RealNVPTransformer",
    "TrainingDisplay",
    "TransformedDensity",
    "VariationalRealNVP",
    "flows",
    "show_versions",
]
__version__ = version("sknvp")

if TYPE_CHECKING:
    from . import flows
    from ._plotting.conditional import ConditionalDensityDisplay
    from ._plotting.density import DensityDisplay
    from ._plotting.pair import PairDisplay
    from ._plotting.pit import PITDisplay
    from ._plotting.training import TrainingDisplay
    from ._versions import show_versions
    from .classifier import DensityClassifier
    from .conditional import ConditionalRealNVPDensity
    from .density import RealNVPDensity
    from .image import RealNVPImageDensity
    from .imputer import RealNVPImputer
    from .outlier import RealNVPOutlierDetector
    from .planar import PlanarFlowDensity
    from .transformed import TransformedDensity
    from .transformer import RealNVPTransformer
    from .variational import VariationalRealNVP
else:
    _MODULES = {
        "ConditionalDensityDisplay": "._plotting.conditional",
        "ConditionalRealNVPDensity": ".conditional",
        "DensityClassifier": ".classifier",
        "DensityDisplay": "._plotting.density",
        "PITDisplay": "._plotting.pit",
        "PairDisplay": "._plotting.pair",
        "PlanarFlowDensity": ".planar",
        "RealNVPDensity": ".density",
        "RealNVPImageDensity": ".image",
        "RealNVPImputer": ".imputer",
        "RealNVPOutlierDetector": ".outlier",
        "RealNVPTransformer": ".transformer",
        "TrainingDisplay": "._plotting.training",
        "TransformedDensity": ".transformed",
        "VariationalRealNVP": ".variational",
        "flows": ".flows",
        "show_versions": "._versions",
    }

    def __getattr__(name: str) -> Any:
        """Import what is public when it is first asked for, since torch takes a second or more to load."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_MODULES[name], __name__)
        globals()[name] = module if name == "flows" else getattr(module, name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
