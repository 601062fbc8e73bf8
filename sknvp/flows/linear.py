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


class Whiten(Transform):
    """``z = (x - mean) @ P`` with a fixed upper triangular P.

    With ``P P^T`` the inverse of the covariance of ``x``, that of ``z`` is one. The log-determinant is
    ``sum(log(diag(P)))``.

    Parameters
    ----------
    mean : Tensor of shape (n_members, n_features)
        Subtracted.
    precision_cholesky : Tensor of shape (n_members, n_features, n_features)
        P, with a positive diagonal.
    """

    mean: Tensor
    precision_cholesky: Tensor

    def __init__(self, mean: Tensor, precision_cholesky: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("precision_cholesky", precision_cholesky)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.mean.unsqueeze(1)) @ self.precision_cholesky, self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.linalg.solve_triangular(self.precision_cholesky, z, upper=True, left=False)
        return x + self.mean.unsqueeze(1), -self._log_det(z)

    def _log_det(self, x: Tensor) -> Tensor:
        return self.precision_cholesky.diagonal(0, -2, -1).log().sum(-1, keepdim=True).expand(x.shape[:-1])


def _reordered(x: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    return x.gather(-1, order.unsqueeze(-2).expand(x.shape)), x.new_zeros(x.shape[:-1])
