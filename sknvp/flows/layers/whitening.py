"""Whitening: fixed linear maps to columns that are uncorrelated and of variance one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..transform import AnalyticTransform


class Whiten(AnalyticTransform):
    """Map ``z = (x - mean) @ P``, with a fixed upper triangular matrix P.

    If ``P P^T`` is the inverse of the covariance of ``x``, the covariance of ``z`` is the identity. The log-determinant
    is ``sum(log(diag(P)))``.

    Parameters
    ----------
    mean : Tensor of shape (n_members, n_features)
        The mean of ``x``.
    precision_cholesky : Tensor of shape (n_members, n_features, n_features)
        The matrix P, which has a positive diagonal.
    """

    mean: Tensor
    precision_cholesky: Tensor

    def __init__(self, mean: Tensor, precision_cholesky: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("precision_cholesky", precision_cholesky)

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, bool]:
        p, mean = self.precision_cholesky.mT, self.mean.unsqueeze(-1)
        log_det = self.precision_cholesky.diagonal(0, -2, -1).log().sum(-1, keepdim=True)
        if inverse:
            return torch.linalg.solve_triangular(p, x, upper=False) + mean, -log_det, inverse
        return p @ (x - mean), log_det, inverse

    def vjp(
        self, residuals: bool, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, p = residuals, self.precision_cholesky
        return torch.linalg.solve_triangular(p, grad_image, upper=True) if inverse else p @ grad_image, None

    def extra_repr(self) -> str:
        return f"n_members={self.mean.shape[0]}, n_features={self.mean.shape[1]}"


class LowRankWhiten(AnalyticTransform):
    """Map ``z = W (x - mean)`` with ``W = rest I + V diag(gains - rest) V^T``, where the columns of V are orthonormal.

    So W multiplies a direction in V by its gain, and all that is orthogonal to V by ``rest``. If ``x`` has the
    variances ``1 / gains^2`` along V and ``1 / rest^2`` across it, the covariance of ``z`` is the identity. No matrix
    of all columns by all columns is needed. The log-determinant is ``sum(log(gains)) + (n_features - rank) log(rest)``.

    Parameters
    ----------
    mean : Tensor of shape (n_members, n_features)
        The mean of ``x``.
    directions : Tensor of shape (n_members, n_features, rank)
        The matrix V.
    gains : Tensor of shape (n_members, rank)
        The positive factors along the columns of V.
    rest : float
        The positive factor in all other directions.
    """

    mean: Tensor
    directions: Tensor
    gains: Tensor

    def __init__(self, mean: Tensor, directions: Tensor, gains: Tensor, rest: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("gains", gains)
        self.rest = rest

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, bool]:
        mean, n_across = self.mean.unsqueeze(-1), self.mean.shape[1] - self.gains.shape[1]
        log_det = self.gains.log().sum(-1, keepdim=True) + n_across * math.log(self.rest)
        if inverse:
            return self._stretched(x, inverse) + mean, -log_det, inverse
        return self._stretched(x - mean, inverse), log_det, inverse

    def vjp(
        self, residuals: bool, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        return self._stretched(grad_image, residuals), None  # The matrix is symmetric.

    def _stretched(self, x: Tensor, inverse: bool) -> Tensor:
        """Multiply columns of shape (n_members, n_features, n_rows) by the matrix or by its inverse."""
        gains, rest = (self.gains.reciprocal(), 1 / self.rest) if inverse else (self.gains, self.rest)
        along = torch.matmul(self.directions.mT, x) * (gains - rest).unsqueeze(-1)
        return torch.matmul(self.directions, along).add_(x * rest)

    def extra_repr(self) -> str:
        n_members, n_features, rank = self.directions.shape
        return f"n_members={n_members}, n_features={n_features}, rank={rank}"
