"""Linear transforms that mix columns."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..networks.soft_clip import soft_clip
from ..transform import AnalyticTransform


class Permute(AnalyticTransform):
    """Reorder the columns: ``z[..., j] = x[..., order[j]]``. The log-determinant is zero.

    Parameters
    ----------
    order : Tensor of shape (n_members, n_features), dtype int64
        A permutation per member.
    """

    rows: Tensor  # The order of the columns of all members, which are numbered one member after the other.
    inverse_rows: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        n_members, n_features = order.shape
        start = torch.arange(n_members).unsqueeze(1) * n_features
        self.n_members, self.n_features = n_members, n_features
        self.register_buffer("rows", (start + order).flatten())
        self.register_buffer("inverse_rows", (start + order.argsort(-1)).flatten())

    def evaluate_with_residuals(
        self, x: Tensor, context: Tensor | None, inverse: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        there, back = (self.inverse_rows, self.rows) if inverse else (self.rows, self.inverse_rows)
        return self._reordered(x, there), x.new_zeros(x.shape[0], 1), back

    def vjp(
        self, residuals: Tensor, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        return self._reordered(grad_image, residuals), None

    @staticmethod
    def _reordered(x: Tensor, rows: Tensor) -> Tensor:
        """Move whole columns, whose values lie together in memory."""
        return x.flatten(0, 1).index_select(0, rows).view(x.shape)

    def extra_repr(self) -> str:
        return f"n_members={self.n_members}, n_features={self.n_features}"


class LULinearResiduals(NamedTuple):
    """The residuals of `LULinear`."""

    inverse: bool  # True for the direction from noise to data.
    lower: Tensor  # The matrix L.
    upper: Tensor  # The matrix U.
    r: Tensor  # The second result of `soft_clip` for the diagonal of U.
    data: Tensor  # The data x, in both directions.


class LULinear(AnalyticTransform):
    """Map ``z = L U x``, with L unit lower and U upper triangular, so that determinant and inverse are cheap.

    It starts as the identity. The logarithms of the diagonal of U stay between -2 and 2, by `soft_clip`.

    Parameters
    ----------
    n_members, n_features : int
        The number of members and of columns.

    References
    ----------
    Kingma and Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", NeurIPS 2018, arXiv:1807.03039.
    """

    MAX_LOG_SCALE = 2.0

    def __init__(self, n_members: int, n_features: int) -> None:
        super().__init__()
        # The matrix holds L below the diagonal, U above it, and on it the logarithms of the diagonal of U.
        self.weight = nn.Parameter(torch.zeros(n_members, n_features, n_features, dtype=torch.float64))

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        log_scale, r = soft_clip(self.weight.diagonal(0, -2, -1), self.MAX_LOG_SCALE)
        lower = self.weight.tril(-1)
        lower.diagonal(0, -2, -1).fill_(1)
        upper = self.weight.triu(1)
        upper.diagonal(0, -2, -1).copy_(log_scale.exp())
        log_det = log_scale.sum(-1, keepdim=True)
        if inverse:
            between = torch.linalg.solve_triangular(lower, x, upper=False, unitriangular=True)
            data = torch.linalg.solve_triangular(upper, between, upper=True)
            return data, -log_det, LULinearResiduals(inverse, lower, upper, r, data)
        z = torch.bmm(torch.bmm(lower, upper), x)
        return z, log_det, LULinearResiduals(inverse, lower, upper, r, x)

    def vjp(
        self, residuals: LULinearResiduals, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, lower, upper, r, data = residuals
        grad_log_scale = grad_log_det.sum(-1, keepdim=True)
        if inverse:
            # The image x moves by -(L U)^-1 d(L U) x when the matrix moves by d(L U).
            between = torch.linalg.solve_triangular(upper.mT, grad_image, upper=False)
            grad_input = torch.linalg.solve_triangular(lower.mT, between, upper=True, unitriangular=True)
            grad_z, grad_log_scale = -grad_input, -grad_log_scale
        else:
            grad_z = grad_image
            grad_input = torch.bmm(torch.bmm(lower, upper).mT, grad_z)
        grad_matrix = torch.bmm(grad_z, data.mT)
        grad_upper = torch.bmm(lower.mT, grad_matrix)
        grad_weight = torch.bmm(grad_matrix, upper.mT, out=out[0]).tril_(-1).add_(grad_upper.triu_())
        diagonal = grad_weight.diagonal(0, -2, -1)
        diagonal.mul_(upper.diagonal(0, -2, -1)).add_(grad_log_scale).mul_(r.pow(3))
        return grad_input, None

    def extra_repr(self) -> str:
        return f"n_members={self.weight.shape[0]}, n_features={self.weight.shape[1]}"


class AdditiveConditioningResiduals(NamedTuple):
    """The residuals of `AdditiveConditioning`."""

    inverse: bool  # True for the direction from noise to data.
    inside: Tensor  # Whether each number of the context lies within the limit.


class AdditiveConditioning(AnalyticTransform):
    """Map ``z = x - B context``, with a fixed matrix B. The log-determinant is zero.

    So z is the residual of a linear regression of x on the context. Numbers of the context are clipped to ``LIMIT``
    in absolute value, so that a context far outside the data does not carry x away with it. A column with a period is
    moved by what remains of ``B context`` after whole periods, between minus and plus half of one.

    Parameters
    ----------
    coefficients : Tensor of shape (n_members, n_features, n_context)
        The matrix B, for a context in standardised units.
    periods : Tensor of shape (n_features,), optional
        The periods of the columns, infinite for those without one. By default no column has one.
    """

    LIMIT = 10.0

    coefficients: Tensor
    periods: Tensor | None

    def __init__(self, coefficients: Tensor, periods: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("coefficients", coefficients)
        self.register_buffer("periods", None if periods is None else periods.unsqueeze(1))

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        assert context is not None
        inside = context.clamp(-self.LIMIT, self.LIMIT)
        shift = torch.matmul(self.coefficients, inside)
        if self.periods is not None:
            turns = (shift / self.periods).round()
            shift = torch.where(turns == 0, shift, shift - turns * self.periods)
        residuals = AdditiveConditioningResiduals(inverse, inside == context)
        return x + shift if inverse else x - shift, x.new_zeros(len(x), 1), residuals

    def vjp(
        self, residuals: AdditiveConditioningResiduals, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, inside = residuals
        grad_shift = torch.matmul(self.coefficients.mT, grad_image) * inside
        return grad_image, grad_shift if inverse else -grad_shift

    def extra_repr(self) -> str:
        n_members, n_features, n_context = self.coefficients.shape
        return f"n_members={n_members}, n_features={n_features}, n_context={n_context}"
