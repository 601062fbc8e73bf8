"""The standard normal distribution."""

import torch
from torch import Tensor

from .base import LOG_2_PI, Base, normal_noise


class StandardNormal(Base):
    """Independent normal columns with mean zero and variance one. Log-densities have dtype float64.

    Parameters
    ----------
    n_features : int
        The number of columns of the noise.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def log_prob(self, z: Tensor) -> Tensor:
        square = z.double().square().sum(-1)  # In single precision, squares overflow from 1.8e19 on.
        return -0.5 * (square + self.n_features * LOG_2_PI)

    def grad_log_prob(self, z: Tensor) -> Tensor:
        return -z

    def cdf(self, z: Tensor) -> Tensor:
        below: Tensor = torch.special.ndtr(z)
        return below

    def sample(self, shape: tuple[int, int], reference: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return normal_noise((*shape, self.n_features), reference, generator)
