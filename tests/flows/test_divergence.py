"""The sum of the reverse and the forward Kullback-Leibler divergence: its loss and its gradients."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from sknvp.flows import Flow, Standardize, StandardNormal
from sknvp.flows.train import train
from sknvp.flows.train.divergence import MixedKL

from .builders import DTYPE, generator, gradients_of, randn, shaken, whole_flow


def start_of(flow):
    """Return the flow without its couplings."""
    return Flow(flow.transform.transforms[0], flow.base, flow.n_members)


def objective(flow, target, n_draws=64, n_annealing=0, by_path=True):
    return MixedKL(flow, target, start_of(flow), n_draws, n_annealing, generator(), by_path)


def with_slope(log_density):
    """Return a function that computes the log-density and its gradient, by autograd."""

    def both(x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = log_density(x)
            (slope,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), slope

    return both


def log_value(x):
    """Return a log-density that no flow in this file fits."""
    return -0.5 * (x[..., 0] ** 2 + (x[..., 1] - x[..., 0] ** 2) ** 2) + x[..., 2].sin() - x[..., 2] ** 2


skewed = with_slope(log_value)


@pytest.mark.parametrize("kind", ["affine", "spline"])
@pytest.mark.parametrize("t", [1.0, 0.3])
def test_gradients_are_those_that_autograd_finds(kind, t):
    """They are those of ``log q - log p`` along the path of the draws, and of ``-log q`` at weighted draws."""
    flow, z = shaken(whole_flow(2, 3, kind, n_layers=3), 0.5), randn(2, 9, 3)
    loss, gradients = gradients_of(objective(flow, skewed), z, t)
    still = shaken(whole_flow(2, 3, kind, n_layers=3), 0.5)
    x, _ = flow.transform.inverse(z)
    log_ratio = still.log_prob(x) - t * log_value(x) - (1 - t) * start_of(flow).log_prob(x)
    weights = np.minimum(softmax(-log_ratio.detach().numpy(), -1), 1 / 3)  # The largest weight of nine draws is 1/3.
    weights = torch.tensor(weights / weights.sum(-1, keepdims=True))
    score = (3 * (1 / 9 - weights) * flow.log_prob(x.detach())).sum()
    expected = torch.autograd.grad(log_ratio.mean(-1).sum() + score, list(flow.parameters()))
    torch.testing.assert_close(gradients, list(expected))
    torch.testing.assert_close(loss, (still.log_prob(x) - log_value(x)).mean(-1).detach())


def test_gradients_by_values_are_those_of_the_variance_of_the_log_ratio_and_of_weights():
    """Half of the variance over the draws has the gradient of the reverse divergence, and needs no gradient of p."""
    flow, z = shaken(whole_flow(2, 3, n_layers=3), 0.2), randn(2, 9, 3)
    by_values = objective(flow, lambda x: (log_value(x), None), n_draws=9, by_path=False)
    loss, gradients = gradients_of(by_values, z, 0.3)
    x = flow.transform.inverse(z)[0].detach()
    log_q, log_p = flow.log_prob(x), 0.3 * log_value(x) + 0.7 * start_of(flow).log_prob(x)
    weights = np.minimum(softmax((log_p - log_q).detach().numpy(), -1), 1 / 3)
    weights = torch.tensor(weights / weights.sum(-1, keepdims=True))
    total = ((log_q - log_p).var(-1, correction=0) / 2 + (3 * (1 / 9 - weights) * log_q).sum(-1)).sum()
    assert (log_q - log_p - (log_q - log_p).mean(-1, keepdim=True)).abs().max() < 10  # beyond it draws are clipped
    torch.testing.assert_close(gradients, list(torch.autograd.grad(total, list(flow.parameters()))))
    torch.testing.assert_close(loss, (log_q - log_value(x)).mean(-1).detach())


@pytest.mark.parametrize("by_path", [True, False])
def test_gradients_are_those_of_the_divergences_by_quadrature(by_path):
    """The sum ``KL(q || p) + 3 KL(p || q)`` is computed on a grid; the expectations take many draws."""
    flow = shaken(whole_flow(1, 2, n_layers=2), 0.3)
    loc, scale = torch.tensor(
        [[-0.9, 1.5], [0.45, 2.5]], dtype=DTYPE
    )  # These are near the location and scale of the flow.
    target = Flow(Standardize(loc, scale), StandardNormal(2))
    _, gradients = gradients_of(
        objective(flow, with_slope(target.log_prob), 100_000, by_path=by_path), randn(1, 100_000, 2), 1.0
    )
    grid = torch.linspace(-14, 14, 401, dtype=DTYPE)
    x = torch.cartesian_prod(grid, grid)[None]
    log_q, log_p = flow.log_prob(x), target.log_prob(x)
    area = (grid[1] - grid[0]) ** 2
    divergences = ((log_q.exp() - 3 * log_p.exp()) * (log_q - log_p)).sum() * area
    expected = torch.autograd.grad(divergences, list(flow.parameters()))
    for part, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(part, other, atol=0.01 if by_path else 0.03, rtol=0.02)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_where_the_target_is_reached_the_gradient_vanishes_draw_by_draw(kind):
    flow = shaken(whole_flow(2, 3, kind, n_layers=3), 0.5)

    loss, gradients = gradients_of(objective(flow, with_slope(lambda x: flow.log_prob(x) + 7)), randn(2, 5, 3), 1.0)
    torch.testing.assert_close(loss, torch.full((2,), -7.0, dtype=loss.dtype))
    assert max(part.abs().max() for part in gradients) < 1e-10


def test_the_bridge_begins_at_the_flow_itself():
    """A fresh flow is at its goal if t is zero; t rises from near zero to one, and stays there."""
    flow = whole_flow(2, 3)
    goal = objective(flow, skewed, n_annealing=10)
    _, gradients = gradients_of(goal, randn(2, 5, 3), 0.0)
    assert max(part.abs().max() for part in gradients) < 1e-12
    batches = goal.batches()
    t = [next(batches)[1] for _ in range(15)]
    assert 0 < t[0] < 0.01
    assert (torch.tensor(t).diff() >= 0).all()
    assert t[9] < 1
    assert t[10:] == [1.0] * 5
    assert next(objective(flow, skewed).batches())[1] == 1.0


def test_draws_where_the_target_is_no_number_are_left_out():
    flow, z = shaken(whole_flow(2, 3), 0.5), randn(2, 8, 3)
    x = flow.transform.inverse(z)[0]
    out = torch.zeros(2, 8, dtype=torch.bool)
    out[0, :3] = out[1, 5:] = True

    def holed(x):
        value, slope = skewed(x)
        return torch.where(out, torch.nan, value), slope

    loss, gradients = gradients_of(objective(flow, holed), z, 1.0)
    for member, rows in enumerate((slice(3, 8), slice(0, 5))):
        few_loss, few = gradients_of(objective(flow, skewed), z[:, rows], 1.0)
        torch.testing.assert_close(loss[member], few_loss[member])
        for part, other in zip(gradients, few, strict=True):
            torch.testing.assert_close(part[member], other[member])
    assert x.isfinite().all()
    loss, gradients = gradients_of(objective(flow, lambda x: (torch.full_like(x[..., 0], torch.nan), x)), z, 0.5)
    assert not loss.any()
    assert not any(part.any() for part in gradients)


def test_training_reaches_a_target_and_stops_no_sooner_than_it_may():
    """The target is a normal distribution of another location and scale, which couplings reach exactly."""

    def target(x):
        return -0.5 * ((x - 1) / 0.5).square().sum(-1), (1 - x) / 0.25

    flow = whole_flow(2, 2, n_layers=4)
    flow.transform.transforms[0].scale.fill_(1)
    goal = objective(flow, target, n_annealing=100)
    settings = {"learning_rate": 1e-2, "alpha": 0.0, "max_steps": 600, "n_iter_no_change": 2, "tol": 10.0}
    assert train(flow, goal, **settings, min_steps=300).n_steps == 300 + 25 * (1 + 3 * 2)  # one at first, then plateaus
    assert goal.validate() is None
    train(flow, goal, **{**settings, "tol": 1e-4, "n_iter_no_change": 10})
    loss, _ = gradients_of(goal, randn(2, 4000, 2), 1.0)
    torch.testing.assert_close(
        loss, torch.full_like(loss, -torch.log(torch.tensor(2 * torch.pi * 0.25)).item()), atol=0.01, rtol=0
    )
