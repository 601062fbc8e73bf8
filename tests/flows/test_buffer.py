"""The buffer of all parameters, in which the parameters of a member lie side by side."""

import pytest
import torch

from sknvp.flows.train.buffer import flatten, views

from .builders import gradients_of, randn, shaken, whole_flow


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_gradients_are_the_same_wherever_they_are_written(kind, n_members):
    flow, x, weights = shaken(whole_flow(n_members, 4, kind)), randn(n_members, 9, 4), randn(n_members, 9, seed=1)
    _, expected = gradients_of(flow, x, weights)
    buffer = torch.full_like(flatten(flow), torch.nan)
    places = views(buffer, flow)
    flow.log_prob_and_gradients(places, x, weights)
    torch.testing.assert_close(places, expected)
    assert buffer.isfinite().all()
