"""Linear transforms that mix columns."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .squash import squash
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


class LULinear(Transform):
    """``z = L U x``, with L unit lower and U upper triangular, so that determinant and inverse are cheap.

    It starts as the identity. The logarithms of U's diagonal stay between -2 and 2, by `squash`.

    Parameters
    ----------
    n_members, n_features : int

    References
    ----------
    Kingma and Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", NeurIPS 2018, arXiv:1807.03039.
    """

    MAX_LOG_SCALE = 2.0

    def __init__(self, n_members: int, n_features: int) -> None:
        super().__init__()
        # below the diagonal L, above it U, on it the logarithms of U's own
        self.weight = nn.Parameter(torch.zeros(n_members, n_features, n_features, dtype=torch.float64))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._apply_matrix(x, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._apply_matrix(z, inverse=True)

    def _apply_matrix(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        z, log_det = _Product.apply(x, self.weight, inverse)  # type: ignore[no-untyped-call]
        return z, log_det.unsqueeze(-1).expand(x.shape[:-1])


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


class _Product(torch.autograd.Function):
    """Columns first, ``z = L U x`` or the inverse, with the gradient by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        log_scale, r = squash(weight.diagonal(0, -2, -1), LULinear.MAX_LOG_SCALE)
        lower = weight.tril(-1)
        lower.diagonal(0, -2, -1).fill_(1)
        upper = weight.triu(1)
        upper.diagonal(0, -2, -1).copy_(log_scale.exp())
        log_det = log_scale.sum(-1)
        if inverse:
            between = torch.linalg.solve_triangular(lower, x.mT, upper=False, unitriangular=True)
            z = torch.linalg.solve_triangular(upper, between, upper=True)
        else:
            z = torch.bmm(torch.bmm(lower, upper), x.mT)
        ctx.lower, ctx.upper, ctx.r, ctx.inverse = lower, upper, r, inverse
        ctx.data = z.mT if inverse else x
        return z.mT, -log_det if inverse else log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor, None]:
        lower, upper, r = ctx.lower, ctx.upper, ctx.r
        if ctx.inverse:  # x moves by -(L U)^-1 d(L U) x when the matrix moves
            between = torch.linalg.solve_triangular(upper.mT, grad.mT, upper=False)
            grad_x = torch.linalg.solve_triangular(lower.mT, between, upper=True, unitriangular=True)
            grad_z, grad_log_det = -grad_x, -grad_log_det
        else:
            grad_z = grad.mT
            grad_x = torch.bmm(torch.bmm(lower, upper).mT, grad_z)
        grad_matrix = torch.bmm(grad_z, ctx.data)
        grad_upper = torch.bmm(lower.mT, grad_matrix)
        grad_weight = torch.bmm(grad_matrix, upper.mT).tril_(-1).add_(grad_upper.triu_())
        diagonal = grad_weight.diagonal(0, -2, -1)
        diagonal.mul_(upper.diagonal(0, -2, -1)).add_(grad_log_det.unsqueeze(-1)).mul_(r * r * r)
        return grad_x.mT, grad_weight, None


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
