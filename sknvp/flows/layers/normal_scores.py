"""Fixed monotone maps of single columns to normal scores."""

from typing import Any

import torch
from torch import Tensor

from .elementwise import ColumnwiseResiduals, ColumnwiseTransform
from .spline import solve


class NormalScores(ColumnwiseTransform):
    """Map each column by a fixed monotone rational-quadratic spline, for the last members alone.

    The spline of a column runs through points ``(knots, scores)`` with given ``slopes``, and goes on as a line beyond
    the first and the last of them. Where the scores are normal quantiles of the distribution function of a column, the
    column becomes normal. The first members leave all columns as they are, so that an ensemble sees both.

    The module `sknvp.flows.layers.spline` has the equations.

    Parameters
    ----------
    n_members : int
        The number of members, of which there are at least as many as splines of a column.
    knots, scores : Tensor of shape (n_mapped, n_features, n_knots)
        The points of the splines of the last ``n_mapped`` members, in increasing order.
    slopes : Tensor of shape (n_mapped, n_features, n_knots)
        The slopes at these points, which are positive. All three are buffers and never trained.

    References
    ----------
    Gregory and Delbourgo, "Piecewise rational quadratic interpolation to monotonic data", IMA J. Numer. Anal. 2, 1982.
    """

    knots: Tensor
    scores: Tensor
    slopes: Tensor

    def __init__(self, n_members: int, knots: Tensor, scores: Tensor, slopes: Tensor) -> None:
        super().__init__()
        self.n_members = n_members
        for name, points in (("knots", knots), ("scores", scores), ("slopes", slopes)):
            self.register_buffer(name, points)

    @property
    def n_plain(self) -> int:
        """The number of members that leave the columns as they are."""
        return self.n_members - len(self.knots)

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        plain = self.n_plain
        image, slope, bend = x.clone(), torch.ones_like(x), torch.zeros_like(x)
        image[plain:], slope[plain:], bend[plain:] = self._splines(x[plain:], inverse)
        log_det = slope.log().sum(1)
        return image, -log_det if inverse else log_det, ColumnwiseResiduals(inverse, slope, bend)

    def _splines(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the splines or their inverses; return the slopes, and the derivatives of their logarithms, too."""
        ends = self.scores if inverse else self.knots
        at = x.clamp(ends[..., :1], ends[..., -1:])
        left = torch.searchsorted(ends[..., 1:-1].contiguous(), at.contiguous(), right=True)
        tables = self.knots, self.scores, self.slopes
        (x0, x1), (y0, y1), (d0, d1) = ((table.gather(-1, left), table.gather(-1, left + 1)) for table in tables)
        w, h = x1 - x0, y1 - y0
        m = h / w
        u = solve(at - y0, h, m, d0, d1) if inverse else (at - x0) / w
        v = 1 - u
        p, q = m * u + d0 * v, m * v + d1 * u
        D, E = u * p + v * q, u * q + v * p
        slope = (m / D).square() * E
        bend = torch.where(x == at, _bend(u, v, p, q, m, d0, d1, D, E) / w, 0)
        if inverse:
            return x0 + u * w + (x - at) / slope, slope, bend
        return y0 + h * u * p / D + (x - at) * slope, slope, bend

    def extra_repr(self) -> str:
        return f"n_members={self.n_members}, n_mapped={len(self.knots)}, n_features={self.knots.shape[1]}"


def _bend(
    u: Tensor, v: Tensor, p: Tensor, q: Tensor, m: Tensor, d0: Tensor, d1: Tensor, D: Tensor, E: Tensor
) -> Tensor:
    """Differentiate the logarithm of the slope in u."""
    grad_E = q - p + u * (d1 - m) + v * (m - d0)
    grad_D = p - q + u * (m - d0) + v * (d1 - m)
    return grad_E / E - 2 * grad_D / D
