"""All probability at one point."""

import math

import torch
from torch import Tensor

from .base import Base

LOG_OTHER = math.log(1e-30)  # A value that was never seen has this log-probability, in each column.


class PointMass(Base):
    """Columns that are zero: in each the probability of zero is one, up to 1e-30 for all other numbers together.

    `log_prob` returns the logarithm of a probability here, not of a density, so that it has no units.

    Parameters
    ----------
    tolerance : Tensor of shape (n_features,)
        Numbers of at most this size count as zero.
    """

    tolerance: Tensor

    def __init__(self, tolerance: Tensor) -> None:
        super().__init__()
        self.register_buffer("tolerance", tolerance)
        self.n_features = len(tolerance)

    def log_prob(self, z: Tensor) -> Tensor:
        n_others = (z.abs() > self.tolerance).sum(-1)
        return LOG_OTHER * n_others.double()

    def grad_log_prob(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)

    def cdf(self, z: Tensor) -> Tensor:
        return (z >= -self.tolerance).to(z.dtype)

    def sample(self, shape: tuple[int, int], reference: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros(*shape, self.n_features, dtype=reference.dtype, device=reference.device)
