"""Perceptrons and the soft bound on their inputs."""

import pytest
import torch

from sknvp.flows import (
    Conditioner,
)
from sknvp.flows.networks.perceptron import ACTIVATIONS
from sknvp.flows.networks.soft_clip import soft_clip

from .builders import generator, randn, shaken


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
@pytest.mark.parametrize(("n_members", "dtype"), [(2, torch.float64), (1, torch.float32)])
@pytest.mark.parametrize("large", [1, 100])
@pytest.mark.parametrize(("n_inputs", "n_outputs"), [(3, 2), (3, 9), (0, 9)])
def test_gradients_of_networks_agree_with_autograd(
    activation, hidden, n_members, dtype, large, n_inputs, n_outputs, monkeypatch
):
    monkeypatch.setattr("sknvp.flows.networks.perceptron.LARGE_BATCH", large)
    network = shaken(Conditioner(n_inputs, n_outputs, hidden, activation, n_members, generator())).to(dtype)
    x = randn(n_members, n_inputs, 5).to(dtype).requires_grad_()
    grad = randn(n_members, n_outputs, 5, seed=1).to(dtype)
    y, _ = network.forward_with_residuals(x)
    expected = torch.autograd.grad(y, [x, *network.parameters()], grad)
    with torch.no_grad():
        out = [torch.full_like(part, torch.nan) for part in network.parameters()]
        of_x = network.vjp(network.forward_with_residuals(x)[1], grad, out)
        torch.testing.assert_close(network(x.detach()), y.detach())
    torch.testing.assert_close([of_x, *out], list(expected))


def test_networks_see_far_inputs_at_a_bounded_distance():
    """Therefore their outputs, and with them the log-density, do not grow with the input."""
    network = shaken(Conditioner(1, 2, (8,), "relu", generator=generator()))
    near, far = (
        network.forward_with_residuals(torch.full((1, 1, 1), size, dtype=torch.float64))[0] for size in (1e3, 1e9)
    )
    torch.testing.assert_close(far, near, rtol=1e-3, atol=1e-3)


def test_soft_clip_is_near_the_identity_and_bounded():
    x = torch.tensor([-1e9, -3.0, 0.0, 1e-3, 1e9], dtype=torch.float64).requires_grad_()
    u, r = soft_clip(x, 2.0)
    assert u.abs().max() <= 2
    assert u[3].item() == pytest.approx(1e-3, rel=1e-6)
    torch.testing.assert_close(torch.autograd.grad(u.sum(), x)[0], r.detach() ** 3)
