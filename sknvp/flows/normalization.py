"""Normalisation between the layers of a flow."""

from typing import Any

import torch
from torch import Tensor, nn

from .transform import Transform


class BatchNorm(Transform):
    """``z = (x - mean) / sqrt(variance + EPSILON)`` with the running statistics of the batches seen in training.

    While the module is in training mode, the forward direction first moves the statistics towards those of the batch:
    a share ``MOMENTUM`` of the old plus the rest of the new, through which the gradient runs. Else, and in ``inverse``,
    they are constants.
    The log-determinant is ``-0.5 sum(log(variance + EPSILON))``.

    Parameters
    ----------
    n_members, n_features : int
        Every member has statistics of its own; they start as those of standard normal columns.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, section 3.7 and appendix E,
    arXiv:1605.08803.
    """

    MOMENTUM = 0.9
    EPSILON = 1e-5

    mean: Tensor
    variance: Tensor

    def __init__(self, n_members: int, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_members, n_features, 1, dtype=torch.float64))
        self.register_buffer("variance", torch.full_like(self.mean, 1 - self.EPSILON))

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        moving = self.training and not inverse
        deviation = self._move(x) if moving else None
        scale = (self.variance + self.EPSILON).sqrt()
        log_scale = scale.log().sum(1)
        if inverse:
            return x * scale + self.mean, log_scale, (inverse, deviation, scale, x)
        z = (x - self.mean) / scale
        return z, -log_scale, (inverse, deviation, scale, z)

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        inverse, deviation, scale, z = tape
        if inverse:
            return grad * scale, None, []
        grad_x = grad / scale
        if deviation is not None:  # the statistics move with the batch
            share = (1 - self.MOMENTUM) / z.shape[-1]
            grad_mean = -grad_x.sum(-1, keepdim=True)
            grad_log_scale = -(grad * z).sum(-1, keepdim=True) - grad_log_det.sum(-1).view(-1, 1, 1)
            grad_x += share * (grad_mean + grad_log_scale / scale.square() * deviation)
        return grad_x, None, []

    @torch.no_grad()
    def _move(self, x: Tensor) -> Tensor:
        """Move the statistics towards those of the batch; return its deviation from its own mean."""
        mean = x.mean(-1, keepdim=True)
        self.mean.lerp_(mean, 1 - self.MOMENTUM)
        self.variance.lerp_(x.var(-1, correction=0, keepdim=True), 1 - self.MOMENTUM)
        return x - mean


def statistics(module: nn.Module) -> list[Tensor]:
    """What training changes besides the parameters, in a fixed order; each has the member axis first."""
    norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
    return [tensor for norm in norms for tensor in (norm.mean, norm.variance)]
