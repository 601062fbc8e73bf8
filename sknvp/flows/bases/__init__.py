"""Base distributions: the noise that a flow starts from, and the densities that stand beside flows in an ensemble."""

from .base import Base
from .kernels import Kernels
from .mixture import GaussianMixture
from .normal import StandardNormal
from .point_mass import PointMass
from .product import Product
from .student_t import StudentT

__all__ = ["Base", "GaussianMixture", "Kernels", "PointMass", "Product", "StandardNormal", "StudentT"]
