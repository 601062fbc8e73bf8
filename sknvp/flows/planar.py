"""Planar flows: layers that stretch or squeeze space across a plane."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .transform import Transform

LEAST_SLOPE = 1e-3  # across the plane: no layer lowers a log-density by more than 7 nats
STEEPNESS = -1 / math.expm1(LEAST_SLOPE - 1)  # c below
LINEAR = 30.0  # from where on softplus is its argument
MOST_STEPS = 100  # of Newton's method, which takes less than ten as a rule


class Constrained(NamedTuple):
    """``u_hat``, and what else comes of ``w`` and ``u``; shapes (n_members, n_features, 1) and (n_members, 1, 1)."""

    u_hat: Tensor
    steepest: Tensor  # 1 + w . u_hat, which is above LEAST_SLOPE
    bend: Tensor  # the derivative of w . u_hat in w . u, less one
    normal: Tensor  # w / |w|, zero if w is
    length: Tensor  # |w|


class Tape(NamedTuple):
    """What `Planar.record` leaves for `Planar.gradients`, all at the data x, whatever the direction."""

    inverse: bool
    x: Tensor
    h: Tensor  # tanh(w . x + b)
    slope: Tensor
    by: Constrained


class Planar(Transform):
    """``z = x + u_hat tanh(w . x + b)``, with ``log|det dz/dx| = log(1 + w . u_hat (1 - tanh^2(w . x + b)))``.

    The map is invertible if ``w . u_hat > -1``. So u changes along w as far as that needs, in the manner of the paper::

        u_hat = u + (m(w . u) - w . u) w / |w|^2        m(t) = softplus(c t + k) - softplus(k)

    with c and k such that m stays above -0.999 and changes little near zero, where ``m(t) = t + O(t^2)``. (The paper's
    ``softplus(t) - 1`` is not zero there, so that u_hat grows without bound as w goes to zero; this one tends to u.)

    The inverse needs ``a = w . x + b`` alone, the root of an increasing function::

        a + w . u_hat tanh(a) = w . z + b

    The layer starts as the identity, u being zero, with planes through standard normal points.

    Parameters
    ----------
    n_members, n_features : int
    generator : torch.Generator, optional
        Source of the initial w and b.

    References
    ----------
    Rezende and Mohamed, "Variational Inference with Normalizing Flows", ICML 2015, arXiv:1505.05770.
    """

    def __init__(self, n_members: int, n_features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        w, points = torch.randn(2, n_members, n_features, 1, dtype=torch.float64, generator=generator)
        w *= 2  # steep enough to tell rows of unit variance apart
        self.w = nn.Parameter(w)
        self.u = nn.Parameter(torch.zeros_like(w))
        self.b = nn.Parameter(-(w * points).sum(1, keepdim=True))

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        by = constrain(self.w, self.u)
        a = torch.baddbmm(self.b, self.w.mT, x)
        if inverse:
            a = solve(a, by.steepest)
        h = a.tanh()
        image = torch.baddbmm(x, by.u_hat, h, alpha=-1 if inverse else 1)
        slope = slope_across(h, by.steepest)
        log_det = slope.log().squeeze(1)
        if inverse:
            return image, -log_det, Tape(inverse, image, h, slope, by)
        return image, log_det, Tape(inverse, x, h, slope, by)

    def gradients(
        self, tape: Tape, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        grad_log_slope = grad_log_det.unsqueeze(1)
        if not tape.inverse:
            return self._gradients(tape, grad, grad_log_slope, out), None
        # x = f^-1(z) moves by (df/dx)^-1 (dz - df) when z moves by dz and the parameters move f by df; its own
        # log-determinant is that of f with the other sign. The inverse of 1 + u_hat h' w^T differs by rank one as well.
        grad_x = grad + self._gradients(tape, torch.zeros_like(grad), -grad_log_slope, out)
        along = torch.bmm(tape.by.u_hat.mT, grad_x) * ((1 - tape.h.square()) / tape.slope)
        grad_z = torch.baddbmm(grad_x, self.w, along, alpha=-1)
        self._gradients(tape, -grad_z, -grad_log_slope, out)
        return grad_z, None

    def _gradients(self, tape: Tape, grad_z: Tensor, grad_log_slope: Tensor, out: Sequence[Tensor]) -> Tensor:
        """From the gradients of ``z = f(x)`` and of ``log(slope)``, that of ``x``; into ``out`` those of w, u, b."""
        _, x, h, slope, by = tape
        grad_slope, derivative = grad_log_slope / slope, 1 - h.square()
        grad_a = (torch.bmm(by.u_hat.mT, grad_z) + grad_slope * 2 * h * (1 - by.steepest)) * derivative
        grad_steepest = (grad_slope * derivative).sum(-1, keepdim=True)
        grad_w, grad_u = self._gradients_of_constraint(by, torch.bmm(grad_z, h.mT), grad_steepest)
        of_w, of_u, of_b = out
        torch.baddbmm(grad_w, x, grad_a.mT, out=of_w)
        of_u.copy_(grad_u)
        torch.sum(grad_a, -1, keepdim=True, out=of_b)
        return torch.baddbmm(grad_z, self.w, grad_a)

    def _gradients_of_constraint(self, by: Constrained, grad: Tensor, grad_steepest: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradients of ``u_hat`` and ``steepest``, those of ``w`` and ``u``."""
        n, along = by.normal, (by.normal * grad).sum(1, keepdim=True)
        excess = (n * (by.u_hat - self.u)).sum(1, keepdim=True)
        grad_t = grad_steepest * (1 + by.bend)
        grad_u = grad + n * (along * by.bend) + self.w * grad_t
        grad_w = (self.u * (along * by.bend) + (grad - 2 * n * along) * excess) / by.length + self.u * grad_t
        return grad_w, grad_u


def constrain(w: Tensor, u: Tensor) -> Constrained:
    """``u_hat`` as in `Planar`, whatever the size of w and u; it is u where w is zero.

    ``softplus(c t + k) - softplus(k) = log(1 + (exp(c t) - 1) / c)`` keeps its digits near zero, where the difference
    to t is divided by ``|w|``.
    """
    tiny = torch.finfo(w.dtype).tiny
    direction = w / w.abs().sum(1, keepdim=True).clamp(min=tiny)  # whose squares neither overflow nor vanish
    normal = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp(min=tiny)
    length = (w * normal).sum(1, keepdim=True).clamp(min=tiny)
    t = (w * u).sum(1, keepdim=True)
    steep = STEEPNESS * t
    rest = (steep - LINEAR).clamp(min=0)
    growth = (steep - rest).expm1() / STEEPNESS
    m = growth.log1p() + rest
    return Constrained(u + (m - t) / length * normal, 1 + m, (STEEPNESS - 1) * growth / (1 + growth), normal, length)


def slope_across(h: Tensor, steepest: Tensor) -> Tensor:
    """``1 + w . u_hat (1 - h^2)``, without a difference of nearly equal numbers."""
    square = h.square()
    return torch.addcmul(square, steepest, 1 - square)


def solve(c: Tensor, steepest: Tensor) -> Tensor:
    """The a for which ``f(a) = a + m tanh(a) = c``, with ``m = steepest - 1 > -1``.

    f is odd, and for positive a concave (m > 0) or convex: Newton's method then moves towards the root from one side,
    from that end of ``[c - m, c]`` (at least zero) where f is steeper, and needs no other bracket.
    """
    m, target = steepest - 1, c.abs()
    a = torch.where(m > 0, (target - m).clamp(min=0), target - m)
    for _ in range(MOST_STEPS):
        h = a.tanh()
        step = (torch.addcmul(a, m, h) - target) / slope_across(h, steepest)
        a = a - step
        if not (step.abs() > 4 * torch.finfo(a.dtype).eps * (1 + a)).any():  # nor where there is no number
            break
    return a.copysign(c)
