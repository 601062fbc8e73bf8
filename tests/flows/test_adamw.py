"""AdamW, against `torch.optim.AdamW`."""

import pytest
import torch

from sknvp.flows.train.adamw import AdamW

from .builders import randn


def test_steps_are_those_of_torch():
    ours, theirs = randn(2, 7), torch.nn.Parameter(randn(2, 7))
    expected = torch.optim.AdamW([theirs], weight_decay=0.3)
    optimizer = AdamW(ours, 0.3)
    for seed in range(1, 30):
        gradient, learning_rate = randn(2, 7, seed=seed), 0.1 / seed
        theirs.grad, expected.param_groups[0]["lr"] = gradient.clone(), learning_rate
        expected.step()
        optimizer.step(gradient, learning_rate)
    torch.testing.assert_close(ours, theirs.data)


@pytest.mark.parametrize(("size", "learning_rate"), [(1e-9, 0.1), (-1e-5, 1e-3), (1e-30, 1e38)])
def test_the_first_step_is_that_in_closed_form(size, learning_rate):
    """It is ``rate g / (|g| + 1e-8)``, however small the gradient g is; the rate is bounded by the largest number."""
    parameters = torch.zeros(1, 3)
    AdamW(parameters, 0.0).step(torch.full((1, 3), size), learning_rate)
    rate = min(learning_rate / 0.1, torch.finfo(torch.float32).max) * 0.1  # the mean of the gradients is a tenth of g
    torch.testing.assert_close(parameters, torch.full((1, 3), -rate * size / (abs(size) + 1e-8)))


def test_with_its_moments_it_goes_on_as_if_it_had_never_stopped():
    through, parted = randn(1, 5), randn(1, 5)
    optimizer, first = AdamW(through, 0.1), AdamW(parted, 0.1)
    for seed in range(4):
        optimizer.step(randn(1, 5, seed=seed), 0.1)
        first.step(randn(1, 5, seed=seed), 0.1)
    kept = {name: value.clone() for name, value in first.moments.items()}
    second = AdamW(parted, 0.1, first.moments)
    for seed in range(4, 8):
        optimizer.step(randn(1, 5, seed=seed), 0.1)
        second.step(randn(1, 5, seed=seed), 0.1)
    torch.testing.assert_close(parted, through, rtol=0, atol=0)
    torch.testing.assert_close(first.moments, kept, rtol=0, atol=0)
