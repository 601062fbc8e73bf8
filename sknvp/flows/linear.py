"""Linear transforms that mix columns."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

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

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        there, back = (self.inverse_rows, self.rows) if inverse else (self.rows, self.inverse_rows)
        return self._reordered(x, there), x.new_zeros(x.shape[0], 1), back

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        return self._reordered(grad, tape), None

    @staticmethod
    def _reordered(x: Tensor, rows: Tensor) -> Tensor:
        """Moves whole columns, whose values lie together in memory."""
        return x.flatten(0, 1).index_select(0, rows).view(x.shape)


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

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        log_scale, r = squash(self.weight.diagonal(0, -2, -1), self.MAX_LOG_SCALE)
        lower = self.weight.tril(-1)
        lower.diagonal(0, -2, -1).fill_(1)
        upper = self.weight.triu(1)
        upper.diagonal(0, -2, -1).copy_(log_scale.exp())
        log_det = log_scale.sum(-1, keepdim=True)
        if inverse:
            between = torch.linalg.solve_triangular(lower, x, upper=False, unitriangular=True)
            z = torch.linalg.solve_triangular(upper, between, upper=True)
            return z, -log_det, (True, lower, upper, r, z)
        return torch.bmm(torch.bmm(lower, upper), x), log_det, (False, lower, upper, r, x)

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, lower, upper, r, data = tape
        grad_log_scale = grad_log_det.sum(-1, keepdim=True)
        if inverse:  # x moves by -(L U)^-1 d(L U) x when the matrix moves
            between = torch.linalg.solve_triangular(upper.mT, grad, upper=False)
            grad_x = torch.linalg.solve_triangular(lower.mT, between, upper=True, unitriangular=True)
            grad_z, grad_log_scale = -grad_x, -grad_log_scale
        else:
            grad_z = grad
            grad_x = torch.bmm(torch.bmm(lower, upper).mT, grad_z)
        grad_matrix = torch.bmm(grad_z, data.mT)
        grad_upper = torch.bmm(lower.mT, grad_matrix)
        grad_weight = torch.bmm(grad_matrix, upper.mT, out=out[0]).tril_(-1).add_(grad_upper.triu_())
        diagonal = grad_weight.diagonal(0, -2, -1)
        diagonal.mul_(upper.diagonal(0, -2, -1)).add_(grad_log_scale).mul_(r.pow(3))
        return grad_x, None


class Regression(Transform):
    """``z = x - B context``: what a fixed linear map of the context leaves of ``x``. The log-determinant is zero.

    Columns of the context count as if they lay within `LIMIT`, so that one far outside the data does not carry ``x``
    away with it.

    Parameters
    ----------
    coefficients : Tensor of shape (n_members, n_features, n_context)
        B, for a context in standardised units.
    """

    LIMIT = 10.0

    coefficients: Tensor

    def __init__(self, coefficients: Tensor) -> None:
        super().__init__()
        self.register_buffer("coefficients", coefficients)

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        assert context is not None
        inside = context.clamp(-self.LIMIT, self.LIMIT)
        shift = torch.matmul(self.coefficients, inside)
        return x + shift if inverse else x - shift, x.new_zeros(len(x), 1), (inverse, inside == context)

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, inside = tape
        pull = torch.matmul(self.coefficients.mT, grad) * inside
        return grad, pull if inverse else -pull


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

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        p, mean = self.precision_cholesky.mT, self.mean.unsqueeze(-1)
        log_det = self.precision_cholesky.diagonal(0, -2, -1).log().sum(-1, keepdim=True)
        if inverse:
            return torch.linalg.solve_triangular(p, x, upper=False) + mean, -log_det, inverse
        return p @ (x - mean), log_det, inverse

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        p = self.precision_cholesky
        return torch.linalg.solve_triangular(p, grad, upper=True) if tape else p @ grad, None
