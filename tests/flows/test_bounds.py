"""Maps between bounded columns and the normal distribution, against SciPy's distributions, out to the bounds."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from .builders import DTYPE, bounded_flow, randn, shaken

TOLERANCE = {"rtol": 1e-13, "atol": 1e-13}
Z = np.r_[np.linspace(-8, 8, 161), -37, -20, 20, 37]


def flow_between(low, high):
    """Return a flow without couplings."""
    return bounded_flow(1, len(low), (low, high), n_layers=0)


def bounded(low, high):
    """Return the map of a single column."""
    return flow_between(*torch.tensor([[low], [high]], dtype=DTYPE)).transform


def with_gradients(direction, values):
    """Return image, log-determinant, the slope of the image and the slope of the log-determinant."""
    x = torch.tensor(values, dtype=DTYPE).view(1, -1, 1).requires_grad_()
    image, log_det = direction(x)
    slopes = [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in (image, log_det)]
    return [part.detach().numpy().ravel() for part in (image, log_det, *slopes)]


def compare(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **TOLERANCE)


@pytest.mark.parametrize("width", [1.0, 4.0, 1e-3])
@pytest.mark.parametrize("side", [-1, 1])
def test_between_two_bounds_it_is_the_normal_distribution_function(side, width):
    """The bound that the numbers approach is zero, so that their distances to it have all digits."""
    transform, z = bounded(*((0.0, width) if side < 0 else (-width, 0.0))), Z[side * Z >= 0]
    distance = width * special.ndtr(-np.abs(z))
    x, log_pdf = -side * distance, stats.norm.logpdf(z)
    slope = width * np.exp(log_pdf)
    compare(with_gradients(transform.inverse, z), (x, log_pdf + math.log(width), slope, -z))
    compare(with_gradients(transform, x), (z, -log_pdf - math.log(width), 1 / slope, z / slope))


@pytest.mark.parametrize("side", [-1, 1])
def test_beyond_one_bound_it_carries_the_log_logistic_distribution(side):
    """The distance d has the distribution function d / (1 + d); the oracle differentiates the logarithm of d twice."""
    transform = bounded(*((0.0, math.inf) if side > 0 else (-math.inf, 0.0)))
    log_tails = [special.log_ndtr(sign * side * Z) for sign in (1, -1)]
    distance = np.exp(log_tails[0] - log_tails[1])
    hazards = [np.exp(stats.norm.logpdf(Z) - log_tail) for log_tail in log_tails]
    log_slope = np.log(sum(hazards)) + np.log(distance)
    slope, bend = np.exp(log_slope), -Z + 2 * side * hazards[1]
    compare(with_gradients(transform.inverse, Z), (side * distance, log_slope, slope, bend))
    compare(with_gradients(transform, side * distance), (Z, -log_slope, 1 / slope, -bend / slope))


BOUNDS = [(0, 1), (-1, 1), (1e6, 1e6 + 1), (0, math.inf), (-math.inf, 0), (-3, math.inf), (0, 1e300)]


@pytest.mark.parametrize("size", [0.0, 8, 38, 100, 1e3])
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_the_way_back_ends_between_the_bounds_however_far_it_starts(bounds, size):
    low, high = bounds
    x, log_det, slope, bend = with_gradients(bounded(low, high).inverse, [-size, size])
    assert ((low < x) & (x < high)).all()
    there = with_gradients(bounded(low, high), x)
    for part in (log_det, bend, *there):
        assert np.isfinite(part).all()
    assert (slope >= 0).all()  # It overflows where x is the largest number.


def test_a_flow_without_couplings_is_uniform_between_two_bounds():
    low, high = torch.tensor([[1.0, -2.0], [2.0, 2.0]], dtype=DTYPE)
    edges = [low.nextafter(high), high.nextafter(low)]
    x = torch.cat([low + (high - low) * randn(50, 2).sigmoid(), torch.stack(edges)])
    expected = torch.full((1, 52), -math.log(4), dtype=DTYPE)
    torch.testing.assert_close(flow_between(low, high).log_prob(x), expected, rtol=0, atol=1e-13)


def test_a_flow_without_couplings_is_log_logistic_beyond_one_bound():
    x = torch.tensor([[1e-300], [1e-3], [2.0], [1e3]], dtype=DTYPE)
    above, below = ([0.0], [math.inf]), ([-math.inf], [0.0])
    expected = torch.tensor(stats.fisk(1).logpdf(x.T))
    for bounds, sign in ((above, 1), (below, -1)):
        log_prob = flow_between(*torch.tensor(bounds, dtype=DTYPE)).log_prob(sign * x)
        torch.testing.assert_close(log_prob, expected, rtol=0, atol=1e-12)


def test_columns_without_bounds_stay_as_they_are():
    low, high = torch.tensor([[-math.inf, 0.0], [math.inf, 1.0]], dtype=DTYPE)
    x = torch.tensor([[[-5.0, 0.5], [1e3, 0.5]]], dtype=DTYPE)
    torch.testing.assert_close(flow_between(low, high).transform(x)[0][..., 0], x[..., 0], rtol=0, atol=0)


def test_a_bounded_flow_keeps_the_contract_of_a_transform():
    """Rows are near the middle of their bounds, where numbers have the digits for it."""
    transform, z = shaken(bounded_flow(2, 5), size=0.3).transform, 0.5 * randn(2, 6, 5)
    x, log_det = transform.inverse(z)
    back, log_det_back = transform(x)
    torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=1e-9, atol=1e-9)
    for direction, rows in ((transform, x), (transform.inverse, z)):
        inputs = (rows[:, :2].detach().requires_grad_(), *transform.parameters())
        assert torch.autograd.gradcheck(lambda rows, *_, run=direction: run(rows), inputs)


def test_couplings_and_splines_leave_columns_between_their_bounds():
    low, high = torch.tensor([[0.0, -1.0], [1.0, math.inf]], dtype=DTYPE)
    flow = shaken(bounded_flow(2, 2, (low, high)))
    x = flow.sample(1000)
    assert ((low < x) & (x < high)).all()
    assert flow.log_prob(x).isfinite().all()
