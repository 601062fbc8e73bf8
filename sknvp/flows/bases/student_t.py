"""The multivariate t-distribution."""

import math

import torch
from torch import Tensor

from .base import Base, normal_noise


class StudentT(Base):
    """The multivariate t-distribution around zero, which is like a normal distribution with heavy tails.

    Its log-density is ``log p(z) = const - (nu + d) / 2 log(1 + |z|^2 / nu)``. It is finite for every finite z, since
    the second logarithm is computed as ``2 log m + log(1 / m^2 + |z / m|^2 / nu)``, in which m is the largest of 1 and
    all ``|z_i|``.

    Parameters
    ----------
    n_features : int
        The number of columns d.
    degrees_of_freedom : int
        The number nu; the smaller it is, the heavier are the tails.
    """

    def __init__(self, n_features: int, degrees_of_freedom: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.nu = degrees_of_freedom

    def log_prob(self, z: Tensor) -> Tensor:
        nu, d = self.nu, self.n_features
        constant = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2) - 0.5 * d * math.log(nu * math.pi)
        m = z.abs().amax(-1).clamp(min=1) if d else z.new_ones(z.shape[:-1])
        square = (z / m.unsqueeze(-1)).square().sum(-1)
        return constant - 0.5 * (nu + d) * (2 * m.log() + (m.reciprocal().square() + square / nu).log())

    def cdf(self, z: Tensor) -> Tensor:
        """Return the distribution function of each column by itself; nu must be even.

        With ``sin = z / sqrt(nu + z^2)`` it is ``1/2 + sin/2 (1 + cos^2/2 + 3 cos^4/8 + ...)``, a sum of nu / 2 terms.
        """
        sine = z / torch.hypot(z, torch.full_like(z, self.nu**0.5))
        term = total = torch.ones_like(z)
        for k in range(1, self.nu // 2):
            term = term * (1 - sine.square()) * (2 * k - 1) / (2 * k)
            total = total + term
        return 0.5 + 0.5 * sine * total

    def sample(self, shape: tuple[int, int], reference: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chi_square = normal_noise((*shape, self.nu), reference, generator).square().sum(-1, keepdim=True)
        return normal_noise((*shape, self.n_features), reference, generator) * (self.nu / chi_square).sqrt()

    def extra_repr(self) -> str:
        return f"n_features={self.n_features}, degrees_of_freedom={self.nu}"
