"""Normalizing flows in PyTorch: invertible transforms, base distributions, and the loop that trains flows.

Everything here takes and returns tensors. Everything that is learned has a leading *member* axis: a `Flow` holds
``n_members`` independent flows of the same shape, which are evaluated and trained in the same operations.
"""

from .bases import Base, GaussianMixture, Kernels, PointMass, Product, StandardNormal, StudentT
from .builders import masks
from .builders.images import image_real_nvp
from .builders.tabular import bounded_real_nvp, planar_flow, real_nvp
from .combine import Chain, Inverse, Select
from .density import Density
from .ensemble import Ensemble
from .flow import Flow
from .layers import (
    AdditiveConditioning,
    AffineCoupling,
    BatchNorm,
    Coupling,
    ImageCoupling,
    LogisticToNormal,
    LULinear,
    Permute,
    Planar,
    SplineCoupling,
    Standardize,
    Unconstrain,
    Whiten,
)
from .networks import Conditioner, ResidualNetwork
from .transform import AnalyticTransform, Transform

__all__ = [
    "AdditiveConditioning",
    "AffineCoupling",
    "AnalyticTransform",
    "Base",
    "BatchNorm",
    "Chain",
    "Conditioner",
    "Coupling",
    "Density",
    "Ensemble",
    "Flow",
    "GaussianMixture",
    "ImageCoupling",
    "Inverse",
    "Kernels",
    "LULinear",
    "LogisticToNormal",
    "Permute",
    "Planar",
    "PointMass",
    "Product",
    "ResidualNetwork",
    "Select",
    "SplineCoupling",
    "StandardNormal",
    "Standardize",
    "StudentT",
    "Transform",
    "Unconstrain",
    "Whiten",
    "bounded_real_nvp",
    "image_real_nvp",
    "masks",
    "planar_flow",
    "real_nvp",
]
