"""Planar flows: layers that stretch or squeeze space across a plane."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..transform import AnalyticTransform

MIN_SLOPE = 1e-3  # The slope across the plane is at least this: no layer lowers a log-density by more than 7 nats.
STEEPNESS = -1 / math.expm1(MIN_SLOPE - 1)  # This is the constant c in the docstring of `Planar`.
SOFTPLUS_THRESHOLD = 30.0  # Beyond this argument, softplus is computed as a line of slope one.
MAX_NEWTON_STEPS = 100  # Newton's method takes this many steps at most; fewer than ten are usual.


class Constrained(NamedTuple):
    """The constrained ``u_hat``, and other results of ``w`` and ``u``.

    Vectors have shape (n_members, n_features, 1), numbers have shape (n_members, 1, 1).
    """

    u_hat: Tensor  # The vector u, changed along w.
    steepest: Tensor  # The slope on the plane, 1 + w . u_hat, which is above MIN_SLOPE.
    bend: Tensor  # The derivative of w . u_hat in w . u, minus one.
    normal: Tensor  # The vector w / |w|, or zero if w is zero.
    length: Tensor  # The length |w|.


class PlanarResiduals(NamedTuple):
    """The residuals of `Planar`, all at the data x in both directions."""

    inverse: bool  # True for the direction from noise to data.
    x: Tensor  # The data.
    h: Tensor  # The numbers tanh(w . x + b).
    slope: Tensor  # The slope across the plane.
    constrained: Constrained  # The constrained parameters.


class Planar(AnalyticTransform):
    """Map ``z = x + u_hat tanh(w^T x + b)``, with ``log|det dz/dx| = log(1 + w^T u_hat (1 - tanh^2(w^T x + b)))``.

    The map is invertible if ``w . u_hat > -1``. Therefore u changes along w as far as is needed, as in the paper::

        u_hat = u + (m(w . u) - w . u) w / |w|^2        m(t) = softplus(c t + k) - softplus(k)

    with c and k such that m stays above -0.999 and changes little near zero, where ``m(t) = t + O(t^2)``. The function
    in the paper, ``softplus(t) - 1``, is not zero at zero, so that its u_hat grows without bound as w goes to zero.
    This u_hat tends to u.

    The inverse needs only ``a = w . x + b``, the root of an increasing function::

        a + w . u_hat tanh(a) = w . z + b

    The layer starts as the identity, since u starts at zero, and its plane starts at a standard normal point.

    Parameters
    ----------
    n_members, n_features : int
        The number of members and of columns.
    generator : torch.Generator, optional
        The source of the initial w and b.

    References
    ----------
    Rezende and Mohamed, "Variational Inference with Normalizing Flows", ICML 2015, arXiv:1505.05770.
    """

    def __init__(self, n_members: int, n_features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        w, points = torch.randn(2, n_members, n_features, 1, dtype=torch.float64, generator=generator)
        w *= 2  # The layer is then steep enough to tell rows of unit variance apart.
        self.w = nn.Parameter(w)
        self.u = nn.Parameter(torch.zeros_like(w))
        self.b = nn.Parameter(-(w * points).sum(1, keepdim=True))

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        constrained = constrain(self.w, self.u)
        a = torch.baddbmm(self.b, self.w.mT, x)
        if inverse:
            a = solve(a, constrained.steepest)
        h = a.tanh()
        image = torch.baddbmm(x, constrained.u_hat, h, alpha=-1 if inverse else 1)
        slope = slope_across(h, constrained.steepest)
        log_det = slope.log().squeeze(1)
        if inverse:
            return image, -log_det, PlanarResiduals(inverse, image, h, slope, constrained)
        return image, log_det, PlanarResiduals(inverse, x, h, slope, constrained)

    def vjp(
        self, residuals: PlanarResiduals, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        grad_log_slope = grad_log_det.unsqueeze(1)
        if not residuals.inverse:
            return self._vjp_of_forward(residuals, grad_image, grad_log_slope, out), None
        # By the implicit function theorem, x = f^-1(z) moves by (df/dx)^-1 (dz - df) when z moves by dz and the
        # parameters move f by df. Its log-determinant is that of f with the other sign. The inverse of the Jacobian
        # 1 + u_hat h' w^T differs from the identity by a matrix of rank one, as the Jacobian itself does.
        grad_x = grad_image + self._vjp_of_forward(residuals, torch.zeros_like(grad_image), -grad_log_slope, out)
        derivative = (1 - residuals.h.square()) / residuals.slope
        along = torch.bmm(residuals.constrained.u_hat.mT, grad_x) * derivative
        grad_z = torch.baddbmm(grad_x, self.w, along, alpha=-1)
        self._vjp_of_forward(residuals, -grad_z, -grad_log_slope, out)
        return grad_z, None

    def _vjp_of_forward(
        self, residuals: PlanarResiduals, grad_z: Tensor, grad_log_slope: Tensor, out: Sequence[Tensor]
    ) -> Tensor:
        """Compute the gradient of ``x`` from those of ``z = f(x)`` and ``log(slope)``; write those of w, u and b."""
        _, x, h, slope, constrained = residuals
        grad_slope, derivative = grad_log_slope / slope, 1 - h.square()
        grad_h = torch.bmm(constrained.u_hat.mT, grad_z) + grad_slope * 2 * h * (1 - constrained.steepest)
        grad_a = grad_h * derivative
        grad_steepest = (grad_slope * derivative).sum(-1, keepdim=True)
        grad_w, grad_u = self._vjp_of_constraint(constrained, torch.bmm(grad_z, h.mT), grad_steepest)
        out_w, out_u, out_b = out
        torch.baddbmm(grad_w, x, grad_a.mT, out=out_w)
        out_u.copy_(grad_u)
        torch.sum(grad_a, -1, keepdim=True, out=out_b)
        return torch.baddbmm(grad_z, self.w, grad_a)

    def _vjp_of_constraint(
        self, constrained: Constrained, grad_u_hat: Tensor, grad_steepest: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the gradients of ``w`` and ``u`` from those of ``u_hat`` and ``steepest``."""
        u_hat, _, bend, n, length = constrained
        along = (n * grad_u_hat).sum(1, keepdim=True)
        excess = (n * (u_hat - self.u)).sum(1, keepdim=True)
        grad_t = grad_steepest * (1 + bend)
        grad_u = grad_u_hat + n * (along * bend) + self.w * grad_t
        grad_w = (self.u * (along * bend) + (grad_u_hat - 2 * n * along) * excess) / length + self.u * grad_t
        return grad_w, grad_u

    def extra_repr(self) -> str:
        return f"n_members={self.w.shape[0]}, n_features={self.w.shape[1]}"


def constrain(w: Tensor, u: Tensor) -> Constrained:
    """Compute ``u_hat`` as `Planar` defines it, for w and u of any size; it is u if w is zero.

    The form ``softplus(c t + k) - softplus(k) = log(1 + (exp(c t) - 1) / c)`` keeps its digits near zero, where its
    difference from t is divided by ``|w|``.
    """
    tiny = torch.finfo(w.dtype).tiny
    direction = w / w.abs().sum(1, keepdim=True).clamp(min=tiny)  # Its squares neither overflow nor vanish.
    normal = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp(min=tiny)
    length = (w * normal).sum(1, keepdim=True).clamp(min=tiny)
    t = (w * u).sum(1, keepdim=True)
    steep = STEEPNESS * t
    rest = (steep - SOFTPLUS_THRESHOLD).clamp(min=0)
    growth = (steep - rest).expm1() / STEEPNESS
    m = growth.log1p() + rest
    return Constrained(u + (m - t) / length * normal, 1 + m, (STEEPNESS - 1) * growth / (1 + growth), normal, length)


def slope_across(h: Tensor, steepest: Tensor) -> Tensor:
    """Compute ``1 + w . u_hat (1 - h^2)`` without a difference of nearly equal numbers."""
    square = h.square()
    return torch.addcmul(square, steepest, 1 - square)


def solve(c: Tensor, steepest: Tensor) -> Tensor:
    """Find the a for which ``f(a) = a + m tanh(a) = c``, with ``m = steepest - 1 > -1``.

    f is odd, and on the positive numbers it is concave (m > 0) or convex. Newton's method starts from the end of
    ``[c - m, c]`` (or from zero, if that is larger) at which f is steeper. From there it moves towards the root from
    one side, and needs no other bracket.
    """
    m, target = steepest - 1, c.abs()
    a = torch.where(m > 0, (target - m).clamp(min=0), target - m)
    for _ in range(MAX_NEWTON_STEPS):
        h = a.tanh()
        step = (torch.addcmul(a, m, h) - target) / slope_across(h, steepest)
        a = a - step
        if not (step.abs() > 4 * torch.finfo(a.dtype).eps * (1 + a)).any():  # NaN does not keep the loop going.
            break
    return a.copysign(c)
