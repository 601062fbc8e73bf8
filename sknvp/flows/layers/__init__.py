"""Transforms: the layers that flows are made of."""

from .coupling import AffineCoupling, Coupling, SplineCoupling
from .elementwise import LogisticToNormal, Standardize, Unconstrain
from .image import ImageCoupling
from .linear import AdditiveConditioning, LULinear, Permute, Whiten
from .normalization import BatchNorm
from .planar import Planar

__all__ = [
    "AdditiveConditioning",
    "AffineCoupling",
    "BatchNorm",
    "Coupling",
    "ImageCoupling",
    "LULinear",
    "LogisticToNormal",
    "Permute",
    "Planar",
    "SplineCoupling",
    "Standardize",
    "Unconstrain",
    "Whiten",
]
