"""Linear transforms that mix columns."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .transform import Transform


class Permute(Transform):
    """Reorders the columns: ``z[..., j] = x[..., order[j]]``. The log-determinant is zero.

    Parameters
    ----------
    order : Tensor of shape (n_members, n_features), dtype int64
        A permutation per member.
    """

    rows: Tensor  # the same for the columns of all members together
    inverse_rows: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        n_members, n_features = order.shape
        start = torch.arange(n_members).unsqueeze(1) * n_features
        self.register_buffer("rows", (start + order).flatten())
        self.register_buffer("inverse_rows", (start + order.argsort(-1)).flatten())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reordered(x, self.rows, self.inverse_rows)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reordered(z, self.inverse_rows, self.rows)

    def _reordered(self, x: Tensor, rows: Tensor, inverse_rows: Tensor) -> tuple[Tensor, Tensor]:
        reordered = _Reorder.apply(x, rows, inverse_rows)  # type: ignore[no-untyped-call]
        return reordered, x.new_zeros(x.shape[:-1])


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


class _Reorder(torch.autograd.Function):
    """Columns in another order; the gradient goes back by the inverse order, which is cheaper than adding up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, inverse_rows: Tensor) -> Tensor:
        ctx.inverse_rows = inverse_rows
        return _reordered(x, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _reordered(grad, ctx.inverse_rows), None, None


def _reordered(x: Tensor, rows: Tensor) -> Tensor:
    """Moves whole columns, whose values lie together in memory within a flow."""
    columns = x.mT
    return columns.reshape(len(rows), -1).index_select(0, rows).view(columns.shape).mT
