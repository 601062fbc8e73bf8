"""Couplings and their element-wise maps."""

import pytest
import torch

from sknvp.flows import (
    AffineCoupling,
    SplineCoupling,
)
from sknvp.flows.layers.spline import rational_quadratic_spline
from sknvp.flows.networks.soft_clip import soft_clip

from .builders import coupling, randn, shaken


@pytest.mark.parametrize("kind", [AffineCoupling, SplineCoupling])
def test_a_fresh_coupling_is_the_identity(kind):
    x = randn(2, 50, 4) * 4
    z, log_det = coupling(kind, 2, 4)(x)
    torch.testing.assert_close(z, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, torch.zeros_like(log_det), rtol=0, atol=1e-12)


def test_affine_couplings_stretch_by_a_bounded_factor():
    layer = shaken(coupling(AffineCoupling, 1, 4), size=1e6)
    _, log_det = layer(randn(1, 100, 4))
    assert log_det.abs().max() <= 2 * AffineCoupling.MAX_LOG_SCALE


def test_conditioning_columns_pass_through_unchanged():
    x = randn(1, 10, 5)
    layer = shaken(coupling(AffineCoupling, 1, 5, n_first=2))
    torch.testing.assert_close(layer(x)[0][..., :2], x[..., :2], rtol=0, atol=0)
    layer = shaken(coupling(AffineCoupling, 1, 5, n_first=2, flip=True))
    torch.testing.assert_close(layer(x)[0][..., 2:], x[..., 2:], rtol=0, atol=0)


def spline(x, theta):
    """Evaluate one spline at all rows of a single column."""
    y, log_slope, _ = rational_quadratic_spline(x.view(1, 1, -1), theta.view(1, -1, 1, 1).expand(1, -1, 1, len(x)), 5.0)
    return y.flatten(), log_slope.flatten()


def test_splines_increase_and_go_on_with_slope_one_outside_the_box():
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    y, log_slope = spline(x, randn(23) * 3)
    assert (y.diff() > 0).all()
    outside = x.abs() >= 5
    torch.testing.assert_close(y[outside], x[outside], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope[outside], torch.zeros_like(x[outside]), rtol=0, atol=1e-12)


def test_spline_slopes_agree_with_differences():
    theta, x, step = randn(23), torch.linspace(-4.9, 4.9, 77, dtype=torch.float64), 1e-6
    difference = (spline(x + step, theta)[0] - spline(x - step, theta)[0]) / (2 * step)
    torch.testing.assert_close(difference.log(), spline(x, theta)[1], rtol=1e-6, atol=1e-6)


def test_constants_made_in_inference_mode_serve_autograd():
    """Constants are cached. The box and the dtype here are new, so that inference mode is the first to need them."""
    theta, x = randn(1, 23, 2, 5), randn(1, 2, 5)
    with torch.inference_mode():
        rational_quadratic_spline(x, theta, 4.321)
        soft_clip(x.bfloat16(), 1.0)
    theta.requires_grad_()
    value, log_slope, _ = rational_quadratic_spline(x, theta, 4.321)
    (value.sum() + log_slope.sum()).backward()
    assert theta.grad.isfinite().all()
    x = x.bfloat16().requires_grad_()
    soft_clip(x, 1.0)[0].sum().backward()
    assert x.grad.isfinite().all()
