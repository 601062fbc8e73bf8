"""Gradient steps, of which the native library takes many in a call, against steps taken one by one."""

from itertools import islice

import pytest
import torch

from sknvp.flows.native import Program, loader, torch_only
from sknvp.flows.train import descent
from sknvp.flows.train.adamw import AdamW
from sknvp.flows.train.buffer import flatten
from sknvp.flows.train.objectives import NegativeLogLikelihood

from .builders import generator, randn
from .native_cases import is_native, unit_flow

N_ROWS, N_STEPS = 90, 11


class OneByOne:
    """An objective that shows nothing but its loss and its gradients."""

    def __init__(self, objective):
        self.loss_and_gradients = objective.loss_and_gradients


def objective_of(kind, with_context, dtype, **settings):
    """Three members with rows and weights of their own, in batches of 29 or 30 rows."""
    flow = unit_flow(3, 4, kind=kind, n_context=2 * with_context, **settings).to(dtype)
    x, weights, tail = (
        randn(N_ROWS, 4).to(dtype),
        randn(N_ROWS, seed=1).abs().to(dtype),
        randn(N_ROWS, seed=2).to(dtype),
    )
    held_out = torch.zeros(3, N_ROWS, dtype=torch.bool)
    held_out[0, :3] = held_out[1, 5:6] = True
    objective = NegativeLogLikelihood(flow, x, weights, tail - 4, held_out, 30, generator(), log_det=0.5)
    objective.context = randn(N_ROWS, 2, seed=3).to(dtype) if with_context else None
    return objective


def descended(objective, *, one_by_one=False, n_steps=N_STEPS):
    """Return the mean losses of two descents that follow each other, and the parameters after them."""
    flow = objective.flow
    flat = flatten(flow)
    optimizer, batches, losses = AdamW(flat, 0.1, max_norm=2.0), objective.batches(), []
    for some in (n_steps, 4):
        seen = OneByOne(objective) if one_by_one else objective
        losses.append(descent.descend(flow, flat, seen, islice(batches, some), optimizer, 0.01))
    return [*losses, flat.detach()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "with_context"), [("spline", False), ("affine", True)])
def test_calls_of_many_steps_are_single_steps(kind, with_context, dtype, monkeypatch):
    expected = descended(objective_of(kind, with_context, dtype), one_by_one=True)
    for most in (descent.MAX_MULTIPLICATIONS, 1e5, 0):  # all steps in a call, some, a single one
        monkeypatch.setattr(descent, "MAX_MULTIPLICATIONS", most)
        found = descended(objective_of(kind, with_context, dtype))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with torch_only():
        by_torch = descended(objective_of(kind, with_context, dtype))
    tolerance = 1e-9 if dtype == torch.float64 else 2e-3
    torch.testing.assert_close(expected, by_torch, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("with_context", [False, True])
def test_all_steps_between_evaluations_are_in_few_calls(monkeypatch, with_context):
    objective = objective_of("spline", with_context, torch.float32)
    given = objective.context.expand(3, -1, -1) if with_context else None
    if not is_native(objective.flow, objective.x.expand(3, -1, -1), given):
        return
    calls, descend = [], Program.descend
    monkeypatch.setattr(Program, "descend", lambda self, *args: calls.append(len(args[1])) or descend(self, *args))
    descended(objective)
    assert calls == [N_STEPS, 4]


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(loader, "MIN_THREAD_WORK", 1)
    found = []
    for n_threads in (1, 2, 7):
        with loader.native_threads(n_threads):
            found.append(descended(objective_of("spline", False, torch.float32)))
    torch.testing.assert_close(found[1:], [found[0]] * 2, rtol=0, atol=0)


def test_the_noise_of_a_batch_is_drawn_after_the_batch(monkeypatch):
    """So calls of several steps and single steps see equal noise, even where an epoch ends between two steps."""

    class Noisy(NegativeLogLikelihood):
        def _rows(self, rows, training):
            x = super()._rows(rows, training)
            return x + torch.randn(x.shape, dtype=x.dtype, generator=self.generator)

    def noisy():
        objective = objective_of("affine", False, torch.float64)
        objective.__class__ = Noisy
        return objective

    together = descended(noisy())
    torch.testing.assert_close(together, descended(noisy(), one_by_one=True), rtol=0, atol=0)
    assert not torch.equal(together[0], descended(objective_of("affine", False, torch.float64))[0])


def test_steps_lower_the_loss_and_leave_the_rows_alone():
    objective = objective_of("spline", False, torch.float32)
    batch, x = next(objective.batches()), objective.x.clone()
    before = objective.loss(*batch)
    descended(objective, n_steps=100)
    assert torch.equal(objective.x, x)
    assert (objective.loss(*batch) < before).all()
