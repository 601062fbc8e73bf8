"""Transforms that treat every column by itself."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.special import log_ndtr, ndtri

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


class ColumnwiseResiduals(NamedTuple):
    """The residuals of a `ColumnwiseTransform`."""

    inverse: bool  # True for the direction from noise to data.
    slope: Tensor  # The slope dz/dx.
    bend: Tensor  # The derivative of log(dz/dx) in x.


class ColumnwiseTransform(AnalyticTransform):
    """A transform of single columns without parameters, whose gradients follow from its slope."""

    def vjp(
        self, residuals: ColumnwiseResiduals, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, slope, bend = residuals
        bend = grad_log_det.unsqueeze(1) * bend
        return ((grad_image - bend) / slope if inverse else grad_image * slope + bend), None


class Unconstrain(ColumnwiseTransform):
    """Map an interval, a half-line or the line to the line, column by column.

    The map is ``z = log(x - low) - log(high - x)``, without the term of a bound that is infinite, and ``z = x`` if both
    are. Its slope is ``dz/dx = 1 / (x - low) + 1 / (high - x)``. Outside the bounds z is NaN. The inverse stays between
    the bounds: where rounding or overflow would take x to a bound, x is the number next to it.

    Parameters
    ----------
    low, high : Tensor of shape (n_features,)
        The bounds, which may be infinite; at least one number lies between them in every column. They are buffers.
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
            inside = image.clamp(low.nextafter(high), high.nextafter(low))
            image = torch.where(above | below, inside, image)
        else:
            p, q = x - low, high - x
            image = torch.where(above, p.log(), 0) - torch.where(below, q.log(), 0)
            image = torch.where(above | below, image, x)
        to_low, to_high = _finite_reciprocal(p), _finite_reciprocal(q)
        slope = torch.where(above | below, to_low + to_high, 1)
        log_det = slope.log().sum(1)
        return image, -log_det if inverse else log_det, ColumnwiseResiduals(inverse, slope, to_high - to_low)

    def extra_repr(self) -> str:
        n_bounds = int(self.low.isfinite().sum()), int(self.high.isfinite().sum())
        return f"n_features={len(self.low)}, n_lower_bounds={n_bounds[0]}, n_upper_bounds={n_bounds[1]}"


class LogisticToNormal(ColumnwiseTransform):
    """Map ``z = Phi^-1(1 / (1 + exp(-x)))``, which carries the logistic distribution to the standard normal one.

    Here ``Phi`` is the distribution function of the standard normal distribution. After `Unconstrain`, a column between
    two bounds becomes ``z = Phi^-1((x - low) / (high - low))``, so that a uniform distribution becomes normal. A column
    with a lower bound alone becomes ``z = Phi^-1(d / (1 + d))`` of the distance ``d = x - low``, so that a density that
    is finite and positive at the bound gets the tail of a normal density.

    All is computed from x, so that no digits are lost at the bounds. Where ``exp(-|x|)`` underflows, ``|z|`` stays
    37.5, its largest value in double precision.
    """

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        x, z = (log_ndtr(x) - log_ndtr(-x), x) if inverse else (x, _normal_score(x))
        log_slope = logsigmoid(x) + logsigmoid(-x) + (z.square() + math.log(2 * math.pi)) / 2
        slope, log_det = log_slope.exp(), log_slope.sum(1)
        residuals = ColumnwiseResiduals(inverse, slope, z * slope - (x / 2).tanh())
        return (x, -log_det, residuals) if inverse else (z, log_det, residuals)


def _distances(z: Tensor, width: Tensor, above: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances of the image of z from the lower and from the upper bound."""
    both, most = above & below, torch.finfo(z.dtype).max
    p = torch.where(both, width * z.sigmoid(), torch.where(above, z.exp().clamp(max=most), torch.inf))
    q = torch.where(both, width * (-z).sigmoid(), torch.where(below, (-z).exp().clamp(max=most), torch.inf))
    return p, q


def _finite_reciprocal(distance: Tensor) -> Tensor:
    """Return the reciprocal of a distance, which is finite even if the distance is zero."""
    return distance.clamp(min=torch.finfo(distance.dtype).tiny).reciprocal()


def _normal_score(x: Tensor) -> Tensor:
    """Return the standard normal quantile at the probability that the logistic distribution function has at x."""
    tail = (-x.abs()).sigmoid().clamp(min=torch.finfo(x.dtype).tiny)
    score: Tensor = ndtri(tail).copysign(x)
    return score
