"""Mean, distribution function and quantiles of an ensemble of flows, given the context of each row.

A flow of one column is increasing. Its distribution function is therefore ``F(y) = sum_fm w_fm B_f(z_fm(y))``, in
which B_f is the distribution function of the base, and a quantile is the y at which F has risen to a given share.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from .ensemble import Ensemble
from .flow import Flow

GRID_LIMIT = 5.0  # The grid of noise ends at this many standard deviations.
MAX_NEWTON_STEPS = 100  # The search for a quantile takes this many steps at most.


def noise_points(n_features: int, n_points: int) -> tuple[Tensor, Tensor]:
    """Return points and weights for integrals over standard normal noise.

    For one column the points are an even grid with the weights of the trapezoidal rule, which for smooth functions and
    a normal distribution is exact to rounding. For several columns they are quasi-random points and their opposites,
    all of the same weight. Both sets are symmetric, so that the mean of a linear map is exact.

    Parameters
    ----------
    n_features : int
        The number of columns of the noise.
    n_points : int
        The number of points; even if there are several columns.

    Returns
    -------
    points : Tensor of shape (n_points, n_features), dtype float64
    weights : Tensor of shape (n_points,), dtype float64
        Positive weights, which add up to one.
    """
    if n_features == 1:
        grid = torch.linspace(-GRID_LIMIT, GRID_LIMIT, n_points, dtype=torch.float64)
        return grid.unsqueeze(1), torch.softmax(-0.5 * grid.square(), 0)
    sequence = SobolEngine(n_features, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    uniform = sequence.draw(n_points // 2, dtype=torch.float64)
    half = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
    points = torch.cat([half, -half])
    return points, torch.full((len(points),), 1 / len(points), dtype=torch.float64)


def mean(
    density: Ensemble,
    context: Tensor,
    points: Tensor,
    weights: Tensor,
    function: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Return the mean of a function under the density, for each row of the context, in float64.

    Parameters
    ----------
    density : Ensemble
        The density.
    context : Tensor of shape (n_rows, n_context)
        The context of each row.
    points, weights : Tensor
        The results of `noise_points`.
    function : callable, optional
        It maps the last axis of a tensor, from n_features numbers to any number of them. By default it is the identity.

    Returns
    -------
    mean : Tensor of shape (n_rows, n_values)
    """
    n_rows, n_points = len(context), len(points)
    points, weights = points.to(context.device), weights.to(context.device)
    repeated = context.repeat_interleave(n_points, 0)
    total = torch.zeros((), dtype=torch.float64, device=context.device)
    for flow, log_weights in density.parts():
        x = function(_data_from_noise(flow, points.repeat(n_rows, 1), repeated).double())
        each = x.view(flow.n_members, n_rows, n_points, -1)
        total = total + torch.einsum("m,mnpd,p->nd", log_weights.exp().to(each), each, weights.to(each))
    return total


def distribution(density: Ensemble, y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distribution function ``F(y)`` of one column and its slope, the density.

    Parameters
    ----------
    density : Ensemble
        A density of one column.
    y : Tensor of shape (n_rows,)
        Where to evaluate.
    context : Tensor of shape (n_rows, n_context)
        The context of each row.

    Returns
    -------
    value, slope : Tensor of shape (n_rows,), dtype float64
    """
    value = slope = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for flow, log_weights in density.parts():
        x, given = (t.to(flow.reference).expand(flow.n_members, *t.shape) for t in (y.unsqueeze(1), context))
        z, log_det = flow.transform(x, given)
        shares = log_weights.exp().double().unsqueeze(1)
        value = value + (shares * flow.base.cdf(z.double()).sum(2)).sum(0)
        slope = slope + (shares * (flow.base.log_prob(z) + log_det).double().exp()).sum(0)
    return value, slope


def quantile(density: Ensemble, q: float, context: Tensor) -> Tensor:
    """Return the q-quantile of one column, q in (0, 1), for each row of the context, shape (n_rows,), dtype float64.

    Newton's method solves ``F(y) = q`` between bounds. Bisection takes every third step, and every step in which
    Newton's method would leave the bounds.
    """
    low, high = _quantile_bracket(density, q, context)
    y, eps = (low + high) / 2, 100 * torch.finfo(density.reference.dtype).eps
    for step in range(MAX_NEWTON_STEPS):
        value, slope = distribution(density, y, context)
        low, high = torch.where(value < q, y, low), torch.where(value < q, high, y)
        if (((value - q).abs() <= eps) | (high - low <= eps / 100 * y.abs())).all():
            break
        newton = y - (value - q) / slope
        good = (newton > low) & (newton < high) & (step % 3 < 2)
        y = torch.where(good, newton, (low + high) / 2)
    return y


def _quantile_bracket(density: Ensemble, q: float, context: Tensor) -> tuple[Tensor, Tensor]:
    """Return bounds of the q-quantile.

    They start as the extremes of the quantiles that the members would have with standard normal noise, and move apart
    until the quantile lies between them.
    """
    noise = torch.special.ndtri(torch.full((len(context), 1), q, dtype=torch.float64, device=context.device))
    each = torch.cat([_data_from_noise(flow, noise, context).double() for flow, _ in density.parts()])[..., 0]
    low, high = each.amin(0), each.amax(0)
    margin = (high - low) + torch.maximum(low.abs(), high.abs()) * torch.finfo(density.reference.dtype).eps
    for _ in range(MAX_NEWTON_STEPS):
        below, above = (distribution(density, bound, context)[0] for bound in (low, high))
        if ((below <= q) & (above >= q)).all():
            break
        low, high = torch.where(below > q, low - margin, low), torch.where(above < q, high + margin, high)
        margin = 2 * margin
    return low, high


def _data_from_noise(flow: Flow, z: Tensor, context: Tensor) -> Tensor:
    """Carry the same noise to data by every member of a flow, shape (n_members, n_rows, n_features)."""
    noise, given = (t.to(flow.reference).expand(flow.n_members, *t.shape) for t in (z, context))
    return flow.transform.inverse(noise, given)[0]
