"""Transforms that treat every column by itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

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

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        loc, scale = self.loc.unsqueeze(-1), self.scale.unsqueeze(-1)
        log_scale = scale.log().sum().view(1, 1)
        if inverse:
            return x * scale + loc, log_scale, inverse
        return (x - loc) / scale, -log_scale, inverse

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        scale = self.scale.unsqueeze(-1)
        return grad * scale if tape else grad / scale, None


class Edges(NamedTuple):
    """What `Bounded.record` leaves for `Bounded.gradients`."""

    inverse: bool
    to_low: Tensor  # 1 / (x - low), zero where that is infinite
    to_high: Tensor
    slope: Tensor  # dz/dx


class Bounded(Transform):
    """From an interval, a half-line or the line, column by column, to the line.

    ``z = log(x - low) - log(high - x)``, without the term of a bound that is infinite, and ``z = x`` without bounds. So
    ``dz/dx = 1 / (x - low) + 1 / (high - x)``. Outside the bounds z is not a number.

    Parameters
    ----------
    low, high : Tensor of shape (n_features,)
        The bounds, which may be infinite, the lower below the upper; buffers.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        low, high = self.low.unsqueeze(-1), self.high.unsqueeze(-1)
        above, below = low.isfinite(), high.isfinite()
        if inverse:  # distances to the bounds from z itself: near a bound the difference to x would have no digits
            p, q = _distances(x, high - low, above, below)
            image = torch.where(above & ((p < q) | ~below), low + p, torch.where(below, high - q, x))
        else:
            p, q = x - low, high - x
            image = torch.where(above, p.log(), 0) - torch.where(below, q.log(), 0)
            image = torch.where(above | below, image, x)
        to_low, to_high = p.reciprocal(), q.reciprocal()
        slope = torch.where(above | below, to_low + to_high, 1)
        log_det = slope.log().sum(1)
        return image, -log_det if inverse else log_det, Edges(inverse, to_low, to_high, slope)

    def gradients(
        self, tape: Edges, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        bend = grad_log_det.unsqueeze(1) * (tape.to_high - tape.to_low)  # the derivative of log(dz/dx) in x
        return ((grad - bend) / tape.slope if tape.inverse else grad * tape.slope + bend), None


def _distances(z: Tensor, width: Tensor, above: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Of the image of z from the lower and the upper bound."""
    both = above & below
    p = torch.where(both, width * z.sigmoid(), torch.where(above, z.exp(), torch.inf))
    q = torch.where(both, width * (-z).sigmoid(), torch.where(below, (-z).exp(), torch.inf))
    return p, q
