"""Transforms: the layers that flows are made of."""

from .coupling import AffineCoupling, Coupling, SplineCoupling
from .elementwise import LogisticToNormal, Standardize, Unconstrain
from .image import ImageCoupling
from .linear import AdditiveConditioning, LULinear, Permute
from .normal_scores import NormalScores
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
    "LogisticToNormal",
    "LowRankWhiten",
    "NormalScores",
    "Permute",
    "Planar",
    "SplineCoupling",
    "Standardize",
    "Unconstrain",
    "Whiten",
]
