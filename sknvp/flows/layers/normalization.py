"""Normalisation between the layers of a flow."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..transform import AnalyticTransform


class BatchNormResiduals(NamedTuple):
    """The residuals of `BatchNorm`."""

    inverse: bool  # True for the direction from noise to data.
    deviation: Tensor | None  # The deviation of the batch from its own mean; None if the statistics are constants.
    scale: Tensor  # The scale sqrt(variance + EPSILON).
    z: Tensor  # The noise, with the pixels of a feature counted as rows.


class BatchNorm(AnalyticTransform):
    """Map ``z = (x - mean) / sqrt(variance + EPSILON)`` with running statistics of the batches seen in training.

    In training mode the direction from data to noise first moves the statistics towards those of the batch: the new
    statistics are ``momentum`` times the old ones plus ``1 - momentum`` times those of the batch. The gradient takes
    account of that. In evaluation mode, and in the direction from noise to data, the statistics are constants. The
    log-determinant is ``-0.5 sum(log(variance + EPSILON))``.

    Parameters
    ----------
    n_members, n_features : int
        The number of members and of features. Every member has statistics of its own, which start as those of standard
        normal columns.
    n_pixels : int, default=1
        The number of adjacent columns that share their statistics, such as the pixels of a channel.
    momentum : float, default=0.9
        The share of the old statistics that is kept.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, section 3.7 and appendix E,
    arXiv:1605.08803.
    """

    EPSILON = 1e-5

    mean: Tensor
    variance: Tensor

    def __init__(self, n_members: int, n_features: int, n_pixels: int = 1, momentum: float = 0.9) -> None:
        super().__init__()
        self.n_pixels = n_pixels
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(n_members, n_features, 1, dtype=torch.float64))
        self.register_buffer("variance", torch.full_like(self.mean, 1 - self.EPSILON))

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        shape = x.shape
        x = self._by_feature(x)
        moving = self.training and not inverse
        deviation = self._move(x) if moving else None
        scale = (self.variance + self.EPSILON).sqrt()
        log_scale = scale.log().sum(1) * self.n_pixels
        if inverse:
            residuals = BatchNormResiduals(inverse, deviation, scale, x)
            return (x * scale + self.mean).view(shape), log_scale, residuals
        z = (x - self.mean) / scale
        return z.view(shape), -log_scale, BatchNormResiduals(inverse, deviation, scale, z)

    def vjp(
        self, residuals: BatchNormResiduals, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, deviation, scale, z = residuals
        shape = grad_image.shape
        grad = self._by_feature(grad_image)
        if inverse:
            return (grad * scale).view(shape), None
        grad_x = grad / scale
        if deviation is not None:  # The statistics move with the batch.
            share = (1 - self.momentum) / z.shape[-1]
            grad_mean = -grad_x.sum(-1, keepdim=True)
            of_log_det = self.n_pixels * grad_log_det.sum(-1).view(-1, 1, 1)
            grad_log_scale = -(grad * z).sum(-1, keepdim=True) - of_log_det
            grad_x += share * (grad_mean + grad_log_scale / scale.square() * deviation)
        return grad_x.view(shape), None

    def extra_repr(self) -> str:
        n_members, n_features, _ = self.mean.shape
        pixels = f", n_pixels={self.n_pixels}" if self.n_pixels > 1 else ""
        return f"n_members={n_members}, n_features={n_features}{pixels}, momentum={self.momentum}"

    def _by_feature(self, x: Tensor) -> Tensor:
        """Count the pixels of a feature as rows."""
        return x.reshape(len(x), self.mean.shape[1], self.n_pixels * x.shape[-1])

    @torch.no_grad()
    def _move(self, x: Tensor) -> Tensor:
        """Move the statistics towards those of the batch, and return its deviation from its own mean."""
        mean = x.mean(-1, keepdim=True)
        self.mean.lerp_(mean, 1 - self.momentum)
        self.variance.lerp_(x.var(-1, correction=0, keepdim=True), 1 - self.momentum)
        return x - mean


def statistics(module: nn.Module) -> list[Tensor]:
    """Return all running statistics in a fixed order; each has the member axis first."""
    norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
    return [tensor for norm in norms for tensor in (norm.mean, norm.variance)]
