"""Every transform keeps one contract: two directions, each with its own log-determinant."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.functional import jacobian

from sknvp.flows import AffineCoupling, Chain, SplineCoupling

from .builders import TRANSFORMS, WITH_WEIGHTS, StepCoupling, coupling, randn, shaken, whole_flow

TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(params=[*TRANSFORMS, *WITH_WEIGHTS], ids=str)
def make(request):
    if request.param in WITH_WEIGHTS:
        return WITH_WEIGHTS[request.param]
    return lambda m, d: shaken(TRANSFORMS[request.param](m, d), size=0.5)


def log_det_by_autodiff(function, x):
    """Return the log-determinant of the Jacobian of each row's image, for rows (n_members, n_rows, n_features)."""
    n_members, n_rows, _ = x.shape
    out = x.new_empty(n_members, n_rows)
    for m in range(n_members):
        for i in range(n_rows):

            def image(row, m=m):
                return function(row.expand(n_members, 1, -1))[0][m, 0]

            out[m, i] = torch.linalg.slogdet(jacobian(image, x[m, i])).logabsdet
    return out


@pytest.mark.parametrize("n_features", [1, 2, 5])
@pytest.mark.parametrize("n_members", [1, 3])
def test_round_trip_both_ways(make, n_members, n_features):
    transform, x = make(n_members, n_features), randn(n_members, 20, n_features) * 3
    z, log_det = transform(x)
    back, log_det_back = transform.inverse(z)
    torch.testing.assert_close(back, x, **TOLERANCE)
    torch.testing.assert_close(log_det_back, -log_det, **TOLERANCE)
    z = x
    x, log_det = transform.inverse(z)
    there, log_det_there = transform(x)
    torch.testing.assert_close(there, z, **TOLERANCE)
    torch.testing.assert_close(log_det_there, -log_det, **TOLERANCE)


@pytest.mark.parametrize("n_features", [1, 2, 4])
def test_log_determinants_agree_with_autodiff(make, n_features):
    transform, x = make(2, n_features), randn(2, 3, n_features)
    torch.testing.assert_close(transform(x)[1], log_det_by_autodiff(transform, x), **TOLERANCE)
    torch.testing.assert_close(transform.inverse(x)[1], log_det_by_autodiff(transform.inverse, x), **TOLERANCE)


def test_gradients_agree_with_differences(make):
    """The gradients may be written by hand; they include those of the log-determinant. Directions are random."""
    transform, x = make(2, 3), randn(2, 4, 3).requires_grad_()
    inputs = (x, *transform.parameters())
    for direction in (transform, transform.inverse):
        assert torch.autograd.gradcheck(lambda x, *parts, run=direction: run(x), inputs, fast_mode=True)


def test_each_member_is_a_transform_of_its_own(make):
    """Changing the rows of one member changes nothing for another."""
    transform, x = make(3, 4), randn(3, 6, 4)
    other = x.clone()
    other[1] += 1
    for direction in (transform, transform.inverse):
        for before, after in zip(direction(x), direction(other), strict=True):
            torch.testing.assert_close(before[[0, 2]], after[[0, 2]], rtol=0, atol=0)


def test_rows_do_not_mix(make):
    transform, x = make(2, 3), randn(2, 10, 3)
    z, log_det = transform(x)
    some_z, some_log_det = transform(x[:, 3:5])
    torch.testing.assert_close(some_z, z[:, 3:5], **TOLERANCE)
    torch.testing.assert_close(some_log_det, log_det[:, 3:5], **TOLERANCE)


def test_no_rows(make):
    transform = make(2, 3)
    for z, log_det in (transform(randn(2, 0, 3)), transform.inverse(randn(2, 0, 3))):
        assert z.shape == (2, 0, 3)
        assert log_det.shape == (2, 0)


def test_with_and_without_gradients_the_answers_agree(make):
    transform, x = make(2, 3), randn(2, 5, 3)
    for direction in (transform, transform.inverse):
        recorded = direction(x.clone().requires_grad_())
        with (
            torch.no_grad()
        ):  # The native library gives no gradients from noise to data, so that PyTorch computes these.
            torch.testing.assert_close(direction(x), recorded, rtol=1e-12, atol=1e-12)


def test_new_parameters_are_heeded(make):
    transform, x = make(2, 3), randn(2, 5, 3)
    transform(x)
    twin = copy.deepcopy(transform)
    parameters = {name for name, _ in transform.named_parameters()}
    twin.load_state_dict({n: 2 * p if n in parameters else p for n, p in transform.state_dict().items()}, assign=True)
    with torch.no_grad():
        for part in transform.parameters():
            part *= 2
    torch.testing.assert_close(twin(x), transform(x), rtol=0, atol=0)


def test_copies_and_pickles_are_equal(make):
    transform, x = make(2, 3), randn(2, 5, 3)
    transform(x)
    for twin in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        for ours, theirs in zip(transform(x), twin(x), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [AffineCoupling, SplineCoupling, StepCoupling])
def test_context_conditions_and_keeps_the_contract(kind):
    transform = shaken(coupling(kind, 2, 3, n_context=2))
    x, context = randn(2, 4, 3), randn(2, 4, 2, seed=1)
    z, log_det = transform(x, context)
    back, log_det_back = transform.inverse(z, context)
    torch.testing.assert_close(back, x, **TOLERANCE)
    torch.testing.assert_close(log_det_back, -log_det, **TOLERANCE)
    assert not torch.equal(transform(x, context + 1)[0], z)
    inputs = (x.requires_grad_(), context.requires_grad_(), *transform.parameters())
    for direction in (transform, transform.inverse):
        assert torch.autograd.gradcheck(
            lambda x, context, *parts, run=direction: run(x, context), inputs, fast_mode=True
        )


def test_a_chain_takes_a_transform_once():
    layer = coupling(AffineCoupling, 1, 2)
    with pytest.raises(ValueError, match="must differ"):
        Chain(layer, layer)


def test_gradients_run_through_contexts_and_moving_statistics():
    flow = shaken(whole_flow(2, 3, n_layers=3, n_context=2, batch_norm=True)).train()
    inputs = (randn(2, 5, 3).requires_grad_(), randn(2, 5, 2, seed=1).requires_grad_(), *flow.parameters())

    start = {name: tensor.clone() for name, tensor in flow.named_buffers()}

    def run(x, context, *parts):
        for name, tensor in start.items():  # Every pass moves the statistics.
            flow.get_buffer(name).copy_(tensor)
        return flow.transform(x, context)

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@given(
    n_members=st.integers(1, 3),
    n_features=st.integers(2, 6),
    n_layers=st.integers(1, 4),
    mask=st.sampled_from(["alternating", "half", "random"]),
    size=st.floats(0, 20),
    seed=st.integers(0, 2**31),
)
def test_any_affine_flow_round_trips(n_members, n_features, n_layers, mask, size, seed):
    """Sizes and masks are arbitrary, and weights are up to 20 times as large as a normal initialisation.

    Each layer magnifies the rounding errors of the one before by at most its slope in all its inputs.
    """
    flow = shaken(whole_flow(n_members, n_features, "affine", mask, n_layers), size, seed)
    x = randn(n_members, 8, n_features, seed=seed) * 2
    with torch.no_grad():
        z, log_det = flow.transform(x)
        back, log_det_back = flow.transform.inverse(z)
    assert log_det.abs().max() < 2 * n_layers * n_features + 10
    slope = math.exp(AffineCoupling.MAX_LOG_SCALE) * (1 + size) ** 2 * (1 + float(z.abs().max()))
    tolerance = {"rtol": 0, "atol": min(1e-15 * slope**n_layers, 0.1) + 1e-12}
    torch.testing.assert_close(back, x, **tolerance)
    torch.testing.assert_close(log_det_back, -log_det, **tolerance)


@given(n_members=st.integers(1, 3), n_features=st.integers(1, 6), size=st.floats(0, 20), seed=st.integers(0, 2**31))
def test_any_spline_coupling_round_trips(n_members, n_features, size, seed):
    """Weights are up to 20 times as large as a normal initialisation; the smallest slope magnifies rounding errors."""
    layer = shaken(coupling(SplineCoupling, n_members, n_features), size, seed)
    x = randn(n_members, 8, n_features, seed=seed) * 2
    z, log_det = layer(x)
    back, log_det_back = layer.inverse(z)
    a, b = layer.split(x.mT)
    theta = layer.conditioner.forward_with_residuals(a)[0].unflatten(1, (layer.N_PARAMETERS, b.shape[1]))
    _, log_slope = layer.elementwise(b, theta, inverse=False)
    rounding = 1e-13 * max([1.0, *torch.exp(-log_slope).flatten().tolist()])
    torch.testing.assert_close(back, x, rtol=0, atol=rounding)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e4 * rounding)
