"""Planar layers: the constraint that makes them invertible, and an inverse as exact as numbers allow."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sknvp.flows import Planar
from sknvp.flows.layers.planar import MIN_SLOPE, constrain, solve

from .builders import DTYPE, generator, planar, planar_layers, randn, shaken


def tanh(a):
    if abs(a) > 60:
        return Decimal(1).copy_sign(a)
    up, down = a.exp(), (-a).exp()
    return (up - down) / (up + down)


def root_by_bisection(c, m):
    """Return the root of ``a + m tanh(a) = c``, to 40 digits."""
    with localcontext() as context:
        context.prec = 50
        c, m = Decimal(c), Decimal(m)
        low, high = c - abs(m) - 1, c + abs(m) + 1
        for _ in range(160):
            middle = (low + high) / 2
            low, high = (middle, high) if middle + m * tanh(middle) < c else (low, middle)
        return float(low)


@pytest.mark.parametrize("m", [MIN_SLOPE - 1, -0.9, -0.1, 0.0, 0.3, 7.0, 1e3, 1e8])
def test_the_root_is_that_of_bisection_to_forty_digits(m):
    """The slope at the root magnifies the rounding errors of c and m."""
    c = torch.tensor([-1e6, -50.0, -3.7, -1.0, -1e-3, -1e-9, 0.0, 1e-6, 0.2, 0.999, 1.0, 2.0, 11.0, m, 1e3, 1e12])
    c = c.to(DTYPE).view(1, 1, -1)
    steepest = torch.full((1, 1, 1), 1 + m, dtype=DTYPE)
    roots, used = solve(c, steepest).flatten().numpy(), float(steepest - 1)
    expected = np.array([root_by_bisection(value, used) for value in c.flatten().tolist()])
    slope = np.tanh(expected) ** 2 + (1 + m) * (1 - np.tanh(expected) ** 2)
    rounding = 1e-15 * (np.abs(c.flatten().numpy()) + np.abs(expected) + abs(m) * np.abs(np.tanh(expected))) / slope
    assert (np.abs(roots - expected) <= rounding + 1e-30).all()


def test_a_row_that_is_no_number_keeps_no_other_from_its_root():
    c = torch.tensor([[[math.inf, math.nan, 1.0]]], dtype=DTYPE)
    root = solve(c, torch.tensor([[[1.5]]], dtype=DTYPE))
    assert root[0, 0, 2].item() == pytest.approx(root_by_bisection(1.0, 0.5), rel=1e-15)


@given(
    n_members=st.integers(1, 3),
    n_features=st.integers(1, 6),
    n_layers=st.integers(1, 3),
    size=st.floats(0, 20),
    seed=st.integers(0, 2**31),
)
def test_any_planar_flow_round_trips(n_members, n_features, n_layers, size, seed):
    """Weights are up to 20 times as large as a normal initialisation; slopes below one magnify rounding errors."""
    flow = shaken(planar_layers(n_members, n_features, n_layers), size, seed).transform
    x = randn(n_members, 8, n_features, seed=seed) * 2
    with torch.no_grad():
        for there, back in ((flow, flow.inverse), (flow.inverse, flow)):
            z, log_det = there(x)
            again, log_det_back = back(z)
            magnified = ((1 + size**2) * n_features / MIN_SLOPE) ** n_layers
            tolerance = {"rtol": 0, "atol": min(1e-15 * magnified, 1e-6) + 1e-12}
            torch.testing.assert_close(again, x, **tolerance)
            torch.testing.assert_close(log_det_back, -log_det, **tolerance)


@given(n_features=st.integers(1, 5), of_w=st.floats(-250, 100), of_u=st.floats(-250, 100), seed=st.integers(0, 2**31))
def test_the_constraint_holds_and_overflows_nowhere(n_features, of_w, of_u, seed):
    """The vectors w and u have any size; u changes only along w."""
    w, u = randn(2, n_features, 1, seed=seed) * 10**of_w, randn(2, n_features, 1, seed=seed + 1) * 10**of_u
    by = constrain(w, u)
    assert all(part.isfinite().all() for part in by)
    assert (by.steepest >= MIN_SLOPE * (1 - 1e-9)).all()
    moved, normal = by.u_hat - u, by.normal
    across = moved - normal * (normal * moved).sum(1, keepdim=True)
    assert across.abs().max() <= 1e-12 * max(u.abs().max(), moved.abs().max())


def test_the_constraint_is_a_softplus_that_leaves_small_products_alone():
    """As ``w . u`` rises from far below zero, ``w . u_hat`` rises from -0.999, through zero with slope one."""
    t = torch.linspace(-60, 60, 24_001, dtype=DTYPE)
    m = constrain(torch.ones(len(t), 1, 1, dtype=DTYPE), t.view(-1, 1, 1)).u_hat.flatten()
    c = 1 / -math.expm1(MIN_SLOPE - 1)
    k = -math.log(c - 1)
    torch.testing.assert_close(m, torch.nn.functional.softplus(c * t + k, threshold=700) - math.log1p(math.exp(k)))
    assert (m.diff() >= -1e-13).all()
    near = t.abs() < 0.01
    assert (m[near] - t[near]).abs().max() < 0.01**2


@pytest.mark.parametrize("length", [1e-300, 1e-100, 1e-20, 1e-8, 1e-3, 0.0])
def test_as_w_goes_to_zero_the_layer_becomes_a_shift(length):
    w, u = randn(1, 3, 1), randn(1, 3, 1, seed=1)
    by = constrain(w * length, u)
    torch.testing.assert_close(by.u_hat, u, rtol=0, atol=5 * length + 1e-14)
    layer, x = planar(1, 3, w=w * length, u=u, b=0.7), randn(1, 5, 3)
    torch.testing.assert_close(layer(x)[0], x + u.mT * math.tanh(0.7), rtol=0, atol=30 * length + 1e-14)


def test_the_image_is_the_papers_formula():
    layer, x = shaken(Planar(2, 3)), randn(2, 7, 3)
    by = constrain(layer.w, layer.u)
    a = (layer.w.mT * x).sum(-1, keepdim=True) + layer.b
    torch.testing.assert_close(layer(x)[0], x + by.u_hat.mT * a.tanh())
    torch.testing.assert_close(by.steepest, 1 + (layer.w * by.u_hat).sum(1, keepdim=True))


def test_a_fresh_layer_is_the_identity_with_two_d_and_one_parameters():
    x, layer = randn(2, 50, 4) * 4, Planar(2, 4, generator())
    torch.testing.assert_close(layer(x), (x, torch.zeros(2, 50, dtype=DTYPE)), rtol=0, atol=0)
    torch.testing.assert_close(layer.inverse(x)[0], x)
    assert sum(part[0].numel() for part in layer.parameters()) == 2 * 4 + 1
    assert sum(part.numel() for part in planar_layers(1, 2, 32).parameters()) == 160


def test_planes_of_a_fresh_layer_pass_through_the_data():
    layer = Planar(5000, 2, generator())
    distance = (
        (layer.b / layer.w.norm(dim=1, keepdim=True)).flatten().detach()
    )  # This is the distance of the plane from the origin.
    assert distance.std().item() == pytest.approx(1, abs=0.05)


def test_a_log_determinant_is_bounded_below_and_zero_far_outside():
    layer = shaken(Planar(1, 2), size=1e6)
    assert layer(randn(1, 1000, 2))[1].min() >= math.log(MIN_SLOPE) - 1e-9
    far = layer(torch.tensor([[[1e30, -1e29]]], dtype=DTYPE))
    assert far[1].item() == 0
    assert far[0].isfinite().all()


def test_single_precision_round_trips_to_its_own_rounding():
    flow = shaken(planar_layers(2, 3)).float().transform
    x = randn(2, 100, 3).float()
    z, log_det = flow(x)
    back, log_det_back = flow.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-4)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-3)
