"""Mean, distribution function and quantiles of an ensemble of flows, given their context.

A flow of one column is increasing, so that ``F(y) = sum_f w_f mean_m B_f(z_fm(y))`` with B_f the distribution function
of its base, and the quantiles are where F has risen to a given share.
"""

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from .base import StudentT
from .ensemble import Ensemble
from .flow import Flow

REACH = 5.0  # of the grid of noise, in standard deviations
MOST_STEPS = 100  # towards a quantile


def noise_points(n_features: int, n_points: int) -> tuple[Tensor, Tensor]:
    """Points (n_points, n_features) and weights (n_points,) to integrate over normal noise with.

    For one column an even grid, by the trapezoidal rule, which on a normal distribution is exact to rounding for smooth
    functions. For several quasi-random points and their opposites, all of one weight. Either is symmetric, so that
    the mean of a linear map comes out exactly.
    """
    if n_features == 1:
        grid = torch.linspace(-REACH, REACH, n_points, dtype=torch.float64)
        return grid.unsqueeze(1), torch.softmax(-0.5 * grid.square(), 0)
    sequence = SobolEngine(n_features, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    uniform = sequence.draw(n_points // 2, dtype=torch.float64)
    half = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
    points = torch.cat([half, -half])
    return points, torch.full((len(points),), 1 / len(points), dtype=torch.float64)


def mean(density: Ensemble, context: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Mean of the density for each row of the context, shape (n_rows, n_features), by `noise_points`."""
    n_rows, n_points = len(context), len(points)
    points, weights = points.to(context.device), weights.to(context.device)
    repeated = context.repeat_interleave(n_points, 0)
    total = torch.zeros(n_rows, points.shape[1], dtype=torch.float64, device=context.device)
    for flow, log_weight in density.parts():
        x = _image(flow, points.repeat(n_rows, 1), repeated).double()
        each = x.view(flow.n_members, n_rows, n_points, -1)
        total += log_weight.exp() * torch.einsum("mnpd,p->nd", each, weights.to(each)) / flow.n_members
    return total


def distribution(density: Ensemble, y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """``F(y)`` and its slope, the density, of one column, shape (n_rows,), float64."""
    value = slope = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for flow, log_weight in density.parts():
        x, given = (t.to(flow.like).expand(flow.n_members, *t.shape) for t in (y.unsqueeze(1), context))
        z, log_det = flow.transform(x, given)
        share = log_weight.exp() / flow.n_members
        below = flow.base.cdf if isinstance(flow.base, StudentT) else torch.special.ndtr  # also where y is constant
        value = value + share * below(z.double()).sum((0, 2))
        slope = slope + share * (flow.base.log_prob(z) + log_det).double().exp().sum(0)
    return value, slope


def quantile(density: Ensemble, q: float, context: Tensor) -> Tensor:
    """Where `distribution` is q in (0, 1), shape (n_rows,), for each row of the context.

    Between bounds by Newton's method, with bisection every third time and wherever Newton's would leave them.
    """
    low, high = _bounds(density, q, context)
    y, eps = (low + high) / 2, 100 * torch.finfo(density.like.dtype).eps
    for step in range(MOST_STEPS):
        value, slope = distribution(density, y, context)
        low, high = torch.where(value < q, y, low), torch.where(value < q, high, y)
        if (((value - q).abs() <= eps) | (high - low <= eps / 100 * y.abs())).all():
            break
        newton = y - (value - q) / slope
        good = (newton > low) & (newton < high) & (step % 3 < 2)
        y = torch.where(good, newton, (low + high) / 2)
    return y


def _bounds(density: Ensemble, q: float, context: Tensor) -> tuple[Tensor, Tensor]:
    """What the quantile lies between: the extremes of the members' own, with all bases taken for normal, or beyond."""
    noise = torch.special.ndtri(torch.full((len(context), 1), q, dtype=torch.float64, device=context.device))
    each = torch.cat([_image(flow, noise, context).double() for flow, _ in density.parts()])[..., 0]
    low, high = each.amin(0), each.amax(0)
    margin = (high - low) + torch.maximum(low.abs(), high.abs()) * torch.finfo(density.like.dtype).eps
    for _ in range(MOST_STEPS):
        below, above = (distribution(density, bound, context)[0] for bound in (low, high))
        if ((below <= q) & (above >= q)).all():
            break
        low, high = torch.where(below > q, low - margin, low), torch.where(above < q, high + margin, high)
        margin = 2 * margin
    return low, high


def _image(flow: Flow, z: Tensor, context: Tensor) -> Tensor:
    """Data that a flow's members make of the same noise, shape (n_members, n_rows, n_features)."""
    noise, given = (t.to(flow.like).expand(flow.n_members, *t.shape) for t in (z, context))
    return flow.transform.inverse(noise, given)[0]
