"""Transforms: the layers that flows are made of."""

from .coupling import AffineCoupling, Coupling, SplineCoupling
from .elementwise import Standardize, Unconstrain
from .image import ImageCoupling
from .linear import AdditiveConditioning, LULinear, Permute
from .normalization import BatchNorm
from .planar import Planar
from .whitening import LowRankWhiten, Whiten

__all__ = [
    "AdditiveConditioning",
    "AffineCoupling",
    "BatchNorm",
    "Coupling",
    "ImageCoupling",
    "LULinear",
    "LowRankWhiten",
    "Permute",
    "Planar",
    "SplineCoupling",
    "Standardize",
    "Unconstrain",
    "Whiten",
]
