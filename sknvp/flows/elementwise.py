"""Transforms that treat every column by itself."""

import torch
from torch import Tensor

from .transform import Transform


class Standardize(Transform):
    """``z = (x - loc) / scale``, with fixed location and scale.

    Being the first transform of a flow it puts the units of the data into every log-density: its log-determinant is
    ``-sum(log(scale))``.

    Parameters
    ----------
    loc, scale : Tensor of shape (n_features,)
        Subtracted and divided by; buffers, never trained. Every scale is positive.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.loc) / self.scale, -self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * self.scale + self.loc, self._log_det(z)

    def _log_det(self, x: Tensor) -> Tensor:
        return torch.log(self.scale).sum().expand(x.shape[:-1])
