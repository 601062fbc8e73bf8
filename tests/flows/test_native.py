"""The native library, against PyTorch's operations in double precision."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

from sknvp.flows.builders.tabular import without_standardization
from sknvp.flows.native import status, torch_only
from sknvp.flows.train import train
from sknvp.flows.train.adamw import AdamW
from sknvp.flows.train.buffer import flatten, views
from sknvp.flows.train.objectives import NegativeLogLikelihood

from ..small import moons, small
from .builders import generator, randn, shaken, whole_flow
from .native_cases import compare, errors, faults, is_native, log_prob_and_gradients, random_case, unit_flow

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def of_dtype(dtype, *tensors):
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


SETTINGS = [
    # columns, members, rows, and the settings of the flow
    (1, 1, 1, {"kind": "spline"}),
    (1, 3, 17, {"kind": "spline", "hidden": ()}),
    (2, 4, 129, {"kind": "spline", "activation": "silu"}),
    (2, 9, 31, {"kind": "affine", "activation": "relu", "hidden": (5, 7, 3)}),
    (3, 2, 257, {"kind": "spline", "mask": "half", "n_context": 2}),
    (5, 1, 300, {"kind": "affine", "activation": "silu", "n_context": 1, "n_layers": 3}),
    (8, 4, 128, {"kind": "spline", "activation": "silu", "hidden": (32, 32), "n_layers": 6}),
    (13, 2, 33, {"kind": "spline", "activation": "relu", "mask": "alternating"}),
    (33, 2, 65, {"kind": "affine", "hidden": (64,), "n_layers": 8}),
    (128, 9, 1, {"kind": "affine", "activation": "relu", "mask": "half"}),
    (257, 1, 3, {"kind": "spline", "hidden": (16,)}),
    (4, 2, 40, {"kind": "affine", "n_layers": 32, "max_log_scale": 0.5}),
]


def example(n_features, n_members, n_rows, settings, far=1.0):
    """Return a flow, and rows with their weights, context and, where they are near, tail."""
    flow = unit_flow(n_members, n_features, **settings)
    x = far * randn(n_members, n_rows, n_features)
    n_context = settings.get("n_context", 0)
    context = randn(n_members, n_rows, n_context, seed=1) if n_context else None
    tail = flow.log_prob(x, context).detach() + 3 * randn(n_members, n_rows, seed=2) if far == 1 else None
    return flow, x, randn(n_members, n_rows, seed=3).exp(), context, tail


@pytest.mark.parametrize("far", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("case", SETTINGS, ids=str)
def test_likelihoods_and_gradients_are_those_of_torch(case, far):
    """In double precision to rounding; in single precision as near to double precision as PyTorch comes."""
    flow, *inputs = example(*case, far)
    with torch_only():
        expected = log_prob_and_gradients(flow, *inputs)
    assert max(map(max, errors(log_prob_and_gradients(flow, *inputs), expected))) < 1e-11

    single, inputs = copy.deepcopy(flow).float(), of_dtype(torch.float32, *inputs)
    ours = errors(log_prob_and_gradients(single, *inputs), expected)
    with torch_only():
        theirs = errors(log_prob_and_gradients(single, *inputs), expected)
    for mine, torchs in zip(ours, theirs, strict=True):
        assert mine.max() < 5 * torchs.max() + 1e-5


@pytest.mark.parametrize("seed", range(2, 27))  # seed 1 takes as long as all of these
def test_gradients_of_random_flows_are_those_of_torch(seed):
    """For a thousand and more: ``python benchmarks/native.py gradients``."""
    flow, inputs, about = random_case(seed)
    assert not faults(compare(flow, inputs)), about


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", SETTINGS, ids=str)
def test_both_directions_are_those_of_torch(case, dtype):
    flow, x, _, context, _ = example(*case, 3.0)
    flow, (x, context) = flow.to(dtype), of_dtype(dtype, x, context)
    tolerance = {"rtol": 2e-3, "atol": 2e-3} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    with torch.no_grad():
        for direction in (flow.transform, flow.transform.inverse):
            with torch_only():
                expected = direction(x, context)
            torch.testing.assert_close(direction(x, context), expected, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shared", [False, True])
def test_whole_flows_have_the_log_densities_and_gradients_of_torch(shared, dtype):
    """Standardisation and base included, whether members share their rows or have rows of their own."""
    flow = shaken(whole_flow(3, 5, kind="spline", n_context=2)).to(dtype)
    x, context = of_dtype(dtype, 4 * randn(3, 300, 5), randn(3, 300, 2, seed=1))
    if shared:
        x, context = x[0], context[0]
    assert is_native(flow, x.expand(3, -1, -1), context.expand(3, -1, -1)) == status().startswith("native library")
    tolerance = 1e-12 if dtype == torch.float64 else 2e-4
    with torch.no_grad():
        found = flow.log_prob(x, context)
        with torch_only():
            torch.testing.assert_close(found, flow.log_prob(x, context), rtol=tolerance, atol=tolerance)
    inputs = x.expand(3, -1, -1), randn(3, 300, seed=2).exp(), context.expand(3, -1, -1)
    found = log_prob_and_gradients(flow, *inputs)
    with torch_only():
        torch.testing.assert_close(found, log_prob_and_gradients(flow, *inputs), rtol=5 * tolerance, atol=5 * tolerance)


@pytest.mark.parametrize("case", SETTINGS, ids=str)
def test_gradients_of_rows_and_context_are_those_of_torch(case):
    flow, x, weights, context, _ = example(*case)
    leaves = [part.requires_grad_() for part in (x, context) if part is not None]
    results = []
    for path in (torch_only(), None):
        if path:
            with path:
                total = (flow.log_prob(*leaves) * weights).sum()
        else:
            total = (flow.log_prob(*leaves) * weights).sum()
        results.append(torch.autograd.grad(total, [*leaves, *flow.parameters()], retain_graph=True))
        again = torch.autograd.grad(total, [*leaves, *flow.parameters()])
        torch.testing.assert_close(again, results[-1], rtol=0, atol=0)  # what is kept for gradients is not used up
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-11)


def test_parameters_may_move_before_their_gradients_are_wanted():
    flow, x = unit_flow(2, 3), randn(2, 5, 3).requires_grad_()
    (expected,) = torch.autograd.grad(flow.log_prob(x).sum(), x)
    total = flow.log_prob(x).sum()
    flat = flatten(flow)
    assert torch.equal(torch.autograd.grad(total, x)[0], expected)
    assert len(flat) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_no_row_and_no_member_depends_on_another_in_any_bit(kind, dtype):
    flow, x = unit_flow(3, 5, kind=kind).to(dtype), randn(3, 200, 5).to(dtype)
    with torch.no_grad():
        z, log_det = flow.transform(x)
        bits = 0 if is_native(flow, x) else 1e-3  # PyTorch's products round differently for other numbers of rows
        for rows in (slice(1), slice(7, 60), slice(130, 200)):
            some = flow.transform(x[:, rows])
            torch.testing.assert_close(some, (z[:, rows], log_det[:, rows]), rtol=bits, atol=bits)
        shared = flow.transform(x[:1].expand(3, -1, -1))  # members that share their rows in memory
        torch.testing.assert_close((shared[0][0], shared[1][0]), (z[0], log_det[0]), rtol=bits, atol=bits)


@pytest.mark.parametrize("kind", ["affine", "spline"])
@pytest.mark.parametrize("value", [0.0, -0.0, 5.0, -5.0, 1e-40, 1e30, -3e38, math.inf, -math.inf, math.nan])
def test_odd_numbers_pass_as_in_torch(kind, value):
    flow = unit_flow(2, 4, kind=kind).float()
    x = randn(2, 9, 4).float()
    x[0, 3, 1] = x[1, 8] = value
    with torch.no_grad():
        for direction in (flow.transform, flow.transform.inverse):
            with torch_only():
                expected = direction(x)
            for ours, theirs in zip(direction(x), expected, strict=True):
                assert torch.equal(ours.isfinite(), theirs.isfinite())
                assert torch.equal(ours.isnan(), theirs.isnan())
                finite = theirs.isfinite()
                torch.testing.assert_close(ours[finite], theirs[finite], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e38])
@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_weights_that_overflowed_are_told_of(kind, value):
    """A loss that is not finite is how training notices; other members go on."""
    flow = unit_flow(2, 3, kind=kind).float()
    for part in flow.parameters():
        with torch.no_grad():
            part[1].flatten()[0] = value
    x, weights = randn(2, 9, 3).float(), torch.ones(2, 9)
    value, gradients = log_prob_and_gradients(flow, x, weights)
    with torch_only():
        expected, _ = log_prob_and_gradients(flow, x, weights)
    assert torch.equal(value.isfinite(), expected.isfinite())
    assert value[0].isfinite()
    assert gradients[0].isfinite().all()


def test_a_row_that_only_the_tail_explains_pulls_on_nothing():
    flow, x, weights = unit_flow(2, 3).float(), randn(2, 9, 3).float(), torch.ones(2, 9)
    _, gradients = log_prob_and_gradients(flow, x, weights, None, torch.full((2, 9), 1e6))
    assert not gradients.any()
    value, gradients = log_prob_and_gradients(flow, x, weights, None, torch.full((2, 9), -torch.inf))
    expected = log_prob_and_gradients(flow, x, weights)
    torch.testing.assert_close((value, gradients), expected, rtol=0, atol=0)


def test_gradients_may_lie_anywhere():
    """In one buffer for all parameters, or transposed, where no program writes to."""
    flow, x, weights = unit_flow(2, 4), randn(2, 9, 4), torch.ones(2, 9).double()
    _, expected = log_prob_and_gradients(flow, x, weights)
    flat = torch.full_like(flatten(flow).data, torch.nan)
    flow.log_prob_and_gradients(views(flat, flow), x, weights)
    assert torch.equal(flat, expected)
    transposed = [torch.empty_like(part.mT).mT for part in flow.parameters()]
    flow.log_prob_and_gradients(transposed, x, weights)
    assert torch.equal(torch.cat([part.flatten(1) for part in transposed], 1), expected)


def test_a_step_of_the_optimiser_is_that_of_torch():
    """Gradients that overflow and members of very different size are among them."""
    parameters = [randn(3, 50).float() for _ in range(2)]
    ours, theirs = (AdamW(part, 0.3, max_norm=5.0) for part in parameters)
    for seed in range(20):
        gradient = (randn(3, 50, seed=seed) * torch.tensor([[1e-9], [1.0], [1e12]])).float()
        gradient[1, seed] = [torch.nan, torch.inf, -torch.inf][seed % 3]
        ours.step(gradient.clone(), 0.1)
        with torch_only():
            theirs.step(gradient, 0.1)
    torch.testing.assert_close(*parameters, rtol=1e-5, atol=1e-6)


def objective(flow, x):
    validation = torch.zeros(flow.n_members, len(x), dtype=torch.bool)
    validation[:, :40] = True
    return NegativeLogLikelihood(flow, x, torch.ones(len(x)), torch.full((len(x),), -99.0), validation, 64, generator())


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_training_goes_the_way_of_torch(kind):
    """For some steps; then rounding errors lead apart."""
    x, losses = randn(200, 3).float() ** 3, []
    for path in (torch_only, None):
        flow = without_standardization(whole_flow(2, 3, kind=kind)).float()
        settings = {"learning_rate": 1e-3, "alpha": 0.1, "max_steps": 50, "n_iter_no_change": 9, "tol": 0.0}
        if path:
            with path():
                history = train(flow, objective(flow, x), **settings)
        else:
            history = train(flow, objective(flow, x), **settings)
        losses.append([*history.losses, *history.validation_losses])
    np.testing.assert_allclose(*losses, rtol=1e-3, atol=1e-3)


def test_a_fit_goes_on_by_either_path():
    X, density = moons(), small(coupling="spline", max_iter=3)
    for first in (True, False):
        with torch_only() if first else torch.no_grad():
            density.partial_fit(X)
        restored = pickle.loads(pickle.dumps(density))
        with torch.no_grad() if first else torch_only():
            np.testing.assert_allclose(restored.score_samples(X), density.score_samples(X), rtol=1e-9, atol=1e-9)
            restored.partial_fit(X)
            assert np.isfinite(restored.score_samples(X)).all()
