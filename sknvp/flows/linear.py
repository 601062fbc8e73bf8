"""Linear transforms that mix columns."""

import torch
from torch import Tensor

from .transform import Transform


class Permute(Transform):
    """Reorders the columns: ``z[..., j] = x[..., order[j]]``. The log-determinant is zero.

    Parameters
    ----------
    order : Tensor of shape (n_members, n_features), dtype int64
        A permutation per member, or a single one for all of them.
    """

    order: Tensor
    inverse_order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.register_buffer("inverse_order", torch.argsort(order, -1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _reordered(x, self.order)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _reordered(z, self.inverse_order)


def _reordered(x: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    return x.gather(-1, order.unsqueeze(-2).expand(x.shape)), x.new_zeros(x.shape[:-1])
