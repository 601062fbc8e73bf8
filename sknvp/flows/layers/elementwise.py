"""Transforms that treat every column by itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..transform import AnalyticTransform


class Standardize(AnalyticTransform):
    """Map ``z = (x - loc) / scale``, with fixed location and scale.

    The log-determinant is ``-sum(log(scale))``. As the first transform of a flow, it puts the units of the data into
    every log-density.

    Parameters
    ----------
    loc, scale : Tensor of shape (n_features,)
        Location and positive scale, which are buffers and never trained.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, bool]:
        loc, scale = self.loc.unsqueeze(-1), self.scale.unsqueeze(-1)
        log_scale = scale.log().sum().view(1, 1)
        if inverse:
            return x * scale + loc, log_scale, inverse
        return (x - loc) / scale, -log_scale, inverse

    def vjp(
        self, residuals: bool, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, scale = residuals, self.scale.unsqueeze(-1)
        return grad_image * scale if inverse else grad_image / scale, None

    def extra_repr(self) -> str:
        return f"n_features={len(self.loc)}"


class UnconstrainResiduals(NamedTuple):
    """The residuals of `Unconstrain`."""

    inverse: bool  # the direction
    to_low: Tensor  # 1 / (x - low), which is zero if the bound is infinite
    to_high: Tensor  # 1 / (high - x), which is zero if the bound is infinite
    slope: Tensor  # dz/dx


class Unconstrain(AnalyticTransform):
    """Map an interval, a half-line or the line to the line, column by column.

    The map is ``z = log(x - low) - log(high - x)``, without the term of a bound that is infinite, and ``z = x`` if both
    are. Its slope is ``dz/dx = 1 / (x - low) + 1 / (high - x)``. Outside the bounds z is NaN.

    Parameters
    ----------
    low, high : Tensor of shape (n_features,)
        The bounds, which may be infinite; every lower bound is less than the upper one. They are buffers.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        low, high = self.low.unsqueeze(-1), self.high.unsqueeze(-1)
        above, below = low.isfinite(), high.isfinite()
        if inverse:
            # The distances to the bounds come from z itself: near a bound, differences to x would lose all digits.
            p, q = _distances(x, high - low, above, below)
            image = torch.where(above & ((p < q) | ~below), low + p, torch.where(below, high - q, x))
        else:
            p, q = x - low, high - x
            image = torch.where(above, p.log(), 0) - torch.where(below, q.log(), 0)
            image = torch.where(above | below, image, x)
        to_low, to_high = p.reciprocal(), q.reciprocal()
        slope = torch.where(above | below, to_low + to_high, 1)
        log_det = slope.log().sum(1)
        return image, -log_det if inverse else log_det, UnconstrainResiduals(inverse, to_low, to_high, slope)

    def vjp(
        self, residuals: UnconstrainResiduals, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, to_low, to_high, slope = residuals
        bend = grad_log_det.unsqueeze(1) * (to_high - to_low)  # This difference is the derivative of log(dz/dx) in x.
        return ((grad_image - bend) / slope if inverse else grad_image * slope + bend), None

    def extra_repr(self) -> str:
        n_bounds = int(self.low.isfinite().sum()), int(self.high.isfinite().sum())
        return f"n_features={len(self.low)}, n_lower_bounds={n_bounds[0]}, n_upper_bounds={n_bounds[1]}"


def _distances(z: Tensor, width: Tensor, above: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances of the image of z from the lower and from the upper bound."""
    both = above & below
    p = torch.where(both, width * z.sigmoid(), torch.where(above, z.exp(), torch.inf))
    q = torch.where(both, width * (-z).sigmoid(), torch.where(below, (-z).exp(), torch.inf))
    return p, q
