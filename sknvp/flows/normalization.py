"""Normalisation between the layers of a flow."""

import torch
from torch import Tensor, nn

from .transform import Transform


class BatchNorm(Transform):
    """``z = (x - mean) / sqrt(variance + EPSILON)`` with the running statistics of the batches seen in training.

    While the module is in training mode, ``forward`` first moves the statistics towards those of the batch: a share
    ``MOMENTUM`` of the old plus the rest of the new, through which the gradient runs. Else, and in ``inverse``, they
    are constants.
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
        self.register_buffer("mean", torch.zeros(n_members, 1, n_features, dtype=torch.float64))
        self.register_buffer("variance", torch.full_like(self.mean, 1 - self.EPSILON))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, variance = self._moved(x) if self.training else (self.mean, self.variance)
        scale = (variance + self.EPSILON).sqrt()
        return (x - mean) / scale, -_log_sum(scale, x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scale = (self.variance + self.EPSILON).sqrt()
        return z * scale + self.mean, _log_sum(scale, z)

    def _moved(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The statistics after a batch, which are also kept."""
        mean = torch.lerp(x.mean(1, keepdim=True), self.mean.clone(), self.MOMENTUM)
        variance = torch.lerp(x.var(1, correction=0, keepdim=True), self.variance.clone(), self.MOMENTUM)
        self.mean.copy_(mean.detach())
        self.variance.copy_(variance.detach())
        return mean, variance


def statistics(module: nn.Module) -> list[Tensor]:
    """What training changes besides the parameters, in a fixed order; each has the member axis first."""
    norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
    return [tensor for norm in norms for tensor in (norm.mean, norm.variance)]


def _log_sum(scale: Tensor, x: Tensor) -> Tensor:
    return scale.log().sum(-1).expand(x.shape[:-1])
