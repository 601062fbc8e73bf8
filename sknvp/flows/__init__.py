"""Torch's side of sknvp: invertible transforms, flows and the loop that trains them.

Tensors only; scikit-learn lives one floor up. Everything learned carries a leading *member* axis: a flow is
``n_members`` independent flows of the same shape, evaluated and trained in the same operations.
"""

from .base import Base, Beside, GaussianMixture, Kernels, StandardNormal, StudentT
from .conditioner import Conditioner
from .coupling import AffineCoupling, Coupling, SplineCoupling
from .elementwise import Bounded, Standardize
from .ensemble import Ensemble
from .flow import Flow
from .image import ImageCoupling, ResidualNetwork
from .linear import LULinear, Permute, Regression, Whiten
from .multiscale import image_real_nvp
from .normalization import BatchNorm
from .planar import Planar
from .recipes import bounded_real_nvp, planar_flow, real_nvp
from .transform import Chain, Inverse, Select, Transform

__all__ = [
    "AffineCoupling",
    "Base",
    "BatchNorm",
    "Beside",
    "Bounded",
    "Chain",
    "Conditioner",
    "Coupling",
    "Ensemble",
    "Flow",
    "GaussianMixture",
    "ImageCoupling",
    "Inverse",
    "Kernels",
    "LULinear",
    "Permute",
    "Planar",
    "Regression",
    "ResidualNetwork",
    "Select",
    "SplineCoupling",
    "StandardNormal",
    "Standardize",
    "StudentT",
    "Transform",
    "Whiten",
    "bounded_real_nvp",
    "image_real_nvp",
    "planar_flow",
    "real_nvp",
]
