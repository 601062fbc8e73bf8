"""Monotone rational-quadratic splines.

Between two knots (x0, y0) and (x1, y1) with slopes d0 and d1, with mean slope m = (y1 - y0) / (x1 - x0) and
u = (x - x0) / (x1 - x0) running from 0 to 1::

    y = y0 + (y1 - y0) (m u^2 + d0 u (1 - u)) / (m + (d0 + d1 - 2 m) u (1 - u))

which increases, meets both knots with the given slopes and can be inverted by a quadratic equation. Outside the box
the spline is the identity.

References
----------
Gregory and Delbourgo, "Piecewise rational quadratic interpolation to monotonic data", IMA J. Numer. Anal. 2, 1982.
Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", NeurIPS 2019, arXiv:1906.04032.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad, softmax, softplus

MIN_BIN = 1e-3  # smallest width and height of a bin, as a share of the box
MIN_SLOPE = 1e-3
UNIT_SLOPE = math.log(math.expm1(1 - MIN_SLOPE))  # softplus of it, plus MIN_SLOPE, is one


def rational_quadratic_spline(x: Tensor, theta: Tensor, box: float, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Value and log-slope of the spline, or of its inverse function, at ``x``.

    Parameters
    ----------
    x : Tensor of shape (...)
        Where to evaluate.
    theta : Tensor of shape (..., 3 n_bins - 1)
        Unconstrained widths, heights and inner slopes of the spline for each element; all zero is the identity.
    box : float
        The spline acts on [-box, box].
    inverse : bool, default=False
        Evaluate the inverse function.

    Returns
    -------
    value, log_slope : Tensors of shape (...)
    """
    n_bins = (theta.shape[-1] + 1) // 3
    knots_x = _knots(theta[..., :n_bins], box)
    knots_y = _knots(theta[..., n_bins : 2 * n_bins], box)
    slopes = pad(softplus(theta[..., 2 * n_bins :] + UNIT_SLOPE) + MIN_SLOPE, (1, 1), value=1.0)

    at = x.clamp(-box, box).contiguous()
    bin_ = torch.searchsorted(knots_y if inverse else knots_x, at.unsqueeze(-1), right=True) - 1
    bin_ = bin_.clamp(0, n_bins - 1)
    x0, x1 = knots_x.gather(-1, bin_).squeeze(-1), knots_x.gather(-1, bin_ + 1).squeeze(-1)
    y0, y1 = knots_y.gather(-1, bin_).squeeze(-1), knots_y.gather(-1, bin_ + 1).squeeze(-1)
    d0, d1 = slopes.gather(-1, bin_).squeeze(-1), slopes.gather(-1, bin_ + 1).squeeze(-1)
    m = (y1 - y0) / (x1 - x0)
    bend = d0 + d1 - 2 * m

    u = _solve(at - y0, y1 - y0, m, d0, bend) if inverse else (at - x0) / (x1 - x0)
    w = u * (1 - u)
    value = x0 + u * (x1 - x0) if inverse else y0 + (y1 - y0) * (m * u.square() + d0 * w) / (m + bend * w)
    slope = m.square() * (d1 * u.square() + 2 * m * w + d0 * (1 - u).square()) / (m + bend * w).square()
    log_slope = -slope.log() if inverse else slope.log()

    inside = x.abs() < box
    return torch.where(inside, value, x), torch.where(inside, log_slope, 0.0)


def _knots(theta: Tensor, box: float) -> Tensor:
    """Increasing knots from -box to box, shape (..., n_bins + 1)."""
    n_bins = theta.shape[-1]
    shares = MIN_BIN + (1 - MIN_BIN * n_bins) * softmax(theta, -1)
    inner = shares[..., :-1].cumsum(-1) * (2 * box) - box
    return pad(pad(inner, (1, 0), value=-box), (0, 1), value=box)


def _solve(rise: Tensor, height: Tensor, m: Tensor, d0: Tensor, bend: Tensor) -> Tensor:
    """The root u in [0, 1] of the quadratic that says the spline has risen by ``rise`` since the left knot."""
    a = height * (m - d0) + rise * bend
    b = height * d0 - rise * bend
    c = -m * rise
    return 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
