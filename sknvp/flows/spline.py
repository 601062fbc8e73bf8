"""Monotone rational-quadratic splines.

Between two knots (x0, y0) and (x1, y1) with slopes d0 and d1, let w = x1 - x0, h = y1 - y0 and m = h / w. Then with
u = (x - x0) / w, which runs from 0 to 1, and v = 1 - u::

    y = y0 + h r        r = u p / D      p = m u + d0 v      D = u p + v q
    dy/dx = m^2 E / D^2                  q = m v + d1 u      E = u q + v p

which increases, meets both knots with the given slopes and can be inverted by a quadratic equation. Outside the box
the spline goes on with slope one.

References
----------
Gregory and Delbourgo, "Piecewise rational quadratic interpolation to monotonic data", IMA J. Numer. Anal. 2, 1982.
Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", NeurIPS 2019, arXiv:1906.04032.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .squash import squash

MIN_BIN = 1e-3  # smallest width and height of a bin, as a share of the box
MAX_LOG_SLOPE = 7.0


class Spline(NamedTuple):
    """Splines and the places u in their bins where they are evaluated; all but the last four (..., n_columns, n_rows).

    See the top of the file for the symbols.
    """

    w: Tensor
    h: Tensor
    m: Tensor
    d0: Tensor
    d1: Tensor
    u: Tensor
    v: Tensor
    p: Tensor
    q: Tensor
    r: Tensor
    D: Tensor
    E: Tensor
    inside: Tensor  # whether x is in the box
    bins: Tensor  # the bin and the one after it, (n_members, 2, n_columns, n_rows)
    shares: Tensor  # of the bins in the box, (n_members, 2, n_bins, n_columns, n_rows)
    flatness: Tensor  # d(d0, d1) / d theta
    steps: Tensor  # the matrix that adds up shares to knots


def rational_quadratic_spline(
    x: Tensor, theta: Tensor, box: float, inverse: bool = False
) -> tuple[Tensor, Tensor, Spline]:
    """Value and log-slope of the spline at ``x``, or of its inverse function, and what `gradients` needs.

    Parameters
    ----------
    x : Tensor of shape (n_members, n_columns, n_rows)
        Where to evaluate.
    theta : Tensor of shape (n_members, 3 n_bins - 1, n_columns, n_rows)
        Unconstrained widths, heights and inner slopes of the spline for each element; all zero is the identity.
    box : float
        The spline acts on [-box, box].
    inverse : bool, default=False
        Evaluate the inverse function.

    Returns
    -------
    value, log_slope : Tensors of the shape of ``x``
    spline : Spline
    """
    n_bins = (theta.shape[1] + 1) // 3
    start, steps = _start_and_steps(n_bins, box, theta.dtype, theta.device)
    shares = torch.softmax(torch.unflatten(theta[:, : 2 * n_bins], 1, (2, n_bins)), 2)
    knots = _product(steps, shares, start)

    at = x.clamp(-box, box)
    left = (knots[:, int(inverse), 1:-1] <= at.unsqueeze(1)).view(torch.int8).sum(1)
    bins = torch.stack([left, left + 1], 1)
    (x0, x1), (y0, y1) = (knots[:, i].gather(1, bins).unbind(1) for i in (0, 1))
    outermost = torch.zeros_like(x).unsqueeze(1)
    inner = theta[:, 2 * n_bins :]
    slopes, flatness = _slopes(torch.cat([outermost, inner, outermost], 1).gather(1, bins))
    d0, d1 = slopes.unbind(1)
    w, h = x1 - x0, y1 - y0
    m = h / w

    u = _solve(at - y0, h, m, d0, d1) if inverse else (at - x0) / w
    v = 1 - u
    p, q = torch.addcmul(m * u, d0, v), torch.addcmul(m * v, d1, u)
    up = u * p
    D, E = torch.addcmul(up, v, q), torch.addcmul(u * q, v, p)
    r = up / D
    log_slope = (m / D).square_().mul_(E).log_()
    spline = Spline(w, h, m, d0, d1, u, v, p, q, r, D, E, x == at, bins, shares, flatness, steps)
    if inverse:
        return torch.addcmul(x0, u, w) + (x - at), -log_slope, spline
    return torch.addcmul(y0, h, r) + (x - at), log_slope, spline


def gradients(spline: Spline, grad_y: Tensor, grad_log_slope: Tensor) -> tuple[Tensor, Tensor]:
    """From the gradients of value and log-slope, those of ``x`` and of ``theta``, for the spline (not its inverse)."""
    w, h, m, d0, d1, u, v, p, q, r, D, E, inside, bins, shares, flatness, steps = spline
    grad_r = grad_y * h
    grad_E = grad_log_slope / E
    grad_D = torch.addcmul(2 * grad_log_slope, grad_r, r).div_(D).neg_()
    grad_up = torch.addcdiv(grad_D, grad_r, D)
    grad_p = torch.addcmul(grad_up * u, grad_E, v)
    grad_q = torch.addcmul(grad_D * v, grad_E, u)
    grad_m = torch.addcmul(grad_p * u, grad_q, v).add_(grad_log_slope / m, alpha=2)
    grad_u = (grad_up - grad_E) * p + (grad_E - grad_D) * q + grad_p * (m - d0) + grad_q * (d1 - m)  # v with it
    grad_x = grad_u / w
    grad_h = torch.addcdiv(grad_y * r, grad_m, w)
    grad_w = torch.addcmul(grad_m * m, grad_u, u).div_(w).neg_()

    n_members, n_knots, n_bins = len(w), *steps.shape
    ends = torch.stack([-grad_x - grad_w, grad_w, grad_y - grad_h, grad_h], 1).view(n_members, 2, 2, *w.shape[1:])
    grad_knots = w.new_zeros(n_members, 2, n_knots, *w.shape[1:])
    grad_knots.scatter_(2, bins.unsqueeze(1).expand(ends.shape), ends)
    weighted = _product(steps.mT, grad_knots).mul_(shares)
    grad_slopes = w.new_zeros(n_members, n_knots, *w.shape[1:])
    grad_slopes.scatter_(1, bins, torch.stack([grad_p * v, grad_q * u], 1).mul_(flatness))
    grad_theta = w.new_empty(n_members, 3 * n_bins - 1, *w.shape[1:])
    grad_shares = torch.unflatten(grad_theta[:, : 2 * n_bins], 1, (2, n_bins))
    torch.addcmul(weighted, shares, weighted.sum(2, keepdim=True), value=-1, out=grad_shares)
    grad_theta[:, 2 * n_bins :].copy_(grad_slopes[:, 1:-1])
    return torch.where(inside, grad_x, grad_y), grad_theta


@lru_cache
@torch.inference_mode(False)
def _start_and_steps(n_bins: int, box: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(n_bins + 1, 1) and (n_bins + 1, n_bins): the knots are the first plus the second times the bins' shares."""
    at = torch.arange(n_bins + 1, dtype=dtype, device=device).unsqueeze(1)
    size = 2 * box * (1 - MIN_BIN * n_bins)
    steps = torch.full((n_bins + 1, n_bins), size, dtype=dtype, device=device).tril(-1)
    return at * (2 * box * MIN_BIN) - box, steps


def _product(matrix: Tensor, x: Tensor, plus: Tensor | None = None) -> Tensor:
    """The matrix times ``x`` along the bins, the third axis of five."""
    flat = x.flatten(3).flatten(0, 1)
    matrix = matrix.expand(len(flat), *matrix.shape)
    product = torch.bmm(matrix, flat) if plus is None else torch.baddbmm(plus, matrix, flat)
    return product.view(*x.shape[:2], matrix.shape[1], *x.shape[3:])


def _slopes(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Positive slopes, one where theta is zero, and their derivatives."""
    log_slope, r = squash(theta, MAX_LOG_SLOPE)
    slope = log_slope.exp()
    return slope, slope * r.pow(3)


def _solve(rise: Tensor, h: Tensor, m: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """The root u in [0, 1] of the quadratic that says the spline has risen by ``rise`` since the left knot."""
    bent = rise * (d0 + d1 - 2 * m)
    a = h * (m - d0) + bent
    b = h * d0 - bent
    c = -m * rise
    return 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
