"""Kernel density estimates, with a normal kernel on every point."""

import math

import torch
from torch import Tensor

from ..native import kernels_log_sum
from .base import LOG_2_PI, Base, in_chunks, logsumexp, normal_noise, sample_categorical


class Kernels(Base):
    """Normal kernels of one bandwidth on many points: ``p(z) = sum_i w_i N(z; point_i, bandwidth^2 I)``.

    Parameters
    ----------
    points : Tensor of shape (n_members, n_points, n_features)
        The centres of the kernels.
    log_weights : Tensor of shape (n_members, n_points)
        The logarithms of the w_i, whose exponentials add up to one for each member.
    bandwidth : float
        The standard deviation of a kernel in every direction.

    References
    ----------
    Parzen, "On estimation of a probability density function and mode", Ann. Math. Statist. 33, 1962.
    """

    points: Tensor
    squares: Tensor
    log_weights: Tensor

    def __init__(self, points: Tensor, log_weights: Tensor, bandwidth: float) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.register_buffer("squares", points.square().sum(-1), persistent=False)
        self.register_buffer("log_weights", log_weights)
        self.bandwidth = bandwidth
        self.n_features = points.shape[-1]

    def log_prob(self, z: Tensor) -> Tensor:
        precision = self.bandwidth**-2
        offset = self.log_weights - 0.5 * precision * self.squares
        log_sum = kernels_log_sum(z, offset, self.points, precision)
        if log_sum is None:
            log_sum = in_chunks(lambda some: self._log_sum(some * precision, offset), z, self.points.shape[1])
        constant = self.n_features * (math.log(self.bandwidth) + 0.5 * LOG_2_PI)
        return log_sum - 0.5 * precision * z.square().sum(-1) - constant

    def _log_sum(self, z: Tensor, offset: Tensor) -> Tensor:
        return logsumexp(torch.baddbmm(offset.unsqueeze(1), z, self.points.mT), -1)

    def sample(self, shape: tuple[int, int], reference: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = normal_noise((*shape, self.n_features), reference, generator)
        chosen = sample_categorical(self.log_weights, shape[1], generator).unsqueeze(-1).expand(noise.shape)
        return self.points.gather(1, chosen) + noise * self.bandwidth

    def extra_repr(self) -> str:
        n_members, n_points, n_features = self.points.shape
        return f"n_members={n_members}, n_points={n_points}, n_features={n_features}, bandwidth={self.bandwidth:.3g}"
