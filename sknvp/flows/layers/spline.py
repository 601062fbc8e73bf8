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

from ..networks.soft_clip import soft_clip

MIN_BIN = 1e-3  # Widths and heights of bins are at least this share of the box.
MAX_LOG_SLOPE = 7.0  # The logarithm of the slope at a knot stays below this in absolute value.


class Spline(NamedTuple):
    """The residuals of splines: their bins and the places u in these at which they are evaluated.

    The docstring of this module explains the symbols. Tensors have shape (n_members, n_columns, n_rows) unless a
    comment says otherwise.
    """

    w: Tensor  # The width of the bin in which x lies.
    h: Tensor  # The height of the bin.
    m: Tensor  # The mean slope h / w in the bin.
    d0: Tensor  # The slope at the left knot of the bin.
    d1: Tensor  # The slope at the right knot of the bin.
    u: Tensor  # The place of x in the bin, from 0 to 1.
    v: Tensor  # The difference 1 - u.
    p: Tensor  # The sum m u + d0 v.
    q: Tensor  # The sum m v + d1 u.
    r: Tensor  # The place of y in the bin, from 0 to 1.
    D: Tensor  # The sum u p + v q.
    E: Tensor  # The sum u q + v p.
    inside: Tensor  # Whether x is in the box.
    bins: Tensor  # The numbers of the bin and of the next one, of shape (n_members, 2, n_columns, n_rows).
    # The shares of the bins in the width and height of the box, of shape (n_members, 2, n_bins, n_columns, n_rows).
    shares: Tensor
    slope_derivatives: Tensor  # The derivatives of d0 and d1 in theta, of shape (n_members, 2, n_columns, n_rows).
    steps: Tensor  # The matrix that adds up shares to knots, of shape (n_bins + 1, n_bins).


def rational_quadratic_spline(
    x: Tensor, theta: Tensor, box: float, inverse: bool = False
) -> tuple[Tensor, Tensor, Spline]:
    """Evaluate splines, or their inverse functions.

    Parameters
    ----------
    x : Tensor of shape (n_members, n_columns, n_rows)
        Where to evaluate.
    theta : Tensor of shape (n_members, 3 n_bins - 1, n_columns, n_rows)
        Unconstrained widths, heights and inner slopes of the spline for each element. If all of them are zero, the
        spline is the identity.
    box : float
        The spline acts on [-box, box].
    inverse : bool, default=False
        Whether to evaluate the inverse function.

    Returns
    -------
    value, log_slope : Tensor of shape (n_members, n_columns, n_rows)
        The value of the function evaluated and the logarithm of its slope.
    residuals : Spline
        What `vjp` needs.
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
    slopes, slope_derivatives = _slopes(torch.cat([outermost, inner, outermost], 1).gather(1, bins))
    d0, d1 = slopes.unbind(1)
    w, h = x1 - x0, y1 - y0
    m = h / w

    u = solve(at - y0, h, m, d0, d1) if inverse else (at - x0) / w
    v = 1 - u
    p, q = torch.addcmul(m * u, d0, v), torch.addcmul(m * v, d1, u)
    up = u * p
    D, E = torch.addcmul(up, v, q), torch.addcmul(u * q, v, p)
    r = up / D
    log_slope = (m / D).square_().mul_(E).log_()
    residuals = Spline(w, h, m, d0, d1, u, v, p, q, r, D, E, x == at, bins, shares, slope_derivatives, steps)
    if inverse:
        return torch.addcmul(x0, u, w) + (x - at), -log_slope, residuals
    return torch.addcmul(y0, h, r) + (x - at), log_slope, residuals


def vjp(residuals: Spline, grad_y: Tensor, grad_log_slope: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of ``x`` and ``theta`` from those of the value and the log-slope of a spline.

    It is the vector-Jacobian product of the spline even if its inverse function was evaluated.
    """
    w, h, m, d0, d1, u, v, p, q, r, D, E, inside, bins, shares, slope_derivatives, steps = residuals
    grad_r = grad_y * h
    grad_E = grad_log_slope / E
    grad_D = torch.addcmul(2 * grad_log_slope, grad_r, r).div_(D).neg_()
    grad_up = torch.addcdiv(grad_D, grad_r, D)
    grad_p = torch.addcmul(grad_up * u, grad_E, v)
    grad_q = torch.addcmul(grad_D * v, grad_E, u)
    grad_m = torch.addcmul(grad_p * u, grad_q, v).add_(grad_log_slope / m, alpha=2)
    # When u rises, v falls by as much, so this is the gradient in both of them.
    grad_u = (grad_up - grad_E) * p + (grad_E - grad_D) * q + grad_p * (m - d0) + grad_q * (d1 - m)
    grad_x = grad_u / w
    grad_h = torch.addcdiv(grad_y * r, grad_m, w)
    grad_w = torch.addcmul(grad_m * m, grad_u, u).div_(w).neg_()

    n_members, n_knots, n_bins = len(w), *steps.shape
    ends = torch.stack([-grad_x - grad_w, grad_w, grad_y - grad_h, grad_h], 1).view(n_members, 2, 2, *w.shape[1:])
    grad_knots = w.new_zeros(n_members, 2, n_knots, *w.shape[1:])
    grad_knots.scatter_(2, bins.unsqueeze(1).expand(ends.shape), ends)
    weighted = _product(steps.mT, grad_knots).mul_(shares)
    grad_slopes = w.new_zeros(n_members, n_knots, *w.shape[1:])
    grad_slopes.scatter_(1, bins, torch.stack([grad_p * v, grad_q * u], 1).mul_(slope_derivatives))
    grad_theta = w.new_empty(n_members, 3 * n_bins - 1, *w.shape[1:])
    grad_shares = torch.unflatten(grad_theta[:, : 2 * n_bins], 1, (2, n_bins))
    torch.addcmul(weighted, shares, weighted.sum(2, keepdim=True), value=-1, out=grad_shares)
    grad_theta[:, 2 * n_bins :].copy_(grad_slopes[:, 1:-1])
    return torch.where(inside, grad_x, grad_y), grad_theta


@lru_cache
@torch.inference_mode(False)
def _start_and_steps(n_bins: int, box: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return tensors of shapes (n_bins + 1, 1) and (n_bins + 1, n_bins) that make knots of the shares of the bins.

    The knots are the first tensor plus the product of the second and the shares.
    """
    at = torch.arange(n_bins + 1, dtype=dtype, device=device).unsqueeze(1)
    size = 2 * box * (1 - MIN_BIN * n_bins)
    steps = torch.full((n_bins + 1, n_bins), size, dtype=dtype, device=device).tril(-1)
    return at * (2 * box * MIN_BIN) - box, steps


def _product(matrix: Tensor, x: Tensor, plus: Tensor | None = None) -> Tensor:
    """Multiply ``x``, along its third axis of five, by a matrix from the left, and add ``plus`` if it is given."""
    flat = x.flatten(3).flatten(0, 1)
    matrix = matrix.expand(len(flat), *matrix.shape)
    product = torch.bmm(matrix, flat) if plus is None else torch.baddbmm(plus, matrix, flat)
    return product.view(*x.shape[:2], matrix.shape[1], *x.shape[3:])


def _slopes(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return positive slopes, which are one where theta is zero, and their derivatives in theta."""
    log_slope, r = soft_clip(theta, MAX_LOG_SLOPE)
    slope = log_slope.exp()
    return slope, slope * r.pow(3)


def solve(rise: Tensor, h: Tensor, m: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """Find the u in [0, 1] at which the spline has risen by ``rise`` since the left knot, a root of a quadratic."""
    bent = rise * (d0 + d1 - 2 * m)
    a = h * (m - d0) + bent
    b = h * d0 - bent
    c = -m * rise
    return 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
