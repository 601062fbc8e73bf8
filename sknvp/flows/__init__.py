"""Torch's side of sknvp: invertible transforms, flows and the loop that trains them.

Tensors only; scikit-learn lives one floor up. Everything learned carries a leading *member* axis: a flow is
``n_members`` independent flows of the same shape, evaluated and trained in the same operations.
"""

from .base import StandardNormal
from .conditioner import Conditioner
from .coupling import AffineCoupling, Coupling, SplineCoupling
from .elementwise import Standardize
from .flow import Flow
from .linear import Permute
from .recipes import real_nvp
from .transform import Chain, Inverse, Select, Transform

__all__ = [
    "AffineCoupling",
    "Chain",
    "Conditioner",
    "Coupling",
    "Flow",
    "Inverse",
    "Permute",
    "Select",
    "SplineCoupling",
    "StandardNormal",
    "Standardize",
    "Transform",
    "real_nvp",
]
